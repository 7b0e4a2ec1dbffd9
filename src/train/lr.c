/* lr.c: schedules of the published training: learning rate and EMA decay. */
#include <math.h>

#include "flexhpc/train.h"

double fx_learning_rate(double base, int64_t s, int64_t w, int64_t n)
{
    if (s < w) return base * (double)s / (double)w;
    if (n <= w) return base;
    return base * 0.5 * (1.0 + cos(3.14159265358979323846 * (double)(s - w) / (double)(n - w)));
}

double fx_ema_decay(double largest, int64_t u)
{
    const double early = (1.0 + (double)u) / (10.0 + (double)u);
    return early < largest ? early : largest;
}
