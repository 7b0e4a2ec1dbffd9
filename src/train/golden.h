/* golden.h: a golden file: the configuration in its attributes, and the weights and inputs that are
 * functions of their names (flex-model 9). Private to src/train. */
#ifndef FX_GOLDEN_H
#define FX_GOLDEN_H

#include "flexhpc/io.h"
#include "flexhpc/train.h"

typedef struct fx_golden {
    fx_h5 *file;
    const char *path;
    uint64_t tag;
    fx_step_options options; /* micro_batch: the file's batch */
    bool plain;              /* the loss is L1 on v, called loss_l1 */
    int64_t train_steps, warmup_steps, total_steps;
    double learning_rate, ema_decay;
} fx_golden;

/* Opens the file and reads its attributes. The caller closes golden->file. */
fx_status fx_golden_open(const char *path, fx_golden *out);

/* s(name, amplitude): count numbers, uniform in +-amplitude, by splitmix64 of (crc32(name), index,
 * tag). */
void fx_golden_numbers(uint64_t tag, const char *name, double amplitude, float *out, int64_t count);

/* Every parameter and buffer of the model, and the EMA as a copy; moments become 0. */
fx_status fx_golden_weights(const fx_golden *golden, fx_params *params, fx_exec *exec);

/* Writes the inputs that the batch has, named with the prefix ("step3:" or ""). x: x_T for every task,
 * or NULL. */
fx_status fx_golden_inputs(const fx_golden *golden, const char *prefix, fx_program *program,
                           const fx_batch *batch, fx_tensor *x);

#endif
