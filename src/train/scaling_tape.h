/* scaling_tape.h: the tape of a configuration as a list to replay, for any number of ranks, without
 * memory or device. Private to src/train. */
#ifndef FX_SCALING_TAPE_H
#define FX_SCALING_TAPE_H

#include "flexhpc/json.h"
#include "flexhpc/scaling.h"
#include "flexhpc/train.h"

/* How long compute entries take: `profile`, or `device`. */
typedef struct fx_tape_times {
    const fx_json *profile; /* of fx_profile; NULL: limits of the device */
    const fx_device_rates *device;
    double fraction; /* of the limits that kernels reach */
} fx_tape_times;

typedef struct fx_scaling_tape {
    fx_replay_entry *entry; /* one an entry of the tape, in order; then the host's time between steps */
    int count, sums;
    int64_t gradients; /* floats of the gradient slab that sums go over */
    int64_t *offset;   /* of each entry that is a sum: its first float */
    double flop;
} fx_scaling_tape;

/* Records the step of `batch` samples a rank as on one of `ranks` ranks. FX_EVALUE: the profile is of
 * another tape, and names the entry. *out is freed with fx_scaling_tape_free, also after a failure.
 * Local. */
fx_status fx_scaling_tape_create(const fx_config *config, const fx_tape_times *times, int64_t batch,
                                 int ranks, fx_scaling_tape *out);
void fx_scaling_tape_free(fx_scaling_tape *tape);

#endif
