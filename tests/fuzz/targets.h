/* targets.h: what is fuzzed: a way to make inputs, and the reader that gets them. */
#ifndef FX_FUZZ_TARGETS_H
#define FX_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

#include "flexhpc/error.h"
#include "mutate.h"

typedef struct fuzz_target {
    const char *name;
    uint64_t cases, batch; /* of a plain run; of one worker */
    size_t largest; /* request for memory that is allowed, bytes; 0: any, where HDF5 asks and does not
                       use it */
    size_t slack;   /* bytes a case that a library may keep */
    void (*make)(fuzz_rng *r, fuzz_input *out);
    /* *wrong: what is unsound about what was taken. */
    fx_status (*read)(const fuzz_input *in, const char **wrong);
    void (*end)(void); /* gives caches back; NULL: there are none */
} fuzz_target;

extern const fuzz_target fuzz_targets[]; /* the last one has no name */

/* Makes the seeds, in memory and in a folder of their own; fuzz_clean removes it. */
fx_status fuzz_prepare(void);
void fuzz_clean(void);

#endif
