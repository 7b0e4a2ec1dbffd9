/* test_attention.c: attention in bf16 on tensor cores (cuda/attention_mma.cuh) against its fp32 CPU
 * twin, which is given the same numbers, all such as bf16 can hold: output, LSE, and the gradients of
 * queries, keys and values, stored and added, captured and replayed, and a second time for the same
 * bits under another order of fibers. The registry's cases, and token counts and heads on both sides of
 * every bound of the tiling: 16 rows a tile, 96 a block, chunks of 64 and of 16; widths 16, 32, 64, 72,
 * 128, 256. Every tensor and the scratch begin with NaN.
 *
 * The band. Backward on the CPU is given the device's output and LSE, which are inputs of it: where
 * weights are peaked, dS = P (dP - delta) cancels, and delta of an output rounded otherwise would be
 * another number. Rounding to bf16 is off by at most U = 2^-8 of a value, and by U / sqrt(3) in the
 * mean square. Two stand in a result, of the weights (P or dS) as operands and of itself, and where it
 * adds a third, of the addend. They do not depend on each other, so their squares add: sqrt(2/3) U, or
 * U, in the mean square against that of the result; and no element is off by more than 2 or 3 U of the
 * largest. A result that is 0 by cancellation (one token: dP = delta) is off by fp32's rounding of sums
 * of d terms, FLOOR. LSE is fp32 throughout.
 *
 * Run: standin only
 * Planted and caught: in attention_tiles.cuh a row behind the last token or features behind d copied,
 * the barrier between chunks left out, the next chunk copied over the present one, the lanes' addresses
 * of an operand, a step of features or a barrier left out, two registers of an operand exchanged, rows
 * stored behind the last, a gradient stored where it must be added, two lanes of a row left out; in
 * attention_mma.cuh a key too many, the running sum or a feature not rescaled, LSE without the scale,
 * delta of another row or of half the features, delta by row where it is by column, no mask of keys or
 * of queries behind the last, dV scaled, the second half of a large head made of the first. */
#include "twins.h"

enum { QUERY, KEY, VALUE };
static const double U = 1.0 / 256, FLOOR = 2e-6, LSE_TOLERANCE = 4e-6;

typedef struct nodes {
    twin_pair qkv, out, lse, dout, dqkv;
    fx_node cpu, device;
} nodes;

/* Of a token's queries, keys and values; cases are tokens or images. */
static int64_t width_of(const fx_op_case *c)
{
    return c->dim[0][c->dim[0][3] ? 3 : 2];
}

static void check(twins *t, bool holds, const fx_op_case *c, const char *what, double error, double of)
{
    t->checks++;
    if (holds) return;
    t->bad++;
    printf("BAD %s (%lld tokens, %lld features): %s is off by %g of %g\n", c->name,
           (long long)c->dim[0][1], (long long)(width_of(c) / 3 / c->attrs.attention.heads), what,
           error, of);
}

/* Columns `first` .. `first` + `count` of rows of `width`. */
static void compare(twins *t, const fx_op_case *c, const char *what, int roundings, const twin_pair *p,
                    int64_t width, int64_t first, int64_t count)
{
    const float *want = fx_f32(&p->cpu);
    float *got = get(t, &p->device);
    double error = 0, square = 0, worst = 0, most = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < fx_count(&p->cpu); i++) {
        if (i % width < first || i % width >= first + count) continue;
        const double off = fabs((double)got[i] - (double)want[i]), size = fabs((double)want[i]);
        error += off * off;
        square += size * size;
        worst = off <= worst ? worst : off; /* NaN counts */
        most = fmax(most, size);
        n++;
    }
    error = sqrt(error / (double)n);
    square = sqrt(square / (double)n);
    check(t, error <= sqrt(roundings / 3.0) * U * square + FLOOR, c, what, error, square);
    check(t, worst <= roundings * U * most + 4 * FLOOR, c, what, worst, most);
    fx_free(got);
}

static void compare_lse(twins *t, const fx_op_case *c, const twin_pair *p)
{
    float *got = get(t, &p->device);
    double worst = 0, most = 1;
    for (int64_t i = 0; i < fx_count(&p->cpu); i++) {
        const double off = fabs((double)got[i] - (double)fx_f32(&p->cpu)[i]);
        worst = off <= worst ? worst : off;
        most = fmax(most, fabs((double)fx_f32(&p->cpu)[i]));
    }
    check(t, worst <= LSE_TOLERANCE * most, c, "LSE", worst, most);
    fx_free(got);
}

/* The CPU's tensor becomes what the device's is. */
static void take(twins *t, twin_pair *p)
{
    fx_free(p->cpu.data);
    p->cpu.data = get(t, &p->device);
}

static nodes *open_nodes(twins *t, const fx_op_case *c, bool add)
{
    nodes *n = fx_calloc(1, sizeof *n);
    fx_tensor shape = {0};
    n->cpu = (fx_node){
        .op = fx_ops[FX_OP_attention], .id = FX_OP_attention, .name = c->name, .attrs = c->attrs};
    must(fx_set_shape(&shape, c->dim[0][3] ? 4 : 3, c->dim[0]));
    fill(t, &n->qkv, &shape, FX_BF16, true, c->scale > 0 ? c->scale : 1.0f, 0);
    fill(t, &n->dqkv, &shape, FX_BF16, true, 0, add ? 1.0f : NAN);
    n->cpu.in[0] = &n->qkv.cpu, n->cpu.din[0] = &n->dqkv.cpu;
    n->cpu.out[0] = &n->out.cpu, n->cpu.saved[0] = &n->lse.cpu;
    must(n->cpu.op->shape(&n->cpu));
    shape = n->lse.cpu;
    fill(t, &n->lse, &shape, FX_F32, false, 0, NAN);
    shape = n->out.cpu;
    fill(t, &n->out, &shape, FX_BF16, true, 0, NAN);
    fill(t, &n->dout, &shape, FX_BF16, true, 1.0f, 0);
    n->cpu.dout[0] = &n->dout.cpu;
    n->cpu.accumulate = add ? FX_IN(0) : 0;
    n->device = n->cpu;
    n->device.in[0] = &n->qkv.device, n->device.din[0] = &n->dqkv.device;
    n->device.out[0] = &n->out.device, n->device.saved[0] = &n->lse.device;
    n->device.dout[0] = &n->dout.device;
    return n;
}

