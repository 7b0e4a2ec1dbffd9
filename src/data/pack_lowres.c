/* pack_lowres.c: a data set's own low-resolution fields become a pack of their own inside the pack of
 * the others: the same sources, tiles and patch numbers, patches smaller by the factor between the two.
 * So it is written, read, verified, copied and added to as any pack. */
#include "pack.h"

#include <string.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

/* How many times finer the fields are. */
static fx_status find_factor(const fx_source *fine, const fx_source *low, const char *path,
                             int64_t side, int64_t *factor)
{
    const fx_source_info *a = fx_source_describe(fine), *b = fx_source_describe(low);
    *factor = a->width / b->width;
    FX_REQUIRE(a->runs == b->runs && a->snapshots == b->snapshots && *factor >= 2 &&
                   a->width == *factor * b->width && a->height == *factor * b->height,
               FX_EVALUE,
               "%s: %lld x %lld snapshots of %s, %lld x %lld, are no low resolution of %lld x %lld, "
               "%lld x %lld (source.lowres)",
               path, (long long)b->runs, (long long)b->snapshots, b->field, (long long)b->height,
               (long long)b->width, (long long)a->runs, (long long)a->snapshots, (long long)a->height,
               (long long)a->width);
    FX_REQUIRE(side % *factor == 0, FX_ECONFIG,
               "pack.patch: %lld is no multiple of %lld, the factor between %s and its low resolution",
               (long long)side, (long long)*factor, a->name);
    return FX_OK;
}

/* Of one file, into list->path[at]; *has: it has them. */
static fx_status look_at(const fx_config *config, fx_source *fine, fx_lowres_list *list, int at,
                         bool *has)
{
    fx_source *low = NULL;
    fx_config own;
    char folder[FX_PATH_MAX], *path = list->path[at];
    int64_t factor = 0;
    fx_status status = FX_OK;
    FX_TRY_DONE(fx_source_lowres(fine, config, &own, path));
    *has = path[0] != '\0';
    if (!*has) goto done;
    FX_TRY_DONE(fx_source_open(path, &own, &low));
    FX_TRY_DONE(find_factor(fine, low, path, config->pack_patch, &factor));
    own.pack_patch = config->pack_patch / factor;
    FX_TRY_DONE(fx_lowres_path(config->pack_path, folder));
    FX_TRY_DONE(fx_print(own.pack_path, sizeof own.pack_path, "%s", folder));
    FX_REQUIRE_DONE(at == 0 || (own.pack_patch == list->config.pack_patch &&
                                strcmp(own.source_key, list->config.source_key) == 0),
                    FX_ECONFIG,
                    "source.lowres: %s in %s is %lld times coarser, %s in %s another number",
                    own.source_key, path, (long long)factor, list->config.source_key, list->path[0]);
    list->config = own;
done:
    fx_source_close(&low);
    return status;
}

/* A pack that is added to has them or has them not, and so must the files. */
static fx_status check_added(const fx_config *config, bool has)
{
    bool there = false;
    FX_TRY(fx_lowres_exists(config->pack_path, &there));
    FX_REQUIRE(!config->pack_add || there == has, FX_ECONFIG,
               "pack.add: low-resolution fields of their own: the pack %s has %s, the files have %s "
               "(source.lowres)",
               config->pack_path, has ? "none" : "some", has ? "some" : "none");
    return FX_OK;
}

fx_status fx_lowres_find(const fx_config *config, const char *const *files, int count, bool others,
                         fx_lowres_list *list)
{
    const char *with = NULL, *without = NULL;
    FX_TRY(FX_ALLOC(list->path, count));
    for (int i = 0; i < count; i++) {
        fx_source *source = NULL;
        bool known = true, has = false;
        fx_status status = others ? fx_source_known(files[i], config, &known) : FX_OK;
        if (status == FX_OK && !known) continue;
        if (status == FX_OK) status = fx_source_open(files[i], config, &source);
        if (status == FX_ENOMEM) return status;
        if (status != FX_OK) { /* packing it will say so, before anything is written */
            fx_error_clear();
            list->count = 0;
            return FX_OK;
        }
        status = look_at(config, source, list, list->count, &has);
        fx_source_close(&source);
        FX_TRY(status);
        list->count += has;
        if (has)
            with = files[i];
        else
            without = files[i];
        FX_REQUIRE(
            !with || !without, FX_ECONFIG,
            "source.lowres: %s has low-resolution fields of its own, %s has none: off leaves them",
            with, without);
    }
    return check_added(config, list->count > 0);
}

fx_status fx_lowres_inside(fx_comm *comm, const char *pack, char out[FX_PATH_MAX])
{
    bool exists = false;
    fx_status status = fx_lowres_path(pack, out);
    if (status == FX_OK && comm->rank == 0) status = fx_lowres_exists(pack, &exists);
    int64_t has = exists;
    FX_TRY(fx_agree(comm, status));
    FX_TRY(fx_comm_max_i64(comm, &has));
    if (!has) out[0] = '\0';
    return FX_OK;
}
