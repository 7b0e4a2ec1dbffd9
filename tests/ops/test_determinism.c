/* test_determinism.c: forward and backward of every registered op give the same bits when run again,
 * with one thread and with two; forward writes every element of every output, from any state of
 * scratch. On the CPU in bf16 as well.
 *
 * Run: standin
 * Planted and caught: in silu.c y[0] left unwritten; in group_norm_view.h the last sample of an uneven
 * share left out, no barrier between the passes over a shared image. */
#include <omp.h>

#include "harness.h"

/* An op without outputs works in place. */
static fx_tensor *worked_on(const fx_op_run *r, int i)
{
    return r->node.out[0] ? NULL : r->node.in[i];
}

static size_t output_bytes(const fx_op_run *r)
{
    size_t bytes = 0;
    for (int i = 0; i < FX_MAX_OUT; i++)
        bytes += r->node.out[i] ? fx_tensor_bytes(r->node.out[i]) : 0;
    for (int i = 0; i < FX_MAX_IN; i++)
        bytes += worked_on(r, i) ? fx_tensor_bytes(worked_on(r, i)) : 0;
    for (int i = 0; i < FX_MAX_IN; i++)
        bytes += r->node.din[i] ? fx_tensor_bytes(r->node.din[i]) : 0;
    return bytes;
}

static char *append(char *at, fx_tensor *t)
{
    if (!t) return at;
    memcpy(at, t->data, fx_tensor_bytes(t));
    return at + fx_tensor_bytes(t);
}

static void run_all(fx_test *t, fx_op_run *r, char *bits)
{
    memset(bits, 0, output_bytes(r));
    for (int i = 0; i < FX_MAX_OUT; i++)
        fx_test_fill(r->node.out[i], NAN);
    for (int i = 0; i < FX_MAX_IN; i++)
        fx_test_fill(r->node.din[i], NAN);
    fx_test_restore(r);
    fx_test_prepare(t, r);
    fx_test_forward(t, r);
    if (r->node.dout[0]) fx_test_backward(t, r, 0);
    for (int i = 0; i < FX_MAX_OUT; i++)
        bits = append(bits, r->node.out[i]);
    for (int i = 0; i < FX_MAX_IN; i++)
        bits = append(bits, worked_on(r, i));
    for (int i = 0; i < FX_MAX_IN; i++)
        bits = append(bits, r->node.din[i]);
}

static bool all_written(const char *bits, size_t bytes)
{
    const float *x = (const float *)(const void *)bits;
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        if (isnan(x[i])) return false;
    return true;
}

static void check_case(fx_test *t, fx_op_id id, const fx_op_case *c)
{
    fx_op_run *r = fx_test_open(t, id, c);
    const size_t bytes = output_bytes(r);
    char *first = fx_calloc(bytes, 1), *again = fx_calloc(bytes, 1);
    run_all(t, r, first);
    fx_test_check(t, all_written(first, bytes), r, "an output or gradient element is not written");
    run_all(t, r, again);
    fx_test_check(t, memcmp(first, again, bytes) == 0, r, "a second run gives other bits");
    fx_free(first);
    fx_free(again);
    fx_test_close(r);
}

static int check_all(fx_test t)
{
    for (int threads = 1; threads <= 2; threads++) {
        omp_set_num_threads(threads);
        for (fx_op_id id = 0; id < FX_OP_COUNT; id++)
            for (const fx_op_case *c = fx_ops[id]->cases; c->name; c++)
                if (!fx_ops[id]->communicates && fx_test_has(&t, id)) check_case(&t, id, c);
    }
    return fx_test_end(&t);
}

int main(void)
{
    const char *backend = fx_test_backend();
    const int failed = check_all(fx_test_begin(backend));
    if (strcmp(backend, "cpu") != 0) return failed;
    return check_all(fx_test_begin_in(backend, FX_PRECISION_BF16)) || failed;
}
