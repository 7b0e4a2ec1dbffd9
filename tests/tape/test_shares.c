/* test_shares.c: shares of a slab: borders, which rank holds what of a parameter, numbers written and
 * read in parts and put together again, with fp32 and with bf16 weights; a tape over an EMA that is
 * shared out is refused.
 *
 * Run: ranks 1 2 3
 *
 * Planted and caught: a border that is no multiple of 64; the last share as wide as the others; the
 * part of a parameter begun one element late; the buffers of a sharded value slab read at their offset
 * in a whole one; bf16 copies of the own share only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "flexhpc/backend.h"
#include "flexhpc/launch.h"
#include "flexhpc/mem.h"

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

enum { PARAMETERS = 5, MOST = 200 };
static const int64_t SIZES[PARAMETERS] = {3, 100, 7, 200, 33}; /* the third is a buffer */
static const fx_slab SLABS[] = {FX_SLAB_VALUE, FX_SLAB_MOMENT1, FX_SLAB_EMA};

static fx_comm *comm;

static void borders(void **state)
{
    (void)state;
    for (int64_t n = 16; n < 3000; n += 16)
        for (int ranks = 1; ranks <= 9; ranks++) {
            int64_t end = 0;
            for (int rank = 0; rank < ranks; rank++) {
                const fx_range r = fx_share_of(n, rank, ranks);
                assert_true(r.first == end && r.count >= 0);
                assert_true(r.first % 64 == 0 || r.first == n);
                assert_true(r.count == fx_share_width(n, ranks) || r.first + r.count == n);
                end += r.count;
            }
            assert_int_equal(end, n);
            assert_true(ranks * fx_share_width(n, ranks) < n + 64 * ranks);
        }
}

static fx_params *params_of(fx_exec *exec, fx_dtype storage)
{
    fx_params *params = NULL;
    OK(fx_params_create(&params));
    OK(fx_params_store_as(params, storage));
    OK(fx_params_shard(params, comm->rank, comm->size));
    for (int i = 0; i < PARAMETERS; i++) {
        const fx_init init = {.kind = i == 2 ? FX_INIT_PHASES : FX_INIT_ZERO};
        const char name[] = {'p', (char)('0' + i), '\0'};
        fx_param *p = NULL;
        OK(fx_params_get(params, name, init, 1, &SIZES[i], &p));
    }
    OK(fx_params_allocate(params, exec, NULL,
                          1u << FX_SLAB_VALUE | 1u << FX_SLAB_MOMENT1 | 1u << FX_SLAB_EMA));
    return params;
}

static bool has(const fx_param *p, fx_slab slab)
{
    return p->trained || slab == FX_SLAB_VALUE;
}

/* Of parameter i in slab s: bf16 holds them. */
static float number(int i, size_t s, int64_t k)
{
    return (float)((1 + i + PARAMETERS * (int)s) * 4 + (int)(k % 4)) + 0.5f * (float)(k / 4 % 2);
}

static void write_all(fx_params *params, fx_exec *exec)
{
    for (int i = 0; i < PARAMETERS; i++)
        for (size_t s = 0; s < sizeof SLABS / sizeof *SLABS; s++) {
            float x[MOST];
            const fx_param *p = fx_params_at(params, i);
            for (int64_t k = 0; k < SIZES[i]; k++)
                x[k] = number(i, s, k);
            if (has(p, SLABS[s])) OK(fx_params_write(params, exec, p, SLABS[s], x));
        }
}

static void check_parts(fx_params *params, fx_exec *exec, int i, size_t s)
{
    const fx_param *p = fx_params_at(params, i);
    const fx_range mine = fx_params_part(params, p, SLABS[s], comm->rank);
    float part[MOST], whole[MOST];
    memset(part, 0, sizeof part);
    OK(fx_params_read(params, exec, p, SLABS[s], part));
    OK(fx_params_read_whole(params, exec, p, SLABS[s], whole));
    for (int64_t k = 0; k < SIZES[i]; k++) {
        const bool held = k >= mine.first && k < mine.first + mine.count;
        assert_true(whole[k] == number(i, s, k));
        assert_true(part[k] == (held ? number(i, s, k) : 0.0f));
    }
}

static void check_weights(fx_params *params, fx_exec *exec)
{
    for (int i = 0; i < PARAMETERS; i++) {
        float x[MOST];
        OK(fx_tensor_read(exec, &fx_params_at(params, i)->value, x));
        for (int64_t k = 0; k < SIZES[i]; k++)
            assert_true(x[k] == number(i, 0, k));
    }
}

/* This rank's share of a slab is what the parameters in it say. */
static void check_share(fx_params *params, size_t s)
{
    const float *x = fx_f32(fx_params_share(params, SLABS[s]));
    const int64_t n = SIZES[0] + 13 + SIZES[1] + 12 + SIZES[3] + 8 + SIZES[4] + 15; /* with gaps */
    const fx_range mine = fx_share_of(n, comm->rank, comm->size);
    assert_int_equal(fx_count(fx_params_share(params, SLABS[s])), mine.count);
    for (int i = 0; i < PARAMETERS; i++) {
        const fx_param *p = fx_params_at(params, i);
        for (int64_t k = 0; p->trained && k < SIZES[i]; k++) {
            const int64_t at = p->offset + k - mine.first;
            if (at >= 0 && at < mine.count) assert_true(x[at] == number(i, s, k));
        }
    }
}

static void numbers_come_back(void **state)
{
    (void)state;
    for (int half = 0; half < 2; half++) {
        const fx_backend *backend = NULL;
        fx_exec *exec = NULL;
        OK(fx_backend_find("cpu", &backend));
        OK(backend->open(&(fx_exec_options){.comm = comm, .threads = 1}, &exec));
        fx_params *params = params_of(exec, half ? FX_BF16 : FX_F32);
        write_all(params, exec);
        for (size_t s = 0; s < sizeof SLABS / sizeof *SLABS; s++) {
            for (int i = 0; i < PARAMETERS; i++)
                if (has(fx_params_at(params, i), SLABS[s])) check_parts(params, exec, i, s);
            check_share(params, s);
        }
        check_weights(params, exec);
        fx_params_free(&params);
        backend->close(&exec);
    }
}

static void no_tape_over_part_of_the_ema(void **state)
{
    (void)state;
    fx_params *params = NULL;
    fx_builder *g = NULL;
    if (comm->size == 1) skip();
    OK(fx_params_create(&params));
    OK(fx_params_shard(params, comm->rank, comm->size));
    OK(fx_builder_create(params, &g));
    fx_builder_use_ema(g, true);
    assert_int_equal(fx_builder_status(g), FX_EARG);
    assert_non_null(strstr(fx_error_message(), "train.shard_optimizer"));
    fx_error_clear();
    fx_builder_free(&g);
    fx_params_free(&params);
}

int main(int argc, char **argv)
{
    fx_status status = fx_comm_start(&argc, &argv, &comm);
    if (status != FX_OK) return fx_comm_finish(&comm, status);
    const struct CMUnitTest tests[] = {cmocka_unit_test(borders), cmocka_unit_test(numbers_come_back),
                                       cmocka_unit_test(no_tape_over_part_of_the_ema)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    return fx_comm_finish(&comm, status);
}
