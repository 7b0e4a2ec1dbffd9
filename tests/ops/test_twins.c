/* test_twins.c: every case of every op, forward and backward, on the CUDA backend and on the CPU,
 * element by element. Tensors that only move, and sums whose order is said, are equal bit for bit;
 * others agree to TOLERANCE of the tensor's largest element, or of what a gradient was added to, which
 * is some units in the last place of sums.
 *
 * Then the same on a tape of bf16. The CPU gets inputs that bf16 holds, and backward what the device
 * has saved, so that what is between the two is the rounding of what is stored: at most 2^-8 of an
 * element, ROUNDINGS times where it is rounded on the way too: a second source's product before the
 * first's is added, a gradient before another is, the dz of a linear layer. Gradients of weights of
 * convolutions are rounded where the library leaves them, those of linear layers are sums of rounded
 * dz; what else is fp32 agrees as it does in fp32.
 *
 * Run: standin only
 * Run: gpu
 * Planted and caught: in add.cu b read from its second element on; in pool.cu a pixel's gradient stored
 * at its neighbour; in device.cuh a gradient stored where it must be added; in clip.cu the last
 * elements left out; in update.cu the EMA's sign; in tree_sum.cu a sum in order, no tree. In bf16: in
 * update.cu P copied for the EMA, the EMA's copy over P's, no copies; in add.cu the scale left out,
 * backward; in ddim.cu the network read at half the pace; in group_norm.cu s for t; in layer_norm.cu no
 * beta; in contrast.cu half of each 16 bytes; in conv_layouts.cuh no bias; in linear.cu gradients of
 * weights in bf16. In group_norm_work.cuh no wait for the pieces, for all of them but one, for the
 * folds, by the gradients; counters not set to 0; second passes before folds; in group_norm.cu a fold
 * told of before it is done, the bias left out of the centre, levels about 0, their deviation left
 * out. */
#include "harness.h"

static const double TOLERANCE = 2e-6, ROUNDINGS = 2, ROUNDED = 0x1p-8;

static bool is_exact(fx_op_id id)
{
    return id == FX_OP_fill || id == FX_OP_tokens || id == FX_OP_untoken || id == FX_OP_patch ||
           id == FX_OP_join || id == FX_OP_gather || id == FX_OP_tree_sum;
}

/* Where gradients are added, what is there before. */
static const float BEFORE = 1.0f;

/* Of the largest element. */
static double tolerance_of(const fx_op_run *cuda, const fx_tensor *got)
{
    const fx_op_id id = cuda->node.id;
    const bool is_bf16 = cuda->device_tensor[got - cuda->tensor].dtype == FX_BF16;
    if (is_bf16 || (cuda->storage == FX_BF16 && (id == FX_OP_conv || id == FX_OP_linear)))
        return ROUNDINGS * ROUNDED;
    return is_exact(id) ? 0 : TOLERANCE;
}

/* before: what the elements were added to, whose rounding stays where the sum is small. */
static void compare(fx_test *t, fx_op_run *cuda, const fx_tensor *got, const fx_tensor *want,
                    const char *what, int index, double before)
{
    if (!got || !want) return;
    const float *a = fx_f32(got), *b = fx_f32(want);
    const double allowed = tolerance_of(cuda, got);
    double largest = before, worst = 0;
    for (int64_t i = 0; i < fx_count(want); i++) {
        const double off = fabs((double)a[i] - (double)b[i]);
        largest = fmax(largest, fabs((double)b[i]));
        if (off > worst || isnan(off)) worst = off; /* a NaN stays */
    }
    char text[160];
    snprintf(text, sizeof text, "%s[%d] is off by %.2g, its largest element is %.2g", what, index,
             worst, largest);
    fx_test_check(t, worst <= allowed * largest, cuda, text);
}

static void clear(fx_op_run *r, float value)
{
    for (int i = 0; i < FX_MAX_IN; i++)
        fx_test_fill(r->node.din[i], value);
}

static void backward(fx_test *t, fx_op_run *r, bool add)
{
    unsigned accumulate = 0;
    for (int i = 0; i < FX_MAX_IN; i++)
        if (add && r->node.din[i]) accumulate |= FX_IN(i);
    clear(r, add ? BEFORE : NAN);
    fx_test_backward(t, r, accumulate);
}

/* What an op without outputs works on. */
static void in_place(fx_test *t, fx_op_run *cuda, fx_op_run *cpu)
{
    for (int i = 0; i < FX_MAX_IN && !cuda->node.out[0]; i++)
        compare(t, cuda, cuda->node.in[i], cpu->node.in[i], "in", i, 0);
}

static void give(const fx_tensor *from, fx_tensor *to)
{
    if (from && to) memcpy(to->data, from->data, fx_tensor_bytes(to));
}

/* The CPU's backward then sees what the device's sees. */
static void give_saved(const fx_op_run *from, fx_op_run *to)
{
    for (int i = 0; i < FX_MAX_OUT; i++)
        give(from->node.out[i], to->node.out[i]);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        give(from->node.saved[i], to->node.saved[i]);
}

static void check_case(fx_test *cuda, fx_test *cpu, fx_op_id id, const fx_op_case *c)
{
    fx_op_run *a = fx_test_open(cuda, id, c), *b = fx_test_open(cpu, id, c);
    fx_test_forward(cuda, a);
    fx_test_forward(cpu, b);
    for (int i = 0; i < FX_MAX_OUT; i++)
        compare(cuda, a, a->node.out[i], b->node.out[i], "out", i, 0);
    in_place(cuda, a, b);
    if (a->storage == FX_BF16) give_saved(a, b);
    for (int add = 0; a->node.dout[0] && add < 2; add++) {
        backward(cuda, a, add);
        backward(cpu, b, add);
        for (int i = 0; i < FX_MAX_IN; i++)
            compare(cuda, a, a->node.din[i], b->node.din[i], add ? "added din" : "din", i,
                    add ? (double)BEFORE : 0);
    }
    fx_test_close(a);
    fx_test_close(b);
}

int main(void)
{
    fx_test cuda = fx_test_begin("cuda"), cpu = fx_test_begin("cpu");
    for (int bf16 = 0; bf16 < 2; bf16++) {
        cuda.storage = cuda.values = cpu.values = bf16 ? FX_BF16 : FX_F32;
        for (fx_op_id id = 0; id < FX_OP_COUNT; id++)
            for (const fx_op_case *c = fx_ops[id]->cases; c->name && fx_test_has(&cuda, id); c++)
                check_case(&cuda, &cpu, id, c);
    }
    cpu.exec->backend->close(&cpu.exec);
    return fx_test_end(&cuda);
}
