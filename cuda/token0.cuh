/* token0.cuh: the gradient of an embedding that was added to token 0 of every row (src/ops/tokens.c,
 * add_token.c). */
#ifndef FX_TOKEN0_CUH
#define FX_TOKEN0_CUH

#include "launch.cuh"

enum { FX_TOKEN0_THREADS = 64 };

/* Of rows r with r % M = m the first D elements, summed in order. Block (x, y): m is y. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(FX_TOKEN0_THREADS)
    fx_token0_kernel(const T *dy, int64_t rows, int64_t row, int64_t M, int64_t D, T *demb, bool add)
{
    const int64_t i = fx_index() * W, m = fx_block_y();
    if (i >= D) return;
    float sum[W] = {}, g[W];
    if (add) fx_get_all<W>(demb + m * D + i, sum);
    FX_UNROLL(4)
    for (int64_t r = m; r < rows; r += M) {
        fx_get_all<W>(dy + r * row + i, g);
        for (int k = 0; k < W; k++)
            sum[k] += g[k];
    }
    fx_set_all<W>(demb + m * D + i, sum);
}

/* demb (M, D) = or += from dy (rows, row), a row's first D elements being token 0's. W divides D. */
template <typename T, int W>
static fx_status fx_token0_gradient(fx_exec *exec, const fx_node *n, const T *dy, int64_t rows,
                                    int64_t row, const fx_tensor *demb, bool add)
{
    const int64_t M = demb->dim[0], D = demb->dim[1];
    const dim3 grid(fx_grid(D, W * FX_TOKEN0_THREADS), (unsigned)M);
    FX_LAUNCH(exec, n, (fx_token0_kernel<T, W>), grid, FX_TOKEN0_THREADS, 0, dy, rows, row, M, D,
              fx_data<T>(demb), add);
    return FX_OK;
}

#endif
