/* step_inputs.h: the inputs of one micro-batch on a tape. Private to src/train. */
#ifndef FX_STEP_INPUTS_H
#define FX_STEP_INPUTS_H

#include "flexhpc/train.h"

/* Records the inputs of n samples: of the host, or made on the tape from the snapshots and the
 * counters; with `noise` also what training needs beside sampling: future, t and eps. lowres is kept.
 */
void fx_record_inputs(fx_builder *g, const fx_step_options *options, int64_t n, bool noise,
                      fx_batch *batch);

#endif
