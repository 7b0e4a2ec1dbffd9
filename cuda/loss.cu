/* CUDA twin of src/ops/loss.c. Memory binds: forward reads 8 bytes a pixel (12 for eps), backward moves
 * 4 more; 2 less an element of the prediction in bf16. Forward is two launches: blocks sum pieces of a
 * row, in double; then a warp a row adds the pieces, in an order that depends on the shape alone. */
#include "launch.cuh"

/* in[]: (R,S,S,1) thrice, (B,4); Z may be NULL but for eps; B divides R */
enum { PRED, TARGET, Z, SCHEDULE };
enum {
    THREADS = 256,
    WARPS = THREADS / FX_WARP,
    PIECES = 64,    /* most of a row */
    PIECE = 1 << 12 /* pixels of one, at least */
};

typedef struct view {
    fx_criterion criterion;
    bool eps;
    int64_t pixels, samples;
    const float *schedule;
} view;

static view view_of(const fx_node *n)
{
    return view{n->attrs.loss.criterion, n->attrs.loss.predict == FX_PREDICT_EPS,
                fx_count(n->in[PRED]) / n->in[PRED]->dim[0], n->in[SCHEDULE]->dim[0],
                fx_f32(n->in[SCHEDULE])};
}

static int64_t pieces_of(const view *v)
{
    const int64_t pieces = (v->pixels + PIECE - 1) / PIECE;
    return pieces < PIECES ? pieces : (int64_t)PIECES;
}

/* Of a row: e = alpha pred + sigma z - target for eps, else pred - target. */
typedef struct level {
    float alpha, sigma, weight;
} level;

FX_DEVICE level level_of(const view &v, int64_t r)
{
    const float *s = v.schedule + 4 * (r % v.samples);
    return level{v.eps ? s[0] : 1.0f, v.eps ? s[1] : 0.0f, s[2]};
}

/* e of W pixels, the first of them `i`. z is read for eps only. */
template <int W, typename T>
FX_DEVICE void errors(const view &v, const level &l, const T *pred, const float *target, const float *z,
                      int64_t i, float e[W])
{
    float said[W], want[W], noisy[W];
    fx_get_all<W>(pred + i, said);
    fx_get_all<W>(target + i, want);
    if (v.eps) fx_get_all<W>(z + i, noisy);
    for (int k = 0; k < W; k++)
        e[k] = (v.eps ? l.alpha * said[k] + l.sigma * noisy[k] : said[k]) - want[k];
}

FX_DEVICE double criterion_of(fx_criterion criterion, float error)
{
    const double e = fabs((double)error);
    return criterion == FX_L1 ? e : criterion == FX_MSE ? e * e : e <= 1 ? 0.5 * e * e : e - 0.5;
}

/* parts (R, pieces). Block (x, y): piece x of row y, of which it takes every pieces-th stretch. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS)
    sum_pieces(view v, const T *pred, const float *target, const float *z, double *parts)
{
    FX_SHARED(bytes);
    const int64_t r = fx_block_y(), row = r * v.pixels, stride = (int64_t)fx_blocks() * THREADS * W;
    const level l = level_of(v, r);
    double sum = 0;
    FX_UNROLL(4)
    for (int64_t i = fx_index() * W; i < v.pixels; i += stride) {
        float e[W];
        errors<W>(v, l, pred, target, z, row + i, e);
        for (int k = 0; k < W; k++)
            sum += criterion_of(v.criterion, e[k]);
    }
    sum = fx_block_sum(sum, (double *)bytes);
    if (fx_thread() == 0) parts[r * fx_blocks() + fx_block()] = sum;
}

/* out (R). A warp a row. */
FX_KERNEL void FX_BOUNDS(THREADS)
    sum_rows(view v, const double *parts, int64_t pieces, int64_t rows, float *out)
{
    const int64_t r = (int64_t)fx_block() * WARPS + fx_warp();
    if (r >= rows) return;
    double sum = 0;
    for (int64_t i = fx_lane(); i < pieces; i += FX_WARP)
        sum += parts[r * pieces + i];
    sum = fx_warp_sum(sum);
    if (fx_lane() == 0) out[r] = (float)((double)level_of(v, r).weight * sum / (double)v.pixels);
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    (void)exec;
    const view v = view_of(n);
    *bytes = backward ? 0 : sizeof(double) * (size_t)(n->in[PRED]->dim[0] * pieces_of(&v));
    return FX_OK;
}

template <typename T, int W> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const int64_t rows = n->in[PRED]->dim[0], pieces = pieces_of(&v);
    double *parts = (double *)fx_scratch(exec);
    FX_LAUNCH(exec, n, (sum_pieces<T, W>), dim3((unsigned)pieces, (unsigned)rows), THREADS,
              WARPS * sizeof(double), v, fx_data<T>(n->in[PRED]), fx_f32(n->in[TARGET]),
              fx_f32(n->in[Z]), parts);
    FX_LAUNCH(exec, n, sum_rows, fx_grid(rows, WARPS), THREADS, 0, v, (const double *)parts, pieces,
              rows, fx_f32(n->out[0]));
    return FX_OK;
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return view_of(n).pixels % WIDE == 0 ? forward_by<T, WIDE>(exec, n) : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[PRED]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

/* Block (x, y): row y. */
template <typename T, int W>
FX_KERNEL void FX_BOUNDS(THREADS) gradient(view v, const T *pred, const float *target, const float *z,
                                           const float *drows, T *dpred, bool add)
{
    const int64_t i = fx_index() * W, r = fx_block_y(), at = r * v.pixels + i;
    if (i >= v.pixels) return;
    const level l = level_of(v, r);
    const float scale = drows[r] * l.weight * l.alpha / (float)v.pixels;
    float e[W];
    errors<W>(v, l, pred, target, z, at, e);
    for (int k = 0; k < W; k++) {
        const float sign = (float)((e[k] > 0) - (e[k] < 0));
        const float slope = v.criterion == FX_MSE                         ? 2 * e[k]
                            : v.criterion == FX_HUBER && sign * e[k] <= 1 ? e[k]
                                                                          : sign;
        e[k] = scale * slope;
    }
    fx_put_all<W>(dpred + at, e, add);
}

template <typename T, int W> static fx_status backward_by(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const dim3 grid(fx_grid(v.pixels, W * THREADS), (unsigned)n->in[PRED]->dim[0]);
    FX_LAUNCH(exec, n, (gradient<T, W>), grid, THREADS, 0, v, fx_data<T>(n->in[PRED]),
              fx_f32(n->in[TARGET]), fx_f32(n->in[Z]), fx_f32(n->dout[0]), fx_data<T>(n->din[PRED]),
              fx_adds(n, PRED));
    return FX_OK;
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return view_of(n).pixels % WIDE == 0 ? backward_by<T, WIDE>(exec, n) : backward_by<T, 1>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[PRED]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_loss = {prepare, forward, backward};
