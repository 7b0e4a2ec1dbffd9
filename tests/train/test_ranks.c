/* test_ranks.c: one step of training from the hash-defined weights is the same computation however many
 * ranks share the global batch of 12 samples: losses, contrastive term and every reduced gradient agree
 * with one rank alone that has all samples, with either contrast.exchange, and by features also with
 * several micro-batches and recomputation. Dropout is on; t and eps are drawn by counters. The same
 * ranks give the same bits twice, and all ranks hold the same bits after several updates. With
 * train.reduce: fixed, values, gradients, moments and EMA have the bits of one rank alone after 20
 * steps. With contrast.group, losses, contrast and gradients are the means over what one rank has that
 * takes the groups one by one. The CUDA backend with NCCL is compared with the CPU's by the smaller
 * model: three steps, which are walked, captured and replayed; and the bits of train.reduce: fixed with
 * its own.
 *
 * Run: ranks 1 2 3 4
 * Run: standin ranks 2 4
 * Run: label full
 * Run: timeout 600
 * Run: cost 40
 *
 * Planted errors, each caught: loss weights of the rank's own samples instead of the global batch's; a
 * rank's first slot left out of the draws of t and eps, and of dropout; one bucket of gradients not
 * reduced; a parameter left out of its bucket; the gradient of the contrastive term counted once a
 * rank; contrast among own latents only. In train.reduce: fixed: each rank's own samples first in the
 * tree (seen on 4 ranks); each rank's samples added one after the other before the tree over ranks;
 * latents gathered in reverse order of ranks; the last sample left out of the tree on any number of
 * ranks (seen against the ring). In contrast.group: the weight of a group not its share, own rows of
 * ALL by the rank in the job, the mean over groups left out of the report. On CUDA: the slot left out
 * of the draws, and of dropout; a bucket not reduced; the order of ranks and samples in the tree; of
 * groups, the gather over all ranks, own rows by the rank in the job. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <xxhash.h>

#include "flexhpc/launch.h"
#include "flexhpc/mem.h"
#include "flexhpc/train.h"
#include "train/golden.h"

enum {
    COND = 2,
    SIZE_KEYS = 5,
    MORE_KEYS = 3,
    SAMPLES = 12,
    FIXED_SAMPLES = 4,
    STEPS = 3,       /* at most, of those that are compared */
    NO_GRADIENT = 26 /* whose true gradient is 0 */
};
static const uint64_t TAG = 3;

/* What all trainings here share, and what differs between the two sizes: 12 samples of four levels; and
 * 4 samples of a model of every part, small enough for 20 steps, for train.reduce: fixed. */
static const char *const COMMON[] = {
    "model.preset=custom",      "model.heads=2",         "model.mlp_ratio=2",
    "model.dropout=0.1",        "contrast.weight=1",     "data.factor=4",
    "train.learning_rate=1e-3", "train.optimizer=adamw", "train.bucket=0.25"};
static const char *const RING[] = {"train.reduce=ring", NULL, NULL}, *const FIXED[] = {
                                                                         "train.reduce=fixed", NULL,
                                                                         NULL};
static const char *const EXCHANGES[2] = {"contrast.exchange=gather", "contrast.exchange=features"};
static const char *const OF_12[] = {"data.patch=32", "train.global_batch=12",
                                    "model.channels=32,32,64,64", "model.blocks=1,1,1,1",
                                    "model.depth=3"};
static const char *const OF_4[] = {"data.patch=16", "train.global_batch=4", "model.channels=32,64",
                                   "model.blocks=1,1", "model.depth=1"};
static const char *const SMALLEST[] = {"data.patch=16", "train.global_batch=4", "model.channels=32,32",
                                       "model.blocks=1,1", "model.depth=1"};

/* What a backend is tested with; the CUDA backend's stand-in is slow. */
static const struct extent {
    const char *backend, *const *size, *const *fixed_size;
    int steps, fixed_steps, trainings;
} CPU = {"cpu", OF_12, OF_4, 1, 20, 2}, CUDA = {"cuda", SMALLEST, SMALLEST, 3, 2, 1};
static const struct extent *extent = &CPU;

#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != FX_OK) fail_msg("%s", fx_error_message());                                       \
    } while (0)

static fx_comm *job;

/* ---- A model in training on the ranks of a communicator, and the data. */

