/* event_images.c: the examples of an evaluation for TensorBoard: input, model, truth and error of each
 * task and Reynolds number as one picture. */
#include "event_images.h"

#include "flexhpc/eval_file.h"
#include "flexhpc/mem.h"
#include "flexhpc/report.h"
#include "flexhpc/tfevents.h"

fx_status fx_event_image(fx_tfevents *events, int64_t step, const char *tag, const fx_panel *panel)
{
    uint8_t *png = NULL;
    size_t bytes = 0;
    int64_t width = 0, height = 0;
    FX_TRY_CTX(fx_panel_png(panel, &png, &bytes, &width, &height), "%s", tag);
    const fx_status status = fx_tfevents_image(events, step, tag, png, bytes, width, height);
    fx_free(png);
    return status;
}

static fx_status add(fx_tfevents *events, const fx_eval_file *file, const fx_eval_row *row)
{
    const fx_panel panel = {.input = row->input,
                            .model = row->estimate,
                            .truth = row->target,
                            .input_side = row->side,
                            .side = row->side};
    char tag[FX_NAME_MAX];
    FX_TRY(fx_print(tag, sizeof tag, "%.60s%s%.40s/%s_re%g", file->pack, file->name[0] ? "-" : "",
                    file->name, fx_task_names[row->score.task], row->score.reynolds));
    return fx_event_image(events, file->step, tag, &panel);
}

static fx_status write_all(const char *folder, const fx_eval_file *file)
{
    char tb[FX_PATH_MAX];
    fx_tfevents *events = NULL;
    FX_TRY(fx_path(tb, "%s/tb", folder));
    FX_TRY(fx_tfevents_open(tb, FX_TFEVENTS_HIDE_NOTHING, &events));
    fx_status status = FX_OK;
    for (int k = 0; k < file->rows && status == FX_OK; k++)
        if (file->row[k].side > 0) status = add(events, file, &file->row[k]);
    fx_tfevents_close(&events);
    return status;
}

fx_status fx_event_images_write(const char *folder, const char *path)
{
    fx_eval_file *file = NULL;
    FX_TRY(FX_ALLOC(file, 1));
    fx_status status = fx_eval_file_read(path, file);
    if (status == FX_OK) status = write_all(folder, file);
    fx_eval_file_free(file);
    fx_free(file);
    return status;
}
