/* test_twins.c: every case of every op, forward and backward, on the CUDA backend and on the CPU,
 * element by element. Tensors that only move, and sums whose order is said, are equal bit for bit;
 * others agree to TOLERANCE of the tensor's largest element, which is some units in the last place of
 * sums.
 *
 * Run: standin only
 * Planted and caught: in add.cu b read from its second element on; in pool.cu a pixel's gradient stored
 * at its neighbour; in device.cuh a gradient stored where it must be added; in clip.cu the last
 * elements left out; in update.cu the EMA's sign; in tree_sum.cu a sum in order, no tree. */
#include "harness.h"

static const double TOLERANCE = 2e-6;

static bool is_exact(fx_op_id id)
{
    return id == FX_OP_fill || id == FX_OP_tokens || id == FX_OP_untoken || id == FX_OP_patch ||
           id == FX_OP_join || id == FX_OP_gather || id == FX_OP_tree_sum;
}

static void compare(fx_test *t, fx_op_run *cuda, const fx_tensor *got, const fx_tensor *want,
                    const char *what, int index)
{
    if (!got || !want) return;
    const float *a = fx_f32(got), *b = fx_f32(want);
    const double allowed = is_exact(cuda->node.id) ? 0 : TOLERANCE;
    double largest = 0, worst = 0;
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
    clear(r, add ? 1.0f : NAN);
    fx_test_backward(t, r, accumulate);
}

/* What an op without outputs works on. */
static void in_place(fx_test *t, fx_op_run *cuda, fx_op_run *cpu)
{
    for (int i = 0; i < FX_MAX_IN && !cuda->node.out[0]; i++)
        compare(t, cuda, cuda->node.in[i], cpu->node.in[i], "in", i);
}

static void check_case(fx_test *cuda, fx_test *cpu, fx_op_id id, const fx_op_case *c)
{
    fx_op_run *a = fx_test_open(cuda, id, c), *b = fx_test_open(cpu, id, c);
    fx_test_forward(cuda, a);
    fx_test_forward(cpu, b);
    for (int i = 0; i < FX_MAX_OUT; i++)
        compare(cuda, a, a->node.out[i], b->node.out[i], "out", i);
    in_place(cuda, a, b);
    for (int add = 0; a->node.dout[0] && add < 2; add++) {
        backward(cuda, a, add);
        backward(cpu, b, add);
        for (int i = 0; i < FX_MAX_IN; i++)
            compare(cuda, a, a->node.din[i], b->node.din[i], add ? "added din" : "din", i);
    }
    fx_test_close(a);
    fx_test_close(b);
}

int main(void)
{
    fx_test cuda = fx_test_begin("cuda"), cpu = fx_test_begin("cpu");
    for (fx_op_id id = 0; id < FX_OP_COUNT; id++)
        for (const fx_op_case *c = fx_ops[id]->cases; c->name && fx_test_has(&cuda, id); c++)
            check_case(&cuda, &cpu, id, c);
    cpu.exec->backend->close(&cpu.exec);
    return fx_test_end(&cuda);
}
