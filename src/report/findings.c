/* findings.c: the verdict, from the scores: a card a task with the error relative to its floor, and
 * sentences on what is good and what is wrong. The limits are those of the field's practice: blur below
 * half of the truth's energy, noise above twice, generalisation when the ratio to the floor lies within
 * 10 % of the range that the neighbours seen in training span. */
#include "text.h"

#include <math.h>

static const double BLUR = 0.5, NOISE = 2, SLACK = 0.1;
enum { FEW_BLOCKS = 5 };

static bool loses(const fx_report *report, const fx_report_score *row)
{
    (void)report;
    return row->score.ratio >= 1;
}

static bool is_unsure(const fx_report *report, const fx_report_score *row)
{
    return !loses(report, row) && row->score.ratio_high >= 1;
}

static bool misses_goal(const fx_report *report, const fx_report_score *row)
{
    return report->goal > 0 && row->score.ratio > report->goal && row->score.ratio < 1;
}

static bool second_floor_wins(const fx_report *report, const fx_report_score *row)
{
    (void)report;
    return row->score.floor[1] <= row->score.rfne;
}

static bool is_blurred(const fx_report *report, const fx_report_score *row)
{
    (void)report;
    return row->fine_scales < BLUR;
}

static bool is_noisy(const fx_report *report, const fx_report_score *row)
{
    (void)report;
    return row->fine_scales > NOISE;
}

static bool has_few_blocks(const fx_report *report, const fx_report_score *row)
{
    (void)report;
    return row->score.blocks < FEW_BLOCKS;
}

/* What may be wrong in a row; said once a task, with the Reynolds numbers where it holds. `floor`: the
 * one named at the end of the sentence; -1: none. */
static const struct rule {
    bool (*holds)(const fx_report *report, const fx_report_score *row);
    fx_mark mark;
    int floor;
    const char *says;
} rules[] = {
    {loses, FX_MARK_BAD, 0, "no better than %s"},
    {second_floor_wins, FX_MARK_BAD, 1, "not better than %s"},
    {misses_goal, FX_MARK_BAD, -1, "the goal is missed"},
    {is_blurred, FX_MARK_BAD, -1,
     "blurred, less than half of the truth\xe2\x80\x99s energy in the fine scales,"},
    {is_noisy, FX_MARK_BAD, -1,
     "noisy, more than twice the truth\xe2\x80\x99s energy in the fine scales,"},
    {is_unsure, FX_MARK_NOTE, 0, "the interval of the ratio reaches 1, so it may be no better than %s"},
    {has_few_blocks, FX_MARK_NOTE, -1,
     "intervals rest on fewer than 5 independent blocks, so they are rough"},
};

static bool is_seen(const fx_report *report, const fx_report_score *row)
{
    (void)report;
    return row->seen;
}

static bool is_unseen(const fx_report *report, const fx_report_score *row)
{
    (void)report;
    return !row->seen;
}

typedef struct group {
    int rows;
    double ratio; /* mean over its rows */
} group;

static group group_of(const fx_report *report, fx_task task,
                      bool (*holds)(const fx_report *, const fx_report_score *))
{
    group g = {0, 0};
    for (int i = 0; i < report->scores; i++)
        if (report->score[i].score.task == task && holds(report, &report->score[i])) {
            g.rows++;
            g.ratio += report->score[i].score.ratio;
        }
    g.ratio = g.rows > 0 ? g.ratio / g.rows : NAN;
    return g;
}

/* "Re 250, 500 and 1000": the rows where `holds`. */
static void names_write(text *t, const fx_report *report, fx_task task,
                        bool (*holds)(const fx_report *, const fx_report_score *))
{
    const int rows = group_of(report, task, holds).rows;
    int written = 0;
    fx_text_add(t, "Re ");
    for (int i = 0; i < report->scores; i++) {
        if (report->score[i].score.task != task || !holds(report, &report->score[i])) continue;
        fx_text_add(t, "%s%g",
                    written == 0          ? ""
                    : written == rows - 1 ? " and "
                                          : ", ",
                    report->score[i].score.reynolds);
        written++;
    }
}

static void open_finding(text *t, fx_mark mark)
{
    static const char *const class_of[] = {"note", "good", "bad"};
    static const char *const sign_of[] = {"\xe2\x80\xa2", "\xe2\x9c\x93", "\xe2\x9c\x97"};
    static const char *const word_of[] = {"note", "good", "bad"};
    fx_text_add(t,
                "<li class=\"%s\"><span class=\"mark\" role=\"img\" aria-label=\"%s\">%s</span><span>",
                class_of[mark], word_of[mark], sign_of[mark]);
}

