/* latest.h: which checkpoint of a folder counts. Private to src/train; called on one rank. */
#ifndef FX_LATEST_H
#define FX_LATEST_H

#include "flexhpc/str.h"

/* The largest step that the folder has a checkpoint of, by their names; -1: none. */
int64_t fx_latest_step(const char *folder);

/* Makes `latest` name the checkpoint. */
fx_status fx_latest_set(const char *folder, const char *name);

/* Removes all but the newest `keep` checkpoints and those of multiples of step `keep_every` (0: none),
 * and what a killed save left; never the one that `latest` names. */
fx_status fx_latest_prune(const char *folder, int keep, int64_t keep_every);

/* Path of the newest checkpoint that verifies, beginning with the one that `latest` names; "" when
 * there is none, FX_EIO when there are some and none verifies. */
fx_status fx_latest_find(const char *folder, char path[FX_PATH_MAX]);

#endif
