/* CUDA twin of src/ops/layer_norm.c. As many warps as a token needs share it, each lane OWN of its
 * elements in registers, so a pass reads memory once; a block has several tokens side by side. What
 * binds is memory: forward moves 2, backward 3 times the bytes of x (4 where dx is added to). In
 * backward a block walks over every PARTS-th set of tokens and keeps its sums for gamma and beta in
 * registers; these partial sums, about 4 % of the traffic, are added up in order by columns.cuh. */
#include "columns.cuh"
#include "launch.cuh"

enum { X, GAMMA, BETA }; /* in[]: (R,T,D), (D), (D) -> (R,T,D) */
enum { MEAN, RSTD };     /* saved[]: (R,T) twice */
enum {
    OWN = 16,                    /* elements of a token that a lane holds */
    WARPS = 8,                   /* of a block of several tokens */
    MOST_WARPS = 16,             /* of a token */
    MOST = MOST_WARPS * FX_WARP, /* threads of a block */
    PARTS = 264                  /* most blocks of backward: two for each multiprocessor of an H100 */
};

typedef struct view {
    int64_t tokens, D;
    int warps, teams; /* warps of a token, tokens of a block */
    float eps;
} view;

static view view_of(const fx_node *n)
{
    const int64_t *d = n->in[X]->dim;
    view v = {d[0] * d[1], d[2], (int)fx_grid(d[2], OWN * FX_WARP), 1, n->attrs.layer_norm.eps};
    if (v.warps < WARPS) v.teams = WARPS / v.warps;
    return v;
}

static unsigned threads_of(const view *v)
{
    return (unsigned)(v->warps * v->teams * FX_WARP);
}

/* A block takes two sets of tokens at least: its sums cost as much traffic as one token. */
static int64_t parts_of(const view *v)
{
    const int64_t pairs = (v->tokens + 2 * v->teams - 1) / (2 * v->teams);
    return pairs < PARTS ? pairs : (int64_t)PARTS;
}

/* backward: the blocks' sums of dy xhat and of dy, (parts, D) each. */
static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    (void)exec;
    const view v = view_of(n);
    FX_REQUIRE(v.warps <= MOST_WARPS, FX_EARG, "%lld channels, where CUDA's layer_norm holds %d",
               (long long)v.D, MOST * OWN);
    *bytes = backward ? sizeof(float) * (size_t)(2 * parts_of(&v) * v.D) : 0;
    return FX_OK;
}

/* Where the thread's vector i begins in a token. */
template <int WIDTH> FX_DEVICE int64_t place(const view &v, int i)
{
    const int threads = v.warps * FX_WARP;
    return (int64_t)(i * threads + fx_thread() % threads) * WIDTH;
}

/* The thread's elements of a row; 0 where there is none. */
template <int WIDTH, typename T>
FX_DEVICE void load(const view &v, const T *row, bool there, float *own)
{
    for (int k = 0; k < OWN; k++)
        own[k] = 0;
    for (int i = 0; i < OWN / WIDTH; i++) {
        const int64_t at = place<WIDTH>(v, i);
        if (there && at < v.D) fx_get_all<WIDTH>(row + at, own + i * WIDTH);
    }
}

FX_DEVICE float sum_of(const float *own)
{
    float sum = 0;
    for (int k = 0; k < OWN; k++)
        sum += own[k];
    return sum;
}

/* Sum over the warps of a token. `shared`: one float a warp of the block. */
FX_DEVICE float token_sum(const view &v, float sum, float *shared)
{
    sum = fx_warp_sum(sum);
    if (v.warps == 1) return sum;
    const int first = fx_warp() / v.warps * v.warps;
    if (fx_lane() == 0) shared[fx_warp()] = sum;
    fx_sync();
    sum = 0;
    for (int w = 0; w < v.warps; w++)
        sum += shared[first + w];
    fx_sync();
    return sum;
}

/* The variance is that of x - m, exact differences where x is near m, less what rounding m left. */
template <int WIDTH, typename T>
FX_KERNEL void FX_BOUNDS(MOST)
    normalise(view v, const T *x, const T *gamma, const T *beta, T *y, float *mean, float *rstd)
{
    FX_SHARED(bytes);
    float *shared = (float *)bytes, own[OWN], off = 0, square = 0;
    const int team = fx_warp() / v.warps;
    const int64_t token = (int64_t)fx_block() * v.teams + team;
    const bool there = token < v.tokens;
    const float D = (float)v.D;
    load<WIDTH>(v, x + token * v.D, there, own);
    const float m = token_sum(v, sum_of(own), shared) / D;
    for (int k = 0; k < OWN; k++) {
        own[k] = place<WIDTH>(v, k / WIDTH) < v.D ? own[k] - m : 0.0f;
        off += own[k];
        square += own[k] * own[k];
    }
    off = token_sum(v, off, shared) / D;
    square = token_sum(v, square, shared) / D;
    const float r = 1.0f / sqrtf(square - off * off + v.eps);
    if (!there) return;
    if (fx_thread() % (v.warps * FX_WARP) == 0) {
        mean[token] = m + off;
        rstd[token] = r;
    }
    for (int i = 0; i < OWN / WIDTH; i++) {
        const int64_t at = place<WIDTH>(v, i);
        float g[WIDTH], b[WIDTH];
        if (at >= v.D) break;
        fx_get_all<WIDTH>(gamma + at, g);
        fx_get_all<WIDTH>(beta + at, b);
        for (int k = 0; k < WIDTH; k++)
            own[i * WIDTH + k] = (own[i * WIDTH + k] - off) * r * g[k] + b[k];
        fx_set_all<WIDTH>(y + token * v.D + at, own + i * WIDTH);
    }
}

