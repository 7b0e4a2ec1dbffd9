/* targets.h: what is fuzzed: a way to make inputs, and the reader that gets them. */
#ifndef FX_FUZZ_TARGETS_H
#define FX_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

#include "flexhpc/config.h"
#include "flexhpc/str.h"
#include "mutate.h"

/* Files that a reader takes, in memory, to be changed. */
enum { FUZZ_MOST_SEEDS = 32 };
typedef struct fuzz_seeds {
    char *text[FUZZ_MOST_SEEDS];
    size_t size[FUZZ_MOST_SEEDS];
    int count;
} fuzz_seeds;

typedef struct fuzz_target {
    const char *name;
    uint64_t cases, batch; /* of a plain run; of one worker */
    size_t largest; /* request for memory that is allowed, bytes; 0: any, where HDF5 asks and does not
                       use it */
    size_t slack;   /* bytes a case that a library may keep */
    fuzz_seeds *seeds;
    fx_status (*prepare)(void); /* makes them */
    void (*clean)(void);        /* gives back what else prepare took; NULL: nothing */
    void (*make)(fuzz_rng *r, fuzz_input *out);
    /* *wrong: what is unsound about what was taken. */
    fx_status (*read)(const fuzz_input *in, const char **wrong);
    void (*end)(void); /* gives caches back; NULL: there are none */
} fuzz_target;

/* targets_text.c, targets_hdf.c */
extern const fuzz_target fuzz_manifest, fuzz_header, fuzz_config, fuzz_shard, fuzz_checkpoint,
    fuzz_source;
extern const fuzz_target *const fuzz_targets[]; /* NULL at its end */

/* For what prepares seeds: their folder, the defaults, and the path of a file in the folder. */
extern char fuzz_folder[64];
extern fx_config fuzz_defaults;
fx_status fuzz_path(char out[FX_PATH_MAX], const char *name);
fx_status fuzz_add(fuzz_seeds *s, const char *path);
void fuzz_pick(fuzz_rng *r, const fuzz_seeds *s, fuzz_input *out); /* one of them */

/* Makes the seeds, in memory and in a folder of their own; fuzz_clean removes it. */
fx_status fuzz_prepare(void);
void fuzz_clean(void);

#endif
