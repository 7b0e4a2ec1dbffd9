/* test_collective_ops.c: gather, contrast, exchange, arrive, dots, contrast_dots, all_reduce,
 * all_gather and join over several ranks. The contrast of the global batch and its gradients, in both
 * forms, are the same however the samples are spread over ranks and micro-batches, and agree with a
 * plain re-computation.
 *
 * Run: ranks 1 2 3
 * Run: standin
 * Run: timeout 60
 *
 * Planted and caught: in exchange.c tasks and samples exchanged, the last feature of a share that is
 * cut left out; in arrive.c the offset left out, forward, and backward; the sum over the group left
 * out; in gather.c tasks and samples exchanged, the offset left out, the rank's stride taken as B; in
 * contrast.c own rows looked for without the offset, the column term left out of the loss, the
 * projection left out of the gradient, or kept where a norm is at its floor (in contrast_dots.c too),
 * softmax of rows twice in W; in all_reduce.c the offset left out,
 * bf16 not rounded to the nearest; in all_gather.c every rank's share taken from rank 0's place, in
 * cuda/all_gather.c half of it sent; in cuda/gather.cu as many words for bf16 as for fp32, and half of
 * the words; in cuda/exchange.cu tasks exchanged backward, in cuda/arrive.cu the offset left out, in
 * cuda/dots.cu a norm's own term once, in cuda/contrast_dots.cu the logit left out of what lies along a
 * latent. */
#include "by_hand.h"

#include <math.h>
#include <stdlib.h>
#include "flexhpc/launch.h"
#include "flexhpc/rng.h"

enum { MICRO = 2, STRIDE = 2 * MICRO, T = 2, D = 6, SIZE = T * D, MOST = 3 * STRIDE };
static const float TEMPERATURE = 0.1f;

static fx_comm *comm;
static float scale = 1; /* of the latents; TINY: norms below their floor of 1e-12 */
static const float TINY = 1e-13f;

/* The latent of a global slot and task. */
static void latent(int64_t slot, int task, float *x)
{
    fx_fill_normal(9, (uint32_t)(2 * slot + task), 1, 0, x, SIZE);
    for (int i = 0; i < SIZE; i++)
        x[i] *= scale;
}

/* E of this rank's micro-batch: SR rows, then FC rows. */
static void own_latents(int micro, float *e)
{
    for (int k = 0; k < 2 * MICRO; k++)
        latent(comm->rank * STRIDE + micro * MICRO + k % MICRO, k / MICRO, e + k * SIZE);
}

static void gather_all(float *all, int64_t G, fx_dtype storage)
{
    for (int micro = 0; micro < STRIDE / MICRO; micro++) {
        float e[2 * MICRO * SIZE];
        own_latents(micro, e);
        by_hand h;
        by_hand_begin(&h, FX_OP_gather, (fx_attrs){.gather = {STRIDE, micro * MICRO, comm->size}});
        h.exec.options.comm = comm;
        h.storage = storage;
        by_hand_in(&h, 0, e, 3, FX_DIMS(2 * MICRO, T, D));
        assert_int_equal(by_hand_forward(&h), FX_OK);
        assert_true(fx_has_shape(h.node.out[0], 4, FX_DIMS(G, 2, T, D)));
        for (int64_t slot = 0; slot < G; slot++) /* what this micro-batch brought, from every rank */
            if (slot % STRIDE / MICRO == micro)
                memcpy(all + slot * 2 * SIZE, fx_f32(h.node.out[0]) + slot * 2 * SIZE,
                       sizeof(float) * 2 * SIZE);
        by_hand_end(&h);
    }
}

