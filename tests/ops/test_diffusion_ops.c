/* test_diffusion_ops.c: draw, diffuse, loss and ddim, each against its formula or against the others.
 * Run: standin
 * Planted and caught: in draw.c the sample's number left out of the slot; in diffuse.c the first
 * snapshot for the last, FC rows read as SR rows, the signs of the residual, the scale of SR for FC; in
 * loss.c the schedule of row r for that of row r % B, eps without sigma z; in ddim.c e = (x - alpha
 * mean), sigma of the wrong time. */
#include "by_hand.h"

#include <math.h>
#include "flexhpc/rng.h"
#include "flexhpc/schedule.h"
#include "flexhpc/str.h"

enum { B = 3, S = 5, COND = 2, P = S * S };

static float t[B], eps[B * P], lowres[B * P], snapshots[B * P * COND], future[B * P], pred[2 * B * P];

static void make_inputs(void)
{
    for (int b = 0; b < B; b++)
        t[b] = 0.1f + 0.3f * (float)b;
    fx_fill_normal(5, 0, 1, 0, eps, B * P);
    fx_fill_normal(5, 0, 2, 0, lowres, B * P);
    fx_fill_normal(5, 0, 3, 0, snapshots, B * P * COND);
    fx_fill_normal(5, 0, 4, 0, future, B * P);
    fx_fill_normal(5, 0, 5, 0, pred, 2 * B * P);
}

static void diffuse(by_hand *h, fx_diffuse_attrs attrs, bool sr, bool fc)
{
    by_hand_begin(h, FX_OP_diffuse, (fx_attrs){.diffuse = attrs});
    by_hand_in(h, 0, t, 1, FX_DIMS(B));
    by_hand_in(h, 1, eps, 4, FX_DIMS(B, S, S, 1));
    if (sr) by_hand_in(h, 2, lowres, 4, FX_DIMS(B, S, S, 1));
    by_hand_in(h, 3, snapshots, 4, FX_DIMS(B, S, S, COND));
    if (fc) by_hand_in(h, 4, future, 4, FX_DIMS(B, S, S, 1));
    assert_int_equal(by_hand_forward(h), FX_OK);
}

static const fx_target_attrs RESIDUAL = {false, {1, 1}};

static double wanted(const fx_target_attrs *a, bool sr, int b, int i)
{
    const double last = (double)snapshots[(b * P + i) * COND + COND - 1],
                 whole = sr ? last : (double)future[b * P + i],
                 base = sr ? (double)lowres[b * P + i] : last;
    return (a->raw ? whole : whole - base) / (double)a->scale[sr ? 0 : 1];
}

static void assert_near(float got, double want)
{
    assert_true(fabs((double)got - want) <= 2e-6 * fmax(1, fabs(want)));
}

static double target_of(fx_predict predict, fx_noise_level l, double R, double e)
{
    return predict == FX_PREDICT_V ? l.alpha * e - l.sigma * R : predict == FX_PREDICT_X ? R : e;
}

/* Both tasks, or one of them: `rows` rows, the first `sr_rows` of super-resolution. */
static void check_diffuse(fx_diffuse_attrs attrs, bool sr, bool fc)
{
    by_hand h;
    diffuse(&h, attrs, sr, fc);
    const int rows = (sr + fc) * B, sr_rows = sr ? B : 0;
    assert_int_equal(h.node.out[0]->dim[0], rows);
    for (int r = 0; r < rows; r++) {
        const int b = r % B;
        const fx_noise_level l = fx_schedule((double)t[b], attrs.schedule.shift);
        const float *schedule = fx_f32(h.node.out[2]) + 4 * b;
        assert_near(schedule[0], l.alpha);
        assert_near(schedule[1], l.sigma);
        assert_near(schedule[2], fx_loss_weight(&attrs.schedule, l));
        assert_near(schedule[3], l.logsnr);
        for (int i = 0; i < P; i++) {
            const double R = wanted(&attrs.target, r < sr_rows, b, i), e = (double)eps[b * P + i];
            assert_near(fx_f32(h.node.out[0])[r * P + i], l.alpha * R + l.sigma * e);
            assert_near(fx_f32(h.node.out[1])[r * P + i], target_of(attrs.schedule.predict, l, R, e));
        }
    }
    by_hand_end(&h);
}

