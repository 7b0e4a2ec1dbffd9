/* verify_compare.c: how far our numbers are from a golden file's, and whether that is near enough. */
#include <math.h>
#include <stdio.h>

#include "flexhpc/mem.h"
#include "verify.h"

/* fp32: flex-model 9's.
 * bf16: with u = 2^-8, the most that storing one number loses, an activation is rounded about 40 times
 * in line, each time by 0.4 u in the mean square: 2.5 u together, and outputs have twice that, 2e-2.
 * The oracle of tests/oracle with its weights and the results of all its modules rounded to bf16,
 * forward and backward, was off by 1.5 to 2.8 u in outputs and latents, 4e-4 in losses, where errors of
 * many pixels cancel, 0.05 in the contrast, whose temperature multiplies cosines by 100, and 0.11 in
 * the worst gradient, the last bias: a sum of signs. tf32 rounds operands alone, and those 8 times
 * less. */
static const fx_limits FP32 = {2e-5, 5e-6, 5e-6, 3e-5, 2e-4, 1e-5, 2e-5, 1e-3},
                       TF32 = {2.5e-3, 2.5e-3, 2e-4, 2e-2, 2.5e-2, 1.25e-4, 2e-4, 2e-2},
                       BF16 = {2e-2, 2e-2, 1.5e-3, 0.15, 0.2, 1e-3, 1.5e-3, 0.15};
const fx_limits *const fx_limits_of[] = {
    [FX_PRECISION_FP32] = &FP32, [FX_PRECISION_TF32] = &TF32, [FX_PRECISION_BF16] = &BF16};

void fx_check_judge(fx_check *c, const char *dataset, double error, double limit)
{
    const bool agrees = error <= limit;
    c->compared++;
    fprintf(c->out, "  %-22s %9.2e   limit %.0e%s\n", dataset, error, limit,
            agrees ? "" : "   DIFFERS");
    if (!agrees && !c->failure[0])
        snprintf(c->failure, sizeof c->failure, "%s: %s: differs by %.3g of its norm, limit %.0e",
                 c->golden.path, dataset, error, limit);
}

/* Norm of the difference over the norm of the file's values; infinite for what is not finite. */
static double deviation(const double *ours, const double *theirs, int64_t count)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += (ours[i] - theirs[i]) * (ours[i] - theirs[i]);
        norm += theirs[i] * theirs[i];
    }
    const double error = sqrt(difference) / (norm > 0 ? sqrt(norm) : 1.0);
    return isfinite(error) ? error : INFINITY;
}

fx_status fx_check_values(fx_check *c, const char *dataset, const double *ours, int64_t count,
                          double limit)
{
    fx_h5_shape shape;
    double *theirs = NULL;
    int64_t stored = 1;
    FX_TRY(fx_h5_describe(c->golden.file, dataset, &shape));
    for (int i = 0; i < shape.rank; i++)
        stored *= shape.dim[i];
    FX_REQUIRE(stored == count, FX_EVALUE, "%s: %s: %lld values, the model has %lld", c->golden.path,
               dataset, (long long)stored, (long long)count);
    FX_TRY(FX_ALLOC(theirs, count));
    fx_status status = fx_h5_read(c->golden.file, dataset, NULL, NULL, FX_H5_F64, theirs);
    if (status == FX_OK) fx_check_judge(c, dataset, deviation(ours, theirs, count), limit);
    fx_free(theirs);
    return status;
}

/* Where element i of the file's order, channel before pixel, is in ours. */
static int64_t image_index(const fx_check_part *p, int64_t i)
{
    const int64_t size = p->channels * p->pixels, sample = i / size, channel = i % size / p->pixels,
                  pixel = i % p->pixels;
    return sample * size + pixel * p->channels + channel;
}

fx_status fx_check_tensor(fx_check *c, const char *dataset, fx_program *program, fx_check_part p,
                          double limit)
{
    fx_status status = FX_OK;
    float *x = NULL, *base = NULL;
    double *ours = NULL;
    FX_TRY_DONE(FX_ALLOC(x, fx_count(p.tensor)));
    FX_TRY_DONE(fx_program_read(program, p.tensor, x));
    if (p.base) {
        FX_TRY_DONE(FX_ALLOC(base, fx_count(p.base)));
        FX_TRY_DONE(fx_program_read(program, p.base, base));
    }
    FX_TRY_DONE(FX_ALLOC(ours, p.count));
    for (int64_t i = 0; i < p.count; i++) {
        ours[i] = (double)x[p.first + (p.channels > 1 ? image_index(&p, i) : i * p.stride)];
        if (base) ours[i] += (double)base[(i + 1) * p.base_stride - 1]; /* the last channel */
    }
    FX_TRY_DONE(fx_check_values(c, dataset, ours, p.count, limit));
done:
    fx_free(x);
    fx_free(base);
    fx_free(ours);
    return status;
}

fx_status fx_check_whole(fx_check *c, const char *dataset, fx_program *program, const fx_tensor *t,
                         double limit)
{
    const bool image = t->rank == 4;
    const fx_check_part part = {.tensor = t,
                                .count = fx_count(t),
                                .stride = 1,
                                .channels = image ? t->dim[3] : 1,
                                .pixels = image ? t->dim[1] * t->dim[2] : 1};
    return fx_check_tensor(c, dataset, program, part, limit);
}