/* dx = rstd (dy gamma - m1 - xhat m2), m1 and m2 the means over D of dy gamma and dy gamma xhat. parts:
 * the blocks' sums of dy xhat, then those of dy. */
template <int WIDTH, typename T>
FX_KERNEL void FX_BOUNDS(MOST) gradients(view v, const T *x, const T *gamma, const float *mean,
                                         const float *rstd, const T *dy, T *dx, bool adds, float *parts)
{
    FX_SHARED(bytes);
    float *shared = (float *)bytes, *total = shared + MOST_WARPS; /* (2, D) */
    float g[OWN], dgamma[OWN] = {0}, dbeta[OWN] = {0};
    const int team = fx_warp() / v.warps;
    const float D = (float)v.D;
    load<WIDTH>(v, gamma, true, g);
    for (int64_t first = (int64_t)fx_block() * v.teams; first < v.tokens;
         first += (int64_t)fx_blocks() * v.teams) {
        const int64_t token = first + team;
        const bool there = token < v.tokens;
        const float m = there ? mean[token] : 0.0f, r = there ? rstd[token] : 0.0f;
        float xhat[OWN], d[OWN], sum = 0, product = 0;
        load<WIDTH>(v, x + token * v.D, there, xhat);
        load<WIDTH>(v, dy + token * v.D, there, d);
        for (int k = 0; k < OWN; k++) {
            xhat[k] = (xhat[k] - m) * r;
            dgamma[k] += d[k] * xhat[k];
            dbeta[k] += d[k];
            d[k] *= g[k];
            sum += d[k];
            product += d[k] * xhat[k];
        }
        if (!dx) continue;
        const float m1 = token_sum(v, sum, shared) / D, m2 = token_sum(v, product, shared) / D;
        for (int i = 0; there && i < OWN / WIDTH; i++) {
            const int64_t at = place<WIDTH>(v, i);
            if (at >= v.D) break;
            for (int k = i * WIDTH; k < (i + 1) * WIDTH; k++)
                d[k] = r * (d[k] - m1 - xhat[k] * m2);
            fx_put_all<WIDTH>(dx + token * v.D + at, d + i * WIDTH, adds);
        }
    }
    for (int t = 0; t < v.teams; t++) { /* one after the other, so that the order is fixed */
        for (int i = 0; t == team && i < OWN / WIDTH; i++) {
            const int64_t at = place<WIDTH>(v, i);
            if (at >= v.D) break;
            fx_put_all<WIDTH>(total + at, dgamma + i * WIDTH, t > 0);
            fx_put_all<WIDTH>(total + v.D + at, dbeta + i * WIDTH, t > 0);
        }
        fx_sync();
    }
    for (int64_t i = fx_thread(); i < v.D; i += fx_threads()) {
        parts[fx_block() * v.D + i] = total[i];
        parts[(fx_blocks() + fx_block()) * v.D + i] = total[v.D + i];
    }
}

template <typename T, int WIDTH> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    FX_LAUNCH(exec, n, (normalise<WIDTH, T>), fx_grid(v.tokens, v.teams), threads_of(&v),
              MOST_WARPS * sizeof(float), v, fx_data<T>(n->in[X]), fx_data<T>(n->in[GAMMA]),
              fx_data<T>(n->in[BETA]), fx_data<T>(n->out[0]), fx_f32(n->saved[MEAN]),
              fx_f32(n->saved[RSTD]));
    return FX_OK;
}

template <typename T, int WIDTH> static fx_status backward_by(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const int64_t count = parts_of(&v);
    float *parts = (float *)fx_scratch(exec);
    FX_LAUNCH(exec, n, (gradients<WIDTH, T>), (unsigned)count, threads_of(&v),
              sizeof(float) * (size_t)(MOST_WARPS + 2 * v.D), v, fx_data<T>(n->in[X]),
              fx_data<T>(n->in[GAMMA]), fx_f32(n->saved[MEAN]), fx_f32(n->saved[RSTD]),
              fx_data<T>(n->dout[0]), fx_data<T>(n->din[X]), fx_adds(n, X), parts);
    for (int k = 0; k < 2; k++)
        if (n->din[GAMMA + k])
            FX_TRY(fx_column_cut(exec, n, (const float *)parts + k * count * v.D, count, v.D, 1,
                                 fx_f32(n->din[GAMMA + k]), fx_adds(n, GAMMA + k)));
    return FX_OK;
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return n->in[X]->dim[2] % WIDE == 0 ? forward_by<T, WIDE>(exec, n) : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return n->in[X]->dim[2] % WIDE == 0 ? backward_by<T, WIDE>(exec, n) : backward_by<T, 1>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_layer_norm = {prepare, forward, backward};