static void gather_places_every_rank(void **state)
{
    (void)state;
    const int64_t G = comm->size * STRIDE;
    float all[MOST * 2 * SIZE], want[SIZE];
    const bool stores_bf16 =
        getenv("FX_TEST_BACKEND") && strcmp(getenv("FX_TEST_BACKEND"), "cuda") == 0;
    for (int bf16 = 0; bf16 <= stores_bf16; bf16++) {
        gather_all(all, G, bf16 ? FX_BF16 : FX_F32);
        for (int64_t slot = 0; slot < G; slot++)
            for (int task = 0; task < 2; task++) {
                latent(slot, task, want);
                for (int k = 0; bf16 && k < SIZE; k++)
                    want[k] = fx_float_of(fx_bf16_of(want[k]));
                assert_memory_equal(all + (slot * 2 + task) * SIZE, want, sizeof want);
            }
    }
}

/* The loss of unit vectors' logits from its definition, in double; x: (G,2,SIZE). */
static double plain_contrast(const double *x, int64_t G)
{
    double logit[MOST][MOST], loss = 0;
    for (int64_t i = 0; i < G; i++)
        for (int64_t j = 0; j < G; j++) {
            double ab = 0, aa = 0, bb = 0;
            for (int k = 0; k < SIZE; k++) {
                const double a = x[i * 2 * SIZE + k], b = x[(j * 2 + 1) * SIZE + k];
                ab += a * b, aa += a * a, bb += b * b;
            }
            logit[i][j] = ab / (fmax(sqrt(aa), 1e-12) * fmax(sqrt(bb), 1e-12)) / (double)TEMPERATURE;
        }
    for (int64_t i = 0; i < G; i++) {
        double row = 0, column = 0;
        for (int64_t j = 0; j < G; j++) {
            row += exp(logit[i][j]);
            column += exp(logit[j][i]);
        }
        loss += (log(row) + log(column)) / 2 - logit[i][i];
    }
    return loss / (double)G;
}

/* Every feature's difference of the plain loss, against the gradients of this rank's micro-batch. */
static void compare_gradient(double *x, int64_t G, int micro, const float *de)
{
    for (int k = 0; k < 2 * MICRO * SIZE; k += 5) {
        const int64_t slot = comm->rank * STRIDE + micro * MICRO + k / SIZE % MICRO;
        double *at = &x[(slot * 2 + k / SIZE / MICRO) * SIZE + k % SIZE];
        const double before = *at, step = 1e-4 * (double)scale;
        *at = before + step;
        const double up = plain_contrast(x, G);
        *at = before - step;
        const double want = (up - plain_contrast(x, G)) / (2 * step);
        *at = before;
        assert_true(fabs((double)de[k] - want) < 1e-6 * fmax(1 / (double)scale, fabs(want)));
    }
}

static void contrast_is_the_global_one(void **state)
{
    (void)state;
    const int64_t G = comm->size * STRIDE;
    float all[MOST * 2 * SIZE], one = 1;
    double x[MOST * 2 * SIZE];
    gather_all(all, G, FX_F32);
    for (int64_t i = 0; i < G * 2 * SIZE; i++)
        x[i] = (double)all[i];
    for (int micro = 0; micro < STRIDE / MICRO; micro++) {
        float e[2 * MICRO * SIZE], de[2 * MICRO * SIZE];
        by_hand h;
        own_latents(micro, e);
        by_hand_begin(&h, FX_OP_contrast, (fx_attrs){.contrast = {TEMPERATURE, STRIDE, micro * MICRO}});
        h.exec.options.comm = comm;
        by_hand_in(&h, 0, e, 3, FX_DIMS(2 * MICRO, T, D));
        by_hand_in(&h, 1, all, 4, FX_DIMS(G, 2, T, D));
        assert_int_equal(by_hand_forward(&h), FX_OK);
        assert_true(fabs((double)fx_f32(h.node.out[0])[0] / plain_contrast(x, G) - 1) < 1e-6);
        assert_int_equal(by_hand_backward(&h, 0, &one, de), FX_OK);
        compare_gradient(x, G, micro, de);
        by_hand_end(&h);
    }
}

