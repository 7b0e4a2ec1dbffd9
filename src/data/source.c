/* source.c: one interface to files of fields in published formats. A reader (source.h) says which
 * dataset holds the field and what its axes are; boxes of it are read here, rows first whatever the
 * order in the file. */
#include "source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "shape.h"

/* In the order in which a file is tried, and of source.format. */
static const fx_source_format *const formats[] = {&fx_format_nskt, &fx_format_well, &fx_format_pdebench,
                                                  &fx_format_minflex, &fx_format_superbench};
enum { FORMATS = sizeof formats / sizeof *formats };

/* As source.format, source.periodic and source.edges number their words. */
enum { AUTO };
enum { AS_FILE, NEITHER, ALONG_X, ALONG_Y, BOTH };

const char *fx_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- What readers call. */

static fx_status no_such_layout(const fx_source *s, fx_h5_shape found, const char *const *layouts)
{
    char known[160] = "";
    size_t used = 0;
    for (int i = 0; layouts[i] && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s(", i ? " or " : "");
        for (const char *c = layouts[i]; *c && used < sizeof known; c++)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%c",
                                     c > layouts[i] ? ", " : "", *c);
        if (used < sizeof known) used += (size_t)snprintf(known + used, sizeof known - used, ")");
    }
    return fx_fail(FX_EVALUE, "%s: %s is %s, not %s", s->path, s->key, fx_shape_print(found).text,
                   known);
}

fx_status fx_source_use(fx_source *s, const char *key, const char *const *layouts)
{
    fx_h5_shape shape;
    for (const char *c = key; *c; c++) /* it goes into messages and manifests */
        FX_REQUIRE(*c >= ' ' && *c <= '~', FX_EVALUE, "%s: a dataset's name is not printable", s->path);
    FX_TRY(fx_path(s->key, "%s", key));
    FX_TRY(fx_h5_describe(s->file, key, &shape));
    FX_REQUIRE(shape.type == FX_H5_F32 || shape.type == FX_H5_F64, FX_EVALUE,
               "%s: %s holds integers, not floats", s->path, key);
    for (int i = 0; layouts[i]; i++)
        if ((int)strlen(layouts[i]) == shape.rank) s->axes = layouts[i];
    if (!s->axes) return no_such_layout(s, shape, layouts);
    s->info.runs = s->info.snapshots = s->channels = 1;
    for (int i = 0; i < shape.rank; i++) {
        int64_t *size[] = {&s->info.runs, &s->info.snapshots, &s->channels, &s->info.height,
                           &s->info.width};
        *size[strchr("btcyx", s->axes[i]) - "btcyx"] = shape.dim[i];
    }
    const fx_source_info *info = &s->info;
    const bool sane = info->runs > 0 && info->runs <= FX_MOST_RUNS && info->snapshots > 0 &&
                      info->snapshots <= FX_MOST_SNAPSHOTS && s->channels > 0 &&
                      s->channels <= FX_MOST_CHANNELS && info->height > 0 &&
                      info->height <= FX_MOST_SIDE && info->width > 0 && info->width <= FX_MOST_SIDE;
    return sane ? FX_OK : no_such_layout(s, shape, (const char *const[]){s->axes, NULL});
}

fx_status fx_source_take_channel(fx_source *s, const fx_config *config, int64_t own)
{
    s->channel = config->source_channel >= 0 ? config->source_channel : own;
    FX_REQUIRE(s->channel < s->channels, FX_ECONFIG, "source.channel: %lld, but %s of %s has %lld",
               (long long)s->channel, s->key, s->path, (long long)s->channels);
    /* The format's own field of NSKT keeps its plain name, as packs have had it from the first. */
    if (s->channel == own && config->source_channel < 0 && strcmp(s->key, "w") == 0)
        return fx_print(s->info.field, sizeof s->info.field, "w");
    return s->channels > 1 ? fx_print(s->info.field, sizeof s->info.field, "%s[%lld]", s->key,
                                      (long long)s->channel)
                           : fx_print(s->info.field, sizeof s->info.field, "%s", s->key);
}

fx_status fx_source_take_runs(fx_source *s, fx_source_run all)
{
    FX_TRY(FX_ALLOC(s->run, s->info.runs));
    for (int64_t r = 0; r < s->info.runs; r++)
        s->run[r] = all;
    return FX_OK;
}

