/* start_rates.h: what a run finds its network and its file system to give, before its first step.
 * Private to src/train. */
#ifndef FX_START_RATES_H
#define FX_START_RATES_H

#include "flexhpc/data.h"
#include "flexhpc/train.h"

typedef struct fx_start_rates {
    int ranks, sums;               /* sums: runs of which the best is told */
    double sum_bytes, sum_seconds; /* of the slowest rank; 0: nothing is summed */
    bool bf16;
    double read_seconds, read_least,
        read_all;    /* of the slowest; bytes/s: of the slowest rank, of all */
    int64_t samples; /* read by all ranks */
    double sample_bytes;
} fx_start_rates;

/* Times a sum over the ranks as large as the step's largest bucket, in the gradients' memory, which
 * hold nothing yet, by the program's own path, and the reading of the samples of step `step` and those
 * after it by the run's own loader, which goes back to any step afterwards. Takes about half a second,
 * more only where one micro-batch alone takes longer to read; on a network where a bucket would take
 * too long, less is summed. The same on all ranks. Collective. */
fx_status fx_start_rates_measure(fx_trainee *trainee, fx_loader *loader, const fx_config *config,
                                 int64_t step, fx_start_rates *out);

/* As lines of env.txt, with units. Local. */
void fx_start_rates_print(const fx_start_rates *rates, FILE *out);

/* As one line of the log. Local. */
void fx_start_rates_log(const fx_start_rates *rates);

#endif
