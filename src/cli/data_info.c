/* data_info.c: what a file of fields holds: format, axes, time, condition, range and values that are
 * not finite, spectrum, a picture. Memory is bounded: values are read in bands of rows. */
#include <math.h>
#include <string.h>

#include "data.h"
#include "flexhpc/eval.h"
#include "flexhpc/mem.h"
#include "flexhpc/report.h"

enum {
    BAND = 1 << 22,         /* values read at once */
    SPECTRUM_SIDE = 2048,   /* of the square in the middle whose spectrum is taken, at most */
    SPECTRUM_SNAPSHOTS = 16 /* evenly spread over runs and times */
};

/* Places are those of (run, time, y, x) in a row. */
static fx_status scan(fx_source *s, fx_values *v)
{
    const fx_source_info *i = fx_source_describe(s);
    const int64_t fit = BAND / i->width, band = fit < 1 ? 1 : fit < i->height ? fit : i->height;
    float *x = NULL;
    fx_status status = FX_OK;
    FX_TRY(FX_ALLOC(x, band * i->width));
    for (int64_t k = 0; k < i->runs * i->snapshots && status == FX_OK; k++)
        for (int64_t row = 0; row < i->height && status == FX_OK; row += band) {
            const fx_source_box box = {.run = k / i->snapshots,
                                       .t = k % i->snapshots,
                                       .times = 1,
                                       .row = row,
                                       .rows = i->height - row < band ? i->height - row : band,
                                       .columns = i->width};
            status = fx_source_read(s, &box, x);
            if (status == FX_OK)
                fx_values_add(v, x, (k * i->height + row) * i->width, box.rows * i->width);
        }
    fx_free(x);
    return status;
}

static void print_values(const fx_source_info *i, const fx_values *v)
{
    printf("%-12s ", i->field);
    fx_print_stats(&v->stats);
    const int64_t row = v->first / i->width, time = row / i->height;
    printf("%-12s %lld not finite", "", (long long)v->not_finite);
    if (v->not_finite > 0 && i->runs > 1) printf(", in run %lld", (long long)(time / i->snapshots));
    if (v->not_finite > 0)
        printf(", the first at (%lld, %lld, %lld)", (long long)(time % i->snapshots),
               (long long)(row % i->height), (long long)(v->first % i->width));
    putchar('\n');
}

/* ---- Spectrum: shares of the variance by waves along the side of a square, in octaves. */

static fx_status print_shares(const fx_spectrum *spectrum)
{
    double *z = NULL, all = 0;
    const int64_t shells = fx_spectrum_shells(spectrum);
    FX_TRY(FX_ALLOC(z, shells));
    fx_spectrum_read(spectrum, NULL, NULL, z);
    for (int64_t j = 1; j < shells; j++)
        all += z[j];
    printf("%-12s ", "");
    for (int64_t low = 1; low < shells && all > 0; low *= 2) {
        double sum = 0;
        for (int64_t j = low; j < 2 * low && j < shells; j++)
            sum += z[j];
        if (low == 1)
            printf("1: %.3g %%", 100 * sum / all);
        else
            printf(", %lld-%lld: %.3g %%", (long long)low, (long long)(2 * low - 1), 100 * sum / all);
    }
    putchar('\n');
    fx_free(z);
    return FX_OK;
}

