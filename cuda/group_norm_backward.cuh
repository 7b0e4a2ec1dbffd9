/* group_norm_backward.cuh: what the blocks of group_norm.cu do backward. Private to it. */
#ifndef FX_CUDA_GROUP_NORM_BACKWARD_CUH
#define FX_CUDA_GROUP_NORM_BACKWARD_CUH

#include "group_norm_loops.cuh"

/* parts: of each chunk the sums of du and of du (x - centre). */
template <int WIDTH, int CELL, typename T>
FX_DEVICE void sums_of_du(const view<T> &v, const work &w, const item &i, const float *mean,
                          const float *rstd, const fx_mask &mask, const T *dy, float *shared,
                          float2 *parts)
{
    enum { CELLS = batch<WIDTH, CELL>::CELLS };
    const place<T> p = piece<WIDTH>(v, w, i, 0);
    float S[WIDTH] = {0}, Q[WIDTH] = {0};
    if (p.there) {
        const affine<WIDTH> a = affine_of<WIDTH>(v, p, mean, rstd);
        dy += joined(v, p, w.cells[0]);
        for (int cell = p.start + p.row; cell < p.end; cell += CELLS * v.rows) {
            batch<WIDTH, CELL> in;
            load(v, p, cell, dy, &in);
            FX_UNROLL_ALL
            for (int j = 0; j < CELLS; j++) {
                upstream<WIDTH, CELL>(v, mask, p, cell + j * v.rows, in.dy[j]);
                for (int q = 0; cell + j * v.rows < p.end && q < CELL; q++)
                    for (int k = 0; k < WIDTH; k++) {
                        const float e = in.x[j][q][k] - a.centre[k];
                        const float du = du_of(v.silu, in.dy[j][k], e, a.slope[k], a.offset[k]);
                        S[k] += du;
                        Q[k] += du * e;
                    }
            }
        }
    }
    const double2 all = fold_rows<WIDTH>(v, p, S, Q, shared);
    const int c = channel_of<WIDTH>(v, p, i);
    if (c >= 0) parts[part_row(v, w, p.b, c) + p.chunk] = make_float2((float)all.x, (float)all.y);
}

/* With S = sum du and Q = sum du xhat per sample and channel, M1 and M2 the group means of A S and A Q,
 * A = gamma (1 + s):
 *   dx = rstd (A du - M1 - xhat M2) = slope du - rstd M1 - (x - centre) rstd^2 M2
 * terms: rstd M1 and rstd^2 M2. own: of each channel its part of M1 and M2. */
template <typename T>
FX_DEVICE void group_terms(const view<T> &v, const work &w, const item &i, double2 *own,
                           const float *rstd, const scratch &to)
{
    const fold f = fold_of(v, w, i);
    const T *mod = modulation(v, i.b);
    const double size = (double)v.P * v.K;
    for (int first = f.first; first < f.end; first += THREADS / f.team) {
        const int c = first + fx_thread() / f.team;
        const float2 *row = to.parts + part_row(v, w, i.b, c);
        double2 sum = {0, 0};
        FX_UNROLL(8)
        for (int k = f.member; c < f.end && k < w.chunks; k += f.team) {
            sum.x += (double)row[k].x;
            sum.y += (double)row[k].y;
        }
        sum = sum_of_team(f, sum);
        if (c < f.end && f.member == 0) {
            const double A =
                (double)fx_get(v.gamma + c) * (mod ? (double)(1.0f + fx_get(mod + c)) : 1.0) / size;
            sum.y *= (double)rstd[(int64_t)i.b * v.G + c / v.K];
            own[c - f.first] = make_double2(A * sum.x, A * sum.y);
            to.sums[(int64_t)i.b * v.C + c] = sum;
        }
    }
    fx_sync();
    for (int c = f.first + fx_thread() * v.K; c < f.end; c += THREADS * v.K) {
        const int64_t group = (int64_t)i.b * v.G + c / v.K;
        const double r = (double)rstd[group];
        double2 m = {0, 0};
        for (int k = 0; k < v.K; k++) {
            m.x += own[c - f.first + k].x;
            m.y += own[c - f.first + k].y;
        }
        to.terms[group] = make_float2((float)(r * m.x), (float)(r * r * m.y));
    }
}

template <typename T> struct gradients {
    T *dx[2], *dmod; /* NULL: not wanted, as below */
    float *dgamma, *dbeta, *dbias;
    bool adds[2], adds_mod, adds_gamma, adds_beta, adds_bias;
};

