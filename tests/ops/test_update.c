/* test_update.c: clip and the optimizers against a plain re-computation in double, over several
 * updates.
 *
 * Run: standin
 * Planted and caught: in update.c Lion's m updated before the sign is taken, d for 1 - d in the EMA,
 * AdamW without the bias correction of v, decay left out, the test of the finite flag left out; in
 * clip.c the last block left out, the factor without the gradient scale. */
#include "by_hand.h"

#include <math.h>
#include "flexhpc/rng.h"

enum { N = 1003, UPDATES = 4 };
static const float MAX_NORM = 1.0f;

typedef struct state {
    float p[N], g[N], m[N], v[N], ema[N], norm[4];
    double want_p[N], want_m[N], want_v[N], want_ema[N];
} state;

static void start(state *s)
{
    *s = (state){.norm = {0}};
    fx_fill_normal(1, 0, 1, 0, s->p, N);
    for (int i = 0; i < N; i++)
        s->want_p[i] = s->want_ema[i] = (double)(s->ema[i] = s->p[i]);
}

static void clip(state *s, const fx_step *step)
{
    by_hand h;
    by_hand_begin(&h, FX_OP_clip, (fx_attrs){.clip = {MAX_NORM}});
    h.step = *step;
    by_hand_in(&h, 0, s->g, 1, FX_DIMS(N));
    assert_int_equal(by_hand_forward(&h), FX_OK);
    memcpy(s->norm, h.node.out[0]->data, sizeof s->norm);
    by_hand_end(&h);
}

static void update(state *s, fx_update_attrs attrs, const fx_step *step)
{
    by_hand h;
    by_hand_begin(&h, FX_OP_update, (fx_attrs){.update = attrs});
    h.step = *step;
    float *const in[] = {s->p, s->g, s->m, attrs.optimizer == FX_ADAMW ? s->v : NULL, s->ema};
    for (int i = 0; i < 5; i++)
        if (in[i]) by_hand_in(&h, i, in[i], 1, FX_DIMS(N));
    by_hand_in(&h, 5, s->norm, 1, FX_DIMS(4));
    assert_int_equal(by_hand_forward(&h), FX_OK);
    by_hand_end(&h);
}

/* The same in double, from the formulas. */
static void want(state *s, fx_update_attrs a, const fx_step *step)
{
    const double lr = (double)step->learning_rate, d = (double)step->ema_decay,
                 scale = (double)step->gradient_scale;
    double norm = 0;
    for (int i = 0; i < N; i++)
        norm += scale * (double)s->g[i] * scale * (double)s->g[i];
    norm = sqrt(norm);
    assert_true(fabs((double)s->norm[0] - norm) < 1e-6 * norm);
    for (int i = 0; i < N; i++) {
        const double g = scale * (double)s->g[i] * fmin(1, (double)MAX_NORM / (norm + 1e-6));
        double change;
        if (a.optimizer == FX_LION) {
            const double u = a.beta1 * s->want_m[i] + (1 - a.beta1) * g;
            change = (u > 0) - (u < 0);
            s->want_m[i] = a.beta2 * s->want_m[i] + (1 - a.beta2) * g;
        } else {
            s->want_m[i] = a.beta1 * s->want_m[i] + (1 - a.beta1) * g;
            s->want_v[i] = a.beta2 * s->want_v[i] + (1 - a.beta2) * g * g;
            change = s->want_m[i] / (1 - pow(a.beta1, (double)step->update)) /
                     (sqrt(s->want_v[i] / (1 - pow(a.beta2, (double)step->update))) + a.eps);
        }
        s->want_p[i] -= lr * (change + a.decay * s->want_p[i]);
        s->want_ema[i] -= (1 - d) * (s->want_ema[i] - s->want_p[i]);
    }
}

static void assert_close(const float *got, const double *want_values, double tolerance)
{
    for (int i = 0; i < N; i++)
        assert_true(fabs((double)got[i] - want_values[i]) <= tolerance);
}

static void run(fx_update_attrs attrs, float gradient_size, float gradient_scale)
{
    static state s;
    start(&s);
    for (int u = 1; u <= UPDATES; u++) {
        const fx_step step = {.update = u,
                              .learning_rate = 1e-2f,
                              .ema_decay = 0.5f + 0.1f * (float)u,
                              .gradient_scale = gradient_scale};
        fx_fill_normal(1, 0, 2, (uint32_t)u, s.g, N);
        for (int i = 0; i < N; i++)
            s.g[i] *= gradient_size;
        clip(&s, &step);
        want(&s, attrs, &step);
        update(&s, attrs, &step);
    }
    assert_close(s.p, s.want_p, 2e-6);
    assert_close(s.m, s.want_m, 1e-7);
    assert_close(s.ema, s.want_ema, 2e-6);
    if (attrs.optimizer == FX_ADAMW) assert_close(s.v, s.want_v, 1e-9);
}

static void lion(void **unused)
{
    (void)unused;
    run((fx_update_attrs){FX_LION, 0.9, 0.98, 0, 0}, 1.0f, 2.0f);
    run((fx_update_attrs){FX_LION, 0.9, 0.98, 0, 0.3}, 1e-3f, 2.0f); /* not clipped */
}

static void adamw(void **unused)
{
    (void)unused;
    run((fx_update_attrs){FX_ADAMW, 0.9, 0.999, 1e-8, 0}, 1.0f, 1.0f);
    run((fx_update_attrs){FX_ADAMW, 0.9, 0.999, 1e-4, 0.3}, 1e-3f, 2.0f);
}

/* A gradient that is not finite changes nothing, and a zero one moves no parameter. */
static void special_gradients(void **unused)
{
    (void)unused;
    static state s, before;
    const fx_update_attrs attrs = {FX_LION, 0.9, 0.98, 0, 0};
    const fx_step step = {.update = 1, .learning_rate = 1e-2f, .ema_decay = 0.5f, .gradient_scale = 1};
    const float bad[] = {NAN, INFINITY, 3e38f};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        start(&s);
        s.g[N - 1] = bad[k];
        s.g[0] = bad[k];
        clip(&s, &step);
        assert_true(s.norm[2] == 0.0f);
        before = s;
        update(&s, attrs, &step);
        assert_memory_equal(&s, &before, sizeof s);
    }
    start(&s);
    clip(&s, &step);
    assert_true(s.norm[0] == 0.0f && s.norm[1] == 1.0f && s.norm[2] == 1.0f);
    before = s;
    update(&s, attrs, &step);
    assert_memory_equal(s.p, before.p, sizeof s.p);
}

static void norm_of_several_blocks(void **unused)
{
    (void)unused;
    enum { MANY = 3 * (1 << 16) + 5 };
    float *g = fx_calloc(MANY, sizeof *g);
    assert_non_null(g);
    for (int i = 0; i < MANY; i++)
        g[i] = 1.0f;
    by_hand h;
    by_hand_begin(&h, FX_OP_clip, (fx_attrs){.clip = {0.0f}});
    by_hand_in(&h, 0, g, 1, FX_DIMS(MANY));
    assert_int_equal(by_hand_forward(&h), FX_OK);
    assert_true(fx_f32(h.node.out[0])[0] == (float)sqrt((double)MANY) &&
                fx_f32(h.node.out[0])[1] == 1.0f);
    by_hand_end(&h);
    fx_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lion), cmocka_unit_test(adamw),
                                       cmocka_unit_test(special_gradients),
                                       cmocka_unit_test(norm_of_several_blocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
