/* test_nccl.c: a list with every op that communicates, on several ranks: eager and captured give the
 * same bits, under every schedule of the stand-in, and what the CPU gives; sums are in the order of
 * ranks. A peer that is gone ends the wait with a status, and all can be closed.
 *
 * Run: standin only
 * Run: ranks 1 2 3
 * Planted and caught: in comm_nccl.c a call not asked about until it is done, the abort left out, a
 * list started after one, the id not given to all; in join.cu no wait in fork, none in join; in copy.c
 * a wait that does not look at the communicator; in all_reduce.c the offset left out; in gather.cu the
 * rank's place, tasks and samples, the offset; in tree_sum.cu samples and ranks exchanged; in
 * all_reduce.cu the last element not rounded, in widen.cu the offset. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/launch.h"
#include "flexhpc/mem.h"
#include "flexhpc/program.h"
#include "flexhpc/rng.h"

enum { RUNS = 4, SLAB = 1200, HALF = 900, SAMPLES = 3, TREE = 700, MOST = 3 };
enum { B = 2, STRIDE = 4, T = 2, D = 8 };
enum { LATENT = 2 * B * T * D, GATHERED = MOST * STRIDE * 2 * T * D };
enum { DEALT = MOST * B * 2 * T * D }; /* features of all samples: most with one rank */

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

static fx_comm *comm;

typedef struct results {
    float slab[SLAB], half[HALF], norm[4], tree[TREE], gathered[2][GATHERED], dealt[DEALT];
} results;

typedef struct setup {
    fx_exec *exec;
    fx_params *params;
    fx_program *program;
    fx_tensor *slab, *half, *norm, *tree, *e[2], *gathered[2], *dealt;
} setup;

/* Two sums run beside the gathers; the second gather brings all samples of a rank at once. The tree's
 * gathers run behind the exchange, before it is waited for. */
static void record(setup *s, fx_builder *g)
{
    s->slab = fx_input(g, "slab", 1, FX_DIMS(SLAB));
    s->tree = fx_input(g, "tree", 2, FX_DIMS(SAMPLES, TREE));
    fx_record(g, FX_OP_all_reduce, "bucket.0", (fx_attrs){.reduce = {0, 500}}, &s->slab, 1);
    fx_record(g, FX_OP_all_reduce, "bucket.1", (fx_attrs){.reduce = {512, SLAB - 512}}, &s->slab, 1);
    s->half = fx_input(g, "half", 1, FX_DIMS(HALF));
    const fx_attrs rounded = {.reduce = {7, HALF - 7, true}};
    const fx_node *sums = fx_record(g, FX_OP_all_reduce, "bucket.2", rounded, &s->half, 1);
    for (int k = 0; k < 2; k++) {
        s->e[k] = fx_input(g, k == 0 ? "e.0" : "e.1", 3, FX_DIMS(2 * B, T, D));
        fx_tensor *h = fx_record(g, FX_OP_silu, "silu", (fx_attrs){0}, &s->e[k], 1)->out[0];
        const fx_attrs part = {.gather = {STRIDE, 1, comm->size}},
                       whole = {.gather = {B, 0, comm->size}};
        const fx_node *n = fx_record(g, FX_OP_gather, "gather", k == 0 ? part : whole, &h, 1);
        s->gathered[k] = fx_keep(g, n->out[0]);
    }
    const fx_attrs whole = {.gather = {B, 0, comm->size}};
    const fx_node *n = fx_record(g, FX_OP_exchange, "exchange", whole, &s->e[0], 1);
    fx_record(g, FX_OP_tree_sum, "tree_sum", (fx_attrs){0}, &s->tree, 1);
    if (n) n = fx_record(g, FX_OP_arrive, "arrive", whole, (fx_tensor *[]){n->out[0], n->out[1]}, 2);
    if (n) s->dealt = fx_keep(g, n->out[0]);
    fx_record(g, FX_OP_join, "join", (fx_attrs){0}, NULL, 0);
    if (sums) fx_record(g, FX_OP_widen, "bucket.2", rounded, (fx_tensor *[]){sums->out[0], s->half}, 2);
    s->norm =
        fx_keep(g, fx_record(g, FX_OP_clip, "clip", (fx_attrs){.clip = {1}}, &s->slab, 1)->out[0]);
}

