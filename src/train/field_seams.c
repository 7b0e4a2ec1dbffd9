/* field_seams.c: measures seams in the file of a sampled field, and finds what such files say. */
#include "field_seams.h"

#include <math.h>
#include <string.h>

#include "evaluate.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

typedef struct seams {
    const fx_field_file *file;
    fx_seam_sums *model, *truth;
    float *strip; /* (side, width) or (height, side) */
    bool against_truth;
} seams;

/* ---- Reading back: a field is the last two dimensions at `offset`. */

static fx_status add_field(const seams *s, const char *what, int rank, int64_t *offset,
                           fx_seam_sums *sums)
{
    const fx_tiles *t = s->file->options.tiles;
    const int64_t height = t->y.length, width = t->x.length, side = t->y.side;
    int64_t *at = offset + rank - 2, count[4] = {1, 1, 1, 1}, *box = count + rank - 2;
    char name[32];
    FX_TRY(fx_field_file_name(s->file, what, name));
    for (at[0] = at[1] = 0; at[0] < height; at[0] += side) {
        box[0] = height - at[0] < side ? height - at[0] : side;
        box[1] = width;
        FX_TRY(fx_h5_read(s->file->h5, name, offset, count, FX_H5_F32, s->strip));
        fx_seams_add_rows(sums, box[0], s->strip);
    }
    for (at[0] = at[1] = 0; at[1] < width; at[1] += side) {
        box[0] = height;
        box[1] = width - at[1] < side ? width - at[1] : side;
        FX_TRY(fx_h5_read(s->file->h5, name, offset, count, FX_H5_F32, s->strip));
        fx_seams_add_columns(sums, box[1], s->strip);
    }
    return FX_OK;
}

/* Beyond the source's end a truth is NaN. */
static fx_status is_known(const seams *s, int64_t frame, bool *known)
{
    char name[32];
    float first = NAN;
    *known = false;
    if (!s->file->options.truth) return FX_OK;
    FX_TRY(fx_field_file_name(s->file, "truth", name));
    FX_TRY(fx_h5_read(s->file->h5, name, (int64_t[]){frame, 0, 0}, (int64_t[]){1, 1, 1}, FX_H5_F32,
                      &first));
    *known = !isnan(first);
    return FX_OK;
}

static fx_status add_frame(const seams *s, int64_t frame)
{
    bool known = false;
    if (s->against_truth) FX_TRY(is_known(s, frame, &known));
    if (s->against_truth && !known) return FX_OK;
    for (int64_t member = 0; member < s->file->options.config->sample_members; member++)
        FX_TRY(add_field(s, "model", 4, (int64_t[]){member, frame, 0, 0}, s->model));
    return known ? add_field(s, "truth", 3, (int64_t[]){frame, 0, 0}, s->truth) : FX_OK;
}

/* ---- Saying what was found. */

static int signs_of(const fx_seams *found, bool against_truth, fx_task task, double reynolds,
                    fx_sign out[FX_SIGNATURES])
{
    fx_symptoms symptoms = fx_symptoms_none();
    symptoms.seams = *found;
    const int count = fx_signatures_find(&symptoms, out);
    for (int i = 0; i < count; i++) {
        out[i].task = task;
        out[i].reynolds = reynolds;
        out[i].elsewhere = !against_truth;
    }
    return count;
}

static void tell(const seams *s, const fx_seams *found)
{
    const fx_field_file_options *o = &s->file->options;
    fx_sign sign[FX_SIGNATURES];
    char comb[96] = "";
    if (!isnan(found->comb))
        snprintf(comb, sizeof comb,
                 "; energy at the tiles' wave numbers %.3g of their neighbours', limit %g", found->comb,
                 fx_signature_table[FX_SIGNATURE_COMB].high);
    fx_log(FX_INFO,
           "seams: jumps across borders of tiles %.4f of those elsewhere, %s %.4f: %.4f above, limit "
           "%.4f%s",
           found->jump, s->against_truth ? "the truth's" : "without a truth against", found->truth,
           found->jump - found->truth, fx_seams_limit(found), comb);
    const double reynolds = fx_source_run_of(o->source, o->config->sample_run).condition;
    const int count = signs_of(found, s->against_truth, o->task, reynolds, sign);
    fx_evaluation_print_signs(sign, count);
}

/* seam_jump at last: where it is, the others are. */
static fx_status keep(fx_field_file *f, const fx_seams *found, bool against_truth)
{
    FX_TRY(fx_h5_set_real(f->h5, "/", "seam_truth", against_truth ? found->truth : NAN));
    FX_TRY(fx_h5_set_real(f->h5, "/", "seam_error", found->error));
    FX_TRY(fx_h5_set_real(f->h5, "/", "seam_limit", fx_seams_limit(found)));
    FX_TRY(fx_h5_set_real(f->h5, "/", "comb", found->comb));
    FX_TRY(fx_h5_set_real(f->h5, "/", "comb_limit", fx_signature_table[FX_SIGNATURE_COMB].high));
    return fx_h5_set_real(f->h5, "/", "seam_jump", found->jump);
}

static fx_status measure(seams *s, fx_seams *found)
{
    const fx_field_file_options *o = &s->file->options;
    const fx_tiles *t = o->tiles;
    const int64_t longest = t->y.length > t->x.length ? t->y.length : t->x.length;
    FX_TRY(FX_ALLOC(s->strip, t->y.side * longest));
    FX_TRY(fx_seams_open(t, &s->model));
    FX_TRY(fx_seams_open(t, &s->truth));
    for (int64_t frame = 0; frame < o->frames && !s->against_truth; frame++)
        FX_TRY(is_known(s, frame, &s->against_truth));
    for (int64_t frame = 0; frame < o->frames; frame++)
        FX_TRY(add_frame(s, frame));
    fx_seams_judge(s->model, s->against_truth ? s->truth : NULL, found);
    return FX_OK;
}

fx_status fx_field_seams(fx_field_file *file)
{
    seams s = {.file = file};
    fx_seams found;
    fx_status status = measure(&s, &found);
    if (status == FX_OK && !isnan(found.jump)) {
        tell(&s, &found);
        status = keep(file, &found, s.against_truth);
    }
    fx_seams_free(&s.model);
    fx_seams_free(&s.truth);
    fx_free(s.strip);
    return status;
}

/* ---- Finding them again. */

fx_status fx_field_seams_find(fx_h5 *file, fx_sign out[FX_SIGNATURES], int *count)
{
    fx_seams found;
    double reynolds;
    char task[8];
    *count = 0;
    if (!fx_h5_has_attribute(file, "/", "seam_jump")) return FX_OK; /* no tiles, or an older version */
    FX_TRY(fx_h5_get_text(file, "/", "task", task, sizeof task));
    FX_TRY(fx_h5_get_real(file, "/", "Re", &reynolds));
    FX_TRY(fx_h5_get_real(file, "/", "seam_jump", &found.jump));
    FX_TRY(fx_h5_get_real(file, "/", "seam_truth", &found.truth));
    FX_TRY(fx_h5_get_real(file, "/", "seam_error", &found.error));
    FX_TRY(fx_h5_get_real(file, "/", "comb", &found.comb));
    const bool against_truth = !isnan(found.truth);
    if (!against_truth) found.truth = 1; /* elsewhere */
    *count = signs_of(&found, against_truth, strcmp(task, "sr") == 0 ? FX_SR : FX_FC, reynolds, out);
    return FX_OK;
}
