/* CUDA twin of src/ops/contrast.c: every rank computes all G^2 logits. An own kernel, no library: at G
 * = 512 and 257 x 256 numbers a latent the products have 34 GFLOP, the rest of the step 20000. A number
 * of a latent costs 8 G bytes for the norms, 8 G for the products (more than 64 samples: again for
 * every 64, from L2), and backward 8 G for every 8 own samples. Memory binds up to G = 64, beyond it
 * the products, 2 G^2 operations a number; with some thousand samples they should not be computed whole
 * on every rank, and dots.cu does not. */
#include "contrast.cuh"

enum { E, ALL };                 /* in[]: (2B,T,D), SR rows then FC rows; (G,2,T,D) as of gather */
enum { WEIGHT, INVERSE, ALONG }; /* saved[]: (G,G) W; (2,G) 1 / norm; (2,G) a_i . u_i, b_j . u_j */
enum { ROWS = 8, OTHERS = 32 };  /* of backward: own samples and others that a block has at a time */

template <typename T> static view<T> view_of(const fx_exec *exec, const fx_node *n)
{
    const fx_contrast_attrs *a = &n->attrs.contrast;
    const int64_t *d = n->in[E]->dim, size = fx_count(n->in[E]) / d[0];
    return view<T>{d[0] / 2,
                   n->in[ALL]->dim[0],
                   size,
                   fx_group(exec)->rank * a->stride + a->offset,
                   fx_data<T>(n->in[E]),
                   fx_data<T>(n->in[ALL]),
                   size % fx_wide<T>::COUNT == 0};
}

/* In doubles. forward: (slices,G,G) products, of which the first becomes the logits, (2,G) norms, (2,G)
 * log-sums of rows and columns. */
template <typename T> static size_t forward_bytes(fx_exec *exec, const fx_node *n)
{
    const view<T> v = view_of<T>(exec, n);
    return sizeof(double) * (size_t)(slices(v) * v.G * v.G + 4 * v.G);
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    *scratch_bytes = backward               ? 0
                     : fx_is_bf16(n->in[E]) ? forward_bytes<fx_bf16>(exec, n)
                                            : forward_bytes<float>(exec, n);
    return FX_OK;
}

/* A block a latent, SR's first. */
template <typename T> FX_KERNEL void FX_BOUNDS(THREADS) norms(view<T> v, double *norm, float *inverse)
{
    FX_SHARED(bytes);
    const int64_t k = fx_block();
    const T *x = latent(v, (int)(k / v.G), k % v.G);
    double sum = 0;
    for (int64_t i = fx_thread(); i < v.size; i += THREADS)
        sum += (double)fx_get(x + i) * (double)fx_get(x + i);
    sum = fmax(sqrt(fx_block_sum(sum, (double *)bytes)), SMALLEST);
    if (fx_thread() > 0) return;
    norm[k] = sum;
    inverse[k] = (float)(1 / sum);
}

/* The first slice becomes the logits. */
FX_KERNEL void FX_BOUNDS(THREADS)
    logits(double *product, int64_t count, int64_t G, const double *norm, double temperature)
{
    const int64_t k = fx_index();
    if (k >= G * G) return;
    double sum = 0;
    for (int64_t s = 0; s < count; s++)
        sum += product[s * G * G + k];
    product[k] = sum / (norm[k / G] * norm[G + k % G]) / temperature;
}

/* ln sum exp of a row a warp, then of a column a warp. */
FX_KERNEL void FX_BOUNDS(THREADS) log_sums(const double *logit, int64_t G, double *out)
{
    const int64_t k = (int64_t)fx_block() * WARPS + fx_warp();
    if (k >= 2 * G) return;
    const double *x = k < G ? logit + k * G : logit + k - G;
    const int64_t stride = k < G ? 1 : G;
    double most = -INFINITY, sum = 0;
    for (int64_t j = fx_lane(); j < G; j += FX_WARP)
        most = fmax(most, x[j * stride]);
    most = warp_max(most);
    for (int64_t j = fx_lane(); j < G; j += FX_WARP)
        sum += exp(x[j * stride] - most);
    sum = fx_warp_sum(sum);
    if (fx_lane() == 0) out[k] = most + log(sum);
}

/* Rows of W a warp each, which are kept, then columns; with the logits they give what of u lies along
 * the own vector. The first block also sums the loss. */