static void close_nodes(twins *t, nodes *n)
{
    twin_pair *const all[] = {&n->qkv, &n->out, &n->lse, &n->dout, &n->dqkv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        drop(t, all[i]);
    fx_free(n);
}

/* Runs both passes once more, `add` being off. */
static void check_again(twins *t, const fx_op_case *c, nodes *n)
{
    const twin_pair *const made[] = {&n->out, &n->lse, &n->dqkv};
    float *first[3];
    for (int i = 0; i < 3; i++)
        first[i] = get(t, &made[i]->device);
    pass(t->device, &n->device, FX_FORWARD, 1);
    pass(t->device, &n->device, FX_BACKWARD, 1);
    for (int i = 0; i < 3; i++) {
        float *again = get(t, &made[i]->device);
        const size_t bytes = sizeof *again * (size_t)fx_count(&made[i]->cpu);
        check(t, memcmp(first[i], again, bytes) == 0, c, "the second run", 1, 0);
        fx_free(again);
        fx_free(first[i]);
    }
}

static void run_case(twins *t, const fx_op_case *c, bool add)
{
    static const char *const part[] = {"dq", "dk", "dv"};
    nodes *n = open_nodes(t, c, add);
    const int64_t width = width_of(c), D = width / 3;
    pass(t->cpu, &n->cpu, FX_FORWARD, 1);
    pass(t->device, &n->device, FX_FORWARD, add ? 3 : 1);
    compare(t, c, "y", 2, &n->out, D, 0, D);
    compare_lse(t, c, &n->lse);
    take(t, &n->out);
    take(t, &n->lse);
    pass(t->cpu, &n->cpu, FX_BACKWARD, 1);
    pass(t->device, &n->device, FX_BACKWARD, 1);
    for (int i = QUERY; i <= VALUE; i++)
        compare(t, c, part[i], add ? 3 : 2, &n->dqkv, width, i * D, D);
    if (!add) check_again(t, c, n);
    close_nodes(t, n);
}

/* All scores are near -724 and LSE with them: exp(-LSE), what a key behind the last would weigh, is
 * beyond fp32. Queries and keys have one value each, so there is nothing to compare with: all is
 * finite. */
static void run_opposed(twins *t)
{
    static const fx_op_case c = {
        .name = "queries opposed to keys", .attrs.attention = {1}, .dim = {{1, 5, 24}}};
    nodes *n = open_nodes(t, &c, false);
    float *x = fx_f32(&n->qkv.cpu);
    for (int64_t i = 0; i < fx_count(&n->qkv.cpu); i++)
        if (i % 24 < 16) x[i] = i % 24 < 8 ? -16.0f : 16.0f;
    must(fx_tensor_write(t->device, &n->qkv.device, x));
    pass(t->device, &n->device, FX_FORWARD, 1);
    pass(t->device, &n->device, FX_BACKWARD, 1);
    float *got = get(t, &n->dqkv.device);
    for (int64_t i = 0; i < fx_count(&n->dqkv.cpu); i++)
        check(t, isfinite(got[i]), &c, "a gradient", (double)got[i], 0);
    fx_free(got);
    close_nodes(t, n);
}

static const fx_op_case SHAPES[] = {
    {.name = "heads of 16", .attrs.attention = {3}, .dim = {{2, 16, 144}}},
    {.name = "a head of 8", .attrs.attention = {1}, .dim = {{1, 1025, 24}}},
    {.name = "heads of 32", .attrs.attention = {2}, .dim = {{2, 17, 192}}},
    {.name = "a head of 64", .attrs.attention = {1}, .dim = {{1, 257, 192}}},
    {.name = "a head of 72", .attrs.attention = {1}, .dim = {{1, 257, 216}}},
    {.name = "heads of 40, as 64", .attrs.attention = {2}, .dim = {{1, 96, 240}}},
    {.name = "heads of 128", .attrs.attention = {2}, .dim = {{1, 65, 768}}},
    {.name = "a head of 104, as 128", .attrs.attention = {1}, .dim = {{1, 129, 312}}},
    {.name = "a head of 256", .attrs.attention = {1}, .dim = {{1, 97, 768}}},
    {.name = "a head of 136, as 256", .attrs.attention = {1}, .dim = {{1, 5, 408}}},
    {0},
};

int main(void)
{
    twins t = {.cpu = open_backend("cpu"), .device = open_backend("cuda")};
    const fx_op_case *const lists[] = {fx_ops[FX_OP_attention]->cases, SHAPES};
    for (int l = 0; l < 2; l++)
        for (const fx_op_case *c = lists[l]; c->name; c++)
            for (int add = 0; add < 2; add++)
                run_case(&t, c, add);
    run_opposed(&t);
    t.cpu->backend->close(&t.cpu);
    t.device->backend->close(&t.device);
    printf("%d checks, %d bad\n", t.checks, t.bad);
    return t.bad > 0 || t.checks == 0;
}