template <int WIDTH, int CELL, typename T>
FX_DEVICE void write_dx(const view<T> &v, const work &w, const item &item, const float *mean,
                        const float *rstd, const float2 *terms, const fx_mask &mask, const T *dy,
                        const gradients<T> &to)
{
    enum { CELLS = batch<WIDTH, CELL>::CELLS };
    const place<T> p = piece<WIDTH>(v, w, item, 1);
    T *dx = p.second ? to.dx[1] : to.dx[0];
    const bool adds = p.second ? to.adds[1] : to.adds[0];
    if (!p.there || !dx) return;
    const affine<WIDTH> a = affine_of<WIDTH>(v, p, mean, rstd);
    float2 term[WIDTH];
    int64_t group[WIDTH];
    groups_of<WIDTH>(v, p, group);
    for (int k = 0; k < WIDTH; k++)
        term[k] = terms[group[k]];
    dx += p.at;
    dy += joined(v, p, w.cells[1]);
    for (int cell = p.start + p.row; cell < p.end; cell += CELLS * v.rows) {
        batch<WIDTH, CELL> in;
        load(v, p, cell, dy, &in);
        FX_UNROLL_ALL
        for (int j = 0; j < CELLS; j++) {
            upstream<WIDTH, CELL>(v, mask, p, cell + j * v.rows, in.dy[j]);
            for (int i = 0; i < CELL; i++)
                for (int k = 0; k < WIDTH; k++) {
                    const float e = in.x[j][i][k] - a.centre[k];
                    const float du = du_of(v.silu, in.dy[j][k], e, a.slope[k], a.offset[k]);
                    in.x[j][i][k] = a.slope[k] * du - term[k].x - e * term[k].y;
                }
        }
        if (adds) add_old(v, p, cell, dx, &in);
        FX_UNROLL_ALL
        for (int j = 0; j < CELLS && cell + j * v.rows < p.end; j++)
            for (int i = 0; i < CELL; i++)
                fx_set_all<WIDTH>(dx + pixel<CELL>(v, p, cell + j * v.rows, i), in.x[j][i]);
    }
}

/* dgamma = sum_b (1 + s) Q,  dbeta = sum_b (1 + s) S
 * dbias = sum_b of the sums of dx, rstd A S - P rstd M1 - P rstd M2 LEVEL */
template <typename T>
FX_DEVICE void parameter_gradients(const view<T> &v, int64_t c, const scratch &at, const float *rstd,
                                   const float *level, const gradients<T> &to)
{
    double gamma = 0, beta = 0, bias = 0;
    if (c >= v.C) return;
    FX_UNROLL(8)
    for (int b = 0; b < v.B; b++) {
        const T *mod = modulation(v, b);
        const double scale = mod ? (double)(1.0f + fx_get(mod + c)) : 1.0;
        const double2 own = at.sums[(int64_t)b * v.C + c];
        beta += scale * own.x;
        gamma += scale * own.y;
        if (!to.dbias) continue;
        const int64_t group = (int64_t)b * v.G + c / v.K;
        const float2 term = at.terms[group];
        const double r = (double)rstd[group], mean = (double)level[(int64_t)b * v.C + c];
        bias += r * (double)fx_get(v.gamma + c) * scale * own.x -
                v.P * ((double)term.x + (double)term.y * mean / r);
    }
    if (to.dgamma) fx_put(to.dgamma + c, (float)gamma, to.adds_gamma);
    if (to.dbeta) fx_put(to.dbeta + c, (float)beta, to.adds_beta);
    if (to.dbias) fx_put(to.dbias + c, (float)bias, to.adds_bias);
}

/* ds = gamma Q + beta S and dt = S, summed over the samples that share a row of MOD. */
template <typename T>
FX_DEVICE void modulation_gradient(const view<T> &v, int64_t i, const double2 *sums,
                                   const gradients<T> &to)
{
    const int64_t m = i / v.C, c = i % v.C;
    double S = 0, Q = 0;
    if (m >= v.M) return;
    for (int64_t b = m; b < v.B; b += v.M) {
        S += sums[b * v.C + c].x;
        Q += sums[b * v.C + c].y;
    }
    T *dmod = to.dmod + m * 2 * v.C + c;
    fx_put(dmod, (float)((double)fx_get(v.gamma + c) * Q + (double)fx_get(v.beta + c) * S),
           to.adds_mod);
    fx_put(dmod + v.C, (float)S, to.adds_mod);
}

#endif
