/* compare.c: several runs on one page: what differs, scores side by side, curves and spectra over each
 * other. A run is held against the first one where both were scored on the same samples: then the
 * ratio of their errors has an interval of its own, far narrower than those of the errors. */
#include "text.h"

#include <math.h>
#include <string.h>

#include "flexhpc/io.h"

typedef enum verdict { BETTER, TIE, WORSE, UNPAIRED, VERDICTS } verdict;

/* A tie: the interval holds 1. */
static verdict verdict_of(const fx_compared_cell *cell)
{
    if (!isfinite(cell->ratio_low)) return UNPAIRED;
    return cell->ratio_high < 1 ? BETTER : cell->ratio_low > 1 ? WORSE : TIE;
}

/* Rows of one task and of evaluations with one name: what a sentence is about. */
typedef struct subject {
    fx_task task;
    const char *name;
} subject;

static bool is_about(const fx_compared_row *row, const subject *of)
{
    if (row->task != of->task) return false;
    return row->name && of->name ? strcmp(row->name, of->name) == 0 : row->name == of->name;
}

static int count_of(const fx_comparison *c, const subject *of, int run, verdict wanted)
{
    int count = 0;
    for (int i = 0; i < c->rows; i++)
        count += is_about(&c->row[i], of) && c->row[i].cell[run].score.count > 0 &&
                 verdict_of(&c->row[i].cell[run]) == wanted;
    return count;
}

/* "better at Re 500 (0.93) and 700 (0.91)" */
static void places_write(text *t, const fx_comparison *c, const subject *of, int run, verdict wanted)
{
    static const char *const words[] = {"better at Re ", "a tie at Re ", "worse at Re ", ""};
    const int count = count_of(c, of, run, wanted);
    int written = 0;
    fx_text_add(t, "%s", words[wanted]);
    for (int i = 0; i < c->rows; i++) {
        const fx_compared_cell *cell = &c->row[i].cell[run];
        if (!is_about(&c->row[i], of) || cell->score.count == 0 || verdict_of(cell) != wanted) continue;
        fx_text_add(t, "%s%g (%.2f)",
                    written == 0           ? ""
                    : written == count - 1 ? " and "
                                           : ", ",
                    c->row[i].reynolds, cell->ratio);
        written++;
    }
}

static void sentence_write(text *t, const fx_comparison *c, const subject *of, int run)
{
    static const verdict order[] = {BETTER, TIE, WORSE};
    const int better = count_of(c, of, run, BETTER), worse = count_of(c, of, run, WORSE),
              tie = count_of(c, of, run, TIE), unpaired = count_of(c, of, run, UNPAIRED);
    bool first = true;
    if (better + worse + tie + unpaired == 0) return;
    finding_open(t, better + worse + tie == 0 || (better == 0) == (worse == 0) ? FX_MARK_NOTE
                    : worse                                                    ? FX_MARK_BAD
                                                                               : FX_MARK_GOOD);
    text_escaped(t, c->name[run]);
    fx_text_add(t, ", %s", fx_task_titles[of->task]);
    if (of->name) fx_text_add(t, " in the evaluation ");
    if (of->name) text_escaped(t, of->name);
    fx_text_add(t, ", against ");
    text_escaped(t, c->name[0]);
    fx_text_add(t, ": ");
    for (size_t v = 0; v < sizeof order / sizeof order[0]; v++) {
        if (count_of(c, of, run, order[v]) == 0) continue;
        if (!first) fx_text_add(t, "; ");
        places_write(t, c, of, run, order[v]);
        first = false;
    }
    if (first)
        fx_text_add(
            t, "not scored on the same samples, or on too few: their intervals alone can be compared");
    fx_text_add(t, ".</span></li>\n");
}

static void verdict_write(text *t, const fx_comparison *c)
{
    fx_text_add(t, "<ul class=\"findings\">\n");
    for (int i = 0; i < c->notes; i++) {
        finding_open(t, FX_MARK_BAD);
        text_escaped(t, c->note[i]);
        fx_text_add(t, "</span></li>\n");
    }
    for (int run = 1; run < c->runs; run++)
        for (int i = 0; i < c->rows; i++) { /* rows of one subject follow each other */
            const subject of = {c->row[i].task, c->row[i].name};
            if (i == 0 || !is_about(&c->row[i - 1], &of)) sentence_write(t, c, &of, run);
        }
    if (c->rows == 0) {
        finding_open(t, FX_MARK_NOTE);
        fx_text_add(t, "Not evaluated: how good these models are, nobody has measured.</span></li>\n");
    } else {
        finding_open(t, FX_MARK_NOTE);
        fx_text_add(t, "Intervals are of the choice of samples. Runs that differ in their training "
                       "seed alone differ "
                       "too: what one run of each shows may be that.</span></li>\n");
    }
    fx_text_add(t, "</ul>\n");
}