/* `more`: three settings that win over `size`. `micro_batches`: 0: as set; else so many of a rank's
 * samples, which the configuration refuses with the contrast for the memory that it takes. */
static fx_trainee *trainee_of(const char *backend_name, fx_comm *comm, const char *const *size,
                              const char *const *more, int micro_batches)
{
    const fx_golden golden = {.tag = TAG};
    const fx_backend *backend = NULL;
    fx_config config;
    fx_step_options options;
    fx_trainee *t = NULL;
    fx_exec *exec = NULL;
    enum { COMMON_KEYS = sizeof COMMON / sizeof *COMMON };
    const char *settings[SIZE_KEYS + COMMON_KEYS + MORE_KEYS + 1] = {0};
    memcpy(settings, size, SIZE_KEYS * sizeof *size);
    memcpy(settings + SIZE_KEYS, COMMON, sizeof COMMON);
    memcpy(settings + SIZE_KEYS + COMMON_KEYS, more, MORE_KEYS * sizeof *more);
    OK(fx_config_parse(&config, "settings", "", 0, settings));
    OK(fx_step_options_from_config(&config, comm, &options));
    if (micro_batches > 0) {
        assert_true(options.micro_batch % micro_batches == 0);
        options.micro_batch /= micro_batches;
        options.accumulate *= micro_batches;
    }
    OK(fx_backend_find(backend_name, &backend));
    OK(backend->open(&(fx_exec_options){.comm = comm, .threads = 1}, &exec));
    OK(fx_trainee_create(exec, &options, false, &t));
    OK(fx_golden_weights(&golden, t->params, exec));
    assert_true(size != OF_12 || t->buckets > 3);
    return t;
}

static fx_trainee *trainee_on(fx_comm *comm, const char *const *size, const char *const *more)
{
    return trainee_of(extent->backend, comm, size, more, 0);
}

static void trainee_close(fx_trainee *t)
{
    fx_exec *exec = t->exec;
    fx_trainee_free(&t);
    exec->backend->close(&exec);
}

/* Samples of this rank, from this slot on. */
static int64_t local_samples(const fx_trainee *t)
{
    return t->options.micro_batch * t->options.accumulate;
}

static int64_t first_slot(const fx_trainee *t)
{
    return t->exec->options.comm->rank * local_samples(t);
}

/* The rows of the input from slot `first` on: numbers of all samples are made, in the order of slots.
 */
static void write_input(fx_trainee *t, const char *name, fx_tensor *tensor, int64_t first, int64_t size)
{
    const int64_t samples = first + t->options.micro_batch;
    float *all = NULL;
    OK(FX_ALLOC(all, samples * size));
    fx_golden_numbers(TAG, name, 1, all, samples * size);
    OK(fx_program_write(t->step, tensor, all + first * size));
    fx_free(all);
}

static fx_step_report step_from(fx_trainee *t, int number, int64_t slot0)
{
    const fx_step step = {.seed = 7,
                          .step = (uint32_t)number,
                          .slot0 = (uint32_t)slot0,
                          .learning_rate = 1e-3f,
                          .ema_decay = 0.9f,
                          .update = number + 1,
                          .gradient_scale = 1,
                          .dropout = true};
    fx_step_report report;
    const int64_t pixels = t->options.model.image * t->options.model.image;
    for (int micro = 0; micro < t->options.accumulate; micro++) {
        const int64_t first = slot0 + micro * t->options.micro_batch;
        write_input(t, "snapshots", t->inputs[micro].snapshots, first, pixels * COND);
        write_input(t, "future", t->inputs[micro].future, first, pixels);
        write_input(t, "re", t->inputs[micro].re, first, 1);
    }
    OK(fx_trainee_step(t, &step, &report));
    assert_true(report.finite);
    return report;
}

static fx_step_report one_step(fx_trainee *t, int number)
{
    return step_from(t, number, first_slot(t));
}

/* ---- Comparison with one rank alone. */

