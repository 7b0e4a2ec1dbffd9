/* group_norm_forward.cuh: what the blocks of group_norm.cu do forward. Private to it. */
#ifndef FX_CUDA_GROUP_NORM_FORWARD_CUH
#define FX_CUDA_GROUP_NORM_FORWARD_CUH

#include "group_norm_loops.cuh"

enum { BATCH = 4 /* vectors of x that a thread loads at once */ };

/* parts: the mean of the chunk less the image's first pixel, and the squares about that mean. */
template <int WIDTH, typename T>
FX_DEVICE void moments(const view<T> &v, const work &w, const item &i, float *shared, float2 *parts)
{
    const place<T> p = piece<WIDTH>(v, w, i, 0);
    float shift[WIDTH], sum[WIDTH] = {0}, square[WIDTH] = {0};
    if (p.there) fx_get_all<WIDTH>(p.x + (int64_t)p.start * p.width, shift);
    for (int cell = p.start + p.row; p.there && cell < p.end; cell += BATCH * v.rows) {
        float x[BATCH][WIDTH];
        for (int j = 0; j < BATCH; j++) {
            const int own = cell + j * v.rows < p.end ? cell + j * v.rows : p.start; /* adds 0 */
            fx_get_all<WIDTH>(p.x + (int64_t)own * p.width, x[j]);
        }
        for (int j = 0; j < BATCH; j++)
            for (int k = 0; k < WIDTH; k++) {
                const float d = x[j][k] - shift[k];
                sum[k] += d;
                square[k] += d * d;
            }
    }
    const double2 all = fold_rows<WIDTH>(v, p, sum, square, shared);
    const int c = channel_of<WIDTH>(v, p, i);
    if (c < 0) return;
    const double count = p.end - p.start,
                 moved = (double)x_at(v, p.b, p.start, c) - (double)x_at(v, p.b, 0, c);
    parts[part_row(v, w, p.b, c) + p.chunk] =
        make_float2((float)(moved + all.x / count), (float)(all.y - all.x * all.x / count));
}

/* own: of each channel the mean, and the squares about it. level: NULL without BIAS. */
template <typename T>
FX_DEVICE void statistics(const view<T> &v, const work &w, const item &i, double2 *own,
                          const float2 *parts, float *mean, float *rstd, float *level)
{
    const fold f = fold_of(v, w, i);
    const double P = v.P;
    for (int first = f.first; first < f.end; first += THREADS / f.team) {
        const int c = first + fx_thread() / f.team;
        const float2 *row = parts + part_row(v, w, i.b, c);
        double2 sum = {0, 0};
        FX_UNROLL(8)
        for (int k = f.member; c < f.end && k < w.chunks; k += f.team) {
            const int left = w.cells[0] - k * w.chunk[0];
            const double count = left < w.chunk[0] ? left : w.chunk[0], m = (double)row[k].x;
            sum.x += count * m;
            sum.y += (double)row[k].y + count * m * m;
        }
        sum = sum_of_team(f, sum);
        if (c < f.end && f.member == 0)
            own[c - f.first] = make_double2((double)x_at(v, i.b, 0, c) +
                                                (v.bias ? (double)fx_get(v.bias + c) : 0.0) + sum.x / P,
                                            sum.y - sum.x * sum.x / P);
    }
    fx_sync();
    for (int c = f.first + fx_thread() * v.K; c < f.end; c += THREADS * v.K) {
        const double2 *of = own + (c - f.first);
        const int64_t group = (int64_t)i.b * v.G + c / v.K;
        double m = 0, spread = 0;
        for (int k = 0; k < v.K; k++)
            m += of[k].x / v.K;
        for (int k = 0; k < v.K; k++)
            spread += of[k].y + P * (of[k].x - m) * (of[k].x - m);
        const double r = 1 / sqrt(fmax(spread, 0.0) / (P * v.K) + (double)v.eps);
        mean[group] = (float)m;
        rstd[group] = (float)r;
        for (int k = 0; level && k < v.K; k++)
            level[(int64_t)i.b * v.C + c + k] = (float)((of[k].x - m) * r);
    }
}

template <int WIDTH, int CELL, typename T>
FX_DEVICE void write_y(const view<T> &v, const work &w, const item &i, const float *mean,
                       const float *rstd, const fx_mask &mask, T *y)
{
    enum { CELLS = BATCH / CELL };
    const place<T> p = piece<WIDTH>(v, w, i, 1);
    if (!p.there) return;
    const affine<WIDTH> a = affine_of<WIDTH>(v, p, mean, rstd);
    y += joined(v, p, w.cells[1]);
    for (int cell = p.start + p.row; cell < p.end; cell += CELLS * v.rows) {
        float x[CELLS][CELL][WIDTH];
        for (int j = 0; j < CELLS; j++)
            get_cell<WIDTH, CELL>(v, p, p.x, cell_of(v, p, cell, j), x[j]);
        FX_UNROLL(BATCH)
        for (int j = 0; j < CELLS && cell + j * v.rows < p.end; j++) {
            const int own = cell + j * v.rows;
            float out[WIDTH], factor[WIDTH];
            for (int k = 0; k < WIDTH; k++) {
                float act[CELL];
                for (int q = 0; q < CELL; q++) {
                    const float u = (x[j][q][k] - a.centre[k]) * a.slope[k] + a.offset[k];
                    act[q] = v.silu ? fx_silu(u) : u;
                }
                if constexpr (CELL == SQUARE)
                    out[k] = 0.25f * ((act[0] + act[1]) + (act[2] + act[3]));
                else
                    out[k] = act[0];
            }
            if (CELL == 1 && mask.on) {
                factors<WIDTH>(v, mask, p, own, factor);
                for (int k = 0; k < WIDTH; k++)
                    out[k] *= factor[k];
            }
            fx_set_all<WIDTH>(y + (int64_t)own * v.C, out);
        }
    }
}

#endif