static bool all_finite(const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

static fx_status print_spectrum(fx_source *s)
{
    const fx_source_info *i = fx_source_describe(s);
    const int64_t least = i->height < i->width ? i->height : i->width,
                  side = (least < SPECTRUM_SIDE ? least : SPECTRUM_SIDE) / 2 * 2,
                  total = i->runs * i->snapshots;
    const int64_t count = total < SPECTRUM_SNAPSHOTS ? total : SPECTRUM_SNAPSHOTS;
    const bool whole = i->periodic[0] && i->periodic[1] && side == i->height && side == i->width;
    fx_spectrum *spectrum = NULL;
    float *x = NULL;
    fx_status status = FX_OK;
    if (side < 4) return FX_OK;
    FX_TRY_DONE(FX_ALLOC(x, side * side));
    FX_TRY_DONE(
        fx_spectrum_create(&spectrum, side, 2 * 3.14159265358979323846, whole ? FX_PERIODIC : FX_HANN));
    for (int64_t k = 0; k < count; k++) {
        const int64_t at = count > 1 ? k * (total - 1) / (count - 1) : 0;
        const fx_source_box box = {.run = at / i->snapshots,
                                   .t = at % i->snapshots,
                                   .times = 1,
                                   .row = (i->height - side) / 2,
                                   .rows = side,
                                   .column = (i->width - side) / 2,
                                   .columns = side};
        FX_TRY_DONE(fx_source_read(s, &box, x));
        if (all_finite(x, side * side)) FX_TRY_DONE(fx_spectrum_add(spectrum, x, NULL));
    }
    printf("spectrum     variance by waves a side of %s%lld pixels%s, %lld snapshots\n",
           whole ? "the domain's " : "the middle ", (long long)side, whole ? "" : ", windowed",
           (long long)fx_spectrum_count(spectrum));
    status = print_shares(spectrum);
done:
    fx_spectrum_free(&spectrum);
    fx_free(x);
    return status;
}

/* ---- A picture of the last snapshot of the first run: every so manyth pixel where it is large. */

static fx_status write_preview(fx_source *s, const char *path)
{
    enum { MOST = 1024 };
    const fx_source_info *i = fx_source_describe(s);
    const int64_t longest = i->height > i->width ? i->height : i->width,
                  step = (longest + MOST - 1) / MOST, high = (i->height - 1) / step + 1,
                  wide = (i->width - 1) / step + 1;
    float *row = NULL, *field = NULL;
    fx_status status = FX_OK;
    FX_TRY_DONE(FX_ALLOC(row, i->width));
    FX_TRY_DONE(FX_ALLOC(field, high * wide));
    for (int64_t y = 0; y < high; y++) {
        const fx_source_box box = {
            .t = i->snapshots - 1, .times = 1, .row = y * step, .rows = 1, .columns = i->width};
        FX_TRY_DONE(fx_source_read(s, &box, row));
        for (int64_t x = 0; x < wide; x++)
            field[y * wide + x] = row[x * step];
    }
    FX_TRY_DONE(fx_field_png(path, field, high, wide));
    printf("preview      %s: the last snapshot", path);
    if (step > 1) printf(", one pixel in %lld x %lld", (long long)step, (long long)step);
    putchar('\n');
done:
    fx_free(row);
    fx_free(field);
    return status;
}

/* ---- The whole. */

static void print_conditions(const fx_source *s)
{
    const fx_source_info *i = fx_source_describe(s);
    const char *label = strcmp(i->format, "nskt") == 0 ? "Re" : "condition";
    double least = INFINITY, largest = -INFINITY;
    for (int64_t r = 0; r < i->runs; r++) {
        least = fmin(least, fx_source_run_of(s, r).condition);
        largest = fmax(largest, fx_source_run_of(s, r).condition);
    }
    if (least < largest)
        printf("%-12s %.10g to %.10g over %lld runs\n", label, least, largest, (long long)i->runs);
    else
        printf("%-12s %.10g\n", label, least);
    if (i->seed > 0) printf("seed         %lld\n", (long long)i->seed);
}

static void print_header(const fx_source *s)
{
    const fx_source_info *i = fx_source_describe(s);
    const fx_source_run run = fx_source_run_of(s, 0);
    printf("format       %s: %s ", i->format, i->field);
    if (i->runs > 1) printf("(run, time, y, x) = (%lld, ", (long long)i->runs);
    printf(i->runs > 1 ? "%lld, %lld, %lld)\n" : "(time, y, x) = (%lld, %lld, %lld)\n",
           (long long)i->snapshots, (long long)i->height, (long long)i->width);
    print_conditions(s);
    if (run.interval > 0)
        printf("time         %g to %g every %g\n", run.start,
               run.start + (double)(i->snapshots - 1) * run.interval, run.interval);
    else
        printf("time         the file does not say, or not evenly spaced\n");
    printf("periodic     %s\n", fx_periodic_words(i->periodic));
    if (i->scale > 0) printf("scale        %.6g (of its data set)\n", i->scale);
}

fx_status fx_print_source(const char *path, const fx_config *config, const char *preview)
{
    fx_source *s = NULL;
    fx_values v = {0};
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_source_open(path, config, &s));
    print_header(s);
    FX_TRY_DONE(scan(s, &v));
    print_values(fx_source_describe(s), &v);
    if (v.stats.least < v.stats.largest)
        FX_TRY_DONE(print_spectrum(s));
    else
        printf("spectrum     constant\n");
    if (preview) FX_TRY_DONE(write_preview(s, preview));
done:
    fx_source_close(&s);
    return status;
}
