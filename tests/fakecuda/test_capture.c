/* test_capture.c: a program with its backward pass on the CUDA backend, run six times with other inputs
 * and another step each time. Eager and captured give the same bits, under every schedule of the
 * stand-in, and what the CPU gives, to rounding; from the second run on the list is launched, not
 * walked; the step is in device memory; freeing a program frees its graph. Memory that is not to be had
 * is told with what is free.
 *
 * Run: standin only
 * Planted and caught: in graph.c a list always walked, a graph instantiated but not launched, a graph
 * kept when its list is freed; in backend.c the step stored at the first run alone; in copy.c a block
 * written before its last copy ran; in dropout.cuh the
 * mask's step taken as 0. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cuda/exec.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/mem.h"
#include "flexhpc/program.h"
#include "flexhpc/rng.h"

enum { RUNS = 6, CHANNELS = 3, X = 2 * 8 * 8 * CHANNELS, Y = X / 4, VALUES = RUNS * (Y + X) };

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

typedef struct setup {
    fx_exec *exec;
    fx_params *params;
    fx_program *program;
    fx_tensor *x, *y;
    fx_param *w;
} setup;

/* y = dropout(gelu(pool(silu(x + 0.5 w) + w) v)), objective sum(y): w has two readers, a product runs
 * in each pass, and the mask is another in every step. */
static void create(setup *s, const char *backend_name, bool eager)
{
    const fx_backend *backend = NULL;
    fx_builder *g = NULL;
    const int64_t *d = FX_DIMS(2, 8, 8, 3);
    OK(fx_backend_find(backend_name, &backend));
    OK(backend->open(&(fx_exec_options){.threads = 1, .eager = eager}, &s->exec));
    OK(fx_params_create(&s->params));
    OK(fx_builder_create(s->params, &g));
    s->x = fx_input(g, "x", 4, d);
    fx_tensor *w = fx_weight(g, "w", (fx_init){.kind = FX_INIT_NORMAL_002}, 4, d);
    fx_tensor *h =
        fx_record(g, FX_OP_add, "first", (fx_attrs){.add = {0.5f}}, (fx_tensor *[]){s->x, w}, 2)
            ->out[0];
    h = fx_record(g, FX_OP_silu, "silu", (fx_attrs){0}, &h, 1)->out[0];
    h = fx_record(g, FX_OP_add, "second", (fx_attrs){.add = {1}}, (fx_tensor *[]){h, w}, 2)->out[0];
    h = fx_record(g, FX_OP_pool, "pool", (fx_attrs){0}, &h, 1)->out[0];
    fx_tensor *v = fx_weight(g, "v", (fx_init){FX_INIT_UNIFORM, 1, 0}, 2, FX_DIMS(CHANNELS, CHANNELS));
    const fx_attrs mlp = {.linear = {FX_GELU_TANH, 0.25f}};
    h = fx_record(g, FX_OP_linear, "linear", mlp, (fx_tensor *[]){h, v}, 2)->out[0];
    s->y = fx_keep(g, h);
    fx_objective(g, s->y, 1);
    fx_autodiff(g, FX_RECOMPUTE_NONE);
    OK(fx_builder_status(g));
    OK(fx_params_allocate(s->params, s->exec, NULL, 1u << FX_SLAB_VALUE | 1u << FX_SLAB_GRADIENT));
    OK(fx_params_initialize(s->params, s->exec, 3));
    OK(fx_program_create(s->exec, &g, false, &s->program));
    s->w = fx_params_find(s->params, "w");
}

static void run(setup *s, int i, float *values)
{
    float x[X];
    const fx_step step = {.seed = 7, .step = (uint32_t)i, .gradient_scale = 1, .dropout = true};
    fx_fill_normal(1, (uint32_t)i, 2, 3, x, X);
    OK(fx_program_write(s->program, s->x, x));
    memset(x, 0, sizeof x); /* the program has its own copy */
    OK(fx_program_run(s->program, &step, NULL));
    OK(fx_program_read(s->program, s->y, values));
    OK(fx_params_read(s->params, s->exec, s->w, FX_SLAB_GRADIENT, values + Y));
}

