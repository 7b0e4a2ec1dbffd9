/* run_samples.c: reads what sampled fields in a run folder say of themselves. */
#include "run_samples.h"

#include <string.h>

#include "field_seams.h"
#include "flexhpc/io.h"
#include "latest.h"

typedef struct reader {
    fx_run_record *run;
    fx_run_samples *out;
    int64_t newest; /* step of the run's checkpoints; -1: it has none */
} reader;

typedef struct sampled {
    const char *label; /* the file's name, and the step of its weights where it says one */
    bool old;          /* the run has trained on, or the weights are another's */
} sampled;

static fx_status describe(const reader *r, fx_h5 *file, const char *name, sampled *out)
{
    int64_t step;
    *out = (sampled){.label = name};
    if (!fx_h5_has_attribute(file, "/", "step")) return FX_OK;
    FX_TRY(fx_h5_get_int(file, "/", "step", &step));
    out->old = r->newest >= 0 && step != r->newest;
    out->label =
        out->old ? fx_pool_print(r->run->pool, "%s, of step %lld (the newest checkpoint is of %lld)",
                                 name, (long long)step, (long long)r->newest)
                 : fx_pool_print(r->run->pool, "%s, of step %lld", name, (long long)step);
    return out->label ? FX_OK : FX_ENOMEM;
}

/* What a file says of its end, where that came early. */
static fx_status note_end(reader *r, fx_h5 *file, const char *name)
{
    char why[1024];
    if (!fx_h5_has_attribute(file, "/", "ended")) return FX_OK;
    FX_TRY(fx_h5_get_text(file, "/", "ended", why, sizeof why));
    return fx_run_record_note(r->run, fx_pool_print(r->run->pool, "%s ends early: %s", name, why));
}

static fx_status add_sign(reader *r, const fx_sign *sign, const sampled *of)
{
    const fx_signature_row *row = &fx_signature_table[sign->signature];
    fx_finding *finding = &r->out->finding[r->out->findings];
    if (r->out->findings == FX_SAMPLE_FINDINGS) return FX_OK;
    *finding = (fx_finding){
        of->old ? FX_MARK_NOTE : FX_MARK_BAD,
        fx_pool_print(r->run->pool, "%s: %s at Re %g in %s: %s, %.3g, limit %.3g; try %s.",
                      sign->task == FX_SR ? "Super-resolution" : "Forecast", row->says, sign->reynolds,
                      of->label, fx_sign_number(sign), sign->number, sign->limit, row->advice)};
    if (++r->out->findings == FX_SAMPLE_FINDINGS)
        *finding =
            (fx_finding){FX_MARK_BAD, "There are more such fields: flexhpc sample tells of each."};
    return finding->text ? FX_OK : FX_ENOMEM;
}

static fx_status add_file(reader *r, fx_h5 *file, const char *name)
{
    fx_sign sign[FX_SIGNATURES];
    sampled of;
    int count = 0;
    FX_TRY(describe(r, file, name, &of));
    FX_TRY(fx_field_seams_find(file, sign, &count));
    FX_TRY(note_end(r, file, name));
    FX_TRY(fx_run_rollouts_add(file, of.label, r->run->pool, &r->out->rollouts));
    for (int i = 0; i < count; i++)
        FX_TRY(add_sign(r, &sign[i], &of));
    return FX_OK;
}

static fx_status say_hidden(reader *r)
{
    const int hidden = r->out->rollouts.hidden;
    if (hidden == 0) return FX_OK;
    const char *text = fx_pool_print(
        r->run->pool, "%d more forecast%s not shown: the first %d by the names of their files are.",
        hidden, hidden == 1 ? " is" : "s are", FX_ROLLOUTS);
    r->out->finding[r->out->findings++] = (fx_finding){FX_MARK_NOTE, text};
    return text ? FX_OK : FX_ENOMEM;
}

fx_status fx_run_samples_read(fx_run_record *record, fx_run_samples *out)
{
    reader r = {.run = record, .out = out};
    char **names = NULL, path[FX_PATH_MAX];
    int files = 0;
    fx_status status = FX_OK;
    FX_TRY(fx_path(path, "%s/ckpt", record->folder));
    r.newest = fx_latest_step(path);
    FX_TRY(fx_list_dir(record->folder, ".h5", &names, &files));
    for (int i = 0; i < files; i++) {
        fx_h5 *file = NULL;
        if (strncmp(names[i], "sample-", 7) != 0) continue;
        FX_TRY_DONE(fx_path(path, "%s/%s", record->folder, names[i]));
        fx_status read = fx_h5_open(path, FX_H5_OURS, &file);
        if (read == FX_OK) read = add_file(&r, file, names[i]);
        fx_h5_abandon(&file);
        if (read != FX_OK) FX_TRY_DONE(fx_run_record_leave_out(record, path));
    }
    status = say_hidden(&r);
done:
    fx_free(names);
    return status;
}
