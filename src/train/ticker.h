/* ticker.h: the line that a run shows while it trains. Private to src/train; rank 0's. */
#ifndef FX_TICKER_H
#define FX_TICKER_H

#include "flexhpc/train.h"
#include "stragglers.h"

typedef enum fx_chore { FX_CHORE_SAVE, FX_CHORE_VALIDATE, FX_CHORES } fx_chore;

typedef struct fx_ticker {
    /* What the line is about. */
    int64_t steps, batch, epoch; /* of the run; samples of a step; different samples in all */
    int64_t every;               /* steps between lines */
    int ranks;
    bool both;                 /* losses of both tasks */
    double flop;               /* of a step on a rank */
    double peak;               /* that a rank could do, FLOP/s; 0: not known */
    double deadline;           /* of fx_now(), when the run stops; infinite: never */
    fx_stragglers *stragglers; /* not owned */
    struct {
        int64_t every;  /* steps, and at the last one; 0: at the last one alone */
        double seconds; /* what it took the last time */
    } chore[FX_CHORES]; /* what a run does between steps */
    /* Since the line before. */
    int64_t step;
    double told, waited;
    double aside;  /* seconds of chores */
    double recent; /* seconds a step, without chores, of the newest lines */
    int lines;
} fx_ticker;

/* Starts the clock at `step` updates done; what the line is about is given. Local. */
void fx_ticker_start(fx_ticker *ticker, int64_t step);

/* After update number `step`: prints a line when one is due: after the first and the last update, every
 * `every` updates or minute, on a terminal five times a second. `wait`: seconds of this step spent
 * waiting for data. Local. */
void fx_ticker_step(fx_ticker *ticker, int64_t step, const fx_step_report *report, double rate,
                    double wait);

/* Between updates: the run has been busy with something else for so long. Local. */
void fx_ticker_chore(fx_ticker *ticker, fx_chore which, double seconds);

#endif
