/* conv_plans.h: cuDNN's plans of an exec, found by product. Private to cuda/. */
#ifndef FX_CONV_PLANS_H
#define FX_CONV_PLANS_H

#include "conv_products.h"
#include "exec.h"
#include "plan_cache.h"

#ifdef __cplusplus
extern "C" {
#endif

/* For prepare: makes the product's plan, or finds it, and raises *workspace to what a run needs.
 * FX_EDEVICE when cuDNN has no engine that will do. Collective: all tapes have the same convolutions.
 */
fx_status fx_conv_plan(fx_exec *exec, const fx_product *product, size_t *workspace);

/* Runs a planned product on the exec's stream: `pointer` by FX_GRAPH_SRC and so on, each on 16 bytes.
 * Local. */
fx_status fx_conv_run(fx_exec *exec, const fx_product *product, void *const pointer[FX_GRAPH_TENSORS],
                      void *workspace);

/* Writes what was chosen since the last time to the file of choices, and to exec->base.engines.
 * FX_ENOMEM. Local. */
fx_status fx_conv_keep(fx_cuda *exec);

/* Closes all plans and the handle. Local. */
void fx_conv_close(fx_cuda *exec);

#ifdef __cplusplus
}
#endif
#endif
