/* test_gradients.c: backward of every registered op against central differences of its forward. A new
 * op is tested by being in oplist.h.
 *
 * The loss is sum w y with random w (a plain sum is constant for a normalising op). Directions v are
 * random unit vectors: <dx, v> must equal (L(x + h v) - L(x - h v)) / 2h. Before backward, every tensor
 * that the op does not declare in backward_reads is filled with NaN; din starts from 1 where the pass
 * must add, from NaN elsewhere; one input's gradient is wanted at a time, then all at once, stored and
 * added, with the same bits. Backward in bf16, on CUDA on a tape of bf16, is held against differences
 * of the CPU's forward in fp32: its own would be all rounding.
 *
 * Run: standin
 * Run: timeout 600
 * Run: cost 10
 * Planted and caught: in add.c the scale left out of dA, dB taken from the first rows; in silu.c the
 * gradient overwritten where it must be added, the term x (1 - s) left out, X left out of
 * backward_reads; in conv.c the kernel not turned, the folding matrix with two rows exchanged; in
 * linear.c and act.h the derivative of GELU left out, and its cubic term given the factor of the
 * function itself; in attention.c delta left out; in group_norm.c du of both sources kept in the same
 * place, added where it is to be stored, passed through SiLU twice, the channels behind the last tile
 * left out of the moments and of the sums, factors of the first tile for every tile; in onednn.c a
 * packed copy used again whatever its format, in conv_view.h the source packed where dy is expected; in
 * group_norm_terms.h the bias left out of the centre, of the mean, its level not divided by the
 * deviation, its gradient added as the weight's is; in conv.c the second bias left out of the sum, its
 * gradient the first channel's for all, added as the first's is. */
#include "harness.h"

enum { DIRECTIONS = 8 };
static const double STEP = 1e-2,
                    TOLERANCE = 2e-4;     /* fp32 forward: noise 1e-7 |L| / STEP, error STEP^2 */
static const double ROUNDED = 2 * 0x1p-8; /* of a gradient in bf16: on the way, and as it is stored;
                                             or two operands */

/* An op on one backend. */
typedef struct side {
    fx_test *t;
    fx_op_run *r;
} side;

static double loss(const side *s)
{
    const fx_tensor *out = s->r->node.out[0];
    fx_test_forward(s->t, s->r);
    return fx_dot(fx_f32(out), s->r->weight, fx_count(out));
}

static void unit_direction(fx_test *t, float *v, int64_t count)
{
    fx_test_normal(t, v, count, 1.0f);
    const double norm = sqrt(fx_dot(v, v, count));
    for (int64_t i = 0; i < count; i++)
        v[i] = (float)(v[i] / norm);
}

static void shift(fx_op_run *r, int i, const float *v, double h)
{
    float *x = fx_f32(r->node.in[i]);
    for (int64_t k = 0; k < fx_count(r->node.in[i]); k++)
        x[k] = (float)((double)r->input[i][k] + h * (double)v[k]);
}

/* got: <dx, v>, known to `known`. */
static void check_direction(const side *own, const side *exact, int i, const float *v, double got,
                            double known)
{
    fx_op_run *r = exact->r;
    const bool scaled = r->node.in[i]->rank >= 3 && r->test_case->scale > 0;
    const double h = STEP * (scaled ? (double)r->test_case->scale : 1.0);
    fx_test_restore(r);
    shift(r, i, v, h);
    const double up = loss(exact);
    shift(r, i, v, -h);
    const double down = loss(exact), want = (up - down) / (2 * h);
    fx_test_restore(r);
    const double tolerance = TOLERANCE * r->weight_norm * STEP / h + known;
    char what[200];
    snprintf(what, sizeof what, "input %d: <dx, v> = %.7g, differences %.7g, tolerance %.2g", i, got,
             want, tolerance);
    fx_test_check(own->t, fabs(got - want) <= tolerance, own->r, what);
}