/* ---- By features: on one rank 12 features are one share of 16, on two shares of 8 hold 8 and 4, on
 * three 8, 4 and none. */

enum { MICROS = STRIDE / MICRO, WIDEST = 16, PART = MOST * STRIDE * 2 * WIDEST };

typedef struct by_features {
    by_hand exchange[MICROS], arrive[MICROS], dots, sum, contrast;
    float e[MICROS][2 * MICRO * SIZE], part[PART];
    int64_t G, width;
} by_features;

static fx_attrs at_micro(int micro)
{
    return (fx_attrs){.gather = {STRIDE, micro * MICRO, comm->size}};
}

static void begin(by_hand *h, fx_op_id id, fx_attrs attrs, fx_dtype storage)
{
    by_hand_begin(h, id, attrs);
    h->exec.options.comm = comm;
    h->storage = storage;
}

static void input(by_hand *h, int i, const fx_tensor *t)
{
    by_hand_in(h, i, t->data, t->rank, t->dim);
}

/* Until every rank has its features of all samples. */
static void exchange_all(by_features *f, fx_dtype storage)
{
    f->G = comm->size * STRIDE;
    for (int micro = 0; micro < MICROS; micro++) {
        by_hand *h = &f->exchange[micro], *a = &f->arrive[micro];
        own_latents(micro, f->e[micro]);
        begin(h, FX_OP_exchange, at_micro(micro), storage);
        by_hand_in(h, 0, f->e[micro], 3, FX_DIMS(2 * MICRO, T, D));
        assert_int_equal(by_hand_forward(h), FX_OK);
        begin(a, FX_OP_arrive, at_micro(micro), storage);
        input(a, 0, h->node.out[0]);
        input(a, 1, h->node.out[1]);
        assert_int_equal(by_hand_forward(a), FX_OK);
        const fx_tensor *part = a->node.out[0];
        f->width = part->dim[2];
        assert_true(fx_has_shape(part, 3, FX_DIMS(f->G, 2, f->width)) && f->width <= WIDEST);
        const int64_t row = 2 * f->width;
        for (int64_t slot = 0; slot < f->G; slot++) /* what this micro-batch brought */
            if (slot % STRIDE / MICRO == micro)
                memcpy(f->part + slot * row, fx_f32(part) + slot * row, sizeof(float) * (size_t)row);
    }
}

static void end_exchange(by_features *f)
{
    for (int micro = 0; micro < MICROS; micro++) {
        by_hand_end(&f->exchange[micro]);
        by_hand_end(&f->arrive[micro]);
    }
}

static void exchange_deals_out_features(void **state)
{
    (void)state;
    static by_features f;
    const bool stores_bf16 =
        getenv("FX_TEST_BACKEND") && strcmp(getenv("FX_TEST_BACKEND"), "cuda") == 0;
    for (int bf16 = 0; bf16 <= stores_bf16; bf16++) {
        exchange_all(&f, bf16 ? FX_BF16 : FX_F32);
        assert_int_equal(f.width, comm->size == 1 ? 16 : 8);
        for (int64_t row = 0; row < 2 * f.G; row++) {
            float want[SIZE];
            latent(row / 2, (int)(row % 2), want);
            for (int64_t i = 0; i < f.width; i++) {
                const int64_t feature = comm->rank * f.width + i;
                const float x = feature < SIZE ? want[feature] : 0;
                assert_true(f.part[row * f.width + i] == (bf16 ? fx_float_of(fx_bf16_of(x)) : x));
            }
        }
        end_exchange(&f);
    }
}

