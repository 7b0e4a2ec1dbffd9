/* schedule.c: the cosine log-SNR schedule (spec: flex-model 6).
 *   b = atan(exp(-10)), a = atan(exp(10)) - b
 *   r = sigma / alpha = tan(a t + b) shift, logsnr = -2 ln r
 *   alpha = sqrt(sigmoid(logsnr)) = 1 / sqrt(1 + r^2)
 *   sigma = sqrt(sigmoid(-logsnr)) = r / sqrt(1 + r^2) */
#include "flexhpc/schedule.h"

#include <math.h>

fx_noise_level fx_schedule(double t, double shift)
{
    const double b = atan(exp(-10.0)), a = atan(exp(10.0)) - b;
    const double r = tan(a * t + b) * shift;
    const double alpha = 1.0 / sqrt(1.0 + r * r);
    return (fx_noise_level){.alpha = alpha, .sigma = r * alpha, .logsnr = -2.0 * log(r)};
}

double fx_loss_weight(const fx_schedule_attrs *attrs, fx_noise_level level)
{
    if (!attrs->sigmoid_weight) return 1.0;
    const double c = attrs->sigmoid_shift;
    switch (attrs->predict) {
    case FX_PREDICT_V:
        return 1.0 / (level.alpha * level.alpha * exp(-c) + level.sigma * level.sigma);
    case FX_PREDICT_EPS:
        return 1.0 / (1.0 + exp(level.logsnr - c));
    case FX_PREDICT_X:
        break;
    }
    return 1.0;
}
