/* test_plan.c: the plan of a whole training step of a small FLEX: no two tensors that live at once
 * share memory; every way of recomputing gives the same bits with less memory; buckets cover the
 * gradient once, each behind its last writer.
 *
 * Planted and caught: lifetimes of statistics that end with forward; a gap search that ignores a
 * block's own size; a recomputed norm with another dropout stream; bucket nodes one entry early. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "small_flex.h"

static fx_exec *exec;

static const char *const SETTINGS[] = {"model.preset=custom",
                                       "data.patch=32",
                                       "model.channels=32,64",
                                       "model.blocks=2,1",
                                       "model.depth=3",
                                       "model.heads=2",
                                       "model.mlp_ratio=2",
                                       "model.dropout=0.1",
                                       "contrast.weight=0.1",
                                       "data.factor=4",
                                       "train.global_batch=2",
                                       "train.bucket=0.125",
                                       NULL};

static fx_trainee *trainee_of(fx_recompute recompute)
{
    fx_trainee *t = NULL;
    fx_step_options options;
    if (small_options(SETTINGS, &options) != FX_OK) fail_msg("%s", fx_error_message());
    options.recompute = recompute;
    if (fx_trainee_create(exec, &options, false, &t) != FX_OK) fail_msg("%s", fx_error_message());
    return t;
}

typedef struct place {
    size_t start, end;
    int first, last;
    const char *name;
} place;

static void add(place *places, int *count, const fx_tensor *t)
{
    if (!t || t->memory != FX_PLANNED) return;
    for (int i = 0; i < *count; i++)
        if (places[i].start == t->offset && places[i].first == t->first && places[i].name == t->name &&
            places[i].last == t->last)
            return;
    places[(*count)++] = (place){t->offset, t->offset + fx_tensor_bytes(t), t->first, t->last, t->name};
}

static void use(const fx_tensor *t, int at)
{
    if (t && t->memory == FX_PLANNED) assert_true(t->first <= at && at <= t->last);
}

/* Lifetimes hold every entry that touches a tensor, by the op's own declaration. */
static void check_lifetimes(const fx_entry *e, int at)
{
    const bool backward = e->pass == FX_BACKWARD;
    const unsigned reads = backward ? e->node->op->backward_reads : ~0u;
    for (int i = 0; i < FX_MAX_IN; i++) {
        if (reads & FX_IN(i)) use(e->node->in[i], at);
        if (backward) use(e->node->din[i], at);
    }
    for (int i = 0; i < FX_MAX_OUT; i++) {
        if (reads & FX_OUT(i)) use(e->node->out[i], at);
        if (backward) use(e->node->dout[i], at);
    }
    for (int i = 0; i < FX_MAX_SAVED; i++)
        if (reads & FX_SAVED(i)) use(e->node->saved[i], at);
}

static void nothing_overlaps(void **state)
{
    (void)state;
    for (fx_recompute mode = FX_RECOMPUTE_NONE; mode <= FX_RECOMPUTE_ALL; mode++) {
        fx_trainee *t = trainee_of(mode);
        const fx_entry *entries = NULL;
        const int n = fx_program_entries(t->step, &entries);
        place *places = fx_calloc((size_t)n * 20, sizeof *places);
        int count = 0;
        for (int e = 0; e < n; e++) {
            const fx_node *node = entries[e].node;
            check_lifetimes(&entries[e], e);
            for (int i = 0; i < FX_MAX_IN; i++)
                add(places, &count, node->in[i]), add(places, &count, node->din[i]);
            for (int i = 0; i < FX_MAX_OUT; i++)
                add(places, &count, node->out[i]), add(places, &count, node->dout[i]);
            for (int i = 0; i < FX_MAX_SAVED; i++)
                add(places, &count, node->saved[i]);
            if (entries[e].scratch_bytes > 0)
                places[count++] =
                    (place){entries[e].scratch_offset,
                            entries[e].scratch_offset + entries[e].scratch_bytes, e, e, "scratch"};
        }
        const size_t arena = fx_program_summary(t->step).arena_bytes;
        for (int i = 0; i < count; i++) {
            assert_true(places[i].first < 0 || places[i].end <= arena);
            for (int j = 0; j < i; j++) {
                const place *a = &places[i], *b = &places[j];
                if (a->first < 0 || b->first < 0 || a->last < b->first || b->last < a->first) continue;
                if (a->start < b->end && b->start < a->end)
                    fail_msg("%s and %s share memory", a->name, b->name);
            }
        }
        assert_true(count > 100);
        fx_free(places);
        fx_trainee_free(&t);
    }
}

