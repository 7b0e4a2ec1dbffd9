/* conv_tune.h: the fastest of cuDNN's engines for a convolution, by trying them. Private to cuda/. */
#ifndef FX_CONV_TUNE_H
#define FX_CONV_TUNE_H

#include "cudnn_graph.h"
#include "exec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In place of `plan`, the first one that the policy allows, the fastest of the first few, each run on
 * memory of its own for the while; the first one where they take equally long, and where there is no
 * memory to try. Closes the others. FX_EDEVICE. Waits for the device. Local. */
fx_status fx_conv_tune(fx_cuda *exec, const fx_graph *graph, const fx_cudnn_policy *policy,
                       fx_cudnn_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
