/* test_sampler.c: sampling as two programs: they hold nothing of training and the denoiser no task
 * encoder, by the planner's numbers; more steps of DDIM take no more memory; members of an ensemble
 * share one run of the encoder and have the bits that they would have alone; a member's noise is its
 * own, member 0's that of a single sample.
 *
 * Planted and caught: skips of the task encoder that the encoder's program does not keep; the task
 * encoder recorded in the denoiser as well; noise of a member that ignores its number; noise of member
 * 0 under the name "x_T.0".
 *
 * Run: standin */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "../tape/small_flex.h"
#include "flexhpc/trained.h"

enum { ROWS = 2, FEW = 2, MANY = 20 };
static const char *const *const MODELS[] = {SMALL_SETTINGS, SMALL_UNET, SMALL_UVIT};

#define EXPECT_OK(call)                                                                                \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

static void open_exec(fx_exec **out)
{
    const char *name = getenv("FX_TEST_BACKEND");
    const fx_backend *backend = NULL;
    EXPECT_OK(fx_backend_find(name ? name : "cpu", &backend));
    EXPECT_OK(backend->open(&(fx_exec_options){.comm = fx_comm_self(), .threads = 1}, out));
}

/* The raw weights go to the EMA too, for what samples with it. */
static void copy_to_ema(fx_trainee *t)
{
    for (int i = 0; i < fx_params_count(t->params); i++) {
        const fx_param *p = fx_params_at(t->params, i);
        float *x = NULL;
        if (!p->trained) continue;
        EXPECT_OK(FX_ALLOC(x, fx_count(&p->value)));
        EXPECT_OK(fx_params_read(t->params, t->exec, p, FX_SLAB_VALUE, x));
        EXPECT_OK(fx_params_write(t->params, t->exec, p, FX_SLAB_EMA, x));
        fx_free(x);
    }
}

static void open_trainee(const char *const *settings, fx_exec **exec, fx_trainee **t)
{
    fx_step_options options;
    EXPECT_OK(small_options(settings, &options));
    open_exec(exec);
    EXPECT_OK(fx_trainee_create(*exec, &options, false, t));
    EXPECT_OK(small_weights(*t));
    copy_to_ema(*t);
}

static void close_trainee(fx_exec **exec, fx_trainee **t)
{
    fx_trainee_free(t);
    (*exec)->backend->close(exec);
}

static void open_sampler(const fx_trainee *t, int steps, fx_sampler *out)
{
    fx_step_options one = t->options;
    one.model.tasks = FX_TASK_SR;
    EXPECT_OK(fx_sampler_create(t->exec, t->params, &one, ROWS, steps, true, out));
}

/* ---- What the planner says. */

/* What an entry reads was written before it in this program, or lives outside any arena. */
static void expect_sound(const fx_program *program)
{
    const fx_entry *entries;
    const int count = fx_program_entries(program, &entries);
    assert_true(count > 10);
    for (int e = 0; e < count; e++)
        for (int i = 0; i < FX_MAX_IN; i++) {
            const fx_tensor *x = entries[e].node->in[i];
            int made = x && x->memory == FX_PLANNED ? 0 : e;
            while (made < e && entries[made].node != x->producer)
                made++;
            if (x && x->memory == FX_PLANNED && made == e)
                fail_msg("%s reads %s, which nobody keeps", entries[e].node->name, x->name);
        }
}

static int nodes_named(const fx_program *program, const char *network)
{
    const fx_entry *entries;
    const int count = fx_program_entries(program, &entries);
    int found = 0;
    for (int e = 0; e < count; e++)
        found += strncmp(entries[e].node->name, network, strlen(network)) == 0;
    return found;
}

static void expect_no_training(const fx_program *program)
{
    const fx_plan_summary s = fx_program_summary(program);
    assert_int_equal(s.backward + s.recomputed + s.communication, 0);
    assert_int_equal(s.saved_bytes, 0);
    assert_int_equal(s.peak_by_role[FX_GRADIENT] + s.peak_by_role[FX_RECOMPUTED], 0);
    assert_true(s.arena_bytes < s.tensor_bytes);
}

static void planned_without_training(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof MODELS / sizeof *MODELS; k++) {
        fx_exec *exec = NULL;
        fx_trainee *t = NULL;
        fx_sampler few, many;
        open_trainee(MODELS[k], &exec, &t);
        open_sampler(t, FEW, &few);
        open_sampler(t, MANY, &many);
        expect_no_training(few.encoder);
        expect_no_training(few.denoiser);
        expect_sound(few.encoder);
        expect_sound(few.denoiser);
        assert_int_equal(nodes_named(few.denoiser, "superres_encoder."), 0);
        assert_int_equal(nodes_named(few.encoder, "encoder.") + nodes_named(few.encoder, "decoder."),
                         0);
        const fx_plan_summary a = fx_program_summary(few.denoiser),
                              b = fx_program_summary(many.denoiser),
                              encoder = fx_program_summary(few.encoder),
                              step = fx_program_summary(t->step);
        assert_int_equal(b.nodes, a.nodes * (MANY / FEW));
        assert_int_equal(a.peak_bytes, b.peak_bytes);
        assert_true(b.arena_bytes < a.arena_bytes + a.arena_bytes / 10); /* placed otherwise */
        assert_int_equal(a.kept_bytes, b.kept_bytes);
        assert_true(a.arena_bytes + a.kept_bytes + encoder.arena_bytes + encoder.kept_bytes <
                    step.arena_bytes);
        print_message(
            "model %zu: sampler %.2f + %.2f MiB, kept %.2f; training step %.2f MiB; %d steps %.2f\n", k,
            (double)encoder.arena_bytes / 1048576, (double)a.arena_bytes / 1048576,
            (double)(a.kept_bytes + encoder.kept_bytes) / 1048576, (double)step.arena_bytes / 1048576,
            MANY, (double)b.arena_bytes / 1048576);
        fx_sampler_free(&few);
        fx_sampler_free(&many);
        close_trainee(&exec, &t);
    }
}

