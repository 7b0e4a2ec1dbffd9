/* CUDA twin of src/ops/contrast_dots.c. Logits are made of the products where they are wanted, in
 * double, and never stored. Bound by memory: forward reads 4 G^2 bytes five times, of which up to some
 * thousand samples all but the first come from L2, and writes as many; backward 8 G^2. */
#include "contrast.cuh"

enum { SUMS };     /* in[]: (G+2,G), as of dots, summed over the ranks */
enum { GRADIENT }; /* saved[]: (G+2,G) dloss/dS */

typedef struct logits {
    const float *sums;
    const double *inverse; /* (2,G) 1 / norm */
    int64_t G;
    double scale; /* 1 / temperature */
} logits;

FX_DEVICE double factor(const logits &l, int64_t i, int64_t j)
{
    return l.inverse[i] * l.inverse[l.G + j] * l.scale;
}
FX_DEVICE double logit(const logits &l, int64_t i, int64_t j)
{
    return (double)l.sums[i * l.G + j] * factor(l, i, j);
}

/* In doubles: (2,G) 1 / norm, (2,G) log-sums of rows and columns. */
static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)exec;
    *scratch_bytes = backward ? 0 : sizeof(double) * 4 * (size_t)n->in[SUMS]->dim[1];
    return FX_OK;
}

FX_KERNEL void FX_BOUNDS(THREADS) inverses(const float *squares, int64_t count, double *out)
{
    const int64_t k = fx_index();
    if (k < count) out[k] = 1 / fmax(sqrt((double)squares[k]), SMALLEST);
}

/* ln sum exp of a row a warp. */
FX_KERNEL void FX_BOUNDS(THREADS, 1) row_log_sums(logits l, double *out)
{
    const int64_t i = (int64_t)fx_block() * WARPS + fx_warp();
    if (i >= l.G) return;
    double most = -INFINITY, sum = 0;
    for (int64_t j = fx_lane(); j < l.G; j += FX_WARP)
        most = fmax(most, logit(l, i, j));
    most = warp_max(most);
    for (int64_t j = fx_lane(); j < l.G; j += FX_WARP)
        sum += exp(logit(l, i, j) - most);
    sum = fx_warp_sum(sum);
    if (fx_lane() == 0) out[i] = most + log(sum);
}

/* The sum, or the largest, of a lane's values over the block's warps, on all of them. */
FX_DEVICE double over_warps(double v, bool largest, double *shared)
{
    shared[fx_warp() * FX_WARP + fx_lane()] = v;
    fx_sync();
    double all = shared[fx_lane()];
    for (int w = 1; w < WARPS; w++) {
        const double other = shared[w * FX_WARP + fx_lane()];
        all = largest ? fmax(all, other) : all + other;
    }
    fx_sync();
    return all;
}

/* The same of FX_WARP columns a block, a lane each; warp w has rows w, w + WARPS, ... */
FX_KERNEL void FX_BOUNDS(THREADS, 1) column_log_sums(logits l, double *out)
{
    FX_SHARED(bytes);
    double *shared = (double *)bytes;
    const int64_t j = (int64_t)fx_block() * FX_WARP + fx_lane(), rows = j < l.G ? l.G : 0;
    double most = -INFINITY, sum = 0;
    for (int64_t i = fx_warp(); i < rows; i += WARPS)
        most = fmax(most, logit(l, i, j));
    most = over_warps(most, true, shared);
    for (int64_t i = fx_warp(); i < rows; i += WARPS)
        sum += exp(logit(l, i, j) - most);
    sum = over_warps(sum, false, shared);
    if (fx_warp() == 0 && j < l.G) out[j] = most + log(sum);
}

/* W_ij of a logit L. */
FX_DEVICE double weight(double L, double row, double column, bool diagonal, int64_t G)
{
    const double p = exp(L - row) + exp(L - column);
    return (p - (diagonal ? 2.0 : 0.0)) / (2 * (double)G);
}

