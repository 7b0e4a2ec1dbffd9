/* evaluate_write.c: scores, spectra and example fields as `eval-PACK.h5` (eval_file.h says what it
 * holds).
 */
#include <math.h>
#include <string.h>

#include "evaluate.h"
#include "flexhpc/io.h"
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

static fx_status write_vector(fx_h5 *f, const char *name, fx_h5_type type, int rank, int64_t n,
                              const void *data)
{
    FX_TRY(fx_h5_dataset(f, name, (fx_h5_shape){rank, {n, n}, type}, NULL));
    return fx_h5_write(f, name, NULL, NULL, type, data);
}

static fx_status write_spectra(fx_h5 *f, int k, const fx_evaluation_row *w)
{
    const int64_t n = fx_spectrum_whole_shells(w->truth), all = fx_spectrum_shells(w->truth);
    static const char *const names[] = {"k", "model", "truth"};
    double *x = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(x, 3 * all));
    fx_spectrum_read(w->truth, x, x + 2 * all, NULL);
    fx_spectrum_read(w->model, NULL, x + all, NULL);
    for (int i = 0; i < 3; i++) {
        char name[48];
        FX_TRY_DONE(fx_print(name, sizeof name, "spectrum/%d/%s", k, names[i]));
        FX_TRY_DONE(write_vector(f, name, FX_H5_F64, 1, n, x + i * all));
    }
done:
    fx_free(x);
    return status;
}

static fx_status write_example(fx_evaluation *e, fx_h5 *f, int k, const fx_score *s,
                               const fx_evaluation_row *w)
{
    static const char *const names[] = {"input", "model", "truth"};
    const float *fields[] = {w->input, w->estimate, w->target};
    char name[48], title[128];
    for (int i = 0; i < 3; i++) {
        FX_TRY(fx_print(name, sizeof name, "panel/%d/%s", k, names[i]));
        FX_TRY(write_vector(f, name, FX_H5_F32, 2, e->trained->options.model.image, fields[i]));
    }
    FX_TRY(fx_print(title, sizeof title, "Re %g%s, %s", s->reynolds,
                    w->seen ? "" : " (never trained on)",
                    s->task == FX_SR ? "super-resolution" : "forecast"));
    FX_TRY(fx_print(name, sizeof name, "panel/%d/input", k));
    FX_TRY(fx_h5_set_text(f, name, "title", title));
    FX_TRY(fx_print(title, sizeof title, "%s from one pixel in %lld x %lld",
                    fx_upsampling_name(&e->trained->options), (long long)e->trained->options.factor,
                    (long long)e->trained->options.factor));
    return fx_h5_set_text(f, name, "input_label", s->task == FX_SR ? title : "last snapshot");
}

static void fill_row(const fx_score *s, bool seen, double fine, double *out)
{
    const double values[FX_SCORE_COLUMNS] = {[FX_COLUMN_TASK] = s->task,
                                             [FX_COLUMN_REYNOLDS] = s->reynolds,
                                             [FX_COLUMN_COUNT] = (double)s->count,
                                             [FX_COLUMN_BLOCKS] = (double)s->blocks,
                                             [FX_COLUMN_RFNE] = s->rfne,
                                             [FX_COLUMN_RFNE_ERROR] = s->rfne_error,
                                             [FX_COLUMN_RFNE_LOW] = s->rfne_low,
                                             [FX_COLUMN_RFNE_HIGH] = s->rfne_high,
                                             [FX_COLUMN_FLOOR] = s->floor[0],
                                             [FX_COLUMN_FLOOR2] = s->floor[1],
                                             [FX_COLUMN_RATIO] = s->ratio,
                                             [FX_COLUMN_RATIO_LOW] = s->ratio_low,
                                             [FX_COLUMN_RATIO_HIGH] = s->ratio_high,
                                             [FX_COLUMN_CORRELATION] = s->correlation,
                                             [FX_COLUMN_SEEN] = seen,
                                             [FX_COLUMN_FINE_SCALES] = fine};
    memcpy(out, values, sizeof values);
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

fx_status fx_evaluation_write(fx_evaluation *e, const char *folder, const fx_score *s, int count)
{
    char part[FX_PATH_MAX], final[FX_PATH_MAX];
    double table[FX_EVALUATION_ROWS * FX_SCORE_COLUMNS];
    fx_h5 *f = NULL;
    fx_status status = FX_OK;
    const char *slash = strrchr(e->config->data_path, '/'),
               *name = slash && slash[1] ? slash + 1 : e->config->data_path;
    FX_REQUIRE(fx_is_plain_name(name), FX_ECONFIG, "data.path: %s does not end in a plain name",
               e->config->data_path);
    FX_TRY(fx_path(final, "%s/eval-%s.h5", folder, name));
    FX_TRY(fx_path(part, "%s.part", final));
    FX_TRY_DONE(fx_h5_create(NULL, part, &f));
    FX_TRY_DONE(fx_h5_set_int(f, "/", "step", e->trained->progress.step));
    FX_TRY_DONE(fx_h5_set_int(f, "/", "sample_steps", e->config->sample_steps));
    for (int k = 0; k < count; k++) {
        const fx_evaluation_row *w = row_of(e, &s[k]);
        fill_row(&s[k], w->seen, fine_scales(e, w), table + k * FX_SCORE_COLUMNS);
        FX_TRY_DONE(write_spectra(f, k, w));
        if (w->input) FX_TRY_DONE(write_example(e, f, k, &s[k], w));
    }
    FX_TRY_DONE(
        fx_h5_dataset(f, "scores", (fx_h5_shape){2, {count, FX_SCORE_COLUMNS}, FX_H5_F64}, NULL));
    FX_TRY_DONE(fx_h5_write(f, "scores", NULL, NULL, FX_H5_F64, table));
    FX_TRY_DONE(fx_h5_close(&f));
    FX_TRY_DONE(fx_commit(part, final));
done:
    fx_h5_abandon(&f);
    return status;
}