/* ---- Members. */

static void open_trained(const fx_trainee *t, const char *const *settings, fx_trained **m)
{
    static fx_config config;
    static fx_progress progress;
    EXPECT_OK(fx_config_parse(&config, "settings", "", 0, settings));
    config.eval_batch = ROWS;
    progress = (fx_progress){.config = config, .data_scale = 1};
    EXPECT_OK(fx_trained_of(t, &config, &progress, m));
    fx_fill_normal(3, 0, fx_crc32("snapshots"), 0, (*m)->snapshots,
                   ROWS * (*m)->pixels * (*m)->options.model.cond);
}

static void draw(fx_trained *m, fx_task task, uint32_t member)
{
    for (int64_t b = 0; b < ROWS; b++)
        fx_trained_draw(m, task, b, 11, (uint32_t)(4 + b), member, 1000.0 * (double)(1 + b));
}

static float *copy_of(const float *x, int64_t count)
{
    float *out = NULL;
    EXPECT_OK(FX_ALLOC(out, count));
    memcpy(out, x, (size_t)count * sizeof *x);
    return out;
}

static double distance(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)((a[i] - b[i]) * (a[i] - b[i]));
    return sum / (double)count;
}

/* Three members of one encoding, the last before the second, against each of them alone. */
static void members_are_what_they_are_alone(fx_trained *m, fx_task task)
{
    static const uint32_t order[] = {0, 2, 1, 0};
    const int64_t count = ROWS * m->pixels;
    float *field[4];
    EXPECT_OK(fx_trained_prepare(m, task));
    draw(m, task, 0);
    EXPECT_OK(fx_trained_encode(m, task));
    for (int k = 0; k < 4; k++) {
        draw(m, task, order[k]);
        EXPECT_OK(fx_trained_denoise(m, task));
        field[k] = copy_of(m->estimate, count);
    }
    assert_memory_equal(field[0], field[3], (size_t)count * sizeof(float));
    for (int k = 0; k < 3; k++) {
        assert_true(distance(field[k], m->base, count) > 1e-4);
        if (k > 0) assert_true(distance(field[k], field[k - 1], count) > 1e-6);
        draw(m, task, order[k]);
        EXPECT_OK(fx_trained_run(m, task));
        assert_memory_equal(field[k], m->estimate, (size_t)count * sizeof(float));
    }
    for (int k = 0; k < 4; k++)
        fx_free(field[k]);
}

static void members_share_the_encoder(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof MODELS / sizeof *MODELS; k++) {
        fx_exec *exec = NULL;
        fx_trainee *t = NULL;
        fx_trained *m = NULL;
        open_trainee(MODELS[k], &exec, &t);
        open_trained(t, MODELS[k], &m);
        for (fx_task task = FX_SR; task <= FX_FC; task++)
            members_are_what_they_are_alone(m, task);
        fx_trained_close(&m);
        close_trainee(&exec, &t);
    }
}

static void noise_is_a_members_own(void **state)
{
    (void)state;
    fx_exec *exec = NULL;
    fx_trainee *t = NULL;
    fx_trained *m = NULL;
    open_trainee(SMALL_SETTINGS, &exec, &t);
    open_trained(t, SMALL_SETTINGS, &m);
    const int64_t count = m->pixels;
    float *single = copy_of(m->noise, count), *before = copy_of(m->noise, count);
    fx_fill_normal(11, 2 * 4 + FX_FC, fx_crc32("x_T"), 1000, single, count);
    for (uint32_t member = 0; member < 12; member++) {
        draw(m, FX_FC, member);
        if (member == 0) assert_memory_equal(m->noise, single, (size_t)count * sizeof(float));
        double variance = 0;
        for (int64_t i = 0; i < count; i++)
            variance += (double)(m->noise[i] * m->noise[i]) / (double)count;
        assert_true(variance > 0.85 && variance < 1.15);
        if (member > 0) assert_true(distance(m->noise, single, count) > 1.6);
        if (member > 0) assert_true(distance(m->noise, before, count) > 1.6);
        memcpy(before, m->noise, (size_t)count * sizeof(float));
    }
    fx_free(single);
    fx_free(before);
    fx_trained_close(&m);
    close_trainee(&exec, &t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(planned_without_training),
                                       cmocka_unit_test(members_share_the_encoder),
                                       cmocka_unit_test(noise_is_a_members_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