static void check_input(const side *own, const side *exact, int i, bool add)
{
    fx_test *t = own->t;
    fx_op_run *r = own->r;
    const int64_t count = fx_count(r->node.in[i]);
    fx_tensor *all[FX_MAX_IN];
    memcpy(all, r->node.din, sizeof all);
    for (int k = 0; k < FX_MAX_IN; k++)
        if (k != i) r->node.din[k] = NULL;
    fx_test_restore(r);
    fx_test_forward(t, r);
    fx_test_poison_unread(r);
    fx_test_fill(all[i], add ? 1.0f : NAN);
    fx_test_backward(t, r, add ? FX_IN(i) : 0u);
    memcpy(r->node.din, all, sizeof all);

    float *gradient = fx_calloc((size_t)count, sizeof *gradient),
          *v = fx_calloc((size_t)count, sizeof *v);
    const double norm = sqrt(fx_dot(fx_f32(all[i]), fx_f32(all[i]), count)),
                 known = own->r == exact->r ? 0 : ROUNDED * norm;
    for (int64_t k = 0; k < count; k++)
        gradient[k] = fx_f32(all[i])[k] - (add ? 1.0f : 0.0f);
    for (int k = 0; k < DIRECTIONS; k++) {
        unit_direction(t, v, count);
        check_direction(own, exact, i, v, fx_dot(gradient, v, count), known);
    }
    fx_free(gradient);
    fx_free(v);
}

/* One at a time and all at once give the same bits, stored or added. */
static void check_together(fx_test *t, fx_op_run *r, bool add)
{
    const float before = add ? 1.0f : NAN;
    unsigned every = 0;
    fx_test_restore(r);
    fx_test_forward(t, r);
    fx_test_poison_unread(r);
    for (int i = 0; i < FX_MAX_IN; i++) {
        fx_test_fill(r->node.din[i], before);
        if (add && r->node.din[i]) every |= FX_IN(i);
    }
    fx_test_backward(t, r, every);
    for (int i = 0; i < FX_MAX_IN; i++) {
        if (!r->node.din[i]) continue;
        const size_t bytes = fx_tensor_bytes(r->node.din[i]);
        float *together = fx_calloc(bytes, 1);
        memcpy(together, r->node.din[i]->data, bytes);
        fx_tensor *all[FX_MAX_IN];
        memcpy(all, r->node.din, sizeof all);
        for (int k = 0; k < FX_MAX_IN; k++)
            if (k != i) r->node.din[k] = NULL;
        fx_test_fill(all[i], before);
        fx_test_backward(t, r, every & FX_IN(i));
        memcpy(r->node.din, all, sizeof all);
        fx_test_check(t, memcmp(together, all[i]->data, bytes) == 0, r,
                      "gradients alone and together differ");
        fx_free(together);
    }
}

/* exact: what the differences are taken of. */
static void check_case(const side *own, const side *exact)
{
    for (int i = 0; i < FX_MAX_IN; i++)
        for (int add = 0; own->r->node.din[i] && add < 2; add++)
            check_input(own, exact, i, add);
    check_together(own->t, own->r, false);
    check_together(own->t, own->r, true);
}

/* own: backward in fp32, or in bf16 on tapes that store `storage`. */
static int check_all(fx_test t, fx_dtype storage)
{
    fx_test cpu = fx_test_begin("cpu");
    const bool bf16 = storage == FX_BF16 || t.exec->options.precision == FX_PRECISION_BF16;
    t.storage = t.values = cpu.values = storage;
    for (fx_op_id id = 0; id < FX_OP_COUNT; id++)
        for (const fx_op_case *c = fx_ops[id]->cases; c->name; c++) {
            if (fx_ops[id]->gradients == 0 || !fx_test_has(&t, id)) continue;
            cpu.draws = t.draws; /* the same inputs */
            const side own = {&t, fx_test_open(&t, id, c)}, twin = {&cpu, fx_test_open(&cpu, id, c)};
            check_case(&own, bf16 ? &twin : &own);
            fx_test_close(own.r);
            fx_test_close(twin.r);
        }
    cpu.exec->backend->close(&cpu.exec);
    return fx_test_end(&t);
}

int main(void)
{
    const char *backend = fx_test_backend();
    const int failed = check_all(fx_test_begin(backend), FX_F32);
    if (strcmp(backend, "cuda") == 0) return check_all(fx_test_begin(backend), FX_BF16) || failed;
    return check_all(fx_test_begin_in(backend, FX_PRECISION_BF16), FX_F32) || failed;
}
