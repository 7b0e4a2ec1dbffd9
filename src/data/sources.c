/* sources.c: what a pack is made of: the runs of a folder's files, or of the given ones; opened,
 * checked against pack.patch and pack.reynolds, sorted by condition, seed, name and run. */
#include "sources.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "flexhpc/io.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"

enum { MOST = 65536 }; /* sources of a pack, as in its manifest */

/* A list that grows. */
typedef struct list {
    fx_source_file *file;
    int count;
    size_t capacity;
} list;

static int in_order(const void *a, const void *b)
{
    const fx_pack_source *x = &((const fx_source_file *)a)->source,
                         *y = &((const fx_source_file *)b)->source;
    if (x->reynolds != y->reynolds) return x->reynolds < y->reynolds ? -1 : 1;
    if (x->seed != y->seed) return x->seed < y->seed ? -1 : 1;
    const int names = strcmp(x->name, y->name);
    return names ? names : (x->run > y->run) - (x->run < y->run);
}

static fx_status add_runs(const fx_config *config, const fx_source *source, const char *path, list *to)
{
    const fx_source_info *info = fx_source_describe(source);
    const int64_t side = config->pack_patch;
    FX_REQUIRE(info->height >= side && info->width >= side, FX_ECONFIG,
               "pack.patch: %lld pixels do not fit into the %lld x %lld of %s", (long long)side,
               (long long)info->height, (long long)info->width, path);
    for (int64_t r = 0; r < info->runs; r++) {
        const fx_source_run run = fx_source_run_of(source, r);
        void *array = to->file;
        if (!fx_list_has(&config->pack_reynolds, run.condition)) continue;
        FX_REQUIRE(to->count < MOST, FX_EARG, "%s: more than %d runs in all", path, MOST);
        FX_TRY(fx_grow(&array, &to->capacity, (size_t)to->count, sizeof *to->file));
        to->file = array;
        fx_source_file *out = &to->file[to->count];
        *out = (fx_source_file){.scale = info->scale,
                                .source = {.reynolds = run.condition,
                                           .start = run.start,
                                           .interval = run.interval,
                                           .run = r,
                                           .seed = info->seed,
                                           .snapshots = info->snapshots,
                                           .height = info->height,
                                           .width = info->width,
                                           .periodic = {info->periodic[0], info->periodic[1]}}};
        FX_TRY(fx_path(out->path, "%s", path));
        memcpy(out->source.name, info->name, sizeof info->name);
        memcpy(out->source.field, info->field, sizeof info->field);
        FX_TRY(fx_print(out->source.dataset, sizeof out->source.dataset, "%s", config->pack_dataset));
        to->count++;
    }
    return FX_OK;
}

fx_status fx_sources_list(const fx_config *config, const char *const *files, int count, bool others,
                          fx_source_file **out, int *sources)
{
    list all = {0};
    fx_status status = FX_OK;
    FX_REQUIRE(!config->pack_dataset[0] || (fx_is_plain_name(config->pack_dataset) &&
                                            strlen(config->pack_dataset) < FX_DATASET_MAX),
               FX_ECONFIG,
               "pack.dataset: \"%s\" is not a name of letters, digits, dot, - and _, below %d",
               config->pack_dataset, FX_DATASET_MAX);
    for (int i = 0; i < count && status == FX_OK; i++) {
        fx_source *source = NULL;
        bool known = true;
        if (others) status = fx_source_known(files[i], config, &known);
        if (!known)
            fx_log(FX_WARN,
                   "pack: %s is left out: of no format that is known here, or another file's low "
                   "resolution",
                   files[i]);
        if (status != FX_OK || !known) continue;
        status = fx_source_open(files[i], config, &source);
        if (status == FX_OK) status = add_runs(config, source, files[i], &all);
        fx_source_close(&source);
    }
    *out = all.file; /* the caller frees it, whatever the status */
    FX_TRY(status);
    FX_REQUIRE(all.count > 0, FX_ECONFIG, "pack.source: no file of a known format%s",
               config->pack_reynolds.count ? " with an Re of pack.reynolds" : "");
    qsort(all.file, (size_t)all.count, sizeof *all.file, in_order);
    for (int i = 1; i < all.count; i++)
        FX_REQUIRE(in_order(&all.file[i], &all.file[i - 1]) != 0, FX_EARG,
                   "%s: a second file of this name", all.file[i].path);
    *sources = all.count;
    return FX_OK;
}

/* The same run of the same field, as far as a manifest tells. */
static fx_status same_source(const fx_source_file *file, const fx_pack_source *in_pack)
{
    const fx_pack_source *s = &file->source;
    FX_REQUIRE(s->snapshots == in_pack->snapshots && s->height == in_pack->height &&
                   s->width == in_pack->width && s->start == in_pack->start &&
                   s->interval == in_pack->interval && strcmp(s->field, in_pack->field) == 0 &&
                   s->periodic[0] == in_pack->periodic[0] && s->periodic[1] == in_pack->periodic[1],
               FX_ECONFIG,
               "pack.add: %s is in the pack already, with another field, size, time or boundary",
               file->path);
    return FX_OK;
}

fx_status fx_sources_add(const fx_manifest *pack, fx_source_file **files, int *count)
{
    fx_source_file *all = NULL;
    FX_TRY(FX_ALLOC(all, *count + pack->sources));
    memcpy(all, *files, (size_t)*count * sizeof *all);
    for (int i = 0; i < pack->sources; i++)
        all[*count + i] = (fx_source_file){.packed = 1 + i, .source = pack->source[i]};
    fx_free(*files);
    *files = all;
    const int total = *count + pack->sources;
    qsort(all, (size_t)total, sizeof *all, in_order);
    *count = 0;
    for (int i = 0; i < total; i++) {
        const bool pair = i + 1 < total && in_order(&all[i], &all[i + 1]) == 0;
        const int file = pair && all[i].packed ? i + 1 : i, packed = pair ? i + (file == i) : i;
        if (pair) {
            FX_TRY(same_source(&all[file], &all[packed].source));
            memcpy(all[packed].path, all[file].path, sizeof all[file].path);
            i++;
        }
        all[(*count)++] = all[packed];
    }
    FX_REQUIRE(*count <= MOST, FX_ECONFIG, "pack.add: %d sources, more than %d", *count, MOST);
    return FX_OK;
}

static bool is_hdf5(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".h5") == 0 || strcmp(dot, ".hdf5") == 0);
}

fx_status fx_sources_find(const char *source, char ***paths, int *count)
{
    fx_status status = FX_OK;
    char **names = NULL;
    int entries = 0;
    struct stat s;
    FX_REQUIRE(stat(source, &s) == 0, FX_EIO, "pack.source: %s: %s", source, strerror(errno));
    const bool folder = S_ISDIR(s.st_mode);
    if (folder) FX_TRY(fx_list_dir(source, "", &names, &entries));
    const size_t most = folder ? (size_t)entries : 1;
    *count = 0;
    FX_TRY_DONE((*paths = fx_calloc(most + 1, sizeof **paths + FX_PATH_MAX)) ? FX_OK : FX_ENOMEM);
    for (size_t i = 0; i < most; i++) {
        char *path = (char *)(*paths + most + 1) + (size_t)*count * FX_PATH_MAX;
        if (folder && !is_hdf5(names[i])) continue;
        status = folder ? fx_path(path, "%s/%s", source, names[i]) : fx_path(path, "%s", source);
        if (status != FX_OK) goto done;
        (*paths)[(*count)++] = path;
    }
done:
    fx_free(names);
    return status;
}
