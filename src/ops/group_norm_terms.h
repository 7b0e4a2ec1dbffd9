/* group_norm_terms.h: what group_norm.c does once a sample between the passes over its pixels, and once
 * at the end: from the blocks' sums to statistics, coefficients and gradients of parameters. Private to
 * group_norm.c. Includes group_norm_view.h. */
#ifndef FX_GROUP_NORM_TERMS_H
#define FX_GROUP_NORM_TERMS_H

#include <math.h>
#include "group_norm_view.h"

static inline float bias_of(const view *v, int64_t c)
{
    return v->bias ? v->bias[c] : 0.0f;
}

static inline void affine(const view *v, int64_t b, const float *mean, const float *rstd)
{
    const float *s = modulation(v, b), *t = s ? s + v->C : NULL;
    for (int64_t g = 0; g < v->G; g++)
        for (int64_t c = g * v->K; c < (g + 1) * v->K; c++) {
            const float scale = s ? 1.0f + s[c] : 1.0f;
            *coefficient(v, b, CENTRE, c) = mean[b * v->G + g] - bias_of(v, c);
            *coefficient(v, b, SLOPE, c) = rstd[b * v->G + g] * v->gamma[c] * scale;
            *coefficient(v, b, OFFSET, c) = v->beta[c] * scale + (t ? t[c] : 0.0f);
        }
}

/* The blocks' sums become those of the sample, in the place of block 0. */
static inline void combine_blocks(const view *v, int64_t b)
{
    double *restrict all = sum_of(v, b, 0, 0, 0);
    for (int64_t block = 1; block < v->blocks; block++) {
        const double *restrict one = sum_of(v, b, block, 0, 0);
        for (int64_t i = 0; i < 2 * v->C; i++)
            all[i] += one[i];
    }
}

/* Of x, over the pixels of a sample. */
static inline double channel_mean(const view *v, int64_t b, int64_t c)
{
    const int s = c >= v->first[1];
    const double K = (double)v->x[s][b * v->P * v->width[s] + c - v->first[s]];
    return K + (double)bias_of(v, c) + *sum_of(v, b, 0, 0, c) / (double)v->P;
}

/* level: NULL without BIAS. */
static inline void statistics(const view *v, int64_t b, double eps, float *mean, float *rstd,
                              float *level)
{
    const double P = (double)v->P, *sum = sum_of(v, b, 0, 0, 0), *square = sum_of(v, b, 0, 1, 0);
    for (int64_t g = 0; g < v->G; g++) {
        double m = 0, spread = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t c = g * v->K; c < (g + 1) * v->K; c++) {
                const double own = channel_mean(v, b, c);
                if (pass == 0)
                    m += own / (double)v->K;
                else
                    spread += square[c] - sum[c] * sum[c] / P + P * (own - m) * (own - m);
            }
        const double r = 1 / sqrt(fmax(spread, 0) / (P * (double)v->K) + eps);
        mean[b * v->G + g] = (float)m;
        rstd[b * v->G + g] = (float)r;
        for (int64_t c = g * v->K; level && c < (g + 1) * v->K; c++)
            level[b * v->C + c] = (float)((channel_mean(v, b, c) - m) * r);
    }
}

/* With S = sum du and Q = sum du xhat per sample and channel, M1 and M2 the group means of A S and A Q:
 *   dx = rstd (A du - M1 - xhat M2), so CONSTANT = rstd M1 and TILT = rstd^2 M2 */
static inline void group_terms(const view *v, int64_t b, const float *rstd)
{
    const double *S = sum_of(v, b, 0, 0, 0);
    const float *mod = modulation(v, b);
    double *Q = sum_of(v, b, 0, 1, 0);
    for (int64_t g = 0; g < v->G; g++) {
        const double r = (double)rstd[b * v->G + g], size = (double)(v->P * v->K);
        double m1 = 0, m2 = 0;
        for (int64_t c = g * v->K; c < (g + 1) * v->K; c++) {
            const double A = (double)v->gamma[c] * (mod ? (double)(1.0f + mod[c]) : 1.0) / size;
            Q[c] *= r;
            m1 += A * S[c];
            m2 += A * Q[c];
        }
        for (int64_t c = g * v->K; c < (g + 1) * v->K; c++) {
            *coefficient(v, b, CONSTANT, c) = (float)(r * m1);
            *coefficient(v, b, TILT, c) = (float)(r * r * m2);
        }
    }
}

/* dgamma = sum_b (1 + s) Q,  dbeta = sum_b (1 + s) S
 * dbias = sum_b of the sums of dx, SLOPE S - P CONSTANT - TILT P LEVEL / rstd
 * ds = gamma Q + beta S and dt = S, summed over the samples that share a row of MOD */
static inline void parameter_gradients(const view *v, const fx_node *n, int64_t c)
{
    const float *rstd = fx_f32(n->saved[RSTD]), *level = fx_f32(n->saved[LEVEL]);
    double gamma = 0, beta = 0, bias = 0;
    for (int64_t b = 0; b < v->B; b++) {
        const float *mod = modulation(v, b);
        const double S = *sum_of(v, b, 0, 0, c), Q = *sum_of(v, b, 0, 1, c),
                     scale = mod ? (double)(1.0f + mod[c]) : 1.0;
        gamma += scale * Q;
        beta += scale * S;
        if (n->din[BIAS])
            bias += (double)*coefficient(v, b, SLOPE, c) * S -
                    (double)v->P * ((double)*coefficient(v, b, CONSTANT, c) +
                                    (double)*coefficient(v, b, TILT, c) * (double)level[b * v->C + c] /
                                        (double)rstd[b * v->G + c / v->K]);
        if (!n->din[MOD]) continue;
        float *ds = fx_f32(n->din[MOD]) + b % v->M * 2 * v->C + c;
        const unsigned adds = b >= v->M || fx_adds(n, MOD);
        fx_put(ds, (float)((double)v->gamma[c] * Q + (double)v->beta[c] * S), adds);
        fx_put(ds + v->C, (float)S, adds);
    }
    if (n->din[GAMMA]) fx_put(fx_f32(n->din[GAMMA]) + c, (float)gamma, fx_adds(n, GAMMA));
    if (n->din[BETA]) fx_put(fx_f32(n->din[BETA]) + c, (float)beta, fx_adds(n, BETA));
    if (n->din[BIAS]) fx_put(fx_f32(n->din[BIAS]) + c, (float)bias, fx_adds(n, BIAS));
}

#endif
