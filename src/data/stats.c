/* stats.c: mean, spread and range of values that come in parts (Chan, Golub, LeVeque: Updating
 * formulae, 1979). Each part is summed in two passes, in double and in order; merging parts in the same
 * order gives the same bits whichever rank made them. */
#include "flexhpc/data.h"

#include <math.h>

void fx_stats_add(fx_stats *stats, const float *values, int64_t count)
{
    if (count <= 0) return;
    fx_stats part = {.count = count, .least = values[0], .largest = values[0]};
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const double v = values[i];
        sum += v;
        if (v < part.least) part.least = v;
        if (v > part.largest) part.largest = v;
    }
    part.mean = sum / (double)count;
    for (int64_t i = 0; i < count; i++) {
        const double e = values[i] - part.mean;
        part.square += e * e;
    }
    fx_stats_merge(stats, &part);
}

/* With n = n1 + n2 and d = mean2 - mean1: mean = mean1 + d n2 / n, square = square1 + square2 + d^2 n1
 * n2 / n. */
void fx_stats_merge(fx_stats *into, const fx_stats *more)
{
    if (more->count == 0) return;
    if (into->count == 0) {
        *into = *more;
        return;
    }
    const double n1 = (double)into->count, n2 = (double)more->count, d = more->mean - into->mean;
    into->count += more->count;
    into->mean += d * n2 / (n1 + n2);
    into->square += more->square + d * d * n1 * n2 / (n1 + n2);
    if (more->least < into->least) into->least = more->least;
    if (more->largest > into->largest) into->largest = more->largest;
}

double fx_stats_std(const fx_stats *stats)
{
    return stats->count ? sqrt(stats->square / (double)stats->count) : 0.0;
}

double fx_stats_rms(const fx_stats *stats)
{
    return stats->count ? sqrt(stats->mean * stats->mean + stats->square / (double)stats->count) : 0.0;
}
