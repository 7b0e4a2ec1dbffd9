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

/* Peak signal-to-noise ratio 10 log10(range^2 / mean square error), in dB; range: largest - least value
 * of the truth's file. NaN where range is not positive. Local. */
double fx_psnr(const float *estimate, const float *truth, int64_t count, double range);

/* Structural similarity of two (n, n) fields (Wang et al. 2004): Gaussian window of 11 x 11 pixels and
 * sigma 1.5, K 0.01 and 0.03, mean over the windows that lie within. *out is NaN where n is below 11 or
 * range is not positive. Local. */
fx_status fx_ssim(const float *a, const float *b, int64_t n, double range, double *out);

/* Means of the second and fourth power of field - centre; kurtosis is fourth / second^2, 3 for a normal
 * distribution. Local. */
void fx_moments(const float *field, int64_t count, double centre, double *second, double *fourth);

/* Distribution of values in FX_PDF_BINS equal bins of least .. largest; those beyond are counted in the
 * outermost. Adds `weight` in all. Local. */
enum { FX_PDF_BINS = 128, FX_PDF_SPAN = 8 };
void fx_pdf_add(const float *field, int64_t count, double least, double largest, double weight,
                double *bins);

/* Wasserstein's distance W1 of two such distributions of weight 1, spread evenly within the bins: the
 * integral of |P - Q| over their cumulative functions, in units of the field. Local. */
double fx_pdf_distance(const double *p, const double *q, double least, double largest);

enum { FX_FLOORS = 2 };

/* What else a sample is measured by; of an ensemble, means over its members unless said otherwise. NaN:
 * not measured. */
typedef enum fx_metric {
    FX_METRIC_SQUARE,      /* mean square of the truth: rfne^2 times it is the mean square error */
    FX_METRIC_CLIMATOLOGY, /* RFNE of the mean over the truth's file, a floor */
    FX_METRIC_PSNR,
    FX_METRIC_SSIM,
    FX_METRIC_RESIDUAL, /* mean square of truth - base, base being what the network adds to */
    FX_METRIC_LOWRES,   /* super-resolution: RFNE at the pixels that it was given */
    FX_METRIC_SECOND,   /* second and fourth moments about the mean over the truth's file */
    FX_METRIC_FOURTH,
    FX_METRIC_TRUTH_SECOND,
    FX_METRIC_TRUTH_FOURTH,
    FX_METRIC_DECIBEL, /* fx_band.decibel up to the dissipation, of its own spectra */
    FX_METRIC_NATURAL, /* the same of the truth one time unit apart, against the truth */
    /* Ensembles alone; ensemble.h. */
    FX_METRIC_MEAN_RFNE, /* of the mean of the members */
    FX_METRIC_CRPS,
    FX_METRIC_MEAN_ERROR,
    FX_METRIC_SPREAD,
    FX_METRIC_DEVIATION,
    FX_METRIC_PULL,
    FX_METRIC_PULL_SQUARE,
    FX_METRICS
} fx_metric;

/* A metric's name in files and tables. */
extern const char *const fx_metric_names[FX_METRICS];

/* A task's, by fx_task: "sr", "fc" in files, keys and tags; "super-resolution", "forecast" to a reader.
 */
extern const char *const fx_task_names[2], *const fx_task_titles[2];

/* What one sample scored. */
typedef struct fx_sample_score {
    int64_t index; /* its place in the evaluation of its task and Reynolds number, from 0; no two are
                      equal */
    int64_t block; /* samples of equal block are correlated, and resampled together: a snapshot's
                      patches, or all snapshots within a decorrelation time (about 1 time unit) */
    double reynolds;
    double rfne;
    double floor[FX_FLOORS]; /* RFNE of SR: interpolation, -; of FC: persistence, linear extrapolation.
                                NaN: no such floor */
    double correlation;
    double
        loss; /* of training, at a time and noise of the sample's own; NaN: not computed, as the next */
    double target, output; /* there: mean squares of what the network is to say, and of what it says */
    fx_task task;
    double value[FX_METRICS];
    int64_t place; /* fx_scores' own */
} fx_sample_score;

/* What a sample has many of, as numbers one after the other: spectra E of model, truth and error
 * (shells each), distributions of model and truth (FX_PDF_BINS each), ranks (members + 1), scores by
 * lead of a rollout (FX_LEAD_SCORES each; NaN of super-resolution). */
typedef struct fx_details {
    int64_t shells; /* whole ones, from 0; 0: no spectra */
    double dk;
    double nyquist;        /* largest wave number of the grid */
    double lowres_nyquist; /* of the super-resolution input's grid */
    bool values; /* has distributions, of (w - mean) / std of the truth's file, -FX_PDF_SPAN to
                    FX_PDF_SPAN */
    int members; /* below 2: no ranks */
    int leads;   /* of the rollouts; below 2: none */
} fx_details;

/* What a rollout scores at one lead: means over members, but for the RFNE of their mean. */
typedef enum fx_lead_score {
    FX_LEAD_RFNE,
    FX_LEAD_CORRELATION,
    FX_LEAD_PERSISTENCE, /* RFNE of the snapshot that it started from */
    FX_LEAD_MEAN_RFNE,
    FX_LEAD_ENERGY, /* of the model, without k = 0, and of the truth */
    FX_LEAD_TRUTH_ENERGY,
    FX_LEAD_ENSTROPHY, /* second moments about the mean over the truth's file */
    FX_LEAD_TRUTH_ENSTROPHY,
    FX_LEAD_SCORES
} fx_lead_score;

enum { FX_SPECTRA = 3 }; /* of model, truth, error */

/* Numbers of a sample in all, and where they begin: spectrum s, distribution d, ranks, scores of lead l
 * (from 0). Local. */