/* The nearest row of the task seen in training, below (side -1) or above (1) a Reynolds number; NULL:
 * none. */
static const fx_report_score *neighbour(const fx_report *report, const fx_score *s, int side)
{
    const fx_report_score *nearest = NULL;
    for (int i = 0; i < report->scores; i++) {
        const fx_report_score *row = &report->score[i];
        const double distance = side * (row->score.reynolds - s->reynolds);
        if (row->score.task != s->task || !row->seen || distance <= 0) continue;
        if (!nearest || distance < side * (nearest->score.reynolds - s->reynolds)) nearest = row;
    }
    return nearest;
}

static void generalisation_write(text *t, const fx_report *report, const fx_score *s)
{
    const fx_report_score *below = neighbour(report, s, -1), *above = neighbour(report, s, 1);
    if (!below && !above) return;
    const double a = below ? below->score.ratio : above->score.ratio,
                 b = above ? above->score.ratio : a;
    const bool holds = s->ratio <= (1 + SLACK) * fmax(a, b);
    open_finding(t, holds ? FX_MARK_GOOD : FX_MARK_BAD);
    fx_text_add(t, "%s: %s to Re %g, never seen%s: ratio %.2f, against ", task_title(s->task),
                holds ? "carries over" : "does not carry over", s->reynolds,
                below && above ? "" : " and outside the range trained on", s->ratio);
    if (below) fx_text_add(t, "%.2f at Re %g", below->score.ratio, below->score.reynolds);
    if (above)
        fx_text_add(t, "%s%.2f at Re %g", below ? " and " : "", above->score.ratio,
                    above->score.reynolds);
    fx_text_add(t, ".</span></li>\n");
}

static void task_findings_write(text *t, const fx_report *report, fx_task task)
{
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++) {
        if (group_of(report, task, rules[r].holds).rows == 0) continue;
        open_finding(t, rules[r].mark);
        fx_text_add(t, "%s: ", task_title(task));
        for (const char *c = rules[r].says; *c; c++) {
            if (c[0] == '%' && c[1] == 's')
                fx_text_add(t, "%s", floor_name(task, rules[r].floor)), c++;
            else
                fx_text_add(t, "%c", *c);
        }
        fx_text_add(t, " at ");
        names_write(t, report, task, rules[r].holds);
        fx_text_add(t, ".</span></li>\n");
    }
    for (int i = 0; i < report->scores; i++)
        if (report->score[i].score.task == task && !report->score[i].seen)
            generalisation_write(t, report, &report->score[i].score);
}

void findings_write(text *t, const fx_report *report)
{
    fx_text_add(t, "<ul class=\"findings\">\n");
    for (int i = 0; i < report->findings; i++) {
        open_finding(t, report->finding[i].mark);
        text_escaped(t, report->finding[i].text);
        fx_text_add(t, "</span></li>\n");
    }
    task_findings_write(t, report, FX_SR);
    task_findings_write(t, report, FX_FC);
    if (report->scores == 0) {
        open_finding(t, FX_MARK_NOTE);
        fx_text_add(t, "Not evaluated: how good the model is, nobody has measured.</span></li>\n");
    }
    fx_text_add(t, "</ul>\n");
}

static void share_write(text *t, const fx_report *report, fx_task task, const char *word,
                        bool (*holds)(const fx_report *, const fx_report_score *))
{
    const group g = group_of(report, task, holds);
    if (g.rows == 0) return;
    fx_text_add(t, "<p class=\"share\"><b class=\"%s\">%.2f</b><span>%s<br><small>",
                g.ratio >= 1 || (report->goal > 0 && g.ratio > report->goal) ? "bad" : "good", g.ratio,
                word);
    names_write(t, report, task, holds);
    fx_text_add(t, "</small></span></p>");
}

void cards_write(text *t, const fx_report *report)
{
    fx_text_add(t, "<div class=\"cards\">\n");
    for (int task = FX_SR; task <= FX_FC; task++) {
        const int rows = group_of(report, (fx_task)task, is_seen).rows +
                         group_of(report, (fx_task)task, is_unseen).rows;
        if (rows == 0) continue;
        fx_text_add(t,
                    "<div class=\"card\"><h2>%s</h2><p class=\"note\">error relative to %s; 1 is "
                    "no better</p><div "
                    "class=\"shares\">",
                    task_title((fx_task)task), floor_name((fx_task)task, 0));
        share_write(t, report, (fx_task)task, "seen in training", is_seen);
        share_write(t, report, (fx_task)task, "never seen", is_unseen);
        fx_text_add(t, "</div></div>\n");
    }
    fx_text_add(t, "</div>\n");
}