static double norm_of(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static float *numbers_of(fx_trainee *t, int i, fx_slab slab, int64_t *count)
{
    const fx_param *p = fx_params_at(t->params, i);
    *count = fx_count(&p->value);
    float *x = fx_calloc((size_t)*count, sizeof *x);
    assert_non_null(x);
    OK(fx_params_read(t->params, t->exec, p, slab, x));
    return x;
}

/* The gradient of every parameter that is trained, one after the other. */
static float *gradients_of(fx_trainee *t)
{
    int64_t all = 0, used = 0, count = 0;
    for (int i = 0; i < fx_params_count(t->params); i++)
        if (fx_params_at(t->params, i)->trained) all += fx_count(&fx_params_at(t->params, i)->value);
    float *out = NULL;
    OK(FX_ALLOC(out, all));
    for (int i = 0; i < fx_params_count(t->params); i++, used += count) {
        count = 0;
        if (!fx_params_at(t->params, i)->trained) continue;
        float *x = numbers_of(t, i, FX_SLAB_GRADIENT, &count);
        memcpy(out + used, x, (size_t)count * sizeof *x);
        fx_free(x);
    }
    return out;
}

static double largest_gradient(fx_trainee *t, const float *want)
{
    double largest = 0;
    for (int i = 0; i < fx_params_count(t->params); i++) {
        const fx_param *p = fx_params_at(t->params, i);
        if (!p->trained) continue;
        largest = fmax(largest, norm_of(want, fx_count(&p->value)));
        want += fx_count(&p->value);
    }
    return largest;
}

/* want: as of gradients_of. */
static void compare_gradients(fx_trainee *t, const float *want)
{
    const double floor = 1e-6 * largest_gradient(t, want);
    int compared = 0, trained = 0;
    double worst = 0;
    for (int i = 0; i < fx_params_count(t->params); i++) {
        const char *name = fx_params_at(t->params, i)->name;
        int64_t count = 0;
        if (!fx_params_at(t->params, i)->trained) continue;
        float *x = numbers_of(t, i, FX_SLAB_GRADIENT, &count);
        const double norm = norm_of(want, count);
        for (int64_t k = 0; k < count; k++)
            x[k] -= want[k];
        const double difference = norm_of(x, count);
        if (norm > floor && difference > 2e-4 * norm)
            fail_msg("%s: %.2e of its norm on %d ranks", name, difference / norm, job->size);
        if (norm > floor) worst = fmax(worst, difference / norm);
        compared += norm > floor;
        trained++;
        want += count;
        fx_free(x);
    }
    print_message("%d of %d gradients compared, largest difference %.1e of its norm\n", compared,
                  trained, worst);
    assert_true(compared >= trained - NO_GRADIENT);
}

static void assert_near(const char *what, double x, double y, double tolerance)
{
    if (!(fabs(x - y) <= tolerance * fabs(y)))
        fail_msg("%s: %.9g on %d ranks, %.9g on one", what, x, job->size, y);
}

/* Rounding grows with the updates. */
static void compare_reports(const fx_step_report *r, const fx_step_report *one, int step)
{
    const double room = step == 0 ? 1 : 100;
    assert_true(one->loss > 0.1 && (one->contrast > 0.1 || step > 0));
    assert_near("loss", r->loss, one->loss, room * 1e-6);
    assert_near("loss of SR", r->loss_task[0], one->loss_task[0], room * 1e-6);
    assert_near("loss of FC", r->loss_task[1], one->loss_task[1], room * 1e-6);
    assert_near("contrast", r->contrast, one->contrast, room * 3e-5);
    assert_near("norm", r->norm, one->norm, room * 2e-4);
}

/* What one rank alone, which is always the CPU's, has. */
typedef struct by_one {
    fx_step_report report[STEPS];
    float *gradient; /* of the first step */
} by_one;

static void run_alone(by_one *one)
{
    fx_trainee *t = trainee_of("cpu", fx_comm_self(), extent->size, RING, 0);
    for (int s = 0; s < extent->steps; s++) {
        one->report[s] = one_step(t, s);
        if (s == 0) one->gradient = gradients_of(t);
    }
    trainee_close(t);
}

/* one: on rank 0; NULL elsewhere. */
static void compare_with(const by_one *one, const char *exchange, const char *more, int micro_batches,
                         int steps)
{
    fx_trainee *t = trainee_of(extent->backend, job, extent->size,
                               (const char *[]){RING[0], exchange, more}, micro_batches);
    for (int s = 0; s < steps; s++) {
        const fx_step_report r = one_step(t, s);
        if (!one) continue;
        compare_reports(&r, &one->report[s], s);
        if (s == 0) compare_gradients(t, one->gradient);
    }
    OK(job->ops->barrier(job));
    trainee_close(t);
}

/* The slow stand-in takes one form a number of ranks through all steps. */
static void ranks_agree_with_one_alone(void **state)
{
    (void)state;
    by_one one = {0};
    const by_one *const here = job->rank == 0 ? &one : NULL;
    if (here) run_alone(&one);
    OK(job->ops->barrier(job));
    for (int k = 0; k < 2; k++)
        compare_with(here, EXCHANGES[k], NULL, 0,
                     extent == &CPU || k == job->size / 2 % 2 ? extent->steps : 1);
    if (extent == &CPU) /* of three samples, of one on three and four ranks */
        compare_with(here, EXCHANGES[1], "model.recompute=resblock",
                     SAMPLES / job->size / (job->size < 3 ? 3 : 1), 1);
    fx_free(one.gradient);
}

/* One rank alone takes the samples of one group after the other: losses, contrast and gradients of all
 * are the means over groups. */
static void add_group(const char *const *more, int groups, int group, fx_step_report *mean,
                      float *gradient)
{
    fx_trainee *alone = trainee_of("cpu", fx_comm_self(), extent->size, more, 0);
    const int64_t count = fx_params_elements(alone->params, true);
    const fx_step_report r = step_from(alone, 0, group * local_samples(alone));
    float *x = gradients_of(alone);
    for (int64_t i = 0; i < count; i++)
        gradient[i] += x[i] / (float)groups;
    mean->loss += r.loss / groups;
    mean->loss_task[0] += r.loss_task[0] / groups;
    mean->loss_task[1] += r.loss_task[1] / groups;
    mean->contrast += r.contrast / groups;
    mean->norm = norm_of(gradient, count);
    fx_free(x);
    trainee_close(alone);
}

static void groups_agree_with_each_alone(void **state)
{
    (void)state;
    const int members = job->size == 4 ? 2 : 1, groups = job->size / members;
    char text[40], batch[40];
    fx_step_report mean = {0};
    float *gradient = NULL;
    if (job->size == 1) skip();
    snprintf(text, sizeof text, "contrast.group=%d", members);
    for (int k = 0; k < 2; k++) {
        fx_trainee *t = trainee_on(job, extent->size, (const char *[]){RING[0], text, EXCHANGES[k]});
        const int64_t samples = local_samples(t) * members;
        const fx_step_report r = one_step(t, 0);
        snprintf(batch, sizeof batch, "train.global_batch=%d", (int)samples);
        if (job->rank == 0 && k == 0) {
            OK(FX_ALLOC(gradient, fx_params_elements(t->params, true)));
            for (int g = 0; g < groups; g++)
                add_group((const char *[]){RING[0], batch, NULL}, groups, g, &mean, gradient);
        }
        if (job->rank == 0) {
            compare_reports(&r, &mean, 0);
            compare_gradients(t, gradient);
        }
        OK(job->ops->barrier(job));
        trainee_close(t);
    }
    fx_free(gradient);
}

static const fx_slab KINDS[] = {FX_SLAB_VALUE, FX_SLAB_GRADIENT, FX_SLAB_MOMENT1, FX_SLAB_MOMENT2,
                                FX_SLAB_EMA};
enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };

