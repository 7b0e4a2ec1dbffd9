/* group_norm_loops.cuh: what both kernels of group_norm.cu do with a thread's column: coefficients,
 * dropout, loads of several cells at once; and how a piece's sums and a fold's are made. Private to
 * group_norm.cu. */
#ifndef FX_CUDA_GROUP_NORM_LOOPS_CUH
#define FX_CUDA_GROUP_NORM_LOOPS_CUH

#include "act.cuh"
#include "group_norm_work.cuh"

/* The groups of the column's channels, among those of all samples. */
template <int WIDTH, typename T>
FX_DEVICE void groups_of(const view<T> &v, const place<T> &p, int64_t group[WIDTH])
{
    int own = p.c / v.K, left = (own + 1) * v.K - p.c; /* a division by channel would be dear */
    for (int k = 0; k < WIDTH; k++) {
        if (left == 0) own++, left = v.K;
        left--;
        group[k] = (int64_t)p.b * v.G + own;
    }
}

/* u = (x - centre) slope + offset, by channel of the column. */
template <int WIDTH> struct affine {
    float centre[WIDTH], slope[WIDTH], offset[WIDTH];
};

template <int WIDTH, typename T>
FX_DEVICE affine<WIDTH> affine_of(const view<T> &v, const place<T> &p, const float *mean,
                                  const float *rstd)
{
    affine<WIDTH> a;
    float scale[WIDTH] = {0}, shift[WIDTH] = {0};
    int64_t group[WIDTH];
    groups_of<WIDTH>(v, p, group);
    for (int k = 0; k < WIDTH; k++)
        a.centre[k] = 0.0f;
    if (v.bias) fx_get_all<WIDTH>(v.bias + p.c, a.centre);
    fx_get_all<WIDTH>(v.gamma + p.c, a.slope);
    fx_get_all<WIDTH>(v.beta + p.c, a.offset);
    if (const T *mod = modulation(v, p.b)) {
        fx_get_all<WIDTH>(mod + p.c, scale);
        fx_get_all<WIDTH>(mod + v.C + p.c, shift);
    }
    for (int k = 0; k < WIDTH; k++) {
        a.centre[k] = mean[group[k]] - a.centre[k];
        a.slope[k] = rstd[group[k]] * a.slope[k] * (1.0f + scale[k]);
        a.offset[k] = a.offset[k] * (1.0f + scale[k]) + shift[k];
    }
    return a;
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

/* The thread's place in the block's piece; `pass` is a constant: the first or the second. */
template <int WIDTH, typename T>
FX_DEVICE place<T> piece(const view<T> &v, const work &w, const item &i, int pass)
{
    return place_of<WIDTH>(v, i.b, i.channel, i.index, w.cells[pass], w.chunk[pass]);
}

/* The channel of the piece whose sums over the rows fold_rows gives the thread; -1: none. */
template <int WIDTH, typename T>
FX_DEVICE int channel_of(const view<T> &v, const place<T> &p, const item &i)
{
    const int c = p.c - p.column * WIDTH + fx_thread();
    return fx_thread() < v.columns * WIDTH && c < i.channel + v.band ? c : -1;
}

/* A fold's channels, and the thread among those that add up one channel's chunks. */
struct fold {
    int first, end, member, team;
};

template <typename T> FX_DEVICE fold fold_of(const view<T> &v, const work &w, const item &i)
{
    const int first = i.channel + i.index * w.groups * v.K, end = first + w.groups * v.K;
    return fold{first, end < i.channel + v.band ? end : i.channel + v.band, fx_thread() % w.team,
                w.team};
}

FX_DEVICE double2 sum_of_team(const fold &f, double2 v)
{
    for (int mask = f.team / 2; mask > 0; mask /= 2) {
        v.x += fx_shuffle_xor(v.x, mask);
        v.y += fx_shuffle_xor(v.y, mask);
    }
    return v;
}

#endif
