/* test_norms.c: group and layer normalisation against a plain re-computation in double: groups that
 * straddle two sources, modulation, pooling, dropout; statistics under a large mean, a small spread and
 * an outlier; the same bits on any number of threads.
 *
 * Run: standin
 * Planted and caught: in group_norm.c eps added to the standard deviation, shift and scale exchanged,
 * the squares not moved to the common origin, dropout elements counted from the block's start, the
 * pixel below taken in the same row, one image of scratch for all threads; in group_norm.cu the chunks
 * not moved to the common origin, a short chunk counted as whole, a chunk of 512 pixels summed in fp32;
 * in layer_norm.c divisor D - 1, eps left out. */
#include "by_hand.h"

#include <math.h>
#include <omp.h>
#include "flexhpc/rng.h"

enum { B = 2, M = 1, H = 54, W = 50, C1 = 8, C2 = 4, C = C1 + C2, P = H * W };

typedef struct inputs {
    float x[B * P * C1], gamma[C], beta[C], mod[2 * C], x2[B * P * C2];
} inputs;

static inputs in;

static void make_inputs(float mean, float spread)
{
    fx_fill_normal(3, 0, 1, 0, in.x, B * P * C1);
    fx_fill_normal(3, 0, 2, 0, in.x2, B * P * C2);
    fx_fill_normal(3, 0, 3, 0, in.gamma, C);
    fx_fill_normal(3, 0, 4, 0, in.beta, C);
    fx_fill_normal(3, 0, 5, 0, in.mod, 2 * C);
    for (int i = 0; i < B * P * C1; i++)
        in.x[i] = mean + spread * in.x[i];
    for (int i = 0; i < B * P * C2; i++)
        in.x2[i] = mean + spread * in.x2[i];
}

static void run(by_hand *h, fx_group_norm_attrs attrs)
{
    by_hand_begin(h, FX_OP_group_norm, (fx_attrs){.group_norm = attrs});
    h->step.dropout = true;
    h->step.slot0 = 6;
    h->node.stream = 1234;
    h->node.rows = (fx_rows){.samples = 1, .slot0 = 5}; /* row b: slot 11, task b */
    by_hand_in(h, 0, in.x, 4, FX_DIMS(B, H, W, C1));
    by_hand_in(h, 1, in.gamma, 1, FX_DIMS(C));
    by_hand_in(h, 2, in.beta, 1, FX_DIMS(C));
    by_hand_in(h, 3, in.mod, 2, FX_DIMS(M, 2 * C));
    by_hand_in(h, 4, in.x2, 4, FX_DIMS(B, H, W, C2));
    assert_int_equal(by_hand_forward(h), FX_OK);
}

static double x_of(int64_t b, int64_t p, int64_t c)
{
    return (double)(c < C1 ? in.x[(b * P + p) * C1 + c] : in.x2[(b * P + p) * C2 + c - C1]);
}

static void want_statistics(int64_t b, int64_t g, int64_t K, double eps, double *mean, double *rstd)
{
    double sum = 0, square = 0;
    for (int64_t p = 0; p < P; p++)
        for (int64_t c = g * K; c < (g + 1) * K; c++)
            sum += x_of(b, p, c);
    *mean = sum / (double)(P * K);
    for (int64_t p = 0; p < P; p++)
        for (int64_t c = g * K; c < (g + 1) * K; c++)
            square += (x_of(b, p, c) - *mean) * (x_of(b, p, c) - *mean);
    *rstd = 1 / sqrt(square / (double)(P * K) + eps);
}

static double factor_of(int64_t b, int64_t element, double drop)
{
    const uint32_t counter[] = {(uint32_t)(element / 4), 2 * 11 + (uint32_t)b, 1234, 3};
    const fx_philox random = fx_philox4x32(7, counter);
    return (double)fx_uniform(random.word[element % 4]) < drop ? 0 : 1 / (1 - drop);
}

static double want_activation(const fx_group_norm_attrs *a, int64_t b, int64_t p, int64_t c,
                              double mean, double rstd)
{
    const double u = (x_of(b, p, c) - mean) * rstd * (double)in.gamma[c] + (double)in.beta[c];
    const double v = u * (1 + (double)in.mod[c]) + (double)in.mod[C + c];
    const double factor = a->dropout > 0 ? factor_of(b, p * C + c, (double)a->dropout) : 1;
    return (a->silu ? v / (1 + exp(-v)) : v) * factor;
}