static fx_source_run evenly(const double *time, int64_t count)
{
    const double step = count > 1 ? (time[count - 1] - time[0]) / (double)(count - 1) : 0;
    fx_source_run run = {.start = time[0], .interval = step > 0 ? step : 0};
    for (int64_t t = 0; t < count; t++) /* times are often of single precision */
        if (!(fabs(time[t] - time[0] - (double)t * step) <= 1e-3 * step + 1e-6 * fabs(time[t])))
            run.interval = isfinite(time[t]) ? 0 : time[t];
    return run;
}

fx_status fx_source_take_times(fx_source *s, const char *key)
{
    fx_h5_shape shape;
    double *time = NULL;
    const int64_t T = s->info.snapshots;
    fx_status status = FX_OK;
    FX_TRY(fx_h5_describe(s->file, key, &shape));
    const int last = shape.rank - 1;
    FX_REQUIRE((last == 0 || (last == 1 && shape.dim[0] == s->info.runs)) && shape.dim[last] >= T,
               FX_EVALUE, "%s: %s is %s, not times of %lld snapshots of %lld runs", s->path, key,
               fx_shape_print(shape).text, (long long)T, (long long)s->info.runs);
    FX_TRY(FX_ALLOC(time, T));
    for (int64_t r = 0; r < s->info.runs && status == FX_OK; r++) {
        const int64_t offset[] = {r, 0}, count[] = {1, T};
        if (r == 0 || last == 1)
            status = fx_h5_read(s->file, key, offset + 1 - last, count + 1 - last, FX_H5_F64, time);
        const fx_source_run run = evenly(time, T);
        s->run[r].start = run.start;
        s->run[r].interval = run.interval;
    }
    fx_free(time);
    return status;
}

void fx_source_set_condition(fx_source *s, const double *value, int64_t values)
{
    for (int64_t r = 0; r < s->info.runs; r++)
        s->run[r].condition = value[values == s->info.runs ? r : 0];
}

fx_status fx_source_no_scalars(const fx_source *s, const fx_config *config)
{
    double number;
    const char *wanted = config->source_condition;
    FX_REQUIRE(!wanted[0] || fx_is_number(wanted, &number), FX_ECONFIG,
               "source.condition: %s: the format has no scalars, so none named %s", s->path, wanted);
    return FX_OK;
}

/* ---- Opening. */

static const fx_source_format *known_by(const char *path, fx_h5 *file)
{
    for (int i = 0; i < FORMATS; i++)
        if (formats[i]->knows(path, file)) return formats[i];
    return NULL;
}

fx_status fx_source_known(const char *path, const fx_config *config, bool *known)
{
    fx_h5 *file = NULL;
    *known = config->source_format != AUTO || known_by(path, NULL);
    if (*known) return FX_OK;
    FX_TRY(fx_h5_open(path, FX_H5_FOREIGN, &file));
    *known = known_by(path, file) != NULL;
    fx_h5_abandon(&file);
    return FX_OK;
}

static void set_boundaries(fx_source_info *info, const fx_config *config)
{
    const int how = config->source_periodic, edges = config->source_edges;
    for (int i = 0; i < 2; i++) {
        if (how != AS_FILE) info->periodic[i] = how == BOTH || how == (i == 0 ? ALONG_Y : ALONG_X);
        if (edges != AS_FILE) info->edge[i] = edges == 1 ? FX_EDGE_WALL : FX_EDGE_OPEN;
    }
}

static fx_status check_runs(const fx_source *s)
{
    for (int64_t r = 0; r < s->info.runs; r++) {
        const fx_source_run *run = &s->run[r];
        FX_REQUIRE(isfinite(run->start) && isfinite(run->interval) && run->interval >= 0, FX_EVALUE,
                   "%s: start %g and interval %g of its snapshots are no times", s->path, run->start,
                   run->interval);
        FX_REQUIRE(run->condition >= 0 && run->condition <= 1e9, FX_EVALUE,
                   "%s: condition %g is not from 0 to 1e9", s->path, run->condition);
    }
    return FX_OK;
}

