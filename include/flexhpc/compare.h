/* compare.h: what can be said of two models from samples scored on the same patches: means, ratios and
 * differences with 95 % intervals that hold both the choice of samples (a block bootstrap) and the
 * training seed. Includes eval.h. */
#ifndef FLEXHPC_COMPARE_H
#define FLEXHPC_COMPARE_H

#include "flexhpc/eval.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A value and its 95 % interval; NaN: none. */
typedef struct fx_interval {
    double value, low, high;
} fx_interval;

/* Mean of x over mean of y, over `count` samples, with the percentile interval of a block bootstrap
 * (src/eval/bootstrap.c): whole blocks of samples, those of equal block[i], are drawn with replacement.
 * y NULL: ones, so a mean. Equal seeds resample alike. The interval is NaN with fewer than two blocks.
 * NaN samples are left out of their mean. Local. */
fx_status fx_bootstrap_ratio(const double *x, const double *y, const int64_t *block, int64_t count,
                             uint64_t seed, fx_interval *out);

/* The 97.5 % quantile of Student's t; infinite for 0 degrees of freedom. Local. */
double fx_student_quantile(int freedom);

/* The chance that of two variances that are equal, estimated with these degrees of freedom, the one
 * above comes out `ratio` times the one below or more (Fisher's F). NaN without degrees of freedom.
 * Local. */
double fx_fisher_tail(double ratio, int above, int below);

/* The spread of results over training seeds: the standard deviation of a run's mean relative to its
 * arm's, pooled over arms, and the degrees of freedom, the sum over arms of seeds - 1. */
typedef struct fx_seed_noise {
    double relative; /* NaN while freedom is 0 */
    int freedom;
} fx_seed_noise;

/* Adds an arm of `count` runs with these means; zero-initialised noise is empty. Local. */
void fx_seed_noise_add(fx_seed_noise *noise, const double *means, int count);

/* The 95 % half-width that `noise` gives to the mean of `seeds` runs around `mean`. NaN: unknown.
 * Local. */
double fx_seed_noise_half(const fx_seed_noise *noise, double mean, int seeds);

/* What a difference a - b shows. TIE: it may be nothing. UNKNOWN: the samples tell it from nothing, but
 * there is one seed an arm, so nobody knows whether other seeds would. */
typedef enum fx_verdict { FX_TIE, FX_LOWER, FX_HIGHER, FX_UNKNOWN } fx_verdict;

/* From an interval of the difference over samples alone and the two arms' half-widths over seeds: the
 * interval that holds both (half-widths added in quadrature, each side by itself), and the verdict:
 * lower or higher where it excludes 0, else a tie. Local. */
fx_verdict fx_judge(const fx_interval *samples, double half_a, double half_b, fx_interval *both);

#ifdef __cplusplus
}
#endif
#endif
