/* augment.h: samples turned, mirrored and moved by symmetries of the equations of two-dimensional flow
 * (data.augment). Which one is a function of (seed, step, slot), whatever the ranks, and the same for
 * all snapshots of a sample. Private to src/data, and for tests. Includes data.h. */
#ifndef FLEXHPC_DATA_AUGMENT_H
#define FLEXHPC_DATA_AUGMENT_H

#include "flexhpc/data.h"

/* The symmetries of the square: a value at (y, x) of the result is the one at (Y, X), where first y and
 * x change places (FX_TRANSPOSE), then Y is counted from the other end (FX_FLIP_Y), then X (FX_FLIP_X).
 */
enum { FX_FLIP_Y = 1, FX_FLIP_X = 2, FX_TRANSPOSE = 4, FX_SYMMETRIES = 8 };

/* Whether it is a reflection and no rotation: a pseudo-scalar, which vorticity is, changes its sign. */
bool fx_is_reflection(unsigned symmetry);

/* (S, S) to (S, S), each value times `sign`. Local. */
void fx_symmetry_apply(unsigned symmetry, float sign, int64_t side, const float *in, float *out);

/* What happens to a sample: its window begins `row` and `column` pixels from the patch's corner, in
 * tiles of its periodic domain, and is then turned. */
typedef struct fx_augment_draw {
    int64_t row, column;
    unsigned symmetry;
    float sign;
} fx_augment_draw;

typedef struct fx_augment {
    bool symmetries, shifts;
    uint64_t seed;
    int64_t side;
    bool *pseudo;   /* (sources) it changes sign when it is mirrored */
    int64_t *first; /* (sources) number of its first patch */
} fx_augment;

/* Takes data.augment, data.field and seed; `used` (sources): those that samples are drawn from.
 * FX_ECONFIG, naming the source, where a symmetry would make of its field what no flow is. What a
 * failure leaves is freed as well. Local. */
fx_status fx_augment_create(const fx_manifest *manifest, const fx_config *config, const bool *used,
                            fx_augment *out);
void fx_augment_free(fx_augment *augment);
fx_augment_draw fx_augment_of(const fx_augment *augment, int source, int64_t step, int64_t slot);

/* The parts of up to four patches that a window is made of: (rows, columns) from (from_row,
 * from_column) of `patch` go to (row, column) of the window. Returns how many. Local. */
typedef struct fx_augment_part {
    int64_t patch, from_row, from_column, row, column, rows, columns;
} fx_augment_part;
int fx_augment_parts(const fx_augment *augment, const fx_manifest *manifest, int64_t patch,
                     const fx_augment_draw *draw, fx_augment_part out[4]);

#endif