static uint64_t state_hash(fx_trainee *t)
{
    uint64_t hash = 0;
    for (int i = 0; i < fx_params_count(t->params); i++)
        for (int k = 0; k < KIND_COUNT; k++) {
            int64_t count = 0;
            if (!fx_params_at(t->params, i)->trained) continue;
            float *x = numbers_of(t, i, KINDS[k], &count);
            hash = XXH64(x, (size_t)count * sizeof *x, hash);
            fx_free(x);
        }
    return hash;
}

static uint64_t trained_hash(void)
{
    fx_trainee *t = trainee_on(job, extent->size, RING);
    const double first = one_step(t, 0).loss, second = one_step(t, 1).loss;
    assert_true(first != second);
    const uint64_t hash = state_hash(t);
    trainee_close(t);
    return hash;
}

static void the_same_ranks_give_the_same_bits(void **state)
{
    (void)state;
    uint64_t all[4];
    const uint64_t hash = trained_hash();
    for (int i = 1; i < extent->trainings; i++)
        assert_true(hash == trained_hash());
    OK(job->ops->all_gather(job, &hash, sizeof hash, all));
    for (int r = 0; r < job->size; r++)
        assert_true(all[r] == all[0]);
}

/* train.reduce: fixed: the same steps on this job's ranks and on rank 0 alone, compared tensor by
 * tensor. */
