/* eval.h: how good a field, and a set of fields, is. Scores of single fields, their table over all
 * ranks, means with block-bootstrap intervals by task and Reynolds number, and isotropic spectra.
 * Fields are (n, n) float32 vorticity, row by row. Includes comm.h, model.h. */
#ifndef FLEXHPC_EVAL_H
#define FLEXHPC_EVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "flexhpc/comm.h"
#include "flexhpc/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Relative Frobenius norm error |estimate - truth| / |truth| over `count` pixels. The floors are the
 * same function: of the interpolated low-resolution field (bicubic), of the last snapshot
 * (persistence). NaN when truth is zero everywhere. Local. */
double fx_rfne(const float *estimate, const float *truth, int64_t count);

/* RFNE of the straight line through two snapshots, carried on: last + lead (last - before); lead in
 * units of their distance. Local. */
double fx_rfne_extrapolated(const float *before, const float *last, double lead, const float *truth,
                            int64_t count);

/* Mean of the squares of `count` pixels. Local. */
double fx_mean_square(const float *field, int64_t count);

/* Pearson's correlation over `count` pixels; NaN when either field is constant. Local. */
double fx_correlation(const float *a, const float *b, int64_t count);

enum { FX_FLOORS = 2 };

/* What else a sample is measured by; NaN: not measured. */
typedef enum fx_metric {
    FX_METRIC_SQUARE, /* mean square of the truth: rfne^2 times it is the mean square error */
    FX_METRICS
} fx_metric;

/* A metric's name in files and tables. */
extern const char *const fx_metric_names[FX_METRICS];

/* What one sample scored. */
typedef struct fx_sample_score {
    int64_t index; /* its place in the evaluation of its task and Reynolds number, from 0; no two are
                      equal */
    int64_t block; /* samples of equal block are correlated, and resampled together: a snapshot's
                      patches, or all snapshots within a decorrelation time (about 1 time unit) */
    double reynolds;
    double rfne;
    double floor[FX_FLOORS]; /* RFNE of SR: bicubic, -; of FC: persistence, linear extrapolation. NaN:
                                no such floor */
    double correlation;
    double loss; /* of training, at a time and noise of the sample's own; NaN: not computed */
    fx_task task;
    double value[FX_METRICS];
} fx_sample_score;

/* The samples that a rank has scored; grows. Zero-initialised is empty. */
typedef struct fx_scores {
    fx_sample_score *row;
    int64_t count;
    size_t capacity;
} fx_scores;

/* Adds a sample. FX_EVALUE, naming it, when RFNE or its first floor is not finite: a NaN must not
 * vanish in a mean. Local. */
fx_status fx_scores_add(fx_scores *scores, const fx_sample_score *sample);

/* Every rank gets the samples of all, sorted by (task, Reynolds number, index), so that what follows
 * has the same bits on any number of ranks. FX_EARG when two have the same place. Collective. */
fx_status fx_scores_merge(fx_scores *scores, fx_comm *comm);
void fx_scores_free(fx_scores *scores);

/* The samples of one task and Reynolds number. Means are over samples; intervals are 95 % percentile
 * intervals of a block bootstrap, NaN with fewer than two blocks. */
typedef struct fx_score {
    fx_task task;
    double reynolds;
    int64_t count, blocks;
    double rfne,
        rfne_error; /* mean, and its standard error as if samples were independent (NaN for one) */
    double rfne_low, rfne_high;   /* interval of the mean */
    double floor[FX_FLOORS];      /* means; NaN: none */
    double ratio;                 /* rfne / floor[0]: below 1 is better than the floor */
    double ratio_low, ratio_high; /* paired: model and floor are resampled together */
    double correlation;           /* mean over the samples that have one */
    double loss;                  /* mean */
} fx_score;

/* One score a task and Reynolds number, in the order of the table, into at most `capacity` places;
 * *count: how many there are. `scores` is merged. `seed` fixes the resampling, the same for every row,
 * so that two models evaluated on the same samples are resampled alike. FX_EARG when they do not fit.
 * Local. */
fx_status fx_scores_summarise(const fx_scores *scores, uint64_t seed, fx_score *out, int capacity,
                              int *count);

/* Isotropic spectra of square fields, averaged over fields.
 *   w_hat = DFT(w) / n^2,  Z(k) = sum over the shell of 1/2 |w_hat|^2 / dk,  E(k) = sum of 1/2
 * |w_hat|^2 / |k|^2 / dk Shell j holds the wave vectors whose length rounds to j dk, dk = 2 pi /
 * length; the shells reach into the corners, so that sum Z dk = 1/2 mean w^2 exactly (Parseval). Above
 * j = n/2 they are not whole. */
typedef struct fx_spectrum fx_spectrum;

/* PERIODIC: the whole domain. HANN: a patch of it; its weighted mean is subtracted, then a Hann window
 * of mean square 1 is applied, so that the energy stays on average and the jump at the border makes no
 * tail. */
typedef enum fx_window { FX_PERIODIC, FX_HANN } fx_window;

/* n: side in pixels, even, 4 to 16384; length: side in units of space (2 pi n / N for a patch of an N^2
 * grid of the solver). FFTW's planner is not thread-safe: one thread at a time. Local. */
fx_status fx_spectrum_create(fx_spectrum **out, int64_t n, double length, fx_window window);
void fx_spectrum_free(fx_spectrum **spectrum);

/* Adds the spectrum of `field`, or of `field - minus` where that is not NULL. Local. */
fx_status fx_spectrum_add(fx_spectrum *spectrum, const float *field, const float *minus);

/* Sums over ranks, in rank order: the same ranks give the same bits. Collective. */
fx_status fx_spectrum_merge(fx_spectrum *spectrum, fx_comm *comm);

/* Number of shells, shell 0 included; how many of them are whole (up to n/2); fields added. Local. */
int64_t fx_spectrum_shells(const fx_spectrum *spectrum);
int64_t fx_spectrum_whole_shells(const fx_spectrum *spectrum);
int64_t fx_spectrum_count(const fx_spectrum *spectrum);

/* Means over the fields added: wave number j dk, E and Z of every shell; each array has
 * fx_spectrum_shells places, any may be NULL. Zeros before the first field. Local. */
void fx_spectrum_read(const fx_spectrum *spectrum, double *k, double *energy, double *enstrophy);

/* A model's spectrum against the truth's in low < k <= high, usually from the Nyquist number of the
 * low-resolution grid to the dissipation. Energies E summed over the band. */
typedef struct fx_band {
    double low, high;
    double energy;  /* model / truth: 1 is right, below 0.5 is blur, above 2 is noise */
    double error;   /* error field / truth: 1 - energy for the conditional mean, 2 for an uncorrelated
                       field of right energy */
    double decibel; /* root mean square over the shells 0 < k <= high of 10 log10 (model / truth) */
    double cutoff;  /* first k > 0 where model / truth, both smoothed over 3 shells, falls below 0.5;
                       NaN: none up to high */
} fx_band;

/* `error` may be NULL (fx_band.error is NaN then). FX_EARG where the shells differ or the band holds no
 * whole shell, FX_EVALUE where the truth has no energy there. Local. */
fx_status fx_spectrum_band(const fx_spectrum *model, const fx_spectrum *truth, const fx_spectrum *error,
                           double low, double high, fx_band *out);

#ifdef __cplusplus
}
#endif
#endif