static void diffuse_is_its_formula(void **state)
{
    (void)state;
    static const fx_target_attrs targets[] = {
        {false, {1, 1}}, {true, {1, 1}}, {false, {0.25f, 3}}, {true, {0.5f, 1.5f}}};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        check_diffuse((fx_diffuse_attrs){{FX_PREDICT_V, 1.0, true, -1.0}, targets[i]}, true, true);
        check_diffuse((fx_diffuse_attrs){{FX_PREDICT_X, 0.5, false, 0.0}, targets[i]}, true, false);
        check_diffuse((fx_diffuse_attrs){{FX_PREDICT_EPS, 1.0, true, -1.0}, targets[i]}, false, true);
    }
}

static double criterion_of(fx_criterion criterion, double e)
{
    if (criterion == FX_L1) return fabs(e);
    if (criterion == FX_MSE) return e * e;
    return fabs(e) <= 1 ? e * e / 2 : fabs(e) - 0.5;
}

static void check_loss(fx_criterion criterion, fx_predict predict)
{
    by_hand d, h;
    diffuse(&d, (fx_diffuse_attrs){{predict, 1.0, true, -1.0}, RESIDUAL}, true, true);
    by_hand_begin(&h, FX_OP_loss, (fx_attrs){.loss = {criterion, predict}});
    by_hand_in(&h, 0, pred, 4, FX_DIMS(2 * B, S, S, 1));
    by_hand_in(&h, 1, fx_f32(d.node.out[1]), 4, FX_DIMS(2 * B, S, S, 1));
    by_hand_in(&h, 2, fx_f32(d.node.out[0]), 4, FX_DIMS(2 * B, S, S, 1));
    by_hand_in(&h, 3, fx_f32(d.node.out[2]), 2, FX_DIMS(B, 4));
    assert_int_equal(by_hand_forward(&h), FX_OK);
    for (int r = 0; r < 2 * B; r++) {
        const float *s = fx_f32(d.node.out[2]) + 4 * (r % B), *z = fx_f32(d.node.out[0]) + r * P;
        double sum = 0;
        for (int i = 0; i < P; i++) {
            const double out = (double)pred[r * P + i];
            const double said =
                predict == FX_PREDICT_EPS ? (double)s[0] * out + (double)s[1] * (double)z[i] : out;
            sum += criterion_of(criterion, said - (double)fx_f32(d.node.out[1])[r * P + i]);
        }
        assert_near(fx_f32(h.node.out[0])[r], (double)s[2] * sum / P);
    }
    by_hand_end(&h);
    by_hand_end(&d);
}

static void loss_is_its_formula(void **state)
{
    (void)state;
    for (fx_criterion criterion = FX_L1; criterion <= FX_HUBER; criterion++)
        for (fx_predict predict = FX_PREDICT_V; predict <= FX_PREDICT_EPS; predict++)
            check_loss(criterion, predict);
}

/* A network that knows the truth: z goes to the z of the next time with the same residual and noise. */
static void ddim_follows_the_truth(void **state)
{
    (void)state;
    for (fx_predict predict = FX_PREDICT_V; predict <= FX_PREDICT_EPS; predict++) {
        const fx_noise_level now = fx_schedule(0.75, 0.8), next = fx_schedule(0.25, 0.8);
        float x[P], net[P];
        for (int i = 0; i < P; i++) {
            const double R = wanted(&RESIDUAL, true, 0, i), e = (double)eps[i];
            x[i] = (float)(now.alpha * R + now.sigma * e);
            net[i] = (float)(predict == FX_PREDICT_X ? R : now.alpha * e - now.sigma * R);
        }
        by_hand h;
        by_hand_begin(&h, FX_OP_ddim, (fx_attrs){.ddim = {predict, 0.8, 0.75, 0.25}});
        by_hand_in(&h, 0, x, 4, FX_DIMS(1, S, S, 1));
        by_hand_in(&h, 1, net, 4, FX_DIMS(1, S, S, 1));
        assert_int_equal(by_hand_forward(&h), FX_OK);
        for (int i = 0; i < P; i++) {
            const double R = wanted(&RESIDUAL, true, 0, i), e = (double)eps[i];
            assert_near(fx_f32(h.node.out[1])[i], R);
            assert_near(fx_f32(h.node.out[0])[i], next.alpha * R + next.sigma * e);
        }
        by_hand_end(&h);
    }
}

/* What the network that is right about normal fields of standard deviation s says at z: R is g z on
 * average, g = alpha s^2 / (alpha^2 s^2 + sigma^2). */
