/* field_file.c: the HDF5 file of sampled whole fields; field_file.h says what it holds. */
#include "field_file.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "flexhpc/eval.h"
#include "flexhpc/mem.h"
#include "version.h"

/* ---- Where it comes from. */

static fx_status describe_program(fx_field_file *f)
{
    const fx_field_file_options *o = &f->options;
    char *config = NULL, date[32];
    fx_status status = FX_OK;
    struct tm utc;
    const time_t now = time(NULL);
    if (strftime(date, sizeof date, "%FT%TZ", gmtime_r(&now, &utc)) == 0) date[0] = '\0';
    FX_TRY(FX_ALLOC(config, FX_CONFIG_TEXT_MAX));
    FX_TRY_DONE(fx_config_text(o->config, config, FX_CONFIG_TEXT_MAX));
    FX_TRY_DONE(fx_h5_set_text(f->h5, "/", "Conventions", "CF-1.8"));
    FX_TRY_DONE(fx_h5_set_text(f->h5, "/", "flexhpc", FX_VERSION));
    FX_TRY_DONE(fx_h5_set_text(f->h5, "/", "date", date));
    FX_TRY_DONE(fx_h5_set_text(f->h5, "/", "command", o->command ? o->command : ""));
    FX_TRY_DONE(fx_h5_set_text(f->h5, "/", "config", config));
done:
    fx_free(config);
    return status;
}

static fx_status describe_model(fx_field_file *f)
{
    const fx_trained *m = f->options.model;
    uint64_t hash;
    char text[32];
    FX_TRY(fx_file_xxh64(m->path, &hash));
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    FX_TRY(fx_h5_set_text(f->h5, "/", "checkpoint", m->path));
    FX_TRY(fx_h5_set_text(f->h5, "/", "checkpoint_xxh64", text));
    FX_TRY(fx_h5_set_int(f->h5, "/", "step", m->progress.step));
    FX_TRY(fx_h5_set_real(f->h5, "/", "data_scale", m->progress.data_scale));
    FX_TRY(fx_h5_set_int(f->h5, "/", "factor", m->options.factor));
    return fx_h5_set_int(f->h5, "/", "forecast_step", m->progress.config.data_forecast_step);
}

static fx_status describe_source(fx_field_file *f)
{
    const fx_field_file_options *o = &f->options;
    const fx_source_info *info = fx_source_describe(o->source);
    const fx_source_run run = fx_source_run_of(o->source, o->config->sample_run);
    FX_TRY(fx_h5_set_text(f->h5, "/", "source", o->config->sample_source));
    FX_TRY(fx_h5_set_text(f->h5, "/", "source_format", info->format));
    FX_TRY(fx_h5_set_text(f->h5, "/", "source_field", info->field));
    FX_TRY(fx_h5_set_int(f->h5, "/", "source_run", o->config->sample_run));
    FX_TRY(fx_h5_set_int(f->h5, "/", "snapshot", o->first));
    FX_TRY(fx_h5_set_real(f->h5, "/", "Re", run.condition));
    return fx_h5_set_ints(f->h5, "/", "periodic", (int64_t[]){info->periodic[0], info->periodic[1]}, 2);
}

static fx_status describe_sampling(fx_field_file *f)
{
    const fx_field_file_options *o = &f->options;
    const fx_tiles *t = o->tiles;
    FX_TRY(fx_h5_set_text(f->h5, "/", "task", fx_task_names[f->options.task]));
    FX_TRY(fx_h5_set_int(f->h5, "/", "seed", o->config->seed));
    FX_TRY(fx_h5_set_int(f->h5, "/", "sample_steps", o->config->sample_steps));
    if (o->task == FX_FC)
        FX_TRY(fx_h5_set_text(f->h5, "/", "feedback",
                              o->config->sample_feedback == FX_FEEDBACK_MEAN ? "mean" : "member"));
    FX_TRY(fx_h5_set_int(f->h5, "/", "tile_side", t->x.side));
    FX_TRY(fx_h5_set_int(f->h5, "/", "tile_overlap", t->x.overlap));
    FX_TRY(fx_h5_set_ints(f->h5, "/", "tile_rows", t->y.first, (int)t->y.count));
    return fx_h5_set_ints(f->h5, "/", "tile_columns", t->x.first, (int)t->x.count);
}