int64_t fx_details_length(const fx_details *details);
int64_t fx_details_spectrum(const fx_details *details, int s);
int64_t fx_details_pdf(const fx_details *details, int d);
int64_t fx_details_ranks(const fx_details *details);
int64_t fx_details_lead(const fx_details *details, int l);

/* The samples that a rank has scored; grows. Zero-initialised is empty, without details. */
typedef struct fx_scores {
    fx_sample_score *row;
    int64_t count;
    size_t capacity;
    fx_details details; /* the caller's choice, before the first sample */
    double *numbers;    /* (count, fx_details_length), row i's at row[i].place; NULL: none */
    size_t details_capacity;
} fx_scores;

/* The details of a row: zeros, to be filled, where it was just added. Local. */
double *fx_scores_details(const fx_scores *scores, const fx_sample_score *row);

/* Adds a sample. FX_EVALUE, naming it, when RFNE or its first floor is not finite: a NaN must not
 * vanish in a mean. Local. */
fx_status fx_scores_add(fx_scores *scores, const fx_sample_score *sample);

/* Every rank gets the samples of all, with details, sorted by (task, Reynolds number, index), so that
 * what follows has the same bits on any number of ranks. FX_EARG when two have the same place.
 * Collective. */
fx_status fx_scores_merge(fx_scores *scores, fx_comm *comm);
void fx_scores_free(fx_scores *scores);

/* What the samples of a task and Reynolds number have in common; NaN: not measured. Ratios are of means
 * over the samples. k_d = 2 sqrt(Re), cut at the grid's Nyquist number, is where dissipation sets in;
 * the band is the wave numbers above the low-resolution grid's Nyquist number, up to k_d. */
typedef enum fx_statistic {
    FX_STATISTIC_CLIMATOLOGY,
    FX_STATISTIC_PSNR,
    FX_STATISTIC_SSIM,
    FX_STATISTIC_LOWRES, /* RFNE at the pixels given / RFNE */
    FX_STATISTIC_KURTOSIS,
    FX_STATISTIC_TRUTH_KURTOSIS,
    FX_STATISTIC_W1,          /* of the values' distributions, in standard deviations of the truth */
    FX_STATISTIC_ENSTROPHY,   /* model / truth */
    FX_STATISTIC_ENERGY,      /* model / truth; without k = 0 */
    FX_STATISTIC_BAND_ENERGY, /* rho: model / truth in the band */
    FX_STATISTIC_BAND_ERROR,  /* eps^2: error / truth in the band */
    FX_STATISTIC_BAND_SUM,    /* rho + eps^2: 1 of a conditional mean */
    FX_STATISTIC_TAIL,        /* model / truth beyond k_d */
    FX_STATISTIC_CUTOFF,      /* fx_band.cutoff / k_d */
    FX_STATISTIC_DECIBEL,     /* mean of the metric */
    FX_STATISTIC_MEAN_RFNE,
    FX_STATISTIC_CRPS,
    FX_STATISTIC_SPREAD_SKILL, /* sqrt((M + 1) / M * variance / error of the mean) */
    FX_STATISTIC_DIVERSITY,    /* standard deviation of the members / rms of the residual */
    FX_STATISTIC_PULL,         /* mean and standard deviation of z */
    FX_STATISTIC_PULL_WIDTH,
    FX_STATISTIC_LEAD,         /* of a rollout: the lead at which the correlation falls to 0.8,
                                  between leads on a line; the last one where it doesn't */
    FX_STATISTIC_ENERGY_DRIFT, /* of a rollout: largest |model / truth - 1| over its leads */
    FX_STATISTIC_ENSTROPHY_DRIFT,
    FX_STATISTIC_ENERGY_GAIN, /* of a rollout: largest E(lead) / E(lead before) - 1 */
    FX_STATISTIC_OUTLIERS,    /* share of pixels with truth outside all members / 2 / (M + 1) */
    FX_STATISTICS
} fx_statistic;

extern const char *const fx_statistic_names[FX_STATISTICS];

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
    double loss, target, output;  /* means */
    double value[FX_STATISTICS], low[FX_STATISTICS], high[FX_STATISTICS];
    double published; /* mean over batches of 32 of |error| / |truth|, norms over a batch: RFNE as the
                         published code has it */
    double natural95; /* 95th percentile of FX_METRIC_NATURAL */
} fx_score;

/* One score a task and Reynolds number, in the order of the table, into at most `capacity` places;
 * *count: how many there are. `scores` is merged. `seed` fixes the resampling, the same for every row,
 * so that two models evaluated on the same samples are resampled alike. FX_EARG when they do not fit.
 * Local. */
fx_status fx_scores_summarise(const fx_scores *scores, uint64_t seed, fx_score *out, int capacity,
                              int *count);

/* The mean of the details of a score's samples, (fx_details_length). Local. */
void fx_scores_mean_details(const fx_scores *scores, const fx_score *of, double *mean);

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

/* Forgets all fields. Local. */
void fx_spectrum_clear(fx_spectrum *spectrum);

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

/* E of shells 0 .. shells - 1, dk apart; `error` may be NULL (fx_band.error is NaN then). FX_EARG where
 * the band holds no shell, FX_EVALUE where the truth has no energy there. Local. */
fx_status fx_band_of(const double *model, const double *truth, const double *error, int64_t shells,
                     double dk, double low, double high, fx_band *out);

/* The wave number where dissipation sets in, 2 sqrt(Re), at most `nyquist`, which it is where Re is not
 * positive: not a Reynolds number. Local. */
double fx_dissipation(double reynolds, double nyquist);

#ifdef __cplusplus
}
#endif
#endif
