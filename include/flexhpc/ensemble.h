/* ensemble.h: how well an ensemble of M fields stands for what is not known about the truth. Member k
 * is `count` float32 pixels at members + k * stride. Includes error.h. */
#ifndef FLEXHPC_ENSEMBLE_H
#define FLEXHPC_ENSEMBLE_H

#include <stdint.h>

#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_MEMBERS_MAX = 256 };

/* Means over the pixels. */
typedef struct fx_ensemble_score {
    double crps;   /* fair: mean |x_i - y| - sum_ij |x_i - x_j| / (2 M (M - 1)) (Ferro 2014) */
    double error;  /* (m - y)^2, m the mean of the members */
    double spread; /* variance of the members, over M - 1, times (M + 1) / M: what `error` is expected
                      to be where truth and members are draws of one distribution */
    double deviation;         /* variance of the members, over M - 1 */
    double pull, pull_square; /* z and z^2, z = (m - y) / s, s^2 the variance, over the pixels with s >
                                 0; NaN where there is none */
} fx_ensemble_score;

/* M from 2 to FX_MEMBERS_MAX; `mean` gets m, (count). Local. */
void fx_ensemble_measure(const float *members, int64_t stride, int M, const float *truth, int64_t count,
                         float *mean, fx_ensemble_score *out);

/* The mean of M members, 1 included, in `mean`, (count). Local. */
void fx_ensemble_mean(const float *members, int64_t stride, int M, int64_t count, float *mean);

/* Adds to histogram[r], r = 0 .. M, the number of pixels whose truth is above exactly r members. Among
 * equal members its place is drawn: word pixel % 4 of Philox's counter {pixel / 4, sample,
 * crc32("rank"), stream}. Local. */
void fx_ensemble_ranks(const float *members, int64_t stride, int M, const float *truth, int64_t count,
                       uint64_t seed, uint32_t sample, uint32_t stream, double *histogram);

/* The standard deviation of z where truth and members are draws of one normal distribution: Student's t
 * with M - 1 degrees of freedom, times sqrt(1 + 1/M). NaN below 4 members: it has none. Local. */
double fx_pull_expected(int M);

#ifdef __cplusplus
}
#endif
#endif
