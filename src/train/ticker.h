/* ticker.h: the line that a run shows while it trains. Private to src/train; rank 0's. */
#ifndef FX_TICKER_H
#define FX_TICKER_H

#include "flexhpc/train.h"

typedef struct fx_ticker {
    /* What the line is about. */
    int64_t steps, batch, epoch; /* of the run; samples of a step; different samples in all */
    int64_t every;               /* steps between lines */
    int ranks;
    bool both;       /* losses of both tasks */
    double flop;     /* of a step on a rank */
    double deadline; /* of fx_now(), when the run stops; infinite: never */
    /* Since the line before. */
    int64_t step;
    double told, waited;
    double recent; /* seconds a step, saves included, of the newest lines */
    int lines;
} fx_ticker;

/* Starts the clock at `step` updates done; the first eight members are given. Local. */
void fx_ticker_start(fx_ticker *ticker, int64_t step);

/* After update number `step`: prints a line when one is due: after the first and the last update, every
 * `every` updates or minute, on a terminal five times a second. `wait`: seconds of this step spent
 * waiting for data. Local. */
void fx_ticker_step(fx_ticker *ticker, int64_t step, const fx_step_report *report, double rate,
                    double wait);

#endif
