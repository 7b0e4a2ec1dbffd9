/* findings.c: the verdict, from the scores: a card a task with the error relative to its floor, and
 * sentences on what is good and what is wrong; failure signatures are signs.c's. A model generalises
 * where the ratio to the floor lies within 10 % of the range that the neighbours seen in training span.
 */
#include "text.h"

#include <math.h>

static const double SLACK = 0.1;
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

static bool has_few_blocks(const fx_report *report, const fx_report_score *row)
{
    (void)report;
    return row->score.blocks < FEW_BLOCKS;
}

static void ratio_said(text *t, const fx_report *report, const fx_report_score *row)
{
    (void)report;
    fx_text_add(t, "ratio %.2f", row->score.ratio);
}

static void both_said(text *t, const fx_report *report, const fx_report_score *row)
{
    (void)report;
    fx_text_add(t, "RFNE %.3f against %.3f", row->score.rfne, row->score.floor[1]);
}

static void goal_said(text *t, const fx_report *report, const fx_report_score *row)
{
    fx_text_add(t, "ratio %.2f, goal %.2f", row->score.ratio, report->goal);
}

static void interval_said(text *t, const fx_report *report, const fx_report_score *row)
{
    (void)report;
    fx_text_add(t, "the interval of the ratio reaches %.2f", row->score.ratio_high);
}

static void blocks_said(text *t, const fx_report *report, const fx_report_score *row)
{
    (void)report;
    fx_text_add(t, "%lld independent blocks, fewer than %d", (long long)row->score.blocks, FEW_BLOCKS);
}

static double worst_ratio(const fx_report_score *row)
{
    return row->score.ratio;
}

static double worst_against_second(const fx_report_score *row)
{
    return row->score.rfne / row->score.floor[1];
}

static double worst_interval(const fx_report_score *row)
{
    return row->score.ratio_high;
}

static double worst_blocks(const fx_report_score *row)
{
    return -(double)row->score.blocks;
}

/* What may be wrong in a row; said once a task, with the Reynolds numbers where it holds and the number
 * of the worst. `floor`: the one named after `says`; -1: none. */
typedef struct rule {
    bool (*holds)(const fx_report *report, const fx_report_score *row);
    double (*worst)(const fx_report_score *row);
    void (*said)(text *t, const fx_report *report, const fx_report_score *row);
    fx_mark mark;
    int floor;
    const char *says;
} rule;

static const rule rules[] = {
    {loses, worst_ratio, ratio_said, FX_MARK_BAD, 0, "no better than "},
    {second_floor_wins, worst_against_second, both_said, FX_MARK_BAD, 1, "not better than "},
    {misses_goal, worst_ratio, goal_said, FX_MARK_BAD, -1, "misses the goal"},
    {is_unsure, worst_interval, interval_said, FX_MARK_NOTE, 0, "may be no better than "},
    {has_few_blocks, worst_blocks, blocks_said, FX_MARK_NOTE, -1, "rough intervals"},
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
    double ratio, least, most; /* mean and range over its rows */
} group;

