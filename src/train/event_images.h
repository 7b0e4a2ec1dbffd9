/* event_images.h: pictures in a run's `tb/`. Private to src/train. */
#ifndef FX_EVENT_IMAGES_H
#define FX_EVENT_IMAGES_H

#include "flexhpc/report.h"
#include "flexhpc/tfevents.h"

/* One picture: input, model, truth and error of a panel from left to right. FX_EVALUE: it holds NaN.
 * Local. */
fx_status fx_event_image(fx_tfevents *events, int64_t step, const char *tag, const fx_panel *panel);

/* Of the evaluation file `path`: an event file of its own, with a picture for each row that has an
 * example, PACK/sr_re700 or PACK-NAME/fc_re700, at the step of the checkpoint: input, model, truth and
 * error from left to right. Local. */
fx_status fx_event_images_write(const char *folder, const char *path);

#endif