fx_status fx_source_open(const char *path, const fx_config *config, fx_source **out)
{
    fx_status status = FX_OK;
    fx_source *s = NULL;
    FX_TRY_DONE(FX_ALLOC(s, 1));
    FX_TRY_DONE(fx_path(s->path, "%s", path));
    FX_REQUIRE_DONE(fx_is_plain_name(fx_base_name(path)), FX_EARG,
                    "%s: the name is not of letters, digits, dot, - and _ alone", path);
    FX_TRY_DONE(fx_print(s->info.name, sizeof s->info.name, "%s", fx_base_name(path)));
    const fx_source_format *format =
        config->source_format == AUTO ? known_by(path, NULL) : formats[config->source_format - 1];
    FX_TRY_DONE(fx_h5_open(path, FX_H5_FOREIGN, &s->file));
    if (!format) format = known_by(path, s->file);
    FX_REQUIRE_DONE(format, FX_EARG, "%s: no format that is known here: source.format can name one",
                    path);
    s->format = format;
    s->info.format = format->name;
    FX_TRY_DONE(format->describe(s, config));
    set_boundaries(&s->info, config);
    double number;
    if (fx_is_number(config->source_condition, &number)) fx_source_set_condition(s, &number, 1);
    FX_TRY_DONE(check_runs(s));
done:
    if (status != FX_OK) fx_source_close(&s);
    *out = s;
    return status;
}

fx_status fx_source_lowres(const fx_source *s, const fx_config *config, fx_config *own,
                           char path[FX_PATH_MAX])
{
    char key[FX_PATH_MAX] = "";
    const char *wanted = config->source_lowres;
    path[0] = '\0';
    *own = *config;
    if (strcmp(wanted, "off") == 0) return FX_OK;
    if (wanted[0] == '\0') {
        if (s->format->lowres) FX_TRY(s->format->lowres(s, path, key));
    } else {
        FX_REQUIRE(fx_h5_exists(s->file, wanted), FX_ECONFIG, "source.lowres: %s has no dataset %s",
                   s->path, wanted);
        FX_TRY(fx_path(path, "%s", s->path));
        FX_TRY(fx_path(key, "%s", wanted));
    }
    if (strcmp(path, s->path) == 0 && strcmp(key, s->key) == 0) path[0] = '\0'; /* it is these */
    FX_TRY(fx_print(own->source_key, sizeof own->source_key, "%s", key));
    FX_TRY(fx_print(own->source_lowres, sizeof own->source_lowres, "off"));
    for (int i = 0; i < FORMATS; i++)
        if (formats[i] == s->format) own->source_format = 1 + i;
    return FX_OK;
}

const fx_source_info *fx_source_describe(const fx_source *source)
{
    return &source->info;
}

fx_source_run fx_source_run_of(const fx_source *source, int64_t run)
{
    return source->run[run];
}

const char *fx_periodic_words(const bool periodic[2])
{
    static const char *const words[2][2] = {{"along neither axis", "along x alone"},
                                            {"along y alone", "along y and x"}};
    return words[periodic[0]][periodic[1]];
}

void fx_source_close(fx_source **source)
{
    if (!*source) return;
    fx_h5_abandon(&(*source)->file);
    fx_free((*source)->run);
    fx_free((*source)->turned);
    fx_free(*source);
    *source = NULL;
}

/* ---- Reading. */

static fx_status check_range(const fx_source *s, const char *what, int64_t has, int64_t from,
                             int64_t count)
{
    FX_REQUIRE(from >= 0 && count > 0 && count <= has - from, FX_EARG,
               "%s: %lld %s, not %lld from %lld on", s->path, (long long)has, what, (long long)count,
               (long long)from);
    return FX_OK;
}

static fx_status check_box(const fx_source *s, const fx_source_box *b)
{
    FX_TRY(check_range(s, "runs", s->info.runs, b->run, 1));
    FX_TRY(check_range(s, "snapshots", s->info.snapshots, b->t, b->times));
    FX_TRY(check_range(s, "rows", s->info.height, b->row, b->rows));
    return check_range(s, "columns", s->info.width, b->column, b->columns);
}

