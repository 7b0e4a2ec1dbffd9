/* ensemble.c: scores of ensembles; formulas in ensemble.h. A pixel's members are sorted once: with
 * x_(0) <= .. <= x_(M-1), sum_ij |x_i - x_j| = 2 sum_k (2 k + 1 - M) x_(k), and ranks are counted from
 * the ends. Sums run over the pixels in order, in double. */
#include "flexhpc/ensemble.h"

#include <math.h>

#include "flexhpc/rng.h"
#include "flexhpc/str.h"

/* Insertion: M is small, and no call through a pointer. */
static void take_sorted(const float *members, int64_t stride, int M, double *x)
{
    for (int k = 0; k < M; k++) {
        const double value = members[k * stride];
        int at = k;
        for (; at > 0 && x[at - 1] > value; at--)
            x[at] = x[at - 1];
        x[at] = value;
    }
}

void fx_ensemble_measure(const float *members, int64_t stride, int M, const float *truth, int64_t count,
                         float *mean, fx_ensemble_score *out)
{
    fx_ensemble_score s = {0};
    double x[FX_MEMBERS_MAX], pulled = 0;
    for (int64_t i = 0; i < count; i++) {
        const double y = truth[i];
        double sum = 0, distance = 0, gaps = 0, square = 0;
        take_sorted(members + i, stride, M, x);
        for (int k = 0; k < M; k++) {
            sum += x[k];
            distance += fabs(x[k] - y);
            gaps += (2 * k + 1 - M) * x[k];
        }
        const double m = sum / M;
        for (int k = 0; k < M; k++)
            square += (x[k] - m) * (x[k] - m);
        const double variance = square / (M - 1);
        mean[i] = (float)m;
        s.crps += distance / M - gaps / ((double)M * (M - 1));
        s.error += (m - y) * (m - y);
        s.deviation += variance;
        if (variance <= 0) continue;
        const double z = (m - y) / sqrt(variance);
        s.pull += z;
        s.pull_square += z * z;
        pulled += 1;
    }
    s.crps /= (double)count;
    s.error /= (double)count;
    s.deviation /= (double)count;
    s.spread = s.deviation * (M + 1) / M;
    s.pull = pulled > 0 ? s.pull / pulled : NAN;
    s.pull_square = pulled > 0 ? s.pull_square / pulled : NAN;
    *out = s;
}

void fx_ensemble_mean(const float *members, int64_t stride, int M, int64_t count, float *mean)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int k = 0; k < M; k++)
            sum += members[i + k * stride];
        mean[i] = (float)(sum / M);
    }
}

void fx_ensemble_ranks(const float *members, int64_t stride, int M, const float *truth, int64_t count,
                       uint64_t seed, uint32_t sample, uint32_t stream, double *histogram)
{
    const uint32_t name = fx_crc32("rank");
    for (int64_t i = 0; i < count; i++) {
        int below = 0, equal = 0;
        for (int k = 0; k < M; k++) {
            below += members[i + k * stride] < truth[i];
            equal += members[i + k * stride] == truth[i];
        }
        if (equal > 0) {
            const fx_philox random =
                fx_philox4x32(seed, (const uint32_t[4]){(uint32_t)(i / 4), sample, name, stream});
            below += (int)((uint64_t)random.word[i % 4] * (uint64_t)(equal + 1) >> 32);
        }
        histogram[below] += 1;
    }
}

double fx_pull_expected(int M)
{
    if (M < 4) return NAN;
    const double freedom = M - 1;
    return sqrt(freedom / (freedom - 2) * (1 + 1.0 / M));
}