static void create(setup *s, const char *backend_name, bool eager)
{
    const fx_backend *backend = NULL;
    fx_builder *g = NULL;
    OK(fx_backend_find(backend_name, &backend));
    OK(backend->open(&(fx_exec_options){.comm = comm, .threads = 1, .eager = eager}, &s->exec));
    OK(fx_params_create(&s->params));
    OK(fx_builder_create(s->params, &g));
    record(s, g);
    OK(fx_builder_status(g));
    OK(fx_program_create(s->exec, &g, false, &s->program));
}

static void destroy(setup *s)
{
    const fx_backend *backend = s->exec->backend;
    fx_program_free(&s->program);
    fx_params_free(&s->params);
    backend->close(&s->exec);
}

/* This rank's numbers of tensor `which` in run i. */
static void numbers(int i, uint32_t which, float *x, int64_t count)
{
    fx_fill_normal(5, (uint32_t)i, which, (uint32_t)comm->rank, x, count);
}

static fx_status start(setup *s, int i)
{
    float slab[SLAB], half[HALF], tree[SAMPLES * TREE], e[LATENT];
    const fx_step step = {.seed = 7, .step = (uint32_t)i, .gradient_scale = 1};
    numbers(i, 0, slab, SLAB);
    numbers(i, 1, tree, SAMPLES * TREE);
    numbers(i, 4, half, HALF);
    FX_TRY(fx_program_write(s->program, s->slab, slab));
    FX_TRY(fx_program_write(s->program, s->half, half));
    FX_TRY(fx_program_write(s->program, s->tree, tree));
    for (int k = 0; k < 2; k++) {
        numbers(i, 2 + (uint32_t)k, e, LATENT);
        FX_TRY(fx_program_write(s->program, s->e[k], e));
    }
    return fx_program_run(s->program, &step, NULL);
}

static fx_status finish(setup *s, results *r)
{
    float tree[SAMPLES * TREE];
    FX_TRY(fx_program_read(s->program, s->slab, r->slab));
    FX_TRY(fx_program_read(s->program, s->half, r->half));
    FX_TRY(fx_program_read(s->program, s->norm, r->norm));
    FX_TRY(fx_program_read(s->program, s->tree, tree));
    memcpy(r->tree, tree, sizeof r->tree);
    FX_TRY(fx_program_read(s->program, s->gathered[1], r->gathered[1]));
    FX_TRY(fx_program_read(s->program, s->dealt, r->dealt));
    FX_TRY(fx_program_read(s->program, s->gathered[0], r->gathered[0]));
    for (int slot = 0; slot < comm->size * STRIDE; slot++) /* the rows that nobody brought */
        if (slot % STRIDE < 1 || slot % STRIDE > B)
            memset(r->gathered[0] + slot * 2 * T * D, 0, sizeof(float) * 2 * T * D);
    return FX_OK;
}

static void all_runs(const char *backend, bool eager, const char *schedule, results *r)
{
    setup s = {0};
    setenv("FX_FAKE_SCHEDULE", schedule, 1);
    create(&s, backend, eager);
    memset(r, 0, RUNS * sizeof *r);
    for (int i = 0; i < RUNS; i++) {
        OK(start(&s, i));
        OK(finish(&s, &r[i]));
    }
    destroy(&s);
}

