/* field.h: a trained model on whole fields of any size: tiles are cut out, sampled in batches that
 * ranks share, and blended. Includes tiles.h, trained.h. */
#ifndef FLEXHPC_FIELD_H
#define FLEXHPC_FIELD_H

#include "flexhpc/tiles.h"
#include "flexhpc/trained.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_field_options {
    fx_task task;
    int64_t height, width; /* of the result */
    bool periodic[2];      /* along y and x */
    double overlap;        /* of neighbouring tiles: share of a patch */
    double reynolds;
    uint64_t seed;
    int members; /* that one call samples, at most */
} fx_field_options;

/* One field to sample, in the units of the data. SR: input[0] is (height / factor, width / factor), the
 * values at every factor-th point; FC: input[0 .. cond - 1] are (height, width), the newest last. */
typedef struct fx_field_call {
    const float *const *input;
    uint32_t frame;  /* numbers the noise: snapshot or lead */
    uint32_t member; /* the first */
    int members;
} fx_field_call;

/* Rows [row, row + rows) of a member, as fx_rows_sink has them; on every rank. */
typedef struct fx_field_sink {
    fx_status (*take)(void *self, uint32_t member, int64_t row, int64_t rows, const float *values);
    void *self;
} fx_field_sink;

typedef struct fx_field fx_field;

/* Prepares the task of a model, which must outlive it. FX_ECONFIG: the model is not trained for the
 * task, or the field can't be tiled. *out is closed whatever the status. Local. */
fx_status fx_field_create(fx_comm *comm, fx_trained *trained, const fx_field_options *options,
                          fx_field **out);
void fx_field_free(fx_field **field);
const fx_tiles *fx_field_tiles(const fx_field *field);

/* Samples one field, `members` times from one encoding of each tile. The noise belongs to the points of
 * the field, so overlapping tiles begin from the same numbers: a function of (seed, frame, member,
 * task, point). The bits do not depend on the number of ranks, nor on `members`. A rank holds a batch
 * of tiles, as many of each rank for one member, and a band of the field a tile high for each member.
 * FX_EVALUE names member, frame and point of a result that is not finite, on every rank; after a
 * failure no other field can be sampled. Collective; the sink's failure on one rank is everybody's. */
fx_status fx_field_run(fx_field *field, const fx_field_call *call, fx_field_sink sink);

#ifdef __cplusplus
}
#endif
#endif
