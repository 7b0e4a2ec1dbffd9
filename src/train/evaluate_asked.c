/* evaluate_asked.c: what an evaluation was asked for, so that who finds its file knows whether it would
 * come out the same. */
#include <string.h>

#include "field_file.h"
#include "flexhpc/io.h"
#include "flexhpc/train.h"

static fx_status reynolds_text(const fx_list *list, char *out, size_t size)
{
    FX_TRY(fx_print(out, size, "%s", list->count ? "" : " all"));
    for (int i = 0; i < list->count; i++) {
        const size_t used = strlen(out);
        FX_TRY(fx_print(out + used, size - used, " %.17g", list->value[i]));
    }
    return FX_OK;
}

fx_status fx_evaluation_asked(const fx_config *c, char *out, size_t size, int64_t *pack)
{
    char path[FX_PATH_MAX], reynolds[FX_LIST_MAX * 26 + 8], leads[64] = "";
    uint64_t hash = 0;
    FX_TRY(reynolds_text(&c->eval_reynolds, reynolds, sizeof reynolds));
    if (c->eval_horizon > 1)
        FX_TRY(fx_print(leads, sizeof leads, "; %lld leads, feedback of %s", (long long)c->eval_horizon,
                        c->sample_feedback == FX_FEEDBACK_MEAN ? "the mean" : "members"));
    FX_TRY(fx_print(out, size, "Re%s; scale %s; condition %s%s", reynolds,
                    c->eval_scale[0] ? c->eval_scale : "checkpoint",
                    c->eval_condition[0] ? c->eval_condition : "pack", leads));
    FX_TRY(fx_path(path, "%s/manifest.json", c->data_path));
    if (fx_file_exists(path)) FX_TRY(fx_file_xxh64(path, &hash));
    *pack = (int64_t)hash;
    return FX_OK;
}