static void destroy(setup *s)
{
    const fx_backend *backend = s->exec->backend;
    fx_program_free(&s->program);
    fx_params_free(&s->params);
    backend->close(&s->exec);
}

static void all_runs(const char *backend, bool eager, const char *schedule, float *values)
{
    setup s = {0};
    setenv("FX_FAKE_SCHEDULE", schedule, 1);
    create(&s, backend, eager);
    for (int i = 0; i < RUNS; i++)
        run(&s, i, values + i * (Y + X));
    destroy(&s);
}

static void same_values(void **state)
{
    static float cpu[VALUES], want[VALUES], got[VALUES];
    (void)state;
    all_runs("cpu", false, "order", cpu);
    all_runs("cuda", true, "order", want);
    for (int i = 0; i < VALUES; i++)
        if (!(fabsf(want[i] - cpu[i]) < 1e-6f)) fail_msg("value %d: %g, cpu %g", i, want[i], cpu[i]);
    for (int i = 0; i < RUNS; i++) /* the runs differ, or the test would see nothing */
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(want + i * (Y + X), want + k * (Y + X), Y * sizeof(float));
    const char *const schedules[] = {"order", "first", "last", "random"};
    for (int i = 0; i < 4; i++)
        for (int eager = 0; eager < 2; eager++) {
            all_runs("cuda", eager, schedules[i], got);
            assert_memory_equal(got, want, sizeof want);
        }
}

static bool launched(void)
{
    char where[FX_WHERE_MAX];
    fx_heartbeat_text(fx_heartbeat_line()->where, FX_WHERE_MAX / 8, where);
    return strcmp(where, "the captured list") == 0;
}

static void launches_and_frees(void **state)
{
    setup s = {0};
    float values[Y + X];
    fx_step step;
    (void)state;
    create(&s, "cuda", false);
    for (int i = 0; i < 3; i++) {
        run(&s, i, values);
        assert_int_equal(launched(), i > 0);
        OK(s.exec->backend->download(s.exec, &step, fx_cuda_step(s.exec), sizeof step));
        assert_int_equal(step.step, i);
    }
    assert_int_equal(fx_cuda_of(s.exec)->graph_count, 1);
    fx_program_free(&s.program);
    assert_int_equal(fx_cuda_of(s.exec)->graph_count, 0);
    destroy(&s);
}

/* More than the two blocks of pinned memory hold, there and back. */
static void large_copies(void **state)
{
    const size_t bytes = (13 << 20) + 12, count = bytes / 4;
    setup s = {0};
    uint32_t *there = fx_calloc(bytes, 1), *back = fx_calloc(bytes, 1);
    void *device = NULL;
    (void)state;
    create(&s, "cuda", false);
    OK(s.exec->backend->allocate(s.exec, bytes, &device));
    for (uint32_t round = 1; round < 3; round++) {
        for (uint32_t i = 0; i < count; i++)
            there[i] = round * i;
        OK(s.exec->backend->upload(s.exec, device, there, bytes));
        OK(s.exec->backend->download(s.exec, back, device, bytes));
        assert_memory_equal(there, back, bytes);
    }
    s.exec->backend->release(s.exec, device, bytes);
    destroy(&s);
    fx_free(there);
    fx_free(back);
}

static void memory_at_its_end(void **state)
{
    const fx_backend *backend = NULL;
    fx_exec *exec = NULL;
    void *memory = NULL;
    (void)state;
    OK(fx_backend_find("cuda", &backend));
    OK(backend->open(&(fx_exec_options){.threads = 1}, &exec));
    assert_int_equal(backend->allocate(exec, (size_t)1 << 40, &memory), FX_ENOMEM);
    assert_non_null(strstr(fx_error_message(), "1099511627776 bytes asked for, 8589"));
    assert_non_null(strstr(fx_error_message(), " of 85899345920 free: cudaMalloc: out of memory"));
    assert_null(memory);
    fx_error_clear();
    backend->close(&exec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_values),
        cmocka_unit_test(launches_and_frees),
        cmocka_unit_test(large_copies),
        cmocka_unit_test(memory_at_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
