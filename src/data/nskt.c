/* nskt.c: reader of published turbulence files ("NSKT"), one a Reynolds number and seed:
 * `{Re}_{N}_{N}_seed_{seed}.h5`, older ones with `_w` before the dot. Dataset `w`, vorticity, (T, H, W)
 * or (T, C, H, W) with C = 3 (u, v, w) or 1; HDF5 turns any float type and byte order into ours. The
 * published files carry no attribute; our solver's add Re, start and interval. */
#include "flexhpc/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "shape.h"

static const char DATASET[] = "w";

struct fx_nskt {
    char path[FX_PATH_MAX];
    fx_nskt_info info;
    fx_h5 *file;
    int rank;        /* 3 or 4 */
    int64_t channel; /* of rank 4 */
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool fx_nskt_parse_name(const char *path, double *reynolds, int64_t *seed)
{
    const char *name = base_name(path), *digits = "0123456789";
    char number[32], seed_text[20];
    long long height, width;
    int end = 0;
    if (strspn(name, "0123456789.") == 0 || !fx_is_plain_name(name)) return false;
    if (sscanf(name, "%31[0-9.]_%9lld_%9lld_seed_%18[0-9]%n", number, &height, &width, seed_text,
               &end) != 4)
        return false;
    char *rest = NULL;
    *reynolds = strtod(number, &rest);
    if (*rest || !(*reynolds > 0) || strspn(seed_text, digits) == 0) return false;
    *seed = strtoll(seed_text, NULL, 10);
    return strcmp(name + end, ".h5") == 0 || strcmp(name + end, "_w.h5") == 0;
}

static fx_status check_shape(fx_nskt *file)
{
    fx_h5_shape w;
    fx_nskt_info *info = &file->info;
    FX_TRY(fx_h5_describe(file->file, DATASET, &w));
    FX_REQUIRE(w.type == FX_H5_F32 || w.type == FX_H5_F64, FX_EVALUE,
               "%s: %s holds integers, not floats", file->path, DATASET);
    file->rank = w.rank;
    info->snapshots = w.dim[0];
    info->height = w.dim[w.rank > 2 ? w.rank - 2 : 0];
    info->width = w.dim[w.rank > 2 ? w.rank - 1 : 0];
    file->channel = w.rank == 4 ? w.dim[1] - 1 : 0;
    const bool known = w.rank == 3 || (w.rank == 4 && (w.dim[1] == 1 || w.dim[1] == 3));
    FX_REQUIRE(known && info->snapshots > 0 && info->snapshots <= FX_MOST_SNAPSHOTS &&
                   info->height > 0 && info->height <= FX_MOST_SIDE && info->width > 0 &&
                   info->width <= FX_MOST_SIDE,
               FX_EVALUE, "%s: %s is %s, not (T, H, W) or (T, 1 or 3, H, W)", file->path, DATASET,
               fx_shape_print(w).text);
    return FX_OK;
}

/* Our own files state more; what the name says as well must agree. */
static fx_status read_attributes(fx_nskt *file)
{
    fx_nskt_info *info = &file->info;
    if (fx_h5_has_attribute(file->file, "/", "Re")) {
        double reynolds;
        FX_TRY(fx_h5_get_real(file->file, "/", "Re", &reynolds));
        FX_REQUIRE(reynolds == info->reynolds, FX_EVALUE, "%s: attribute Re is %g, the name says %g",
                   file->path, reynolds, info->reynolds);
    }
    if (fx_h5_has_attribute(file->file, "/", "start"))
        FX_TRY(fx_h5_get_real(file->file, "/", "start", &info->start));
    if (fx_h5_has_attribute(file->file, "/", "interval"))
        FX_TRY(fx_h5_get_real(file->file, "/", "interval", &info->interval));
    FX_REQUIRE(isfinite(info->start) && isfinite(info->interval) && info->interval >= 0, FX_EVALUE,
               "%s: attributes start %g and interval %g are no times", file->path, info->start,
               info->interval);
    return FX_OK;
}

fx_status fx_nskt_open(const char *path, fx_nskt **out)
{
    fx_status status = FX_OK;
    fx_nskt *file = NULL;
    FX_TRY_DONE(FX_ALLOC(file, 1));
    FX_TRY_DONE(fx_path(file->path, "%s", path));
    FX_REQUIRE_DONE(fx_nskt_parse_name(path, &file->info.reynolds, &file->info.seed), FX_EARG,
                    "%s: the name is not {Re}_{N}_{N}_seed_{seed}.h5", path);
    FX_TRY_DONE(fx_print(file->info.name, sizeof file->info.name, "%s", base_name(path)));
    FX_TRY_DONE(fx_h5_open(path, FX_H5_FOREIGN, &file->file));
    FX_TRY_DONE(check_shape(file));
    FX_TRY_DONE(read_attributes(file));
done:
    if (status != FX_OK) fx_nskt_close(&file);
    *out = file;
    return status;
}

const fx_nskt_info *fx_nskt_describe(const fx_nskt *file)
{
    return &file->info;
}

fx_status fx_nskt_read(fx_nskt *file, int64_t t, int64_t count, int64_t row, int64_t rows, float *out)
{
    const fx_nskt_info *info = &file->info;
    FX_REQUIRE(t >= 0 && count > 0 && count <= info->snapshots - t, FX_EARG,
               "%s: %lld snapshots, not %lld from %lld on", file->path, (long long)info->snapshots,
               (long long)count, (long long)t);
    FX_REQUIRE(row >= 0 && rows > 0 && rows <= info->height - row, FX_EARG,
               "%s: %lld rows, not %lld from %lld on", file->path, (long long)info->height,
               (long long)rows, (long long)row);
    const int64_t offset3[] = {t, row, 0}, count3[] = {count, rows, info->width};
    const int64_t offset4[] = {t, file->channel, row, 0}, count4[] = {count, 1, rows, info->width};
    FX_TRY(fx_h5_read(file->file, DATASET, file->rank == 4 ? offset4 : offset3,
                      file->rank == 4 ? count4 : count3, FX_H5_F32, out));
    for (int64_t i = 0; i < count * rows * info->width; i++)
        FX_REQUIRE(isfinite(out[i]), FX_EVALUE, "%s: %s[%lld, %lld, %lld] is %g", file->path, DATASET,
                   (long long)(t + i / (rows * info->width)), (long long)(row + i / info->width % rows),
                   (long long)(i % info->width), (double)out[i]);
    return FX_OK;
}

void fx_nskt_close(fx_nskt **file)
{
    if (!*file) return;
    fx_h5_abandon(&(*file)->file);
    fx_free(*file);
    *file = NULL;
}