FX_KERNEL void FX_BOUNDS(THREADS) weights(const double *logit, const double *log_sum, int64_t G,
                                          float *weight, float *along, float *loss)
{
    FX_SHARED(bytes);
    const int64_t k = (int64_t)fx_block() * WARPS + fx_warp();
    const double *row = log_sum, *column = log_sum + G;
    double part = 0;
    for (int64_t l = fx_lane(); k < 2 * G && l < G; l += FX_WARP) {
        const int64_t i = k < G ? k : l, j = k < G ? l : k - G, at = i * G + j;
        const double p = exp(logit[at] - row[i]) + exp(logit[at] - column[j]);
        const double w = (p - (i == j ? 2.0 : 0.0)) / (2 * (double)G);
        if (k < G) weight[at] = (float)w;
        part += w * logit[at];
    }
    part = fx_warp_sum(part);
    if (k < 2 * G && fx_lane() == 0) along[k] = (float)part;
    if (fx_block() > 0) return;
    double sum = 0;
    for (int64_t d = fx_thread(); d < G; d += THREADS)
        sum += row[d] + column[d] - 2 * logit[d * G + d];
    sum = fx_block_sum(sum, (double *)bytes);
    if (fx_thread() == 0) *loss = G < 2 ? 0.0f : (float)(sum / (2 * (double)G));
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const view<T> v = view_of<T>(exec, n);
    const int64_t G = v.G, S = slices(v), sides = tiles(v);
    double *logit = (double *)fx_scratch(exec), *norm = logit + S * G * G, *log_sum = norm + 2 * G;
    const size_t sums = sizeof(double) * WARPS;
    FX_LAUNCH(exec, n, norms<T>, (unsigned)(2 * G), THREADS, sums, v, norm, fx_f32(n->saved[INVERSE]));
    FX_LAUNCH(exec, n, (products<T, double>), dim3((unsigned)(sides * sides), (unsigned)S), THREADS,
              TILES_BYTES, v, sides, span_of(v), logit);
    FX_LAUNCH(exec, n, logits, fx_grid(G * G, THREADS), THREADS, 0, logit, S, G, norm,
              (double)n->attrs.contrast.temperature);
    FX_LAUNCH(exec, n, log_sums, fx_grid(2 * G, WARPS), THREADS, 0, logit, G, log_sum);
    FX_LAUNCH(exec, n, weights, fx_grid(2 * G, WARPS), THREADS, sums, logit, log_sum, G,
              fx_f32(n->saved[WEIGHT]), fx_f32(n->saved[ALONG]), fx_f32(n->out[0]));
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[E]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

/* Backward, with u_k = 1/tau sum_j W_kj b_j (for b_k: over columns), y_k the unit vector, r_k = 1 /
 * norm: dx_k = r_k (u_k - y_k (y_k . u_k)), without the second term where the norm is at its floor */
typedef struct factors {
    const float *weight, *inverse, *along, *dloss;
    double temperature;
} factors;

/* What the other task's latent j is multiplied with, times dloss, in u of own sample k. */
template <typename T>
FX_DEVICE double factor(const view<T> &v, const factors &f, int task, int64_t k, int64_t j)
{
    const int64_t slot = v.first + k;
    if (k >= v.B || j >= v.G) return 0;
    const float w = f.weight[task == 0 ? slot * v.G + j : j * v.G + slot];
    return (double)*f.dloss / f.temperature * (double)w * (double)f.inverse[(1 - task) * v.G + j];
}

/* Block (c, y): column c, for ROWS own samples of one task. */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS) gradients(view<T> v, factors f, int groups, T *dx, bool add)
{
    FX_SHARED(bytes);
    double *scale = (double *)bytes, *inverse = scale + OTHERS * ROWS, *along = inverse + ROWS;
    const int task = fx_block_y() / groups;
    const int64_t k0 = (int64_t)(fx_block_y() % groups) * ROWS, i = fx_index();
    double sum[ROWS] = {};
    if (fx_thread() < ROWS && k0 + fx_thread() < v.B) {
        const int64_t k = task * v.G + v.first + k0 + fx_thread();
        const double r = (double)f.inverse[k];
        inverse[fx_thread()] = r;
        along[fx_thread()] =
            r < (double)(float)(1 / SMALLEST) ? (double)*f.dloss * (double)f.along[k] * r : 0;
    }
    for (int64_t j0 = 0; j0 < v.G; j0 += OTHERS) {
        scale[fx_thread()] = factor(v, f, task, k0 + fx_thread() % ROWS, j0 + fx_thread() / ROWS);
        fx_sync();
        for (int j = 0; j < OTHERS && j0 + j < v.G && i < v.size; j++) {
            const double y = (double)fx_get(latent(v, 1 - task, j0 + j) + i);
            for (int r = 0; r < ROWS; r++)
                sum[r] += scale[j * ROWS + r] * y;
        }
        fx_sync();
    }
    if (i >= v.size) return;
    for (int q = 0; q < ROWS && k0 + q < v.B; q++) {
        const int64_t at = (task * v.B + k0 + q) * v.size + i;
        const double x = (double)fx_get(v.e + at);
        fx_put(dx + at, (float)(inverse[q] * (sum[q] - along[q] * x)), add);
    }
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    const view<T> v = view_of<T>(exec, n);
    const factors f = {fx_f32(n->saved[WEIGHT]), fx_f32(n->saved[INVERSE]), fx_f32(n->saved[ALONG]),
                       fx_f32(n->dout[0]), (double)n->attrs.contrast.temperature};
    const int groups = (int)((v.B + ROWS - 1) / ROWS);
    FX_LAUNCH(exec, n, gradients<T>, dim3(fx_grid(v.size, THREADS), (unsigned)(2 * groups)), THREADS,
              sizeof(double) * (OTHERS + 2) * ROWS, v, f, groups, fx_data<T>(n->din[E]), fx_adds(n, E));
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[E]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_contrast = {prepare, forward, backward};
