/* compared.h: a comparison for test_report.c to write, from its report, curves of 200 points and more,
 * and its hostile text. */
#ifndef FX_TEST_COMPARED_H
#define FX_TEST_COMPARED_H

#include <math.h>

#include "flexhpc/report.h"

/* Three runs: the second better and a tie, the third hostile, elsewhere evaluated and without a curve.
 */
static fx_comparison comparison(const fx_report *r, const double *step, const double *loss,
                                const double *rate, const char *hostile)
{
    enum { POINTS = 200 };
    static fx_compared_row rows[4];
    static fx_compared_fact keys[1];
    static fx_curve curves[4];
    static fx_chart chart;
    for (int i = 0; i < 3; i++) {
        const fx_score *s = &r->score[i + 2].score;
        rows[i] = (fx_compared_row){.task = FX_SR, .reynolds = s->reynolds, .seen = i != 0};
        rows[i].cell[0] = (fx_compared_cell){*s, NAN, NAN, NAN};
        rows[i].cell[1] = (fx_compared_cell){*s, 0.9 + 0.05 * i, 0.8 + 0.05 * i, 0.96 + 0.05 * i};
        rows[i].cell[2] = (fx_compared_cell){{.count = i == 1}, NAN, NAN, NAN};
    }
    rows[3] = rows[0];
    rows[3].name = hostile; /* of an evaluation */
    keys[0] = (fx_compared_fact){"train.learning_rate", {"1e-3", "2e-3", hostile}};
    for (int i = 0; i < 4; i++)
        curves[i] = (fx_curve){i == 2   ? hostile
                               : i == 3 ? "truth"
                                        : "run",
                               step, i % 2 ? rate : loss, i == 2 ? 0 : POINTS};
    chart =
        (fx_chart){.title = "Loss", .x_label = "step", .y_label = "loss", .curve = curves, .curves = 4};
    return (fx_comparison){.title = "2 runs against demo/first",
                           .summary = "One key of their configurations differs.",
                           .name = {"demo/first", "demo/second", hostile},
                           .runs = 3,
                           .row = rows,
                           .rows = 4,
                           .key = keys,
                           .keys = 1,
                           .chart = &chart,
                           .charts = 1};
}

#endif
