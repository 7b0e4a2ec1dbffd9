/* event_images.h: pictures of an evaluation in a run's `tb/`. Private to src/train. */
#ifndef FX_EVENT_IMAGES_H
#define FX_EVENT_IMAGES_H

#include "flexhpc/error.h"

/* Of the evaluation file `path`: an event file of its own, with a picture for each row that has an
 * example, PACK/sr_re700 or PACK-NAME/fc_re700, at the step of the checkpoint: input, model, truth and
 * error from left to right. Local. */
fx_status fx_event_images_write(const char *folder, const char *path);

#endif