/* Forward to the loss, and back to the latents of every micro-batch. */
static void contrast_by_features_is_the_same(void **state)
{
    (void)state;
    static by_features f;
    static float dsums[(MOST * STRIDE + 2) * MOST * STRIDE], dpart[PART];
    float one = 1;
    double x[MOST * 2 * SIZE];
    exchange_all(&f, FX_F32);
    for (int64_t row = 0; row < 2 * f.G; row++) {
        float values[SIZE];
        latent(row / 2, (int)(row % 2), values);
        for (int k = 0; k < SIZE; k++)
            x[row * SIZE + k] = (double)values[k];
    }
    begin(&f.dots, FX_OP_dots, (fx_attrs){0}, FX_F32);
    by_hand_in(&f.dots, 0, f.part, 3, FX_DIMS(f.G, 2, f.width));
    assert_int_equal(by_hand_forward(&f.dots), FX_OK);
    const fx_tensor *sums = f.dots.node.out[0];
    begin(&f.sum, FX_OP_all_reduce, (fx_attrs){.reduce = {0, fx_count(sums), false, true}}, FX_F32);
    input(&f.sum, 0, sums);
    assert_int_equal(by_hand_forward(&f.sum), FX_OK);
    begin(&f.contrast, FX_OP_contrast_dots, (fx_attrs){.contrast = {TEMPERATURE}}, FX_F32);
    input(&f.contrast, 0, sums);
    assert_int_equal(by_hand_forward(&f.contrast), FX_OK);
    assert_true(fabs((double)fx_f32(f.contrast.node.out[0])[0] / plain_contrast(x, f.G) - 1) < 1e-6);
    assert_int_equal(by_hand_backward(&f.contrast, 0, &one, dsums), FX_OK);
    assert_int_equal(by_hand_backward(&f.dots, 0, dsums, dpart), FX_OK);
    for (int micro = 0; micro < MICROS; micro++) {
        float darrived[MOST * MICRO * 2 * WIDEST], de[2 * MICRO * SIZE];
        assert_int_equal(by_hand_backward(&f.arrive[micro], 0, dpart, darrived), FX_OK);
        assert_int_equal(by_hand_backward(&f.exchange[micro], 0, darrived, de), FX_OK);
        compare_gradient(x, f.G, micro, de);
    }
    by_hand_end(&f.dots);
    by_hand_end(&f.sum);
    by_hand_end(&f.contrast);
    end_exchange(&f);
}

/* Where a norm is at its floor it is a constant, which the gradient has no projection for. */
static void contrast_of_tiny_latents(void **state)
{
    scale = TINY;
    contrast_is_the_global_one(state);
    contrast_by_features_is_the_same(state);
    scale = 1;
}

/* One sample is its own only candidate: 0, and no gradient. */
static void contrast_of_one_sample(void **state)
{
    (void)state;
    float e[2 * SIZE], all[2 * SIZE], de[2 * SIZE], one = 1;
    latent(0, 0, e);
    latent(0, 1, e + SIZE);
    memcpy(all, e, sizeof e);
    by_hand h;
    by_hand_begin(&h, FX_OP_contrast, (fx_attrs){.contrast = {0.01f, 1, 0}});
    by_hand_in(&h, 0, e, 3, FX_DIMS(2, T, D));
    by_hand_in(&h, 1, all, 4, FX_DIMS(1, 2, T, D));
    assert_int_equal(by_hand_forward(&h), FX_OK);
    assert_true(fx_f32(h.node.out[0])[0] == 0.0f);
    assert_int_equal(by_hand_backward(&h, 0, &one, de), FX_OK);
    for (int i = 0; i < 2 * SIZE; i++)
        assert_true(de[i] == 0.0f);
    by_hand_end(&h);
}

static void reduce_sums_its_bucket_only(void **state)
{
    (void)state;
    enum { N = 20, OFFSET = 3, COUNT = 11 };
    float slab[N];
    for (int i = 0; i < N; i++)
        slab[i] = (float)(i + comm->rank);
    by_hand h;
    by_hand_begin(&h, FX_OP_all_reduce, (fx_attrs){.reduce = {OFFSET, COUNT}});
    h.exec.options.comm = comm;
    by_hand_in(&h, 0, slab, 1, FX_DIMS(N));
    assert_int_equal(by_hand_forward(&h), FX_OK);
    for (int i = 0; i < N; i++) {
        const int ranks = comm->size;
        const bool inside = i >= OFFSET && i < OFFSET + COUNT;
        assert_true(slab[i] == (float)(inside ? ranks * i + ranks * (ranks - 1) / 2 : i + comm->rank));
    }
}

