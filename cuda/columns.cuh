/* columns.cuh: sums over the rows of a matrix (rows, columns), for gradients of biases. Bound by
 * memory: the matrix is read once. Blocks sum pieces of up to 1/256 of the rows, and the same kernel
 * sums the pieces' sums: an order that depends on the shape alone, and no atomics.
 * Where the columns are a multiple of 16 bytes, a thread reads 16 bytes at once: x on 16 bytes. */
#ifndef FX_COLUMNS_CUH
#define FX_COLUMNS_CUH

#include "launch.cuh"

enum { FX_COLUMN_PIECES = 256, FX_COLUMN_ROWS = 64, FX_COLUMN_THREADS = 256 };

/* Of a matrix, depending on its rows only. */
static inline int64_t fx_column_pieces(int64_t rows)
{
    const int64_t pieces = (rows + FX_COLUMN_ROWS - 1) / FX_COLUMN_ROWS;
    return pieces < FX_COLUMN_PIECES ? pieces : (int64_t)FX_COLUMN_PIECES;
}

/* Bytes of scratch that fx_column_sums needs. */
static inline size_t fx_column_scratch(int64_t rows, int64_t columns)
{
    const int64_t pieces = fx_column_pieces(rows);
    return pieces > 1 ? sizeof(float) * (size_t)(pieces * columns) : 0;
}

/* out (pieces, columns) = or += sums of `size` rows of x each. A thread has N neighbouring columns; a
 * block has `width` threads beside each other, a power of two, in columns and the rest in rows. Block
 * (x, y): the x-th columns of piece y. */
template <typename T, int N>
FX_KERNEL void FX_BOUNDS(FX_COLUMN_THREADS)
    fx_column_kernel(const T *x, int64_t rows, int64_t columns, int width, int64_t size, float *out,
                     bool add)
{
    FX_SHARED(bytes);
    float *own = (float *)bytes + fx_thread(); /* of (N, threads) */
    const int lines = fx_threads() / width, line = fx_thread() / width;
    const int64_t c = ((int64_t)fx_block() * width + fx_thread() % width) * N,
                  end = c < columns ? rows : 0, from = fx_block_y() * size,
                  to = from + size < end ? from + size : end;
    float sum[N] = {0}, v[N];
    FX_UNROLL(8)
    for (int64_t r = from + line; r < to; r += lines) {
        if constexpr (N == 1)
            v[0] = fx_get(x + r * columns + c);
        else
            fx_get_wide(x + r * columns + c, v);
        for (int j = 0; j < N; j++)
            sum[j] += v[j];
    }
    for (int j = 0; j < N; j++)
        own[j * FX_COLUMN_THREADS] = sum[j];
    for (int step = lines / 2; step > 0; step /= 2) {
        fx_sync();
        for (int j = 0; line < step && j < N; j++)
            own[j * FX_COLUMN_THREADS] += own[j * FX_COLUMN_THREADS + step * width];
    }
    for (int j = 0; line == 0 && c < columns && j < N; j++)
        fx_put(out + fx_block_y() * columns + c + j, own[j * FX_COLUMN_THREADS], add);
}

template <typename T, int N>
static fx_status fx_column_launch(fx_exec *exec, const fx_node *n, const T *x, int64_t rows,
                                  int64_t columns, int64_t pieces, float *out, bool add)
{
    int width = 1;
    while (width < FX_WARP && width * N < columns)
        width *= 2;
    const dim3 grid(fx_grid(columns, width * N), (unsigned)pieces);
    FX_LAUNCH(exec, n, (fx_column_kernel<T, N>), grid, FX_COLUMN_THREADS,
              sizeof(float) * FX_COLUMN_THREADS * N, x, rows, columns, width,
              (rows + pieces - 1) / pieces, out, add);
    return FX_OK;
}

/* x (rows, columns) to `pieces` rows of out. */
template <typename T>
static fx_status fx_column_cut(fx_exec *exec, const fx_node *n, const T *x, int64_t rows,
                               int64_t columns, int64_t pieces, float *out, bool add)
{
    enum { N = fx_wide<T>::COUNT };
    return columns % N == 0 ? fx_column_launch<T, N>(exec, n, x, rows, columns, pieces, out, add)
                            : fx_column_launch<T, 1>(exec, n, x, rows, columns, pieces, out, add);
}

/* out (columns) = or += the sums of x (rows, columns). Scratch: fx_column_scratch bytes, on 16. */
template <typename T>
static fx_status fx_column_sums(fx_exec *exec, const fx_node *n, const T *x, int64_t rows,
                                int64_t columns, void *scratch, float *out, bool add)
{
    const int64_t pieces = fx_column_pieces(rows);
    float *parts = (float *)scratch;
    if (pieces == 1) return fx_column_cut(exec, n, x, rows, columns, 1, out, add);
    FX_TRY(fx_column_cut(exec, n, x, rows, columns, pieces, parts, false));
    return fx_column_cut(exec, n, (const float *)parts, pieces, columns, 1, out, add);
}

#endif
