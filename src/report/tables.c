/* tables.c: the tables of scores: one a task, a row a Reynolds number, each with its floors and, as a
 * small picture, the ratio to the floor with its interval. */
#include "text.h"

#include <math.h>

static const double RATIO_WIDTH = 150; /* of the small pictures, in their units */
static const char *const titles[] = {[FX_SR] = "Super-resolution", [FX_FC] = "Forecast"};

const char *task_title(fx_task task)
{
    return titles[task];
}

const char *floor_name(const fx_report *report, fx_task task, int floor)
{
    if (task == FX_FC) return floor == 0 ? "persistence" : "linear extrapolation";
    if (floor > 0) return "second floor";
    return report->bilinear ? "bilinear interpolation" : "bicubic interpolation";
}

/* The largest value the small pictures must show: a little above the floor, more where a model is
 * worse. */
static double ratio_end(const fx_report *report)
{
    double end = 1.15;
    for (int i = 0; i < report->scores; i++) {
        const fx_score *s = &report->score[i].score;
        end = fmax(end, 1.05 * (isfinite(s->ratio_high) ? s->ratio_high : s->ratio));
    }
    return fmin(end, 4);
}

/* A dot at the ratio, its interval as a bar, the floor as a line at 1, the goal dashed. */
static void ratio_write(text *t, const fx_report *report, const fx_score *s, double end)
{
    const double unit = RATIO_WIDTH / end;
    fx_text_add(t,
                "<svg class=\"ratio\" viewBox=\"0 0 152 20\" aria-hidden=\"true\"><path class=\"axis\" "
                "d=\"M1 10H151\"/>"
                "<path class=\"floor\" d=\"M%.1f 2V18\"/>",
                1 + unit);
    if (report->goal > 0)
        fx_text_add(t, "<path class=\"goal\" d=\"M%.1f 2V18\"/>", 1 + unit * report->goal);
    if (isfinite(s->ratio_low))
        fx_text_add(t, "<path class=\"interval\" d=\"M%.1f 10H%.1f\"/>",
                    1 + unit * fmin(s->ratio_low, end), 1 + unit * fmin(s->ratio_high, end));
    fx_text_add(t, "<circle class=\"%s\" cx=\"%.1f\" cy=\"10\" r=\"4\"/></svg>",
                s->ratio < 1 ? "good" : "bad", 1 + unit * fmin(s->ratio, end));
}

static void cell(text *t, double value, int digits)
{
    fx_text_add(t, "<td>");
    text_number(t, value, digits);
    fx_text_add(t, "</td>");
}

typedef struct columns {
    bool second_floor, correlation, fine_scales;
} columns;

static void row_write(text *t, const fx_report *report, const fx_report_score *row, const columns *has,
                      double end)
{
    const fx_score *s = &row->score;
    fx_text_add(t, "<tr><th scope=\"row\">%g <span class=\"tag %s</span></th><td><b>", s->reynolds,
                row->seen ? "seen\">seen" : "unseen\">unseen");
    text_number(t, s->rfne, 3);
    fx_text_add(t, "</b>");
    text_interval(t, s->rfne_low, s->rfne_high, 3);
    fx_text_add(t, "</td>");
    cell(t, s->floor[0], 3);
    if (has->second_floor) cell(t, s->floor[1], 3);
    fx_text_add(t, "<td>");
    text_number(t, s->ratio, 2);
    text_interval(t, s->ratio_low, s->ratio_high, 2);
    fx_text_add(t, "</td><td class=\"picture\">");
    ratio_write(t, report, s, end);
    fx_text_add(t, "</td>");
    if (has->correlation) cell(t, s->correlation, 3);
    if (has->fine_scales) {
        fx_text_add(t, "<td>");
        text_number(t, 100 * row->fine_scales, 0);
        fx_text_add(t, "%s</td>", isfinite(row->fine_scales) ? "\xe2\x80\xaf%" : "");
    }
    fx_text_add(t, "<td>%lld</td></tr>\n", (long long)s->count);
}

static columns columns_of(const fx_report *report, fx_task task, int *rows)
{
    columns has = {0};
    *rows = 0;
    for (int i = 0; i < report->scores; i++) {
        const fx_report_score *row = &report->score[i];
        if (row->score.task != task) continue;
        ++*rows;
        has.second_floor |= isfinite(row->score.floor[1]);
        has.correlation |= isfinite(row->score.correlation);
        has.fine_scales |= isfinite(row->fine_scales);
    }
    return has;
}

static void table_write(text *t, const fx_report *report, fx_task task)
{
    const double end = ratio_end(report);
    int rows = 0;
    const columns has = columns_of(report, task, &rows);
    if (rows == 0) return;
    fx_text_add(t,
                "<div class=\"scroll\"><table><caption>%s</caption><thead><tr><th scope=\"col\">Re</th>"
                "<th scope=\"col\">model RFNE</th><th scope=\"col\">%s</th>",
                titles[task], floor_name(report, task, 0));
    if (has.second_floor) fx_text_add(t, "<th scope=\"col\">%s</th>", floor_name(report, task, 1));
    fx_text_add(t,
                "<th scope=\"col\">model / %s</th><th class=\"picture\"><svg class=\"ratio\" "
                "viewBox=\"0 0 152 20\" aria-hidden=\"true\"><text x=\"1\" y=\"16\">0</text><text "
                "x=\"%.1f\" y=\"16\" "
                "text-anchor=\"middle\">floor</text></svg></th>",
                task == FX_FC      ? "persistence"
                : report->bilinear ? "bilinear"
                                   : "bicubic",
                1 + RATIO_WIDTH / end);
    if (has.correlation) fx_text_add(t, "<th scope=\"col\">correlation</th>");
    if (has.fine_scales) fx_text_add(t, "<th scope=\"col\">fine scales</th>");
    fx_text_add(t, "<th scope=\"col\">patches</th>");
    fx_text_add(t, "</tr></thead><tbody>\n");
    for (int i = 0; i < report->scores; i++)
        if (report->score[i].score.task == task) row_write(t, report, &report->score[i], &has, end);
    fx_text_add(t, "</tbody></table></div>\n");
}

void score_tables_write(text *t, const fx_report *report)
{
    if (report->scores == 0) return;
    fx_text_add(t, "<section><h2>Scores by Reynolds number</h2>\n");
    table_write(t, report, FX_SR);
    table_write(t, report, FX_FC);
    fx_text_add(
        t, "<p class=\"note\">RFNE: norm of the error over norm of the truth, mean over patches; "
           "small print: 95 %% interval "
           "by a bootstrap over blocks of correlated patches. In the pictures the line is the floor");
    if (report->goal > 0) fx_text_add(t, ", the dashes the goal of %.2f", report->goal);
    fx_text_add(t,
                ". Fine scales: energy of the model over that of the truth, in the wave numbers that "
                "the input does not "
                "resolve.</p></section>\n");
}
