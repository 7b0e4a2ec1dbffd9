/* kernels.c: the table of the CUDA backend's kernels. Every line of oplist.h is a reference: an op
 * without its twin does not link. */
#include "exec.h"

#define FX_OP(name) extern const fx_kernel fx_cuda_##name;
#include "flexhpc/oplist.h"
#undef FX_OP

const fx_kernel *const fx_cuda_kernels[FX_OP_COUNT] = {
#define FX_OP(name) [FX_OP_##name] = &fx_cuda_##name,
#include "flexhpc/oplist.h"
#undef FX_OP
};
