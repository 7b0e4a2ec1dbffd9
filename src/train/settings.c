/* settings.c: which settings a run may change when it goes on. */
#include "settings.h"

#include <string.h>

#include "flexhpc/log.h"

bool fx_setting_is_free(const char *line)
{
    static const char *const keys[] = {"run.",       "sample.",     "eval.",     "generate.",
                                       "pack.",      "bench.",      "data.path", "data.prefetch",
                                       "data.stage", "checkpoint.", "cuda.",     "train.shard",
                                       "validate."};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strncmp(line, keys[i], strlen(keys[i])) == 0) return true;
    return false;
}

fx_status fx_settings_check(const fx_config *then, const fx_config *now, const char *path)
{
    char text[8192], *rest = NULL;
    if (fx_config_diff(then, now, text, sizeof text) == 0) return FX_OK;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        FX_REQUIRE(fx_setting_is_free(line), FX_ECONFIG, "%s was made with other settings: %s", path,
                   line);
        fx_log(FX_INFO, "resume: %s", line);
    }
    FX_REQUIRE(then->seed == now->seed, FX_ECONFIG, "%s was made with seed %lld, not %lld", path,
               (long long)then->seed, (long long)now->seed);
    return FX_OK;
}
