/* evaluate_write.c: an evaluation's samples, scores, spectra and example fields as a file
 * (eval_file.h).
 */
#include <math.h>
#include <string.h>

#include "evaluate.h"
#include "flexhpc/mem.h"

/* Index into rows of a score. */
static fx_evaluation_row *row_of(fx_evaluation *e, const fx_score *s)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    int r = 0;
    while (r < e->reynolds - 1 && m->reynolds[r].reynolds != s->reynolds)
        r++;
    return &e->rows[(int)s->task * e->reynolds + r];
}

/* Spectra of the row's whole shells. */
static fx_status fill_spectra(fx_pool *pool, const fx_evaluation_row *w, fx_eval_row *out)
{
    const int64_t all = fx_spectrum_shells(w->truth);
    double *x = fx_pool_calloc(pool, 3 * (size_t)all, sizeof *x);
    if (!x) return FX_ENOMEM;
    fx_spectrum_read(w->truth, x, x + 2 * all, NULL);
    fx_spectrum_read(w->model, NULL, x + all, NULL);
    out->shells = fx_spectrum_whole_shells(w->truth);
    out->k = x;
    out->model = x + all;
    out->truth = x + 2 * all;
    return FX_OK;
}

static fx_status fill_example(fx_pool *pool, const fx_evaluation *e, const fx_evaluation_row *w,
                              fx_eval_row *out)
{
    const fx_score *s = &out->score;
    if (!w->input) return FX_OK;
    out->side = e->trained->options.model.image;
    out->input = w->input;
    out->estimate = w->estimate;
    out->target = w->target;
    out->title = fx_pool_print(pool, "Re %g%s, %s", s->reynolds, w->seen ? "" : " (never trained on)",
                               s->task == FX_SR ? "super-resolution" : "forecast");
    out->input_label = s->task == FX_SR ? fx_pool_print(pool, "%s from one pixel in %lld x %lld",
                                                        fx_upsampling_name(&e->trained->options),
                                                        (long long)e->trained->options.factor,
                                                        (long long)e->trained->options.factor)
                                        : "last snapshot";
    return out->title && out->input_label ? FX_OK : FX_ENOMEM;
}

/* Energy of the model over the truth's between the Nyquist number of the low-resolution input and the
 * grid's. */
static double fine_scales(const fx_evaluation *e, const fx_evaluation_row *w)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    const double nyquist = (double)m->source[0].width / 2;
    fx_band band;
    if (fx_spectrum_band(w->model, w->truth, NULL, nyquist / (double)e->trained->options.factor,
                         nyquist, &band) == FX_OK)
        return band.energy;
    fx_error_clear();
    return NAN;
}

static fx_status fill(fx_evaluation *e, const fx_score *s, int count, fx_eval_file *out)
{
    const char *slash = strrchr(e->config->data_path, '/');
    FX_TRY(fx_print(out->pack, sizeof out->pack, "%s",
                    slash && slash[1] ? slash + 1 : e->config->data_path));
    FX_TRY(fx_print(out->name, sizeof out->name, "%s", e->config->eval_name));
    FX_TRY(fx_path(out->checkpoint, "%s", e->trained->path));
    out->step = e->trained->progress.step;
    out->sample_steps = e->config->sample_steps;
    out->members = 1;
    out->patches = e->config->eval_patches;
    out->seed = e->config->seed;
    out->samples = e->scores;
    out->rows = count;
    for (int k = 0; k < count; k++) {
        const fx_evaluation_row *w = row_of(e, &s[k]);
        fx_eval_row *r = &out->row[k];
        *r = (fx_eval_row){.score = s[k], .seen = w->seen, .fine_scales = fine_scales(e, w)};
        FX_TRY(fill_spectra(out->pool, w, r));
        FX_TRY(fill_example(out->pool, e, w, r));
    }
    return FX_OK;
}

fx_status fx_evaluation_write(fx_evaluation *e, const char *path, const fx_score *scores, int count)
{
    fx_eval_file file = {.step = 0};
    FX_TRY(fx_pool_create(&file.pool));
    fx_status status = fill(e, scores, count, &file);
    if (status == FX_OK) status = fx_eval_file_write(&file, path);
    file.samples = (fx_scores){0}; /* the evaluation's */
    fx_eval_file_free(&file);
    return status;
}