/* Weights unlike the initial ones, which are zero where it matters; inputs; one step with rate 0. */
static void run(fx_trainee *t)
{
    fx_step_report report;
    const fx_step step = {
        .seed = 3, .step = 5, .ema_decay = 1, .update = 1, .gradient_scale = 1, .dropout = true};
    for (int i = 0; i < fx_params_count(t->params); i++) {
        const fx_param *p = fx_params_at(t->params, i);
        const int64_t n = fx_count(&p->value);
        float *x = fx_calloc((size_t)n, sizeof *x);
        fx_fill_normal(9, 0, p->stream, 0, x, n);
        for (int64_t k = 0; k < n; k++)
            x[k] = p->init.kind == FX_INIT_ONE ? 1.0f + 0.1f * x[k] : 0.1f * x[k];
        assert_int_equal(fx_params_write(t->params, exec, p, FX_SLAB_VALUE, x), FX_OK);
        fx_free(x);
    }
    fx_tensor *const in[] = {t->inputs[0].snapshots, t->inputs[0].future, t->inputs[0].re};
    for (int i = 0; i < 3; i++) {
        const int64_t n = fx_count(in[i]);
        float *x = fx_calloc((size_t)n, sizeof *x);
        fx_fill_normal(10, (uint32_t)i, 0, 0, x, n);
        assert_int_equal(fx_program_write(t->step, in[i], x), FX_OK);
        fx_free(x);
    }
    if (fx_trainee_step(t, &step, &report) != FX_OK) fail_msg("%s", fx_error_message());
    assert_true(report.finite && report.norm > 0);
}

static void recomputation_changes_no_bit(void **state)
{
    (void)state;
    fx_trainee *kept = trainee_of(FX_RECOMPUTE_NONE);
    size_t saved = fx_program_summary(kept->step).saved_bytes;
    run(kept);
    for (fx_recompute mode = FX_RECOMPUTE_CHEAP; mode <= FX_RECOMPUTE_ALL; mode++) {
        fx_trainee *t = trainee_of(mode);
        const fx_plan_summary s = fx_program_summary(t->step);
        run(t);
        for (int i = 0; i < fx_params_count(kept->params); i++) {
            const fx_param *a = fx_params_at(kept->params, i);
            if (!a->trained) continue;
            const fx_param *b = fx_params_find(t->params, a->name);
            assert_memory_equal(a->gradient[0].data, b->gradient[0].data, fx_tensor_bytes(&a->value));
        }
        assert_true(s.recomputed > 0 && s.saved_bytes < saved);
        saved = s.saved_bytes;
        fx_trainee_free(&t);
    }
    fx_trainee_free(&kept);
}

static void buckets_cover_the_gradient_once(void **state)
{
    (void)state;
    fx_trainee *t = trainee_of(FX_RECOMPUTE_CHEAP);
    const fx_entry *entries = NULL;
    const int n = fx_program_entries(t->step, &entries);
    int64_t end = 0;
    int buckets = 0;
    for (int e = 0; e < n; e++) {
        if (entries[e].node->id != FX_OP_all_reduce) continue;
        const fx_reduce_attrs a = entries[e].node->attrs.reduce;
        assert_int_equal(a.offset, end);
        end += a.count;
        buckets++;
        bool written_just_before =
            false; /* by the entry in front, or one with another bucket in between */
        int before = e - 1;
        while (entries[before].node->id == FX_OP_all_reduce)
            before--;
        for (int late = e; late < n; late++) /* nobody writes into it any more */
            for (int i = 0; entries[late].pass == FX_BACKWARD && i < FX_MAX_IN; i++) {
                const fx_tensor *d = entries[late].node->din[i];
                if (!d || !d->param) continue;
                assert_true(d->param->offset < a.offset || d->param->offset >= a.offset + a.count);
            }
        for (int i = 0; i < FX_MAX_IN; i++) {
            const fx_tensor *d = entries[before].node->din[i];
            if (d && d->param && d->param->offset >= a.offset && d->param->offset < a.offset + a.count)
                written_just_before = true;
        }
        assert_true(written_just_before);
    }
    assert_true(buckets > 3 && buckets == t->buckets);
    assert_int_equal(end, fx_params_slab(t->params, FX_SLAB_GRADIENT, 0)->dim[0]);
    fx_trainee_free(&t);
}

static int set_up(void **state)
{
    (void)state;
    return small_exec(&exec) != FX_OK;
}

static int tear_down(void **state)
{
    (void)state;
    exec->backend->close(&exec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_overlaps),
        cmocka_unit_test(recomputation_changes_no_bit),
        cmocka_unit_test(buckets_cover_the_gradient_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
