/* minflex.c: reader of minFLEX's files (erichson/minFLEX), such as 2013_subregion.h5: fields (T, C, H,
 * W) or (T, H, W), of which channel 0 is taken; a region of a larger domain, so periodic along no axis;
 * condition 0. It interpolates bilinearly (data.upsampling=bilinear) and divides by nothing
 * (data.scale=1). */
#include <string.h>

#include "source.h"

static bool knows(const char *path, fx_h5 *file)
{
    fx_h5_shape shape;
    if (!file || !fx_h5_exists(file, "fields")) return false;
    if (strstr(fx_base_name(path), "subregion")) return true;
    if (fx_h5_describe(file, "fields", &shape) == FX_OK) return shape.rank == 3;
    fx_error_clear();
    return false;
}

static fx_status describe(fx_source *s, const fx_config *config)
{
    FX_TRY(fx_source_use(s, config->source_key[0] ? config->source_key : "fields",
                         (const char *const[]){"tyx", "tcyx", NULL}));
    FX_TRY(fx_source_take_channel(s, config, 0));
    FX_TRY(fx_source_no_scalars(s, config));
    s->info.edge[0] = s->info.edge[1] = FX_EDGE_OPEN;
    return fx_source_take_runs(s, (fx_source_run){0});
}

const fx_source_format fx_format_minflex = {.name = "minflex", .knows = knows, .describe = describe};
