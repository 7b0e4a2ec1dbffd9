/* rollouts.c: forecasts of many snapshots as strips: truth, model and error by lead, in one colour
 * scale. */
#include "text.h"

#include <math.h>

enum { ROWS = 3 };

/* A picture of one frame, or a dash where its truth is not known, or words where it is not finite. */
static void frame_write(text *t, const fx_rollout *r, int row, int frame, double scale)
{
    const int64_t size = r->height * r->width;
    const float *truth = r->truth + frame * size, *model = r->model + frame * size,
                *field = row == 0 ? truth : model, *minus = row == 2 ? truth : NULL;
    const bool unknown = row != 1 && isnan(truth[0]);
    if (unknown || picture_not_finite(field, minus, size) > 0) {
        fx_text_add(t, "<span>%s</span>", unknown ? "\xe2\x80\x93" : "not finite");
        return;
    }
    fx_text_add(t,
                "<svg viewBox=\"0 0 %lld %lld\" role=\"img\" aria-label=\"%s\"><image width=\"%lld\" "
                "height=\"%lld\" href=\"",
                (long long)r->width, (long long)r->height,
                row == 0   ? "truth"
                : row == 1 ? "model"
                           : "error",
                (long long)r->width, (long long)r->height);
    picture_encode(t, field, minus, r->height, r->width, scale);
    fx_text_add(t, "\"/></svg>\n");
}

static void strip_write(text *t, const fx_rollout *r, double scale)
{
    static const char *const names[ROWS] = {"truth", "model", "error"};
    fx_text_add(t, "<div class=\"scroll strip\"><table><thead><tr><th scope=\"col\">lead</th>");
    for (int f = 0; f < r->frames; f++)
        fx_text_add(t, "<th scope=\"col\">%g</th>", r->lead[f]);
    fx_text_add(t, "</tr></thead><tbody>\n");
    for (int row = 0; row < ROWS; row++) {
        fx_text_add(t, "<tr><th scope=\"row\">%s</th>", names[row]);
        for (int f = 0; f < r->frames; f++) {
            fx_text_add(t, "<td>");
            frame_write(t, r, row, f, scale);
            fx_text_add(t, "</td>");
        }
        fx_text_add(t, "</tr>\n");
    }
    fx_text_add(t, "</tbody></table></div>\n");
}

static void one_write(text *t, const fx_rollout *r, int id)
{
    double scale = 1;
    if (t->status == FX_OK && (r->frames < 1 || r->height < 1 || r->width < 1))
        t->status = fx_fail(FX_EARG, "a rollout of %d frames of %lld x %lld pixels", r->frames,
                            (long long)r->height, (long long)r->width);
    if (t->status == FX_OK)
        t->status = picture_scale(r->truth, r->frames * r->height * r->width, &scale);
    if (t->status != FX_OK) return;
    fx_text_add(t, "<section class=\"panel\"><h3>");
    text_escaped(t, r->title);
    fx_text_add(t, "</h3>\n");
    strip_write(t, r, scale);
    picture_bar(t, scale, "r", id);
    fx_text_add(t, "</section>\n");
}

void rollouts_write(text *t, const fx_report *report)
{
    if (report->rollouts == 0) return;
    fx_text_add(
        t, "<section><h2>Forecasts of many snapshots</h2>\n<p class=\"note\">Vorticity; each forecast "
           "goes on from "
           "the one before. All pictures of a strip share one colour scale, that of its truth.</p>\n");
    for (int i = 0; i < report->rollouts; i++)
        one_write(t, &report->rollout[i], i);
    fx_text_add(t, "</section>\n");
}
