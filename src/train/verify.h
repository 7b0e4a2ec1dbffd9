/* verify.h: one golden file under comparison, and the comparisons that every quantity goes through.
 * Private to src/train. */
#ifndef FX_VERIFY_H
#define FX_VERIFY_H

#include "golden.h"

/* Relative deviations that a precision may have. Times, noise levels and noisy images are fp32 in all.
 * A gradient below UNSEEN of the largest in the file is rounding alone; ours must then be below
 * `unseen` of it. */
typedef struct fx_limits {
    double output, latent, loss, contrast, gradient, unseen, train_loss, train_loose;
} fx_limits;
extern const fx_limits *const fx_limits_of[]; /* by fx_precision */

typedef struct fx_check {
    fx_exec *exec;
    const fx_limits *limit;
    fx_golden golden;
    FILE *out;         /* the table */
    int compared;      /* datasets */
    char failure[512]; /* the first deviation above its limit; "": none */
} fx_check;

/* A line of the table. An error above the limit, or that is no number, is noted as the file's failure:
 * the other quantities are compared all the same. */
void fx_check_judge(fx_check *check, const char *dataset, double error, double limit);

/* Our numbers, in the file's order, against a dataset of the file: norm of the difference over the norm
 * of the file's values. */
fx_status fx_check_values(fx_check *check, const char *dataset, const double *ours, int64_t count,
                          double limit);

/* `count` values of a kept tensor from element `first`, every stride-th, plus the last channel of
 * `base`, of base_stride channels, where given. With `channels` above 1 the values are images of so
 * many `pixels`. */
typedef struct fx_check_part {
    const fx_tensor *tensor, *base;
    int64_t first, count, stride, base_stride, channels, pixels;
} fx_check_part;
fx_status fx_check_tensor(fx_check *check, const char *dataset, fx_program *program, fx_check_part part,
                          double limit);
fx_status fx_check_whole(fx_check *check, const char *dataset, fx_program *program, const fx_tensor *t,
                         double limit);

/* Every gradient of the last step: names, shapes, norms and projections, each parameter once. */
fx_status fx_check_gradients(fx_check *check, fx_params *params);

/* Outputs, gradients, samples and, where the file has one, the training trajectory of a model. */
fx_status fx_check_model(fx_check *check);

#endif