/* ---- Dimensions and fields. */

/* `count` times from `start` on. */
static fx_status write_times(fx_field_file *f, const char *name, int64_t count, double start,
                             double interval)
{
    double *values = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(values, count));
    for (int64_t i = 0; i < count; i++)
        values[i] = start + (double)i * interval;
    FX_TRY_DONE(fx_h5_dataset(f->h5, name, (fx_h5_shape){1, {count}, FX_H5_F64}, NULL));
    FX_TRY_DONE(fx_h5_write(f->h5, name, NULL, NULL, FX_H5_F64, values));
done:
    fx_free(values);
    return status;
}

static fx_status write_time_scales(fx_field_file *f)
{
    const fx_field_file_options *o = &f->options;
    const fx_source_run run = fx_source_run_of(o->source, o->config->sample_run);
    const double interval = run.interval > 0 ? run.interval : 1,
                 start = run.interval > 0 ? run.start : 0,
                 ahead = (double)o->model->progress.config.data_forecast_step * interval;
    const int64_t cond = o->model->options.model.cond;
    if (o->task == FX_SR)
        return write_times(f, "time", o->frames, start + (double)o->first * interval, interval);
    FX_TRY(write_times(f, "past", cond, start + (double)(o->first - cond + 1) * interval, interval));
    return write_times(f, "lead", o->frames, ahead, ahead);
}

static fx_status write_scales(fx_field_file *f)
{
    const fx_field_file_options *o = &f->options;
    const int64_t factor = o->model->options.factor;
    FX_TRY(fx_h5_index(f->h5, "member", o->config->sample_members));
    FX_TRY(fx_h5_index(f->h5, "y", o->tiles->y.length));
    FX_TRY(fx_h5_index(f->h5, "x", o->tiles->x.length));
    if (o->task == FX_SR) FX_TRY(fx_h5_index(f->h5, "y_input", o->tiles->y.length / factor));
    if (o->task == FX_SR) FX_TRY(fx_h5_index(f->h5, "x_input", o->tiles->x.length / factor));
    return write_time_scales(f);
}

fx_status fx_field_file_name(const fx_field_file *f, const char *what, char name[32])
{
    return fx_print(name, 32, "%s_%s", fx_task_names[f->options.task], what);
}

/* Its dimensions are those of the scales. */
static fx_status add_field(fx_field_file *f, const char *what, int rank, const char *const *scales)
{
    fx_h5_shape shape = {rank, {0}, FX_H5_F32};
    char name[32], long_name[FX_NAME_MAX + 32];
    FX_TRY(fx_field_file_name(f, what, name));
    for (int i = 0; i < rank; i++) {
        fx_h5_shape scale;
        FX_TRY(fx_h5_describe(f->h5, scales[i], &scale));
        shape.dim[i] = scale.dim[0];
    }
    FX_TRY(fx_h5_dataset(f->h5, name, shape, NULL));
    FX_TRY(fx_h5_name_dims(f->h5, name, scales));
    FX_TRY(fx_print(long_name, sizeof long_name, "%s: %s", fx_source_describe(f->options.source)->field,
                    what));
    FX_TRY(fx_h5_set_text(f->h5, name, "long_name", long_name));
    return fx_h5_set_text(f->h5, name, "units", "1");
}

static fx_status lay_out(fx_field_file *f)
{
    const bool sr = f->options.task == FX_SR;
    const char *frame = sr ? "time" : "lead";
    FX_TRY(write_scales(f));
    FX_TRY(add_field(f, "model", 4, (const char *const[]){"member", frame, "y", "x"}));
    if (f->options.truth) FX_TRY(add_field(f, "truth", 3, (const char *const[]){frame, "y", "x"}));
    return add_field(f, "input", 3,
                     sr ? (const char *const[]){"time", "y_input", "x_input"}
                        : (const char *const[]){"past", "y", "x"});
}