/* Of the square of a norm, from what of u lies along the latent. */
FX_DEVICE float of_square(double along, double inverse)
{
    return inverse >= 1 / SMALLEST ? 0.0f : (float)(-0.5 * along * inverse * inverse);
}

/* A row a warp; the first block also sums the loss. */
FX_KERNEL void FX_BOUNDS(THREADS, 1)
    row_gradients(logits l, const double *row, const double *column, float *gradient, float *loss)
{
    FX_SHARED(bytes);
    const int64_t i = (int64_t)fx_block() * WARPS + fx_warp();
    double along = 0, sum = 0;
    for (int64_t j = fx_lane(); i < l.G && j < l.G; j += FX_WARP) {
        const double L = logit(l, i, j), w = weight(L, row[i], column[j], i == j, l.G);
        gradient[i * l.G + j] = (float)(w * factor(l, i, j));
        along += w * L;
    }
    along = fx_warp_sum(along);
    if (i < l.G && fx_lane() == 0) gradient[l.G * l.G + i] = of_square(along, l.inverse[i]);
    if (fx_block() > 0) return;
    for (int64_t d = fx_thread(); d < l.G; d += THREADS)
        sum += row[d] + column[d] - 2 * logit(l, d, d);
    sum = fx_block_sum(sum, (double *)bytes);
    if (fx_thread() == 0) *loss = l.G < 2 ? 0.0f : (float)(sum / (2 * (double)l.G));
}

/* FX_WARP columns a block; of these only what lies along the latents is left. */
FX_KERNEL void FX_BOUNDS(THREADS, 1)
    column_gradients(logits l, const double *row, const double *column, float *gradient)
{
    FX_SHARED(bytes);
    const int64_t j = (int64_t)fx_block() * FX_WARP + fx_lane(), rows = j < l.G ? l.G : 0;
    double along = 0;
    for (int64_t i = fx_warp(); i < rows; i += WARPS) {
        const double L = logit(l, i, j);
        along += weight(L, row[i], column[j], i == j, l.G) * L;
    }
    along = over_warps(along, false, (double *)bytes);
    if (fx_warp() == 0 && j < l.G) gradient[(l.G + 1) * l.G + j] = of_square(along, l.inverse[l.G + j]);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t G = n->in[SUMS]->dim[1];
    double *inverse = (double *)fx_scratch(exec), *row = inverse + 2 * G, *column = row + G;
    float *gradient = fx_f32(n->saved[GRADIENT]);
    const float *sums = fx_f32(n->in[SUMS]);
    const logits l = {sums, inverse, G, 1 / (double)n->attrs.contrast.temperature};
    const size_t shared = sizeof(double) * THREADS;
    FX_LAUNCH(exec, n, inverses, fx_grid(2 * G, THREADS), THREADS, 0, sums + G * G, 2 * G, inverse);
    FX_LAUNCH(exec, n, row_log_sums, fx_grid(G, WARPS), THREADS, 0, l, row);
    FX_LAUNCH(exec, n, column_log_sums, fx_grid(G, FX_WARP), THREADS, shared, l, column);
    FX_LAUNCH(exec, n, row_gradients, fx_grid(G, WARPS), THREADS, shared, l, row, column, gradient,
              fx_f32(n->out[0]));
    FX_LAUNCH(exec, n, column_gradients, fx_grid(G, FX_WARP), THREADS, shared, l, row, column,
              gradient);
    return FX_OK;
}

FX_KERNEL void FX_BOUNDS(THREADS)
    scale(const float *gradient, const float *dloss, int64_t count, float *out, bool add)
{
    const int64_t k = fx_index();
    if (k < count) fx_put(out + k, *dloss * gradient[k], add);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const int64_t count = fx_count(n->in[SUMS]);
    FX_LAUNCH(exec, n, scale, fx_grid(count, THREADS), THREADS, 0, fx_f32(n->saved[GRADIENT]),
              fx_f32(n->dout[0]), count, fx_f32(n->din[SUMS]), fx_adds(n, SUMS));
    return FX_OK;
}

const fx_kernel fx_cuda_contrast_dots = {prepare, forward, backward};
