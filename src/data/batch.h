/* batch.h: micro-batches of one rank as they come out of a pack, for loader.c alone. Contents are a
 * function of (step, micro, rank). Includes augment.h. */
#ifndef FLEXHPC_DATA_BATCH_H
#define FLEXHPC_DATA_BATCH_H

#include "augment.h"

typedef struct fx_batch_reader {
    fx_pack_reader *pack;
    fx_order *order;
    fx_coarsener *coarsener; /* NULL: the model makes its low-resolution input itself */
    uint64_t seed;
    int64_t samples; /* of a micro-batch */
    int64_t slot0, accumulate, side, cond, forecast_step;
    double scale; /* data.scale; 0: each source's own */
    double condition_scale;
    fx_span *spans; /* of the batch that is being read: (2 samples), with augment (8 samples) */

    fx_augment augment;
    fx_augment_part *parts;  /* (samples, 4) */
    fx_augment_draw *draws;  /* (samples) */
    float *windows, *turned; /* (samples, cond + 1, S, S) as they were put together; one of them */
} fx_batch_reader;

/* Takes what fx_loader_create names of the configuration. What a failure leaves is closed as well.
 * Local. */
fx_status fx_batch_reader_open(const fx_comm *comm, const fx_config *config, fx_batch_reader *out);
void fx_batch_reader_close(fx_batch_reader *reader);

/* Where a micro-batch goes: snapshots (b, S, S, cond), future (b, S, S, 1), coarse (b, S / f, S / f, 1)
 * where there is a coarsener, re (b). */
typedef struct fx_batch_rows {
    float *snapshots, *future, *coarse, *re;
} fx_batch_rows;

/* For one thread at a time. Local. */
fx_status fx_batch_read(fx_batch_reader *reader, int64_t step, int64_t micro,
                        const fx_batch_rows *rows);

#endif
