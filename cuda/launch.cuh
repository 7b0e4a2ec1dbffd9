/* launch.cuh: the only way to start a kernel. */
#ifndef FX_LAUNCH_CUH
#define FX_LAUNCH_CUH

#include <assert.h>

#include "device.cuh"
#include "exec.h"

/* Starts `kernel` (in parentheses where template arguments hold a comma) on the exec's stream, with
 * `shared` bytes of dynamic shared memory; returns on failure, naming kernel and node. Arguments are
 * passed by value. */
#ifdef FX_SIMT
#define FX_LAUNCH(exec, node, kernel, grid, block, shared, ...)                                        \
    FX_TRY(fx_simt_launch(fx_cuda_stream(exec), #kernel, (node)->name, grid, block, shared, kernel,    \
                          __VA_ARGS__))
#else
#define FX_LAUNCH(exec, node, kernel, grid, block, shared, ...)                                        \
    do {                                                                                               \
        if ((shared) > 48 * 1024)                                                                      \
            FX_TRY(fx_cuda_check(cudaFuncSetAttribute((const void *)(kernel),                          \
                                                      cudaFuncAttributeMaxDynamicSharedMemorySize,     \
                                                      (int)(shared)),                                  \
                                 #kernel, (node)->name));                                              \
        (kernel)<<<(grid), (block), (shared), fx_cuda_stream(exec)>>>(__VA_ARGS__);                    \
        FX_TRY(fx_cuda_check(cudaGetLastError(), #kernel, (node)->name));                              \
    } while (0)
#endif

/* Blocks of `threads` that cover `count`, as a grid's x. */
static inline unsigned fx_grid(int64_t count, int64_t threads)
{
    return (unsigned)((count + threads - 1) / threads);
}

/* A tensor's memory, of the type that the tensor has; NULL of NULL. */
template <typename T> static inline T *fx_data(const fx_tensor *t)
{
    assert(!t || t->dtype == (sizeof(T) == sizeof(float) ? FX_F32 : FX_BF16));
    return t ? (T *)t->data : NULL;
}

static inline bool fx_is_bf16(const fx_tensor *t)
{
    return t && t->dtype == FX_BF16;
}

/* Whether backward adds to the gradient of this input. */
static inline bool fx_adds(const fx_node *n, int input)
{
    return (n->accumulate & FX_IN(input)) != 0;
}

#endif
