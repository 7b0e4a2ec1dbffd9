/* measures.c: the tables of what is measured beside RFNE: a column a statistic of fx_score that any row
 * has. */
#include "text.h"

#include <math.h>

typedef struct measure {
    fx_statistic of;
    int digits;
    const char *title, *perfect; /* perfect: what a perfect model has; NULL: it depends */
} measure;

static const measure measures[] = {
    {FX_STATISTIC_PSNR, 1, "PSNR, dB", NULL},
    {FX_STATISTIC_SSIM, 3, "SSIM", "1"},
    {FX_STATISTIC_CLIMATOLOGY, 3, "climatology\xe2\x80\x99s RFNE", NULL},
    {FX_STATISTIC_LOWRES, 3, "RFNE at given pixels / RFNE", "0"},
    {FX_STATISTIC_ENERGY, 3, "energy", "1"},
    {FX_STATISTIC_ENSTROPHY, 3, "enstrophy", "1"},
    {FX_STATISTIC_BAND_ENERGY, 2, "fine scales: energy", "1"},
    {FX_STATISTIC_BAND_ERROR, 2, "fine scales: error", "0"},
    {FX_STATISTIC_TAIL, 2, "energy beyond dissipation", "1"},
    {FX_STATISTIC_CUTOFF, 2, "half power at k / k_d", NULL},
    {FX_STATISTIC_DECIBEL, 1, "spectrum, dB off", "0"},
    {FX_STATISTIC_KURTOSIS, 2, "kurtosis", NULL},
    {FX_STATISTIC_TRUTH_KURTOSIS, 2, "the truth\xe2\x80\x99s", NULL},
    {FX_STATISTIC_W1, 3, "W1 of the values", "0"},
    {FX_STATISTIC_MEAN_RFNE, 3, "RFNE of the members\xe2\x80\x99 mean", "0"},
    {FX_STATISTIC_CRPS, 4, "CRPS, fair", "0"},
    {FX_STATISTIC_SPREAD_SKILL, 2, "spread / skill", "1"},
    {FX_STATISTIC_DIVERSITY, 3, "spread / residual", NULL},
    {FX_STATISTIC_PULL, 2, "pull: mean", "0"},
    {FX_STATISTIC_PULL_WIDTH, 2, "pull: width", NULL},
    {FX_STATISTIC_OUTLIERS, 2, "outliers / expected", "1"},
};
enum { MEASURES = sizeof measures / sizeof measures[0] };

static bool is_measured(const fx_report *report, fx_task task, const measure *m)
{
    for (int i = 0; i < report->scores; i++)
        if (report->score[i].score.task == task && isfinite(report->score[i].score.value[m->of]))
            return true;
    return false;
}

static void head_write(text *t, const fx_report *report, fx_task task)
{
    fx_text_add(t,
                "<div class=\"scroll\"><table class=\"measures\"><caption>%s</caption><thead><tr><th "
                "scope=\"col\">measure</th><th scope=\"col\">perfect</th>",
                task_title(task));
    for (int i = 0; i < report->scores; i++)
        if (report->score[i].score.task == task)
            fx_text_add(t, "<th scope=\"col\">Re %g</th>", report->score[i].score.reynolds);
    fx_text_add(t, "</tr></thead><tbody>\n");
}

static void row_write(text *t, const fx_report *report, fx_task task, const measure *m)
{
    fx_text_add(t, "<tr><th scope=\"row\">%s</th><td>%s</td>", m->title, m->perfect ? m->perfect : "");
    for (int i = 0; i < report->scores; i++) {
        const fx_score *s = &report->score[i].score;
        if (s->task != task) continue;
        fx_text_add(t, "<td>");
        text_number(t, s->value[m->of], m->digits);
        text_interval(t, s->low[m->of], s->high[m->of], m->digits);
        fx_text_add(t, "</td>");
    }
    fx_text_add(t, "</tr>\n");
}

static int count_of(const fx_report *report, fx_task task)
{
    int count = 0;
    for (int m = 0; m < MEASURES; m++)
        count += is_measured(report, task, &measures[m]);
    return count;
}

void measures_write(text *t, const fx_report *report)
{
    if (count_of(report, FX_SR) + count_of(report, FX_FC) == 0) return;
    fx_text_add(t, "<section><h2>Beside the RFNE</h2>\n");
    for (int task = FX_SR; task <= FX_FC; task++) {
        if (count_of(report, (fx_task)task) == 0) continue;
        head_write(t, report, (fx_task)task);
        for (int m = 0; m < MEASURES; m++)
            if (is_measured(report, (fx_task)task, &measures[m]))
                row_write(t, report, (fx_task)task, &measures[m]);
        fx_text_add(t, "</tbody></table></div>\n");
    }
    fx_text_add(
        t,
        "<p class=\"note\">In brackets what a perfect model has. Energies are the model\xe2\x80\x99s "
        "over the "
        "truth\xe2\x80\x99s; fine scales are the wave numbers between the Nyquist number of the coarse "
        "input and k_d = 2 \xe2\x88\x9aRe, where dissipation sets in; their error is the energy of the "
        "error "
        "there over the truth\xe2\x80\x99s. W1 is in standard deviations; how wide the pull of a "
        "perfect ensemble is depends on its members. Small print: 95 %% intervals "
        "as "
        "above.</p></section>\n");
}
