/* test_conv.c: the CUDA convolution against its CPU twin on all the registry's cases: images in fp32
 * (strict), all in bf16, and of both types in one node (a network's ends), stored and added, captured
 * and replayed. Every tensor and the scratch begin with NaN. In bf16 the twin gets operands rounded to
 * bf16, and the difference is measured against the largest value of a tensor: results and data
 * gradients are rounded once or twice, weight gradients once in staging. One case more than the
 * registry's has channels for several blocks of every kernel.
 *
 * Run: standin only
 * Planted and caught: in conv_layouts.cuh NaN where images are padded, pads written beyond a row,
 * gradients stored where they must be added (narrow, unpack), weights of the other source, weights that
 * do not exist, no bias, either barrier left out, folded taps mirrored, a wrong line of them, a wrong
 * tap on the way back; in conv.cu lines or columns not halved, the first channel's residual or bias for
 * all, a pixel of four taken twice, a residual's or a padded source's gradient stored where it must be
 * added, a row of the bias gradient left out, weights against the first source; in conv_products.c the
 * second source's product stored; the second bias left out, its gradient added where it is stored. */
#include "twins.h"

typedef enum storage { FP32, BF16, MIXED, STORAGES } storage;
static const char *const STORAGE[] = {"fp32", "bf16", "mixed"};
static const double TOLERANCE[] = {2e-6, 8e-3, 8e-3};

enum { X, W, BIAS, RESIDUAL, X2, BIAS2 };

static void compare(twins *t, const fx_op_case *c, storage how, bool add, const char *what,
                    const twin_pair *p)
{
    const int64_t count = fx_count(&p->cpu);
    float *got = get(t, &p->device);
    const float *want = fx_f32(&p->cpu);
    double most = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)want[i]));
        const double error = fabs((double)got[i] - (double)want[i]);
        worst = error <= worst ? worst : error; /* NaN counts */
    }
    t->checks++;
    if (!(worst <= TOLERANCE[how] * most)) {
        t->bad++;
        printf("BAD %s, %s%s: %s differs by %g of %g\n", c->name, STORAGE[how], add ? ", adding" : "",
               what, worst, most);
    }
    fx_free(got);
}

static fx_dtype type_of(storage how, int tensor)
{
    return how == FP32 || (how == MIXED && tensor == X) ? FX_F32 : FX_BF16;
}

static void run_case(twins *t, const fx_op_case *c, storage how, bool add)
{
    enum { OUT = FX_MAX_IN };
    twin_pair in[FX_MAX_IN] = {0}, din[FX_MAX_IN] = {0}, out = {0}, dout = {0};
    static const char *const name[] = {"dx", "dw", "db", "dr", "dx2", "db2"};
    fx_node cpu = {.op = fx_ops[FX_OP_conv], .id = FX_OP_conv, .name = c->name, .attrs = c->attrs};
    fx_node device = cpu;
    fx_tensor shape = {0};
    for (int i = 0; i < FX_MAX_IN; i++) {
        int rank = 0;
        while (rank < FX_MAX_RANK && c->dim[i][rank] > 0)
            rank++;
        if (rank == 0) continue;
        must(fx_set_shape(&shape, rank, c->dim[i]));
        fill(t, &in[i], &shape, type_of(how, i), how != FP32, c->scale > 0 ? c->scale : 1.0f, 0);
        fill(t, &din[i], &shape, i == W || i == BIAS || i == BIAS2 ? FX_F32 : type_of(how, i),
             how != FP32, 0, add ? 1.0f : NAN);
        cpu.in[i] = &in[i].cpu, device.in[i] = &in[i].device;
        cpu.din[i] = &din[i].cpu, device.din[i] = &din[i].device;
    }
    cpu.out[0] = &out.cpu;
    must(cpu.op->shape(&cpu));
    shape = out.cpu;
    fill(t, &out, &shape, how == MIXED ? FX_F32 : type_of(how, OUT), how != FP32, 0, NAN);
    fill(t, &dout, &shape, out.device.dtype, how != FP32, 1.0f, 0);
    device.out[0] = &out.device;
    cpu.dout[0] = &dout.cpu, device.dout[0] = &dout.device;
    cpu.accumulate = device.accumulate = add ? 0xffu : 0;

    pass(t->cpu, &cpu, FX_FORWARD, 1);
    pass(t->device, &device, FX_FORWARD, 3);
    compare(t, c, how, add, "y", &out);
    pass(t->cpu, &cpu, FX_BACKWARD, 1);
    pass(t->device, &device, FX_BACKWARD, add ? 1 : 3);
    for (int i = 0; i < FX_MAX_IN; i++) {
        if (din[i].cpu.data) compare(t, c, how, add, name[i], &din[i]);
        drop(t, &din[i]);
        drop(t, &in[i]);
    }
    drop(t, &out);
    drop(t, &dout);
}

static const fx_op_case WIDE = {.name = "3x3, 136 to 160 channels, residual doubled",
                                .attrs.conv = {1, 1, false, true},
                                .dim = {{1, 4, 8, 136}, {160, 136, 3, 3}, {160}, {1, 2, 4, 160}},
                                .scale = 0.3f};

static void run_all(twins *t, const fx_op_case *c)
{
    for (int how = FP32; how < STORAGES; how++)
        for (int add = 0; add < 2; add++)
            run_case(t, c, (storage)how, add);
}

int main(void)
{
    twins t = {.cpu = open_backend("cpu"), .device = open_backend("cuda")};
    fx_cuda_of(t.device)->strict = true;
    for (const fx_op_case *c = fx_ops[FX_OP_conv]->cases; c->name; c++)
        run_all(&t, c);
    run_all(&t, &WIDE);
    t.cpu->backend->close(&t.cpu);
    t.device->backend->close(&t.device);
    printf("%d checks, %d bad\n", t.checks, t.bad);
    return t.bad > 0 || t.checks == 0;
}