static double best_guess(fx_predict predict, fx_noise_level l, double s, double z)
{
    const double R = l.alpha * s * s / (l.alpha * l.alpha * s * s + l.sigma * l.sigma) * z,
                 e = (z - l.alpha * R) / l.sigma;
    return predict == FX_PREDICT_X ? R : l.alpha * e - l.sigma * R;
}

/* x_T goes through the product over the steps of (alpha' alpha s^2 + sigma' sigma) / (alpha^2 s^2 +
 * sigma^2), but for the last, whose mean is taken. Many steps make the fields' standard deviation. */
static void check_normal(fx_predict predict, double s, int steps)
{
    float x[P], net[P];
    double gain = 1, mean = 1;
    memcpy(x, eps, sizeof x);
    for (int k = steps; k >= 1; k--) {
        const double now = (double)k / steps, after = (double)(k - 1) / steps;
        const fx_noise_level l = fx_schedule(now, 1), next = fx_schedule(after, 1);
        const double variance = l.alpha * l.alpha * s * s + l.sigma * l.sigma;
        for (int i = 0; i < P; i++)
            net[i] = (float)best_guess(predict, l, s, (double)x[i]);
        by_hand h;
        by_hand_begin(&h, FX_OP_ddim, (fx_attrs){.ddim = {predict, 1, now, after}});
        by_hand_in(&h, 0, x, 4, FX_DIMS(1, S, S, 1));
        by_hand_in(&h, 1, net, 4, FX_DIMS(1, S, S, 1));
        assert_int_equal(by_hand_forward(&h), FX_OK);
        mean = gain * l.alpha * s * s / variance;
        gain *= (next.alpha * l.alpha * s * s + next.sigma * l.sigma) / variance;
        for (int i = 0; i < P; i++)
            assert_true(fabs((double)fx_f32(h.node.out[1])[i] - mean * (double)eps[i]) <= 1e-5);
        memcpy(x, h.node.out[0]->data, sizeof x);
        by_hand_end(&h);
    }
    if (steps > 1) assert_true(fabs(mean / s - 1) < 0.02);
}

static void ddim_makes_normal_fields_of_the_right_variance(void **state)
{
    (void)state;
    for (fx_predict predict = FX_PREDICT_V; predict <= FX_PREDICT_EPS; predict++) {
        check_normal(predict, 0.3, 1);
        check_normal(predict, 0.3, 128);
        check_normal(predict, 1, 128);
    }
}

static void draw(by_hand *h, int64_t samples, int64_t slot0)
{
    by_hand_begin(h, FX_OP_draw, (fx_attrs){.draw = {samples, S}});
    h->step.slot0 = 10;
    h->node.rows = (fx_rows){.samples = samples, .slot0 = slot0};
    assert_int_equal(by_hand_forward(h), FX_OK);
}

/* One sample's numbers are those of its slot, however many are drawn with it. */
static void draw_depends_on_the_slot_only(void **state)
{
    (void)state;
    by_hand all, one;
    float want_t, want_eps[P];
    draw(&all, B, 2);
    for (int b = 0; b < B; b++) {
        draw(&one, 1, 2 + b);
        const uint32_t slot_task = 2 * (10 + 2 + (uint32_t)b);
        fx_fill_uniform(7, slot_task, fx_crc32("t"), 3, &want_t, 1);
        fx_fill_normal(7, slot_task, fx_crc32("eps"), 3, want_eps, P);
        assert_memory_equal(one.node.out[0]->data, &want_t, sizeof want_t);
        assert_memory_equal(one.node.out[1]->data, want_eps, sizeof want_eps);
        assert_memory_equal(fx_f32(all.node.out[0]) + b, &want_t, sizeof want_t);
        assert_memory_equal(fx_f32(all.node.out[1]) + b * P, want_eps, sizeof want_eps);
        by_hand_end(&one);
    }
    by_hand_end(&all);
}

int main(void)
{
    make_inputs();
    const struct CMUnitTest tests[] = {cmocka_unit_test(diffuse_is_its_formula),
                                       cmocka_unit_test(loss_is_its_formula),
                                       cmocka_unit_test(ddim_follows_the_truth),
                                       cmocka_unit_test(ddim_makes_normal_fields_of_the_right_variance),
                                       cmocka_unit_test(draw_depends_on_the_slot_only)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
