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

/* By score instead of by lead. */
static fx_status fill_leads(fx_pool *pool, const fx_details *p, const double *details, fx_eval_row *out)
{
    if (p->leads < 2 || out->score.task != FX_FC) return FX_OK;
    double *x = fx_pool_calloc(pool, FX_LEAD_SCORES * (size_t)p->leads, sizeof *x);
    if (!x) return FX_ENOMEM;
    out->leads = p->leads;
    for (int s = 0; s < FX_LEAD_SCORES; s++) {
        out->lead_score[s] = x + s * p->leads;
        for (int l = 0; l < p->leads; l++)
            x[s * p->leads + l] = details[fx_details_lead(p, l) + s];
    }
    return FX_OK;
}

/* The mean details of the row, taken apart. */
static fx_status fill_details(fx_pool *pool, const fx_evaluation *e, fx_eval_row *out)
{
    const fx_details *p = &e->scores.details;
    const int64_t length = fx_details_length(p);
    double *x = fx_pool_calloc(pool, (size_t)(length + p->shells + FX_PDF_BINS), sizeof *x);
    if (!x) return FX_ENOMEM;
    double *k = x + length, *w = k + p->shells, *share = x + fx_details_ranks(p);
    fx_scores_mean_details(&e->scores, &out->score, x);
    for (int64_t j = 0; j < p->shells; j++)
        k[j] = (double)j * p->dk;
    for (int j = 0; j < FX_PDF_BINS; j++)
        w[j] = FX_PDF_SPAN * ((2 * j + 1.0) / FX_PDF_BINS - 1);
    out->shells = p->shells;
    out->k = k;
    out->model = x + fx_details_spectrum(p, 0);
    out->truth = x + fx_details_spectrum(p, 1);
    out->error = x + fx_details_spectrum(p, 2);
    out->bins = FX_PDF_BINS;
    out->w = w;
    out->pdf_model = x + fx_details_pdf(p, 0);
    out->pdf_truth = x + fx_details_pdf(p, 1);
    FX_TRY(fill_leads(pool, p, x, out));
    if (e->members < 2) return FX_OK;
    for (int m = 0; m <= e->members; m++)
        share[m] /= (double)e->trained->pixels;
    out->ranks = e->members + 1;
    out->rank_share = share;
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
                               fx_task_titles[s->task]);
    out->input_label = s->task == FX_SR
                           ? fx_pool_print(pool, "%s from one pixel in %lld x %lld",
                                           fx_upsampling_name(&e->trained->progress.config),
                                           (long long)e->trained->options.factor,
                                           (long long)e->trained->options.factor)
                           : "last snapshot";
    return out->title && out->input_label ? FX_OK : FX_ENOMEM;
}

int fx_evaluation_signs(fx_evaluation *e, const fx_score *score, fx_sign out[FX_SIGNATURES])
{
    const bool trained = row_of(e, score)->seen &&
                         strcmp(e->config->data_path, e->trained->progress.config.data_path) == 0;
    const fx_symptoms symptoms = fx_symptoms_of(score, e->members, trained, e->whole);
    const int count = fx_signatures_find(&symptoms, out);
    for (int i = 0; i < count; i++) {
        out[i].task = score->task;
        out[i].reynolds = score->reynolds;
    }
    return count;
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
    out->members = e->members;
    out->patches = e->config->eval_patches;
    out->seed = e->config->seed;
    FX_TRY(fx_evaluation_asked(e->config, out->asked, sizeof out->asked, &out->pack_hash));
    fx_manifest_periodic(fx_pack_manifest(e->pack), out->periodic);
    out->samples = e->scores;
    out->rows = count;
    for (int k = 0; k < count; k++) {
        const fx_evaluation_row *w = row_of(e, &s[k]);
        fx_eval_row *r = &out->row[k];
        *r = (fx_eval_row){
            .score = s[k], .seen = w->seen, .fine_scales = s[k].value[FX_STATISTIC_BAND_ENERGY]};
        FX_TRY(fill_details(out->pool, e, r));
        FX_TRY(fill_example(out->pool, e, w, r));
        out->signs += fx_evaluation_signs(e, &s[k], out->sign + out->signs);
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