static group group_of(const fx_report *report, fx_task task,
                      bool (*holds)(const fx_report *, const fx_report_score *))
{
    group g = {.least = INFINITY, .most = -INFINITY};
    for (int i = 0; i < report->scores; i++)
        if (report->score[i].score.task == task && holds(report, &report->score[i])) {
            g.rows++;
            g.ratio += report->score[i].score.ratio;
            g.least = fmin(g.least, report->score[i].score.ratio);
            g.most = fmax(g.most, report->score[i].score.ratio);
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

void finding_open(text *t, fx_mark mark)
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

/* Whether the row's ratio is at most SLACK above those of its neighbours seen in training; false where
 * there are none to compare with. */
static bool has_neighbours(const fx_report *report, const fx_report_score *row, bool *holds)
{
    const fx_report_score *below = neighbour(report, &row->score, -1),
                          *above = neighbour(report, &row->score, 1);
    if (row->seen || (!below && !above)) return false;
    const double a = below ? below->score.ratio : above->score.ratio,
                 b = above ? above->score.ratio : a;
    *holds = row->score.ratio <= (1 + SLACK) * fmax(a, b);
    return true;
}

static void lost_write(text *t, const fx_report *report, const fx_score *s)
{
    const fx_report_score *below = neighbour(report, s, -1), *above = neighbour(report, s, 1);
    finding_open(t, FX_MARK_BAD);
    fx_text_add(t, "%s: does not carry over to Re %g, never seen%s: ratio %.2f, against ",
                task_title(s->task), s->reynolds,
                below && above ? "" : " and outside the range trained on", s->ratio);
    if (below) fx_text_add(t, "%.2f at Re %g", below->score.ratio, below->score.reynolds);
    if (above)
        fx_text_add(t, "%s%.2f at Re %g", below ? " and " : "", above->score.ratio,
                    above->score.reynolds);
    fx_text_add(t, ".</span></li>\n");
}

static bool carries_over(const fx_report *report, const fx_report_score *row)
{
    bool holds = false;
    return has_neighbours(report, row, &holds) && holds;
}

static bool is_lost(const fx_report *report, const fx_report_score *row)
{
    bool holds = false;
    return has_neighbours(report, row, &holds) && !holds;
}

static bool wins(const fx_report *report, const fx_report_score *row)
{
    return !loses(report, row) && !is_unsure(report, row);
}

/* What holds at several Reynolds numbers is one sentence. */
static void praise_write(text *t, const fx_report *report, fx_task task)
{
    const group better = group_of(report, task, wins), carried = group_of(report, task, carries_over);
    const double most = better.most;
    if (better.rows > 0) {
        finding_open(t, FX_MARK_GOOD);
        fx_text_add(t, "%s: better than %s at ", task_title(task), floor_name(report, task, 0));
        names_write(t, report, task, wins);
        fx_text_add(
            t, better.rows > 1 ? ", ratios at most %.2f.</span></li>\n" : ": ratio %.2f.</span></li>\n",
            most);
    }
    if (carried.rows == 0) return;
    finding_open(t, FX_MARK_GOOD);
    fx_text_add(t, "%s: carries over to ", task_title(task));
    names_write(t, report, task, carries_over);
    fx_text_add(
        t,
        ", never seen: no ratio is more than %.0f\xe2\x80\xaf%% above those of the nearest that "
        "training saw.</span></li>\n",
        100 * SLACK);
}

static void rule_write(text *t, const fx_report *report, fx_task task, const rule *r)
{
    const fx_report_score *worst = NULL;
    const int rows = group_of(report, task, r->holds).rows;
    if (rows == 0) return;
    for (int i = 0; i < report->scores; i++) {
        const fx_report_score *row = &report->score[i];
        if (row->score.task != task || !r->holds(report, row)) continue;
        if (!worst || r->worst(row) > r->worst(worst)) worst = row;
    }
    finding_open(t, r->mark);
    fx_text_add(t, "%s: %s%s at ", task_title(task), r->says,
                r->floor >= 0 ? floor_name(report, task, r->floor) : "");
    names_write(t, report, task, r->holds);
    fx_text_add(t, rows > 1 ? ", at worst " : ": ");
    r->said(t, report, worst);
    fx_text_add(t, ".</span></li>\n");
}

/* Of one mark, and a task. */
static void task_findings_write(text *t, const fx_report *report, fx_task task, fx_mark mark)
{
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        if (rules[r].mark == mark) rule_write(t, report, task, &rules[r]);
    if (mark == FX_MARK_BAD) signs_write(t, report, task);
    for (int i = 0; mark == FX_MARK_BAD && i < report->scores; i++)
        if (report->score[i].score.task == task && is_lost(report, &report->score[i]))
            lost_write(t, report, &report->score[i].score);
    if (mark == FX_MARK_GOOD) praise_write(t, report, task);
}

/* What is wrong comes first. */
void findings_write(text *t, const fx_report *report)
{
    static const fx_mark order[] = {FX_MARK_BAD, FX_MARK_NOTE, FX_MARK_GOOD};
    fx_text_add(t, "<ul class=\"findings\">\n");
    for (size_t m = 0; m < sizeof order / sizeof order[0]; m++) {
        for (int i = 0; i < report->findings; i++) {
            if (report->finding[i].mark != order[m]) continue;
            finding_open(t, order[m]);
            text_escaped(t, report->finding[i].text);
            fx_text_add(t, "</span></li>\n");
        }
        task_findings_write(t, report, FX_SR, order[m]);
        task_findings_write(t, report, FX_FC, order[m]);
        if (order[m] != FX_MARK_NOTE || report->scores > 0 || report->tables > 0) continue;
        finding_open(t, FX_MARK_NOTE);
        fx_text_add(t, "Not evaluated: how good the model is, nobody has measured.</span></li>\n");
    }
    fx_text_add(t, "</ul>\n");
}

static void share_write(text *t, const fx_report *report, fx_task task, const char *word,
                        bool (*holds)(const fx_report *, const fx_report_score *))
{
    const group g = group_of(report, task, holds);
    const double least = g.least, most = g.most;
    if (g.rows == 0) return;
    fx_text_add(t, "<p class=\"share\"><b class=\"%s\">%.2f</b><span>%s<br><small>",
                g.ratio >= 1 || (report->goal > 0 && g.ratio > report->goal) ? "bad" : "good", g.ratio,
                word);
    names_write(t, report, task, holds);
    if (least < most) fx_text_add(t, ": %.2f\xe2\x80\x93%.2f", least, most);
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
                    task_title((fx_task)task), floor_name(report, (fx_task)task, 0));
        share_write(t, report, (fx_task)task, "seen in training", is_seen);
        share_write(t, report, (fx_task)task, "never seen", is_unseen);
        fx_text_add(t, "</div></div>\n");
    }
    fx_text_add(t, "</div>\n");
}
