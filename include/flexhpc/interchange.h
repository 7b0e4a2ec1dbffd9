/* interchange.h: weights to and from other programs, as safetensors files with the published names of
 * parameters. Includes params.h, train.h. */
#ifndef FLEXHPC_INTERCHANGE_H
#define FLEXHPC_INTERCHANGE_H

#include "flexhpc/params.h"
#include "flexhpc/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In the order of the words of --weights. */
typedef enum fx_weights { FX_WEIGHTS_EMA, FX_WEIGHTS_RAW, FX_WEIGHTS_BOTH } fx_weights;

/* Writes a checkpoint's parameters and buffers, or those of a run's newest checkpoint, as `out`: F32 in
 * published names and shapes, read tensor by tensor and held against their checksums. BOTH: the trained
 * ones under their names, the EMA as `ema.NAME`. Metadata: format, step, weights, arch, config, which
 * fx_import needs. Local. */
fx_status fx_export(const char *checkpoint, fx_weights weights, const char *out);

typedef struct fx_import_options {
    const char *config;           /* a YAML file; NULL: the text in the file's metadata */
    const char *const *overrides; /* "key=value", NULL-terminated; NULL: none */
    const char *command;          /* for the run's cmd.txt; NULL: none */
    bool partial;                 /* what is missing or does not fit starts as in a new model */
} fx_import_options;

/* Makes a run folder with one checkpoint of weights and EMA, no moments, from a safetensors file:
 * train.init_from, eval and sample take it. `module.` in names is passed over; `ema.NAME` is the EMA's,
 * and where one of the two is not there it is the other. Lists what is missing, unexpected or of
 * another shape, by name, and fails with FX_EVALUE unless options->partial. FX_ECONFIG: no
 * configuration, no data.scale, or a folder that has checkpoints. Local. */
fx_status fx_import(const char *file, const char *run, const fx_import_options *options);

/* Every parameter and buffer of the model, described and without memory. Local. */
fx_status fx_model_parameters(const fx_step_options *options, fx_dtype storage, fx_params **out);

#ifdef __cplusplus
}
#endif
#endif
