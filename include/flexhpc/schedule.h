/* schedule.h: the noise level at time t and the weight that a loss gets there. Includes attrs.h. */
#ifndef FLEXHPC_SCHEDULE_H
#define FLEXHPC_SCHEDULE_H

#include "flexhpc/attrs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* alpha and sigma of the shifted cosine log-SNR schedule at time t in [0, 1], bounds -20 and 20, in
 * double: at t = 1 alpha is 4.54e-5 / shift and fp32 would lose it. Local. */
typedef struct fx_noise_level {
    double alpha, sigma, logsnr;
} fx_noise_level;
fx_noise_level fx_schedule(double t, double shift);

/* The loss weight of one sample (1 when sigmoid weights are off). Local. */
double fx_loss_weight(const fx_schedule_attrs *attrs, fx_noise_level level);

#ifdef __cplusplus
}
#endif
#endif