/* The sum of bucket 1 in order of ranks: the stand-in's own. */
static void sums_in_order(const results *r, int run)
{
    float x[MOST][SLAB];
    for (int rank = 0; rank < comm->size; rank++)
        fx_fill_normal(5, (uint32_t)run, 0, (uint32_t)rank, x[rank], SLAB);
    for (int i = 0; i < SLAB; i++) {
        float sum = x[0][i];
        for (int rank = 1; rank < comm->size; rank++)
            sum += x[rank][i];
        const bool between = i >= 500 && i < 512;
        assert_true(r->slab[i] == (between ? x[comm->rank][i] : sum));
    }
}

static float rounded(float x)
{
    return fx_float_of(fx_bf16_of(x));
}

/* The same of bucket 2, rounded before and after every addition. */
static void rounded_sums_in_order(const results *r, int run)
{
    float x[MOST][HALF];
    for (int rank = 0; rank < comm->size; rank++)
        fx_fill_normal(5, (uint32_t)run, 4, (uint32_t)rank, x[rank], HALF);
    for (int i = 0; i < HALF; i++) {
        float sum = rounded(x[0][i]);
        for (int rank = 1; rank < comm->size; rank++)
            sum = rounded(sum + rounded(x[rank][i]));
        assert_true(r->half[i] == (i < 7 ? x[comm->rank][i] : sum));
    }
}

static void as_on_the_cpu(const results *got, const results *cpu)
{
    assert_memory_equal(got->tree, cpu->tree, sizeof got->tree);
    assert_memory_equal(got->dealt, cpu->dealt, sizeof got->dealt);
    for (int i = 0; i < GATHERED; i++)
        for (int k = 0; k < 2; k++)
            assert_true(fabsf(got->gathered[k][i] - cpu->gathered[k][i]) < 1e-6f);
    for (int i = 0; i < 3; i++)
        assert_true(fabsf(got->norm[i] - cpu->norm[i]) <= 1e-6f * cpu->norm[i]);
}

static void same_values(void **state)
{
    static results cpu[RUNS], want[RUNS], got[RUNS];
    (void)state;
    all_runs("cpu", false, "order", cpu);
    all_runs("cuda", true, "order", want);
    for (int i = 0; i < RUNS; i++) {
        sums_in_order(&want[i], i);
        rounded_sums_in_order(&want[i], i);
        as_on_the_cpu(&want[i], &cpu[i]);
    }
    const char *const schedules[] = {"order", "first", "last", "random"};
    for (int i = 0; i < 4; i++)
        for (int eager = 0; eager < 2; eager++) {
            all_runs("cuda", eager, schedules[i], got);
            assert_memory_equal(got, want, sizeof want);
        }
}

/* From collective number `from` on: in a run that is walked, and in one that is launched. */
static void a_peer_is_gone(const char *from, int good_runs)
{
    setup s = {0};
    static results r;
    setenv("FX_FAKE_NCCL_LOST", from, 1);
    create(&s, "cuda", false);
    for (int i = 0; i < good_runs; i++) {
        OK(start(&s, i));
        OK(finish(&s, &r));
    }
    fx_status status = start(&s, good_runs);
    if (status == FX_OK) status = finish(&s, &r);
    assert_int_equal(status, FX_ECOMM);
    assert_non_null(strstr(fx_error_message(), "remote process exited"));
    assert_int_equal(start(&s, 0), FX_ECOMM); /* and none is started any more */
    destroy(&s);
    assert_non_null(strstr(fx_error_message(), "given up"));
    fx_error_clear();
    unsetenv("FX_FAKE_NCCL_LOST");
}

static void gone_peers(void **state)
{
    (void)state;
    if (comm->size == 1) skip();
    a_peer_is_gone("0", 0);
    a_peer_is_gone("3", 0);
    a_peer_is_gone("10", 1); /* a list has nine collectives */
}

int main(int argc, char **argv)
{
    setenv("FLEXHPC_MPI", "1", 0);
    fx_status status = fx_comm_start(&argc, &argv, &comm);
    if (status != FX_OK) return fx_comm_finish(&comm, status);
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_values), cmocka_unit_test(gone_peers)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    return fx_comm_finish(&comm, status);
}
