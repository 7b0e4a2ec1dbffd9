/* group_norm_loops.cuh: what the kernels of group_norm.cu do with a thread's column: coefficients,
 * dropout, loads of several cells at once, sums over a block. Private to group_norm.cu. */
#ifndef FX_CUDA_GROUP_NORM_LOOPS_CUH
#define FX_CUDA_GROUP_NORM_LOOPS_CUH

#include "act.cuh"
#include "group_norm_view.cuh"

/* One of the coefficients, of the column's channels. */
template <int WIDTH, typename T>
FX_DEVICE void get_row(const view<T> &v, const place<T> &p, const float *table, int which,
                       float own[WIDTH])
{
    fx_get_all<WIDTH>(table + table_row(v, p.b, which) + p.c, own);
}

/* The j-th cell of a batch that begins with `cell`; that one again where there is none, so that loads
 * need no branch. */
template <typename T> FX_DEVICE int cell_of(const view<T> &v, const place<T> &p, int cell, int j)
{
    return cell + j * v.rows < p.end ? cell + j * v.rows : cell;
}

/* Where the i-th pixel of a cell is from the column's beginning in an array like x. */
template <int CELL, typename T>
FX_DEVICE int64_t pixel(const view<T> &v, const place<T> &p, int cell, int i)
{
    if constexpr (CELL == 1) return (int64_t)cell * p.width;
    const int line = v.W / 2;
    return (int64_t)((2 * (cell / line) + i / 2) * v.W + 2 * (cell % line) + i % 2) * p.width;
}

/* The column of a cell in an array like x. */
template <int WIDTH, int CELL, typename T>
FX_DEVICE void get_cell(const view<T> &v, const place<T> &p, const T *column, int cell,
                        float own[CELL][WIDTH])
{
    for (int i = 0; i < CELL; i++)
        fx_get_all<WIDTH>(column + pixel<CELL>(v, p, cell, i), own[i]);
}

/* What dropout multiplies the column's elements of a cell with. */
template <int WIDTH, typename T>
FX_DEVICE void factors(const view<T> &v, const fx_mask &mask, const place<T> &p, int cell,
                       float factor[WIDTH])
{
    if constexpr (WIDTH == 1) {
        const int64_t element = (int64_t)cell * v.C + p.c;
        float four[4];
        fx_mask_factors(mask, p.b, element / 4, four);
        const float low = element % 2 ? four[1] : four[0], high = element % 2 ? four[3] : four[2];
        factor[0] = element % 4 < 2 ? low : high;
    } else {
        const uint32_t block = (uint32_t)cell * (uint32_t)(v.C / 4) + (uint32_t)(p.c / 4);
        for (int k = 0; k < WIDTH; k += 4)
            fx_mask_factors(mask, p.b, block + (uint32_t)(k / 4), factor + k);
    }
}

/* Sums of a and b over the rows of the block, in order and in double: of the channel that is the
 * block's number fx_thread(), for as many threads as it has channels. `shared`: 2 (rows, columns
 * WIDTH). */
template <int WIDTH, typename T>
FX_DEVICE double2 fold_rows(const view<T> &v, const place<T> &p, const float *a, const float *b,
                            float *shared)
{
    const int channels = v.columns * WIDTH, t = fx_thread();
    float *second = shared + v.rows * channels;
    if (p.row < v.rows) {
        fx_set_all<WIDTH>(shared + t * WIDTH, a);
        fx_set_all<WIDTH>(second + t * WIDTH, b);
    }
    fx_sync();
    double2 sum = {0, 0};
    for (int row = 0; t < channels && row < v.rows; row++) {
        sum.x += (double)shared[row * channels + t];
        sum.y += (double)second[row * channels + t];
    }
    return sum;
}

/* What the gradient kernels load at once: a thread's column of CELLS cells, of pixels and of dy. */
template <int WIDTH, int CELL> struct batch {
    enum { CELLS = CELL == 1 ? 2 : 1 };
    float x[CELLS][CELL][WIDTH], dy[CELLS][WIDTH];
};

template <int WIDTH, int CELL, typename T>
FX_DEVICE void load(const view<T> &v, const place<T> &p, int cell, const T *dy, batch<WIDTH, CELL> *in)
{
    for (int j = 0; j < batch<WIDTH, CELL>::CELLS; j++) {
        const int own = cell_of(v, p, cell, j);
        get_cell<WIDTH, CELL>(v, p, p.x, own, in->x[j]);
        fx_get_all<WIDTH>(dy + (int64_t)own * v.C, in->dy[j]);
    }
}

/* dy of one cell to the gradient of its activations. */
template <int WIDTH, int CELL, typename T>
FX_DEVICE void upstream(const view<T> &v, const fx_mask &mask, const place<T> &p, int cell,
                        float dy[WIDTH])
{
    float factor[WIDTH];
    if (CELL == 1 && mask.on) factors<WIDTH>(v, mask, p, cell, factor);
    for (int k = 0; k < WIDTH; k++)
        dy[k] *= CELL == SQUARE ? 0.25f : mask.on ? factor[k] : 1.0f;
}

FX_DEVICE float du_of(bool silu, float dy, float e, float slope, float offset)
{
    return silu ? dy * fx_dsilu(e * slope + offset) : dy;
}

/* What dx holds is added to its gradient, which is in the place of x: loaded before anything is stored.
 */
template <int WIDTH, int CELL, typename T>
FX_DEVICE void add_old(const view<T> &v, const place<T> &p, int cell, const T *dx,
                       batch<WIDTH, CELL> *in)
{
    for (int j = 0; j < batch<WIDTH, CELL>::CELLS; j++) {
        float old[CELL][WIDTH];
        get_cell<WIDTH, CELL>(v, p, dx, cell_of(v, p, cell, j), old);
        for (int i = 0; i < CELL; i++)
            for (int k = 0; k < WIDTH; k++)
                in->x[j][i][k] += old[i][k];
    }
}

#endif
