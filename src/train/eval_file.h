/* eval_file.h: what `eval-PACK.h5` holds, for the side that writes it and the side that reads it.
 * Private to src/train. scores (n, FX_SCORE_COLUMNS) float64, one row a task and Reynolds number
 *   spectrum/K/{k,model,truth} float64, K the row of scores
 *   panel/K/{input,model,truth} float32, the first sample of that row; attributes title, input_label */
#ifndef FX_EVAL_FILE_H
#define FX_EVAL_FILE_H

#include "flexhpc/eval.h"

typedef enum fx_score_column {
    FX_COLUMN_TASK,
    FX_COLUMN_REYNOLDS,
    FX_COLUMN_COUNT,
    FX_COLUMN_BLOCKS,
    FX_COLUMN_RFNE,
    FX_COLUMN_RFNE_ERROR,
    FX_COLUMN_RFNE_LOW,
    FX_COLUMN_RFNE_HIGH,
    FX_COLUMN_FLOOR,
    FX_COLUMN_FLOOR2,
    FX_COLUMN_RATIO,
    FX_COLUMN_RATIO_LOW,
    FX_COLUMN_RATIO_HIGH,
    FX_COLUMN_CORRELATION,
    FX_COLUMN_SEEN,        /* 1: the model was trained on this Reynolds number */
    FX_COLUMN_FINE_SCALES, /* energy of the model over the truth's above the input's Nyquist number */
    FX_SCORE_COLUMNS
} fx_score_column;

enum { FX_EVALUATION_ROWS = 64 };

#endif
