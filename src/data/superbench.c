/* superbench.c: reader of SuperBench's files (erichson/SuperBench, src/data_loader.py): fields (N, C,
 * H, W) in folders named after their data set. What a file does not say, the folder does:
 *
 *   nskt_16k, nskt_32k   C = u, v, w, of which w is taken; doubly periodic; Re 16000, 32000
 *   era5                 721 x 1440 points of the globe, the last row left out; periodic along x
 *
 * The channel of other sets must be given. Snapshots are in the order of the file. Simulated low
 * resolution lies beside it: LR_fields (N, C, h, w) in the same file (nskt_16k_sim_4_v7 and its like),
 * or fields of NAME_lres.h5 beside NAME.h5 (cosmo_lres_sim); packs name it after NAME.h5. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/str.h"
#include "source.h"

static const char FINE_END[] = ".h5", LOW_END[] = "_lres.h5";

/* The name with another end, "" where it has not the one; whether such a file is there. */
static bool partner(const char *path, const char *end, const char *other, char out[FX_PATH_MAX])
{
    const size_t length = strlen(path), n = strlen(end);
    out[0] = '\0';
    return length > n && strcmp(path + length - n, end) == 0 &&
           fx_path(out, "%.*s%s", (int)(length - n), path, other) == FX_OK && fx_file_exists(out);
}

static bool knows(const char *path, fx_h5 *file)
{
    fx_h5_shape shape;
    char fine[FX_PATH_MAX];
    if (partner(path, LOW_END, FINE_END, fine)) return false; /* it comes with that one */
    if (!file || !fx_h5_exists(file, "fields")) return false;
    if (fx_h5_describe(file, "fields", &shape) == FX_OK) return shape.rank == 4;
    fx_error_clear();
    return true; /* whatever is wrong with it is said where it is opened */
}

/* The Reynolds number of a folder nskt_16k, nskt_32k_sim_4_v7 above the file, wherever we are; 0: none.
 */
static double nskt_reynolds(const char *path)
{
    char whole[PATH_MAX];
    double found = 0;
    for (const char *at = realpath(path, whole); at && (at = strstr(at, "/nskt_")); at++) {
        int thousands = 0, end = 0;
        if (sscanf(at, "/nskt_%4d%n", &thousands, &end) == 1 && end > 0 && at[end] == 'k' &&
            thousands > 0 && strchr(at + 1, '/'))
            found = 1000.0 * thousands;
    }
    return found;
}

static fx_status describe(fx_source *s, const fx_config *config)
{
    const double reynolds = nskt_reynolds(s->path);
    char fine[FX_PATH_MAX];
    if (partner(s->path, LOW_END, FINE_END, fine))
        FX_TRY(fx_print(s->info.name, sizeof s->info.name, "%s", fx_base_name(fine)));
    FX_TRY(fx_source_use(s, config->source_key[0] ? config->source_key : "fields",
                         (const char *const[]){"tcyx", NULL}));
    FX_REQUIRE(config->source_channel >= 0 || s->channels == 1 || (reynolds > 0 && s->channels == 3),
               FX_ECONFIG, "source.channel: which of the %lld channels of %s is it?",
               (long long)s->channels, s->path);
    FX_TRY(fx_source_take_channel(s, config, s->channels - 1));
    const bool globe = s->info.height == 721 && s->info.width == 1440;
    if (globe) s->info.height = 720;
    s->info.periodic[0] = reynolds > 0;
    s->info.periodic[1] = reynolds > 0 || globe;
    FX_TRY(fx_source_no_scalars(s, config));
    return fx_source_take_runs(s, (fx_source_run){.condition = reynolds});
}

static fx_status lowres(const fx_source *s, char path[FX_PATH_MAX], char key[FX_PATH_MAX])
{
    if (fx_h5_exists(s->file, "LR_fields")) {
        FX_TRY(fx_path(path, "%s", s->path));
        return fx_path(key, "LR_fields");
    }
    if (!partner(s->path, FINE_END, LOW_END, path)) path[0] = '\0';
    return fx_path(key, "fields");
}

const fx_source_format fx_format_superbench = {
    .name = "superbench", .knows = knows, .describe = describe, .lowres = lowres};
