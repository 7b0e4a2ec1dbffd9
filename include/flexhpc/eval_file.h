/* eval_file.h: one evaluation as a file, `eval-PACK.h5` or `eval-PACK-NAME.h5` of a run folder: written
 * by `flexhpc eval`, read by the report, by studies that compare runs sample by sample, and by any HDF5
 * reader. What it holds:
 *   samples  (samples, columns) float64, a row a sample; attribute `columns` names the columns
 *   scores   (rows, columns) float64, a row a task and Reynolds number; attribute `columns`
 *   statistics (rows, statistics, 3) float64: value and the ends of its interval; attribute `columns`
 *   signs    (signs, columns) float64: failure signatures that fired; attributes `columns`,
 *   `signatures` (names by number)
 *   spectrum/K/{k,model,truth,error} (shells) float64, K the row of scores
 *   values/K/{w,model,truth} (bins), ranks/K/share (members + 1) float64
 *   leads/K/{rfne,correlation,persistence,mean_rfne,energy,truth_energy,enstrophy,truth_enstrophy}
 *   (leads) float64, of leads 1, 2, ..
 *   panel/K/{input,model,truth} (side, side) float32, an example; attributes title, input_label
 *   and of the whole: pack, name, checkpoint, step, sample_steps, members, patches, seed, and, not in
 * older files, asked, pack_hash, and `periodic`, 1 or 0 for y and x: whether the domains of all of the
 * pack's sources are. `task` is 0 for super-resolution, 1 for a forecast; NaN is what was not measured.
 * Includes eval.h, signatures.h, str.h. */
#ifndef FLEXHPC_EVAL_FILE_H
#define FLEXHPC_EVAL_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "flexhpc/eval.h"
#include "flexhpc/signatures.h"
#include "flexhpc/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The samples of one task and Reynolds number. */
typedef struct fx_eval_row {
    fx_score score;
    bool seen;          /* the model was trained on this Reynolds number */
    double fine_scales; /* of the score: FX_STATISTIC_BAND_ENERGY */
    /* Spectra E(k), means over the samples; shells 0: none. */
    int64_t shells;
    const double *k, *model, *truth, *error;
    /* Shares of the values of vorticity, in bins around w; bins 0: none. */
    int64_t bins;
    const double *w, *pdf_model, *pdf_truth; /* w: (vorticity - mean) / std of the truth's file */
    /* Share of the pixels whose truth is above 0, 1, .. members; ranks 0: no ensemble. */
    int64_t ranks;
    const double *rank_share;
    /* By lead of the rollouts, means over the samples; leads 0: no rollout. */
    int64_t leads;
    const double *lead_score[FX_LEAD_SCORES];
    /* An example; side 0: none. */
    int64_t side;
    const float *input, *estimate, *target; /* (side, side) */
    const char *title, *input_label;
} fx_eval_row;

enum {
    FX_ASKED_MAX = 2048,
    FX_EVALUATION_ROWS = 64,
    FX_SIGNS_MAX = FX_EVALUATION_ROWS * FX_SIGNATURES
};

typedef struct fx_eval_file {
    char pack[FX_NAME_MAX + 1]; /* the last part of data.path */
    char name[FX_NAME_MAX + 1]; /* eval.name: "" unless one run has several evaluations of a pack */
    char checkpoint[FX_PATH_MAX];
    int64_t step;                                 /* of the checkpoint */
    int64_t sample_steps, members, patches, seed; /* of the sampling */
    char asked[FX_ASKED_MAX]; /* what else was asked for, as fx_evaluation_asked says it; "": an older
                                 version's file */
    int64_t pack_hash;        /* XXH64 of the pack's manifest; 0: not known */
    bool periodic[2];  /* along y and x, of all sources; where a file doesn't say, as of old, true */
    fx_scores samples; /* as fx_scores_merge leaves them */
    fx_eval_row row[FX_EVALUATION_ROWS]; /* as fx_scores_summarise leaves them */
    int rows;
    fx_sign sign[FX_SIGNS_MAX]; /* failure signatures that fired, row by row */
    int signs;
    struct fx_pool *pool; /* what the rows of a file that was read point to; NULL: the caller's */
} fx_eval_file;

/* Where the evaluation of a pack (its path, or its name) goes in a run folder. FX_ECONFIG when `pack`
 * does not end in a plain name, `name` is neither plain nor empty, or the file there is that of another
 * (pack `a`, name `b-c` and pack `a-b`, name `c` have one path). Local. */
fx_status fx_eval_file_path(const char *folder, const char *pack, const char *name,
                            char out[FX_PATH_MAX]);

/* Writes, or replaces in one step. Local: one rank writes. */
fx_status fx_eval_file_write(const fx_eval_file *file, const char *path);

/* Reads all of a file; fx_eval_file_free in any case. Columns are found by name: those that a file
 * lacks are NaN. FX_EIO, FX_EVALUE name the file. Local. */
fx_status fx_eval_file_read(const char *path, fx_eval_file *out);
void fx_eval_file_free(fx_eval_file *file);

/* Names of the evaluations in a run folder, `eval-*.h5`, sorted; one block, freed with fx_free. Local.
 */
fx_status fx_eval_file_list(const char *folder, char ***names, int *count);

#ifdef __cplusplus
}
#endif
#endif