static void compare_bits(fx_trainee *t, fx_trainee *alone)
{
    for (int i = 0; i < fx_params_count(t->params); i++)
        for (int k = 0; k < KIND_COUNT; k++) {
            int64_t count = 0, same = 0;
            if (!fx_params_at(t->params, i)->trained) continue;
            float *x = numbers_of(t, i, KINDS[k], &count), *y = numbers_of(alone, i, KINDS[k], &same);
            assert_int_equal(count, same);
            if (memcmp(x, y, (size_t)count * sizeof *x) != 0)
                fail_msg("%s: slab %d has other bits on %d ranks", fx_params_at(t->params, i)->name,
                         (int)KINDS[k], job->size);
            fx_free(x);
            fx_free(y);
        }
}

static fx_step_report fixed_steps(fx_trainee *t)
{
    fx_step_report first = one_step(t, 0), last = first;
    for (int number = 1; number < extent->fixed_steps; number++)
        last = one_step(t, number);
    assert_true(first.contrast > 0.1 && first.loss != last.loss);
    return last;
}

static void fixed_bits_do_not_depend_on_ranks(void **state)
{
    (void)state;
    uint64_t all[4];
    if (job->size == 1 || FIXED_SAMPLES % job->size != 0) skip();
    fx_trainee *t = trainee_on(job, extent->fixed_size, FIXED);
    const fx_step_report r = fixed_steps(t);
    const uint64_t hash = state_hash(t);
    OK(job->ops->all_gather(job, &hash, sizeof hash, all));
    for (int k = 0; k < job->size; k++)
        assert_true(all[k] == all[0]);
    if (job->rank == 0) {
        fx_trainee *alone = trainee_on(fx_comm_self(), extent->fixed_size, FIXED);
        const fx_step_report one = fixed_steps(alone);
        compare_bits(t, alone);
        assert_true(r.contrast == one.contrast && r.norm == one.norm);
        trainee_close(alone);
    }
    OK(job->ops->barrier(job));
    trainee_close(t);
}

/* The tree adds up what the ring adds up: every sample, once. */
static void fixed_agrees_with_ring(void **state)
{
    (void)state;
    if (FIXED_SAMPLES % job->size != 0 || extent != &CPU) skip();
    fx_trainee *t = trainee_on(job, OF_4, FIXED), *ring = trainee_on(job, OF_4, RING);
    const fx_step_report r = one_step(t, 0), other = one_step(ring, 0);
    assert_near("loss", r.loss, other.loss, 1e-6);
    assert_near("norm", r.norm, other.norm, 2e-4);
    float *want = gradients_of(ring);
    compare_gradients(t, want);
    fx_free(want);
    trainee_close(t);
    trainee_close(ring);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest first[] = {cmocka_unit_test(the_same_ranks_give_the_same_bits)},
                            second[] = {cmocka_unit_test(fixed_bits_do_not_depend_on_ranks)},
                            third[] = {cmocka_unit_test(fixed_agrees_with_ring)},
                            fourth[] = {cmocka_unit_test(ranks_agree_with_one_alone)},
                            fifth[] = {cmocka_unit_test(groups_agree_with_each_alone)};
    const char *backend = getenv("FX_TEST_BACKEND");
    if (backend && strcmp(backend, "cuda") == 0) extent = &CUDA;
    const fx_status status = fx_comm_start(&argc, &argv, &job);
    if (status != FX_OK) return fx_comm_finish(&job, status);
    /* Rank 0 may leave a test while the others wait: fx_comm_finish, and no other test, ends them. */
    int failed = cmocka_run_group_tests(first, NULL, NULL);
    if (failed == 0) failed = cmocka_run_group_tests(second, NULL, NULL);
    if (failed == 0) failed = cmocka_run_group_tests(third, NULL, NULL);
    if (failed == 0) failed = cmocka_run_group_tests(fourth, NULL, NULL);
    if (failed == 0) failed = cmocka_run_group_tests(fifth, NULL, NULL);
    if (failed) return fx_comm_finish(&job, fx_fail(FX_EVALUE, "%d tests failed", failed));
    return fx_comm_finish(&job, FX_OK);
}
