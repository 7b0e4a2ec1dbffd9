/* data_settings.c: what a configuration leaves to the data set. */
#include <string.h>

#include "flexhpc/str.h"
#include "settings.h"

fx_status fx_settings_of_data(const fx_config *config, fx_config *out)
{
    fx_manifest manifest;
    *out = *config;
    FX_REQUIRE(config->data_path[0], FX_ECONFIG, "data.path: which pack is the model trained on?");
    FX_TRY(fx_manifest_read(config->data_path, &manifest));
    bool alike = true;
    for (int i = 0; i < manifest.sources; i++)
        alike = alike && !manifest.source[i].dataset[0];
    if (out->data_scale == 0 && alike) out->data_scale = manifest.scale;
    if (out->data_reynolds.count == 0 && manifest.reynolds_count <= FX_LIST_MAX) {
        out->data_reynolds.count = manifest.reynolds_count;
        for (int i = 0; i < manifest.reynolds_count; i++)
            out->data_reynolds.value[i] = manifest.reynolds[i].reynolds;
    }
    fx_manifest_free(&manifest);
    return FX_OK;
}

fx_status fx_settings_scales(const fx_manifest *m, const fx_config *config, fx_progress *out)
{
    size_t used = 0;
    out->data_sets[0] = '\0';
    for (int i = 0; config->data_scale == 0 && i < m->sources; i++) {
        const fx_pack_source *s = &m->source[i];
        double known;
        if (!s->dataset[0] || fx_progress_scale(out, s->dataset, &known)) continue;
        FX_TRY_CTX(fx_print(out->data_sets + used, sizeof out->data_sets - used, "%s=%.17g,",
                            s->dataset, s->scale),
                   "data.path: too many data sets (pack.dataset)");
        used = strlen(out->data_sets);
    }
    return FX_OK;
}
