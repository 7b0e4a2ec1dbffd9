/* settings.h: which settings a run may change when it goes on, or begins with weights of another, and
 * those that it takes from its data. Private to src/train. */
#ifndef FX_SETTINGS_H
#define FX_SETTINGS_H

#include "flexhpc/checkpoint.h"
#include "flexhpc/comm.h"
#include "flexhpc/config.h"
#include "flexhpc/data.h"

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

/* Fills in what diffusion.residual_scale leaves open: from `checkpoint`, which the run goes on with
 * ("": none), else from train.init_from, else from the pack. Collective. */
fx_status fx_settings_find_scale(fx_comm *comm, fx_config *config, const char *checkpoint);

/* The configuration with what it leaves to the pack data.path: scale and Reynolds numbers. A checkpoint
 * must say what it was trained on. Local. */
fx_status fx_settings_of_data(const fx_config *config, fx_config *out);

/* The scales of data sets that have their own, into out->data_sets. FX_EARG: they are too many. Local.
 */
fx_status fx_settings_scales(const fx_manifest *m, const fx_config *config, fx_progress *out);

#endif
