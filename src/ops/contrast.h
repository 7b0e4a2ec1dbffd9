/* contrast.h: what the two forms of the contrastive term share: from logits to loss and weights.
 * Private to src/ops. */
#ifndef FX_OPS_CONTRAST_H
#define FX_OPS_CONTRAST_H

#include <math.h>
#include <stdint.h>

static const double FX_SMALLEST_NORM = 1e-12; /* of a latent */

/* ln sum_k exp(x[k stride]). */
static inline double fx_log_sum(const double *x, int64_t stride, int64_t count)
{
    double most = x[0], sum = 0;
    for (int64_t k = 1; k < count; k++)
        most = x[k * stride] > most ? x[k * stride] : most;
    for (int64_t k = 0; k < count; k++)
        sum += exp(x[k * stride] - most);
    return most + log(sum);
}

/* logit: (G,G) L; line: room for (2,G), the log-sums of rows and columns; weight: (G,G) dloss/dL = W;
 * along: (2,G) sum_j W_kj L_kj, then sum_i W_ik L_ik. Returns the loss (contrast.c). */
static inline float fx_contrast_weights(const double *logit, int64_t G, double *line, float *weight,
                                        float *along)
{
    double *row = line, *column = line + G, loss = 0;
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < 2 * G; k++)
        line[k] = k < G ? fx_log_sum(logit + k * G, 1, G) : fx_log_sum(logit + k - G, G, G);
    for (int64_t i = 0; i < G; i++)
        loss += row[i] + column[i] - 2 * logit[i * G + i];
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < 2 * G; k++) { /* rows of W, which are kept, then columns */
        double sum = 0;
        for (int64_t l = 0; l < G; l++) {
            const int64_t i = k < G ? k : l, j = k < G ? l : k - G, at = i * G + j;
            const double p = exp(logit[at] - row[i]) + exp(logit[at] - column[j]);
            const double w = (p - (i == j ? 2.0 : 0.0)) / (2 * (double)G);
            if (k < G) weight[at] = (float)w;
            sum += w * logit[at];
        }
        along[k] = (float)sum;
    }
    return G < 2 ? 0.0f : (float)(loss / (2 * (double)G));
}

#endif
