/* nskt.c: reader of published turbulence files ("NSKT"), one a Reynolds number and seed:
 * `{Re}_{N}_{N}_seed_{seed}.h5`, older ones with `_w` before the dot. Dataset `w`, vorticity, (T, H, W)
 * or (T, C, H, W) with C = 3 (u, v, w) or 1; HDF5 turns any float type and byte order into ours. The
 * published files carry no attribute; ours add Re, start and interval, exported ones (nskt_write.c)
 * scale, and `field`, what w was called where it came from. Doubly periodic, but where an attribute
 * `periodic` of 0 and 1, for y and x, says otherwise: our solver's between walls. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source.h"

bool fx_nskt_parse_name(const char *path, double *reynolds, int64_t *seed)
{
    const char *name = fx_base_name(path), *digits = "0123456789";
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

static bool knows(const char *path, fx_h5 *file)
{
    double reynolds;
    int64_t seed;
    (void)file;
    return fx_nskt_parse_name(path, &reynolds, &seed);
}

/* Our own files state more; what the name says as well must agree. */
static fx_status read_attributes(fx_source *s, fx_source_run *run)
{
    if (fx_h5_has_attribute(s->file, "/", "Re")) {
        double reynolds;
        FX_TRY(fx_h5_get_real(s->file, "/", "Re", &reynolds));
        FX_REQUIRE(reynolds == run->condition, FX_EVALUE, "%s: attribute Re is %g, the name says %g",
                   s->path, reynolds, run->condition);
    }
    if (fx_h5_has_attribute(s->file, "/", "start"))
        FX_TRY(fx_h5_get_real(s->file, "/", "start", &run->start));
    if (fx_h5_has_attribute(s->file, "/", "interval"))
        FX_TRY(fx_h5_get_real(s->file, "/", "interval", &run->interval));
    if (fx_h5_has_attribute(s->file, "/", "scale")) {
        FX_TRY(fx_h5_get_real(s->file, "/", "scale", &s->info.scale));
        FX_REQUIRE(s->info.scale > 0 && isfinite(s->info.scale), FX_EVALUE, "%s: attribute scale is %g",
                   s->path, s->info.scale);
    }
    return FX_OK;
}

/* Two numbers, for y and x, of 0 to `most`; as they are where there is no such attribute. */
static fx_status read_axes(fx_source *s, const char *name, int most, double axes[2])
{
    int count = 2;
    if (fx_h5_has_attribute(s->file, "/", name))
        FX_TRY(fx_h5_get_reals(s->file, "/", name, axes, 2, &count));
    for (int i = 0; i < 2; i++)
        FX_REQUIRE(count == 2 && axes[i] >= 0 && axes[i] <= most && axes[i] == floor(axes[i]),
                   FX_EVALUE, "%s: attribute %s is not two of 0 %s %d, for y and x", s->path, name,
                   most == 1 ? "and" : "to", most);
    return FX_OK;
}

static fx_status read_boundaries(fx_source *s)
{
    double periodic[2] = {1, 1}, edges[2] = {FX_EDGE_WALL, FX_EDGE_WALL};
    FX_TRY(read_axes(s, "periodic", 1, periodic));
    FX_TRY(read_axes(s, "edges", FX_EDGE_OPEN, edges));
    for (int i = 0; i < 2; i++) {
        s->info.periodic[i] = periodic[i] == 1;
        s->info.edge[i] = (fx_edge)edges[i];
    }
    return FX_OK;
}

/* An exported field isn't vorticity because the format calls it w. */
static fx_status read_field(fx_source *s)
{
    if (strcmp(s->key, "w") != 0 || !fx_h5_has_attribute(s->file, "/", "field")) return FX_OK;
    FX_TRY(fx_h5_get_text(s->file, "/", "field", s->info.field, sizeof s->info.field));
    FX_REQUIRE(s->info.field[0], FX_EVALUE, "%s: attribute field is empty", s->path);
    fx_make_printable(s->info.field);
    return FX_OK;
}

static fx_status describe(fx_source *s, const fx_config *config)
{
    fx_source_run run = {0};
    FX_REQUIRE(fx_nskt_parse_name(s->path, &run.condition, &s->info.seed), FX_EARG,
               "%s: the name is not {Re}_{N}_{N}_seed_{seed}.h5", s->path);
    FX_TRY(fx_source_use(s, config->source_key[0] ? config->source_key : "w",
                         (const char *const[]){"tyx", "tcyx", NULL}));
    FX_REQUIRE(s->channels == 1 || s->channels == 3, FX_EVALUE,
               "%s: %s is (%lld, %lld, %lld, %lld), not (t, y, x) or (t, 1 or 3, y, x)", s->path,
               s->key, (long long)s->info.snapshots, (long long)s->channels, (long long)s->info.height,
               (long long)s->info.width);
    FX_TRY(fx_source_take_channel(s, config, s->channels - 1));
    FX_TRY(read_field(s));
    FX_TRY(fx_source_no_scalars(s, config));
    FX_TRY(read_boundaries(s));
    FX_TRY(read_attributes(s, &run));
    return fx_source_take_runs(s, run);
}

const fx_source_format fx_format_nskt = {.name = "nskt", .knows = knows, .describe = describe};