static void names_row_write(text *t, const fx_comparison *c, const char *corner)
{
    fx_text_add(t, "<thead><tr><th scope=\"col\">%s</th>", corner);
    for (int run = 0; run < c->runs; run++) {
        fx_text_add(t, "<th scope=\"col\">");
        text_escaped(t, c->name[run]);
        fx_text_add(t, "</th>");
    }
    fx_text_add(t, "</tr></thead><tbody>\n");
}

/* Rows of texts; a value that is not the first run's is set off. */
static void texts_write(text *t, const fx_comparison *c, const fx_compared_fact *row, int rows,
                        const char *title, const char *corner)
{
    if (rows == 0) return;
    fx_text_add(t, "<section><h2>%s</h2><div class=\"scroll\"><table class=\"texts\">", title);
    names_row_write(t, c, corner);
    for (int i = 0; i < rows; i++) {
        fx_text_add(t, "<tr><th scope=\"row\">");
        text_escaped(t, row[i].key);
        fx_text_add(t, "</th>");
        for (int run = 0; run < c->runs; run++) {
            fx_text_add(t, "<td>");
            text_escaped(t, row[i].value[run] ? row[i].value[run] : "\xe2\x80\x93");
            fx_text_add(t, "</td>");
        }
        fx_text_add(t, "</tr>\n");
    }
    fx_text_add(t, "</tbody></table></div></section>\n");
}

static void cell_write(text *t, const fx_compared_cell *cell, bool reference)
{
    static const char *const words[] = {"better", "tie", "worse", ""}, *const classes[] = {"good", "",
                                                                                           "bad", ""};
    const verdict v = verdict_of(cell);
    if (cell->score.count == 0) {
        fx_text_add(t, "<td>\xe2\x80\x93</td>");
        return;
    }
    fx_text_add(t, "<td><b>");
    text_number(t, cell->score.rfne, 3);
    fx_text_add(t, "</b>");
    text_interval(t, cell->score.rfne_low, cell->score.rfne_high, 3);
    if (!reference && v != UNPAIRED) {
        fx_text_add(t, "<br><b class=\"%s\">%s</b> ", classes[v], words[v]);
        text_number(t, cell->ratio, 2);
        text_interval(t, cell->ratio_low, cell->ratio_high, 2);
    }
    fx_text_add(t, "</td>");
}

static void scores_write(text *t, const fx_comparison *c, fx_task task)
{
    int rows = 0;
    for (int i = 0; i < c->rows; i++)
        rows += c->row[i].task == task;
    if (rows == 0) return;
    fx_text_add(t, "<div class=\"scroll\"><table class=\"compared\"><caption>%s</caption>",
                task_title(task));
    names_row_write(t, c, "Re");
    for (int i = 0; i < c->rows; i++) {
        const fx_compared_row *row = &c->row[i];
        if (row->task != task) continue;
        fx_text_add(t, "<tr><th scope=\"row\">%g <span class=\"tag %s</span>", row->reynolds,
                    row->seen ? "seen\">seen" : "unseen\">unseen");
        if (row->name) fx_text_add(t, "<br><small>");
        if (row->name) text_escaped(t, row->name);
        fx_text_add(t, "%s</th>", row->name ? "</small>" : "");
        for (int run = 0; run < c->runs; run++)
            cell_write(t, &row->cell[run], run == 0);
        fx_text_add(t, "</tr>\n");
    }
    fx_text_add(t, "</tbody></table></div>\n");
}

static void all_scores_write(text *t, const fx_comparison *c)
{
    if (c->rows == 0) return;
    fx_text_add(t, "<section><h2>Scores by Reynolds number</h2>\n");
    scores_write(t, c, FX_SR);
    scores_write(t, c, FX_FC);
    fx_text_add(t, "<p class=\"note\">RFNE with its 95 %% interval; below, its ratio to that of ");
    text_escaped(t, c->name[0]);
    fx_text_add(t, " on the same samples, with the interval of the ratio: both runs are resampled "
                   "alike, in blocks of "
                   "correlated samples. A tie: the interval holds 1.</p></section>\n");
}

fx_status fx_comparison_write(const fx_comparison *c, const char *path)
{
    text page = {0};
    FX_REQUIRE(c->runs >= 2 && c->runs <= FX_COMPARED_MAX, FX_EARG,
               "a comparison of %d runs, not of 2 to %d", c->runs, FX_COMPARED_MAX);
    page_begin(&page, c->title, c->summary);
    verdict_write(&page, c);
    all_scores_write(&page, c);
    texts_write(&page, c, c->fact, c->facts, "Runs", "");
    texts_write(&page, c, c->key, c->keys, "Configuration, where it differs", "key");
    charts_write(&page, c->chart, c->charts);
    return page_end(&page, path);
}
