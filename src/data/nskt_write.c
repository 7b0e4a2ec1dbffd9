/* nskt_write.c: any source as files of the published turbulence format (nskt.c), one a run: dataset w,
 * (T, H, W) float32, one snapshot a chunk. What the name doesn't say goes into attributes: Re, start
 * and interval where known, scale where known, `periodic` where it isn't along both axes, `field`, the
 * name that it had, where that isn't w. Memory is one snapshot. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/mem.h"
#include "source.h"

static fx_status name_of(const fx_source *s, int64_t r, char name[FX_NAME_MAX + 1])
{
    const fx_source_info *i = &s->info;
    const double condition = s->run[r].condition;
    const int64_t seed = i->seed + r;
    double reynolds;
    int64_t number;
    FX_TRY(fx_print(name, FX_NAME_MAX + 1, "%.12g_%lld_%lld_seed_%lld.h5", condition,
                    (long long)i->height, (long long)i->width, (long long)seed));
    FX_REQUIRE(fx_nskt_parse_name(name, &reynolds, &number) && reynolds == condition && number == seed,
               FX_EARG,
               "%s: condition %.12g and seed %lld make no name of an NSKT file (source.condition gives "
               "a Reynolds number)",
               s->path, condition, (long long)seed);
    return FX_OK;
}

static fx_status write_attributes(const fx_source *s, int64_t r, fx_h5 *f)
{
    const fx_source_run *run = &s->run[r];
    const fx_source_info *i = &s->info;
    FX_TRY(fx_h5_set_real(f, "/", "Re", run->condition));
    if (run->interval > 0) {
        FX_TRY(fx_h5_set_real(f, "/", "start", run->start));
        FX_TRY(fx_h5_set_real(f, "/", "interval", run->interval));
    }
    if (i->scale > 0) FX_TRY(fx_h5_set_real(f, "/", "scale", i->scale));
    if (strcmp(i->field, "w") != 0) FX_TRY(fx_h5_set_text(f, "/", "field", i->field));
    if (i->periodic[0] && i->periodic[1]) return FX_OK;
    FX_TRY(fx_h5_set_ints(f, "/", "edges", (const int64_t[]){(int64_t)i->edge[0], (int64_t)i->edge[1]},
                          2));
    return fx_h5_set_ints(f, "/", "periodic", (const int64_t[]){i->periodic[0], i->periodic[1]}, 2);
}

static fx_status write_fields(fx_source *s, int64_t r, fx_h5 *f)
{
    const fx_source_info *i = &s->info;
    const int64_t H = i->height, W = i->width;
    float *w = NULL;
    fx_status status = FX_OK;
    FX_TRY(fx_h5_dataset(f, "w", (fx_h5_shape){3, {i->snapshots, H, W}, FX_H5_F32},
                         (const int64_t[]){1, H, W}));
    FX_TRY(FX_ALLOC(w, H * W));
    for (int64_t t = 0; t < i->snapshots && status == FX_OK; t++) {
        const fx_source_box box = {.run = r, .t = t, .times = 1, .rows = H, .columns = W};
        status = fx_source_read_finite(s, &box, w);
        if (status == FX_OK)
            status = fx_h5_write(f, "w", (const int64_t[]){t, 0, 0}, (const int64_t[]){1, H, W},
                                 FX_H5_F32, w);
    }
    fx_free(w);
    return status;
}

static fx_status write_run(fx_source *s, int64_t r, const char *path)
{
    char part[FX_PATH_MAX];
    fx_h5 *f = NULL;
    FX_TRY(fx_path(part, "%s.part", path));
    FX_TRY(fx_h5_create(NULL, part, &f));
    fx_status status = write_fields(s, r, f);
    if (status == FX_OK) status = write_attributes(s, r, f);
    if (status == FX_OK)
        status = fx_h5_close(&f);
    else
        fx_h5_abandon(&f);
    if (status == FX_OK) return fx_commit(part, path);
    unlink(part); /* whatever comes of it, the failure above is the one to tell */
    return fx_context(status, "%s", path);
}

fx_status fx_nskt_write(fx_source *source, const char *folder)
{
    char name[FX_NAME_MAX + 1], path[FX_PATH_MAX];
    for (int pass = 0; pass < 2; pass++) /* 0: all names, before anything is written */
        for (int64_t r = 0; r < source->info.runs; r++) {
            FX_TRY(name_of(source, r, name));
            FX_TRY(fx_path(path, "%s/%s", folder, name));
            FX_REQUIRE(pass > 0 || !fx_file_exists(path), FX_EARG, "%s: is there already", path);
            if (pass > 0) FX_TRY(write_run(source, r, path));
        }
    return FX_OK;
}