/* 257 lies between two bf16 and rounds to the even one, 256: ranks that bring it show that they round
 * before they add. All other sums are exact. */
static void reduce_in_bf16_rounds_first(void **state)
{
    (void)state;
    enum { N = 20, OFFSET = 3, COUNT = 11 };
    const fx_attrs attrs = {.reduce = {OFFSET, COUNT, true}};
    const int ranks = comm->size;
    float slab[N], sums[COUNT];
    for (int i = 0; i < N; i++)
        slab[i] = i == OFFSET ? 257.0f : (float)(i + comm->rank);
    by_hand h;
    by_hand_begin(&h, FX_OP_all_reduce, attrs);
    h.exec.options.comm = comm;
    by_hand_in(&h, 0, slab, 1, FX_DIMS(N));
    assert_int_equal(by_hand_forward(&h), FX_OK);
    for (int i = 0; i < COUNT; i++)
        sums[i] = fx_f32(h.node.out[0])[i];
    by_hand_end(&h);
    by_hand_begin(&h, FX_OP_widen, attrs);
    by_hand_in(&h, 0, sums, 1, FX_DIMS(COUNT));
    by_hand_in(&h, 1, slab, 1, FX_DIMS(N));
    assert_int_equal(by_hand_forward(&h), FX_OK);
    by_hand_end(&h);
    for (int i = 0; i < N; i++) {
        const bool inside = i >= OFFSET && i < OFFSET + COUNT;
        const int sum = i == OFFSET ? 256 * ranks : ranks * i + ranks * (ranks - 1) / 2;
        assert_true(slab[i] == (float)(inside ? sum : i + comm->rank));
    }
}

/* Each rank brings its own share alone; what is elsewhere is overwritten. Whole numbers to 256 are
 * exact in bf16. */
static void gather_of_weights_fills_every_share(void **state)
{
    (void)state;
    enum { WIDTH = 64, N = 3 * WIDTH };
    for (int half = 0; half < 2; half++) {
        float x[N];
        const int count = comm->size * WIDTH;
        for (int i = 0; i < count; i++)
            x[i] = i / WIDTH == comm->rank ? (float)(i + 1) : -1.0f;
        by_hand h;
        by_hand_begin(&h, FX_OP_all_gather, (fx_attrs){.all_gather = {comm->size}});
        h.exec.options.comm = comm;
        h.storage = half ? FX_BF16 : FX_F32;
        by_hand_in(&h, 0, x, 1, FX_DIMS(count));
        assert_int_equal(by_hand_forward(&h), FX_OK);
        for (int i = 0; i < count; i++)
            assert_true(x[i] == (float)(i + 1));
    }
}

int main(int argc, char **argv)
{
    setenv("FLEXHPC_MPI", "1", 0);
    fx_status status = fx_comm_start(&argc, &argv, &comm);
    if (status != FX_OK) return fx_comm_finish(&comm, status);
    const struct CMUnitTest tests[] = {cmocka_unit_test(gather_places_every_rank),
                                       cmocka_unit_test(contrast_is_the_global_one),
                                       cmocka_unit_test(exchange_deals_out_features),
                                       cmocka_unit_test(contrast_by_features_is_the_same),
                                       cmocka_unit_test(contrast_of_tiny_latents),
                                       cmocka_unit_test(contrast_of_one_sample),
                                       cmocka_unit_test(reduce_sums_its_bucket_only),
                                       cmocka_unit_test(reduce_in_bf16_rounds_first),
                                       cmocka_unit_test(gather_of_weights_fills_every_share)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    return fx_comm_finish(&comm, status);
}
