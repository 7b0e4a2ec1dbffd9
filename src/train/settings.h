/* settings.h: which settings a run may change when it goes on, or begins with weights of another.
 * Private to src/train. */
#ifndef FX_SETTINGS_H
#define FX_SETTINGS_H

#include "flexhpc/config.h"

/* Whether a line of fx_config_diff is about a setting that decides nothing about a run's results.
 * Local.
 */
bool fx_setting_is_free(const char *line);

/* FX_ECONFIG names the first setting that is not free and differs between the checkpoint `path` and
 * now; free ones are logged. Local. */
fx_status fx_settings_check(const fx_config *then, const fx_config *now, const char *path);

/* FX_ECONFIG names the first setting by which weights of the checkpoint `path` would mean something
 * else now; what else is different about the data is logged. Local. */
fx_status fx_settings_fit(const fx_config *then, const fx_config *now, const char *path);

#endif
