/* measure.h: one sample's members against the truth by every metric of eval.h and ensemble.h at once.
 * Includes eval.h. */
#ifndef FLEXHPC_MEASURE_H
#define FLEXHPC_MEASURE_H

#include "flexhpc/eval.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What samples are measured with. Not for two threads at a time. */
typedef struct fx_measure {
    int64_t side;       /* of the square fields, in pixels */
    int64_t factor;     /* every factor-th pixel was given to super-resolution; 0: other pixels were */
    int members;        /* of each sample */
    uint64_t seed;      /* of ties among ranks */
    fx_details details; /* what a sample's numbers are */
    fx_spectrum *spectrum;
    double *scratch; /* twice the spectrum's shells */
} fx_measure;

/* How the values of the truth's file are spread. */
typedef struct fx_values {
    double mean, std, range; /* range: largest - least */
} fx_values;

/* Fields are `side` of the `grid` pixels of a domain wide, whose width is 2 pi: wave numbers count
 * waves in it. `lowres_factor`: of the low-resolution grid, for the band. Local. */
fx_status fx_measure_create(fx_measure **out, int64_t side, int64_t grid, int64_t lowres_factor,
                            fx_window window, int members, uint64_t seed);
void fx_measure_free(fx_measure **measure);

/* FX_METRIC_NATURAL of two fields one time unit apart. Local. */
fx_status fx_measure_natural(fx_measure *measure, const float *truth, const float *apart,
                             double reynolds, double *out);

/* Fills the metrics, but for FX_METRIC_NATURAL, and the numbers (zeros before) of a sample whose task,
 * index and Reynolds number are set; member k is at members + k * stride; `base`: what the network adds
 * to. Local. */
fx_status fx_measure_sample(fx_measure *measure, const float *members, int64_t stride,
                            const float *base, const float *truth, const fx_values *values,
                            fx_sample_score *sample, double *numbers);

/* Fills the numbers of one lead, (FX_LEAD_SCORES); `start`: the snapshot that the rollout began with.
 * Local. */
fx_status fx_measure_lead(fx_measure *measure, const float *members, int64_t stride, const float *start,
                          const float *truth, const fx_values *values, double *numbers);

#ifdef __cplusplus
}
#endif
#endif
