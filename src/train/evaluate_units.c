/* evaluate_units.c: what fields of the evaluated pack are divided by, and what the model is told beside
 * them: as in training, or as a data set of other units and conditions needs it (zero-shot). */
#include <math.h>
#include <string.h>

#include "evaluate.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

static fx_status find_scales(fx_evaluation *e)
{
    const fx_manifest *m = fx_pack_manifest(e->pack);
    const fx_progress *p = &e->trained->progress;
    const char *word = e->config->eval_scale;
    const bool pack = strcmp(word, "pack") == 0, trained = !word[0] || strcmp(word, "checkpoint") == 0;
    double number = p->data_scale;
    FX_REQUIRE(pack || trained || (fx_is_number(word, &number) && number > 0 && isfinite(number)),
               FX_ECONFIG, "eval.scale: \"%s\" is none of checkpoint, pack, a number above 0", word);
    FX_TRY(FX_ALLOC(e->scale, m->sources));
    for (int s = 0; s < m->sources; s++) {
        const fx_pack_source *source = &m->source[s];
        e->scale[s] = pack ? source->scale : number;
        if (!trained || !source->dataset[0] || p->config.data_scale > 0) continue;
        FX_REQUIRE(
            fx_progress_scale(p, source->dataset, &e->scale[s]), FX_ECONFIG,
            "eval.scale: checkpoint: %s was not trained on the data set %s of %s: pack, or a number",
            e->trained->path, source->dataset, e->config->data_path);
    }
    return FX_OK;
}

fx_status fx_evaluation_condition(const fx_config *config, const fx_trained *trained, double *out)
{
    const char *word = config->eval_condition;
    const bool mean = strcmp(word, "mean") == 0;
    *out = NAN;
    if (!word[0] || strcmp(word, "pack") == 0) return FX_OK;
    FX_REQUIRE(mean || (fx_is_number(word, out) && *out >= 0 && *out <= 1e9), FX_ECONFIG,
               "eval.condition: \"%s\" is none of pack, mean, a number from 0 to 1e9", word);
    if (mean) *out = trained->progress.condition_mean;
    FX_REQUIRE(!isnan(*out), FX_ECONFIG,
               "eval.condition: mean: %s, of an older version, does not say it", trained->path);
    return FX_OK;
}

fx_status fx_evaluation_units(fx_evaluation *e)
{
    FX_TRY(find_scales(e));
    return fx_evaluation_condition(e->config, e->trained, &e->condition);
}
