/* sources.c: which files a pack is made of: those of a folder that are named as NSKT files, or the
 * given ones; opened, checked against pack.patch and pack.reynolds, sorted by Re, seed and name. */
#include "sources.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

static bool wanted(const fx_list *list, double reynolds)
{
    for (int i = 0; i < list->count; i++)
        if (list->value[i] == reynolds) return true;
    return list->count == 0;
}

static int by_reynolds(const void *a, const void *b)
{
    const fx_pack_source *x = &((const fx_source_file *)a)->source,
                         *y = &((const fx_source_file *)b)->source;
    if (x->reynolds != y->reynolds) return x->reynolds < y->reynolds ? -1 : 1;
    if (x->seed != y->seed) return x->seed < y->seed ? -1 : 1;
    return strcmp(x->name, y->name);
}

static fx_status inspect(const fx_config *config, const char *path, fx_source_file *out)
{
    fx_nskt *file = NULL;
    const int64_t side = config->pack_patch;
    FX_TRY(fx_path(out->path, "%s", path));
    FX_TRY(fx_nskt_open(path, &file));
    const fx_nskt_info *info = fx_nskt_describe(file);
    fx_pack_source *s = &out->source;
    memcpy(s->name, info->name, sizeof s->name);
    s->reynolds = info->reynolds;
    s->seed = info->seed;
    s->start = info->start;
    s->interval = info->interval;
    s->snapshots = info->snapshots;
    s->height = info->height;
    s->width = info->width;
    fx_nskt_close(&file);
    FX_REQUIRE(s->height >= side && s->width >= side, FX_ECONFIG,
               "pack.patch: %lld pixels do not fit into the %lld x %lld of %s", (long long)side,
               (long long)s->height, (long long)s->width, path);
    return FX_OK;
}

fx_status fx_sources_list(const fx_config *config, const char *const *files, int count,
                          fx_source_file **out, int *sources)
{
    fx_source_file *list = NULL;
    int taken = 0;
    FX_TRY(FX_ALLOC(list, count + 1));
    *out = list; /* the caller frees it, whatever the status */
    for (int i = 0; i < count; i++) {
        double reynolds;
        int64_t seed;
        FX_REQUIRE(fx_nskt_parse_name(files[i], &reynolds, &seed), FX_EARG,
                   "%s: the name is not {Re}_{N}_{N}_seed_{seed}.h5", files[i]);
        if (!wanted(&config->pack_reynolds, reynolds)) continue;
        FX_TRY(inspect(config, files[i], &list[taken]));
        taken++;
    }
    FX_REQUIRE(taken > 0, FX_ECONFIG, "pack.source: no file named {Re}_{N}_{N}_seed_{seed}.h5%s",
               config->pack_reynolds.count ? " with an Re of pack.reynolds" : "");
    qsort(list, (size_t)taken, sizeof *list, by_reynolds);
    for (int i = 1; i < taken; i++)
        FX_REQUIRE(strcmp(list[i].source.name, list[i - 1].source.name) != 0, FX_EARG,
                   "%s: a second file of this name", list[i].path);
    *sources = taken;
    return FX_OK;
}

fx_status fx_sources_find(const char *source, char ***paths, int *count)
{
    fx_status status = FX_OK;
    char **names = NULL;
    int entries = 0;
    struct stat s;
    FX_REQUIRE(stat(source, &s) == 0, FX_EIO, "pack.source: %s: %s", source, strerror(errno));
    const bool folder = S_ISDIR(s.st_mode);
    if (folder) FX_TRY(fx_list_dir(source, ".h5", &names, &entries));
    const size_t most = folder ? (size_t)entries : 1;
    *count = 0;
    FX_TRY_DONE((*paths = fx_calloc(most + 1, sizeof **paths + FX_PATH_MAX)) ? FX_OK : FX_ENOMEM);
    for (size_t i = 0; i < most; i++) {
        double reynolds;
        int64_t seed;
        char *path = (char *)(*paths + most + 1) + (size_t)*count * FX_PATH_MAX;
        if (folder && !fx_nskt_parse_name(names[i], &reynolds, &seed)) continue;
        status = folder ? fx_path(path, "%s/%s", source, names[i]) : fx_path(path, "%s", source);
        if (status != FX_OK) goto done;
        (*paths)[(*count)++] = path;
    }
done:
    fx_free(names);
    return status;
}