/* (times, columns, rows) to (times, rows, columns), which lies in rows of `stride`. */
static void turn(const fx_source_box *b, const float *in, float *out, int64_t stride)
{
    for (int64_t t = 0; t < b->times; t++, in += b->rows * b->columns, out += b->rows * stride)
        for (int64_t y = 0; y < b->rows; y++)
            for (int64_t x = 0; x < b->columns; x++)
                out[y * stride + x] = in[x * b->rows + y];
}

static fx_status make_room(fx_source *s, int64_t values)
{
    if (values <= s->room) return FX_OK;
    fx_free(s->turned);
    s->room = 0;
    FX_TRY(FX_ALLOC(s->turned, values));
    s->room = values;
    return FX_OK;
}

/* As it is in the file. */
static fx_status read_box(fx_source *s, const fx_source_box *b, float *out)
{
    int64_t offset[8], count[8];
    const int64_t from[] = {b->run, b->t, s->channel, b->row, b->column},
                  size[] = {1, b->times, 1, b->rows, b->columns};
    for (int i = 0; s->axes[i]; i++) {
        const int64_t axis = strchr("btcyx", s->axes[i]) - "btcyx";
        offset[i] = from[axis];
        count[i] = size[axis];
    }
    return fx_h5_read(s->file, s->key, offset, count, FX_H5_F32, out);
}

/* In parts of whole snapshots, or of columns of one, so that the room beside `out` is bounded. */
static fx_status read_turned(fx_source *s, const fx_source_box *b, float *out)
{
    enum { PART = 1 << 22 /* values: 16 MiB */ };
    const int64_t one = b->rows * b->columns, times = one < PART ? PART / one : 1, fit = PART / b->rows,
                  columns = times > 1 || fit >= b->columns ? b->columns
                            : fit < 1                      ? 1
                                                           : fit;
    for (int64_t t = 0; t < b->times; t += times)
        for (int64_t x = 0; x < b->columns; x += columns) {
            fx_source_box part = *b;
            part.t += t;
            part.times = b->times - t < times ? b->times - t : times;
            part.column += x;
            part.columns = b->columns - x < columns ? b->columns - x : columns;
            FX_TRY(make_room(s, part.times * part.rows * part.columns));
            FX_TRY(read_box(s, &part, s->turned));
            turn(&part, s->turned, out + t * one + x, b->columns);
        }
    return FX_OK;
}

fx_status fx_source_read(fx_source *s, const fx_source_box *b, float *out)
{
    const bool x_first = strchr(s->axes, 'x') < strchr(s->axes, 'y');
    FX_TRY(check_box(s, b));
    return x_first ? read_turned(s, b, out) : read_box(s, b, out);
}

fx_status fx_source_layout_of(fx_source *s, fx_source_layout *out)
{
    fx_h5_storage storage;
    fx_h5_shape shape;
    FX_TRY(fx_h5_describe(s->file, s->key, &shape));
    FX_TRY(fx_h5_describe_storage(s->file, s->key, &storage));
    *out = (fx_source_layout){.chunked = storage.rank > 0,
                              .chunk = {1, 1, 1, 1, 1},
                              .channel = s->channel,
                              .value_bytes = shape.type == FX_H5_F32 ? 4 : 8,
                              .stored_bytes = storage.bytes};
    FX_TRY(fx_print(out->filters, sizeof out->filters, "%s", storage.filters));
    out->all_bytes = (double)out->value_bytes;
    for (int i = 0; i < shape.rank; i++) {
        out->all_bytes *= (double)shape.dim[i];
        if (out->chunked) out->chunk[strchr("btcyx", s->axes[i]) - "btcyx"] = storage.chunk[i];
    }
    return FX_OK;
}

fx_status fx_source_read_finite(fx_source *s, const fx_source_box *b, float *out)
{
    char run[32] = "";
    FX_TRY(fx_source_read(s, b, out));
    if (s->info.runs > 1) snprintf(run, sizeof run, "run %lld: ", (long long)b->run);
    for (int64_t i = 0; i < b->times * b->rows * b->columns; i++)
        FX_REQUIRE(isfinite(out[i]), FX_EVALUE, "%s: %s%s[%lld, %lld, %lld] is %g", s->path, run,
                   s->info.field, (long long)(b->t + i / (b->rows * b->columns)),
                   (long long)(b->row + i / b->columns % b->rows),
                   (long long)(b->column + i % b->columns), (double)out[i]);
    return FX_OK;
}