fx_status fx_field_file_create(const char *path, const fx_field_file_options *options, fx_field_file *f)
{
    f->options = *options;
    FX_TRY(fx_path(f->path, "%s", path));
    FX_TRY(fx_path(f->part, "%s.part", path));
    FX_TRY(fx_h5_create(NULL, f->part, &f->h5));
    FX_TRY(describe_program(f));
    FX_TRY(describe_model(f));
    FX_TRY(describe_source(f));
    FX_TRY(describe_sampling(f));
    return lay_out(f);
}

fx_status fx_field_file_write(fx_field_file *f, const char *what, int64_t frame, int64_t row,
                              int64_t rows, const float *values)
{
    char name[32];
    fx_h5_shape shape;
    FX_TRY(fx_field_file_name(f, what, name));
    FX_TRY(fx_h5_describe(f->h5, name, &shape));
    return fx_h5_write(f->h5, name, (int64_t[]){frame, row, 0}, (int64_t[]){1, rows, shape.dim[2]},
                       FX_H5_F32, values);
}

fx_status fx_field_file_member(fx_field_file *f, uint32_t member, int64_t frame, int64_t row,
                               int64_t rows, const float *values)
{
    char name[32];
    FX_TRY(fx_field_file_name(f, "model", name));
    return fx_h5_write(f->h5, name, (int64_t[]){member, frame, row, 0},
                       (int64_t[]){1, 1, rows, f->options.tiles->x.length}, FX_H5_F32, values);
}

/* NaN for the frames from `from` on, of TASK_`what` or of a member of it. */
static fx_status blank(fx_field_file *f, const char *what, int64_t member, int64_t from)
{
    fx_h5_shape shape;
    char name[32];
    float *nothing = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_field_file_name(f, what, name));
    FX_TRY(fx_h5_describe(f->h5, name, &shape));
    const int64_t height = shape.dim[shape.rank - 2], width = shape.dim[shape.rank - 1];
    FX_TRY(FX_ALLOC(nothing, height * width));
    for (int64_t i = 0; i < height * width; i++)
        nothing[i] = NAN;
    for (int64_t frame = from; frame < f->options.frames; frame++) {
        const int64_t at[4] = {member, frame, 0, 0}, count[4] = {1, 1, height, width};
        FX_TRY_DONE(
            fx_h5_write(f->h5, name, at + 4 - shape.rank, count + 4 - shape.rank, FX_H5_F32, nothing));
    }
done:
    fx_free(nothing);
    return status;
}

/* The space of a file is taken when it is laid out, and holds 0 where nothing was written: those zeros
 * would pass for results. */
fx_status fx_field_file_end(fx_field_file *f, const int64_t *complete, const char *why)
{
    const int64_t members = f->options.config->sample_members;
    for (int64_t member = 0; member < members; member++)
        FX_TRY(blank(f, "model", member, complete[member]));
    if (f->options.task == FX_SR) FX_TRY(blank(f, "input", 0, complete[0]));
    if (f->options.task == FX_SR && f->options.truth) FX_TRY(blank(f, "truth", 0, complete[0]));
    FX_TRY(fx_h5_set_text(f->h5, "/", "ended", why));
    FX_TRY(fx_h5_set_ints(f->h5, "/", "complete", complete, (int)members));
    return fx_field_file_close(f);
}

fx_status fx_field_file_close(fx_field_file *f)
{
    fx_status status = fx_h5_close(&f->h5);
    if (status == FX_OK) status = fx_commit(f->part, f->path);
    if (status != FX_OK) (void)fx_remove(f->part); /* a closed file is not abandoned */
    return status;
}

void fx_field_file_abandon(fx_field_file *f)
{
    if (!f->h5) return;
    fx_h5_abandon(&f->h5);
    fx_remove(f->part);
}
