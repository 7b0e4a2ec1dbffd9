/* unseen.c: Reynolds numbers that were not trained on. RFNE falls with the Reynolds number whatever the
 * model, so what is compared is its ratio to the floor's: a model carries over where that lies between
 * the ratios of the two neighbours that it was trained on, give or take a tenth. Beyond the range
 * trained on there is no such neighbour; that is extrapolation, and told apart. */
#include <math.h>

#include "study.h"

static const double SLACK = 0.1;
enum { HELDOUT, UNSEEN, MOST = 64 };

fx_status study_plan_unseen(study *s)
{
    const fx_config *c = &s->config;
    FX_TRY(study_evaluate_on(s, "study.heldout", c->study_heldout, c->sample_steps, 1));
    return study_evaluate_on(s, "study.unseen", c->study_unseen, c->sample_steps, 1);
}

typedef struct point {
    double reynolds;
    bool seen;
    study_series model, floor;
    fx_interval rfne, ratio;
} point;

/* Whether all runs that were evaluated there were trained on it. */
static bool is_seen(const study *s, int evaluation, double reynolds)
{
    for (const study_run *run = s->run; run < s->run + s->runs; run++)
        for (int i = 0; run->have[evaluation] && i < run->evaluation[evaluation].rows; i++) {
            const fx_eval_row *row = &run->evaluation[evaluation].row[i];
            if (row->score.reynolds == reynolds && !row->seen) return false;
        }
    return true;
}

static fx_status read_points(study *s, fx_task task, point *out, int *count)
{
    for (int e = HELDOUT; e <= UNSEEN; e++) {
        double reynolds[MOST];
        fx_seed_noise noise;
        const int n = study_reynolds(s, e, task, reynolds, MOST);
        FX_TRY(study_noise(s, e, task, &noise));
        for (int i = 0; i < n; i++) {
            point p = {.reynolds = reynolds[i], .seen = is_seen(s, e, reynolds[i])};
            FX_TRY(study_series_of(s, s->kind->arm, e, task, p.reynolds, study_rfne, &p.model));
            FX_TRY(study_series_of(s, s->kind->arm, e, task, p.reynolds, study_floor, &p.floor));
            FX_TRY(study_mean(s, &p.model, &noise, &p.rfne));
            FX_TRY(study_ratio(s, &p.model, &p.floor, &noise, &p.ratio));
            int at = (*count)++;
            for (; at > 0 && out[at - 1].reynolds > p.reynolds; at--)
                out[at] = out[at - 1];
            out[at] = p;
        }
    }
    return FX_OK;
}

/* The nearest seen point on a side; NULL: none. */
static const point *neighbour(const point *p, const point *first, const point *last, int side)
{
    for (const point *q = p + side; q >= first && q <= last; q += side)
        if (q->seen) return q;
    return NULL;
}

typedef struct finding {
    const char *word;
    double low, high; /* what the ratio may be; NaN: not said */
    fx_mark mark;
} finding;

static finding judge(const point *p, const point *below, const point *above)
{
    if (p->seen) return (finding){"seen", NAN, NAN, FX_MARK_NOTE};
    if (!below || !above) {
        const point *edge = below ? below : above;
        return (finding){"extrapolation", edge ? edge->ratio.value : NAN,
                         edge ? edge->ratio.value : NAN, FX_MARK_NOTE};
    }
    const double low = (1 - SLACK) * fmin(below->ratio.value, above->ratio.value),
                 high = (1 + SLACK) * fmax(below->ratio.value, above->ratio.value);
    if (p->ratio.value > high) return (finding){"worse than its neighbours", low, high, FX_MARK_BAD};
    if (p->ratio.value < low) return (finding){"better than its neighbours", low, high, FX_MARK_GOOD};
    return (finding){"carries over", low, high, FX_MARK_GOOD};
}

static fx_status say(study *s, fx_task task, const point *p, const finding *f)
{
    if (p->seen) return FX_OK;
    if (f->mark == FX_MARK_NOTE)
        return study_say(
            s, FX_MARK_NOTE,
            "%s, Re %g, outside the range trained on (extrapolation): %s of %s's error; %.3f at the "
            "nearest seen",
            study_task_name(task), p->reynolds, study_interval_text(s, &p->ratio, 3, false),
            study_floor_name(s, task), f->low);
    return study_say(
        s, f->mark,
        "%s, Re %g, never seen: %s of %s's error; its seen neighbours, give or take a tenth, span "
        "%.3f to %.3f: %s",
        study_task_name(task), p->reynolds, study_interval_text(s, &p->ratio, 3, false),
        study_floor_name(s, task), f->low, f->high, f->word);
}

static fx_status put_points(study *s, study_table *t, fx_task task, const point *p, int count)
{
    for (int i = 0; i < count; i++) {
        const finding f =
            judge(&p[i], neighbour(&p[i], p, p + count - 1, -1), neighbour(&p[i], p, p + count - 1, 1));
        FX_TRY(study_put_text(s, t, "%s", study_task_name(task)));
        FX_TRY(study_put(s, t, p[i].reynolds, "%g"));
        FX_TRY(study_put_interval(s, t, &p[i].rfne, 4));
        FX_TRY(study_put(s, t, p[i].floor.mean, "%.4f"));
        FX_TRY(study_put_interval(s, t, &p[i].ratio, 3));
        FX_TRY(study_put_text(s, t, "%s", f.word));
        FX_TRY(say(s, task, &p[i], &f));
    }
    return FX_OK;
}

/* Seen and unseen Reynolds numbers as two curves. */
static fx_status chart(study *s, fx_task task, const point *p, int count)
{
    study_curve curve[2];
    int curves = 0;
    for (int seen = 0; seen < 2; seen++) {
        double *x = fx_pool_calloc(s->pool, (size_t)count, sizeof *x);
        fx_interval *y = fx_pool_calloc(s->pool, (size_t)count, sizeof *y);
        int n = 0;
        if (!x || !y) return FX_ENOMEM;
        for (int i = 0; i < count; i++) {
            if (p[i].seen != (seen == 1)) continue;
            x[n] = p[i].reynolds;
            y[n++] = p[i].ratio;
        }
        if (n > 0) curve[curves++] = (study_curve){seen ? "seen" : "never seen", x, y, n};
    }
    return study_ratio_chart(s, task, "Reynolds number", true, curve, curves);
}

fx_status study_analyse_unseen(study *s)
{
    static const char *const columns[] = {"task",         "Re",      "RFNE", "floor",
                                          "RFNE / floor", "verdict", NULL};
    study_table *t = study_table_begin(s, "unseen", "Seen and unseen Reynolds numbers", columns);
    FX_REQUIRE(t, FX_EARG, "more than %d tables", STUDY_TABLES);
    FX_TRY(study_say_noise(s, HELDOUT));
    for (fx_task task = FX_SR; task <= FX_FC; task++) {
        point *p = fx_pool_calloc(s->pool, 2 * MOST, sizeof *p);
        int count = 0;
        if (!p) return FX_ENOMEM;
        FX_TRY(read_points(s, task, p, &count));
        if (count == 0) continue;
        FX_TRY(put_points(s, t, task, p, count));
        FX_TRY(chart(s, task, p, count));
    }
    return FX_OK;
}