static void check(fx_group_norm_attrs a, double tolerance)
{
    by_hand h;
    run(&h, a);
    const float *y = fx_f32(h.node.out[0]);
    const int64_t K = C / a.groups;
    double error = 0, norm = 0;
    for (int64_t b = 0; b < B; b++)
        for (int64_t g = 0; g < a.groups; g++) {
            double mean, rstd;
            want_statistics(b, g, K, (double)a.eps, &mean, &rstd);
            assert_true(fabs((double)fx_f32(h.node.saved[1])[b * a.groups + g] / rstd - 1) < 1e-5);
            for (int64_t p = 0; p < (a.pool ? P / 4 : P); p++)
                for (int64_t c = g * K; c < (g + 1) * K; c++) {
                    double want = 0;
                    const int64_t at = a.pool ? p / (W / 2) * 2 * W + p % (W / 2) * 2 : p;
                    for (int k = 0; k < (a.pool ? 4 : 1); k++)
                        want += want_activation(&a, b, at + k / 2 * W + k % 2, c, mean, rstd) /
                                (a.pool ? 4 : 1);
                    const double e = (double)y[(b * (a.pool ? P / 4 : P) + p) * C + c] - want;
                    error += e * e;
                    norm += want * want;
                }
        }
    by_hand_end(&h);
    assert_true(norm > 0 && sqrt(error / norm) < tolerance);
}

static void whole_op(void **state)
{
    (void)state;
    make_inputs(0.5f, 1.0f);
    check((fx_group_norm_attrs){2, 1e-5f, false, false, 0.0f}, 1e-6);
    check((fx_group_norm_attrs){4, 1e-5f, true, false, 0.0f}, 1e-6);
    check((fx_group_norm_attrs){12, 1e-5f, true, true, 0.0f}, 1e-6);
    check((fx_group_norm_attrs){1, 1e-5f, false, true, 0.0f}, 1e-6);
    check((fx_group_norm_attrs){2, 1e-5f, true, false, 0.1f}, 1e-6);
}

static void hard_statistics(void **state)
{
    (void)state;
    make_inputs(0.0f, 1e-3f);
    check((fx_group_norm_attrs){2, 1e-5f, true, false, 0.0f}, 1e-6); /* eps is 10 times the variance */
    make_inputs(1.0f, 1e-3f);
    check((fx_group_norm_attrs){2, 1e-9f, true, false, 0.0f}, 1e-4); /* the mean is kept in fp32 */
    make_inputs(100.0f, 1e-1f);
    check((fx_group_norm_attrs){2, 1e-5f, true, false, 0.0f}, 1e-4);
    make_inputs(0.0f, 1e-3f);
    for (int c = 0; c < C1; c++) /* the pixels that the sums are shifted by are the odd ones out */
        in.x[c] = in.x[P * C1 + c] = 1.0f;
    check((fx_group_norm_attrs){2, 1e-5f, true, false, 0.0f}, 1e-5);
}

static void any_number_of_threads(void **state)
{
    (void)state;
    static float y[B * P * C], dy[B * P * C], dx[3][B * P * C1];
    make_inputs(0.5f, 1.0f);
    fx_fill_normal(3, 0, 9, 0, dy, B * P * C);
    const int before = omp_get_max_threads();
    for (int threads = 1; threads <= 3; threads++) {
        by_hand h;
        omp_set_num_threads(threads);
        run(&h, (fx_group_norm_attrs){4, 1e-5f, true, false, 0.1f});
        if (threads == 1) memcpy(y, h.node.out[0]->data, sizeof y);
        assert_memory_equal(y, h.node.out[0]->data, sizeof y);
        assert_int_equal(by_hand_backward(&h, 0, dy, dx[threads - 1]), FX_OK);
        assert_memory_equal(dx[0], dx[threads - 1], sizeof dx[0]);
        by_hand_end(&h);
    }
    omp_set_num_threads(before);
}

static void layer_norm(void **state)
{
    (void)state;
    enum { T = 5, D = 37 };
    static const float spreads[] = {1.0f, 1e-3f};
    for (int k = 0; k < 2; k++) {
        make_inputs(0.0f, spreads[k]);
        by_hand h;
        by_hand_begin(&h, FX_OP_layer_norm, (fx_attrs){.layer_norm = {1e-6f}});
        by_hand_in(&h, 0, in.x, 3, FX_DIMS(1, T, D));
        by_hand_in(&h, 1, in.x2, 1, FX_DIMS(D)); /* any numbers */
        by_hand_in(&h, 2, in.x2 + D, 1, FX_DIMS(D));
        assert_int_equal(by_hand_forward(&h), FX_OK);
        for (int t = 0; t < T; t++) {
            double sum = 0, square = 0;
            for (int i = 0; i < D; i++)
                sum += (double)in.x[t * D + i];
            for (int i = 0; i < D; i++)
                square += pow((double)in.x[t * D + i] - sum / D, 2);
            for (int i = 0; i < D; i++) {
                const double xhat = ((double)in.x[t * D + i] - sum / D) / sqrt(square / D + 1e-6);
                const double want = xhat * (double)in.x2[i] + (double)in.x2[D + i];
                assert_true(fabs((double)fx_f32(h.node.out[0])[t * D + i] - want) < 2e-6);
            }
        }
        by_hand_end(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_op), cmocka_unit_test(hard_statistics),
                                       cmocka_unit_test(any_number_of_threads),
                                       cmocka_unit_test(layer_norm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
