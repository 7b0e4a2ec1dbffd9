/* CUDA twin of src/ops/dots.c. Of G samples and w features it reads 2 G w numbers and writes G^2 in
 * fp32; forward has 2 G^2 w operations, backward 4 G^2 w, in fp32 outside of tensor cores, whose inputs
 * of 8 bits of bf16 would do for the latents but not for the gradients. With the features dealt out, of
 * G = 8192 samples of 257 x 256 numbers on 1024 devices (w = 72) these are 10 and 20 GFLOP. */
#include "contrast.cuh"

enum { PART }; /* in[]: (G,2,w), as of arrive */
enum { SUMS }; /* out[]: (G+2,G) */

template <typename T> static view<T> view_of(const fx_node *n)
{
    const int64_t *d = n->in[PART]->dim;
    return view<T>{0, d[0], d[2], 0, NULL, fx_data<T>(n->in[PART]), d[2] % fx_wide<T>::COUNT == 0};
}

/* Of the slices, where there are several. */
template <typename T> static size_t forward_bytes(const fx_node *n)
{
    const view<T> v = view_of<T>(n);
    return slices(v) == 1 ? 0 : sizeof(double) * (size_t)(slices(v) * v.G * v.G);
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)exec;
    *scratch_bytes = backward                  ? 0
                     : fx_is_bf16(n->in[PART]) ? forward_bytes<fx_bf16>(n)
                                               : forward_bytes<float>(n);
    return FX_OK;
}

/* A block a latent, SR's first. */
template <typename T> FX_KERNEL void FX_BOUNDS(THREADS) squares(view<T> v, float *out)
{
    FX_SHARED(bytes);
    const int64_t k = fx_block();
    const T *x = latent(v, (int)(k / v.G), k % v.G);
    double sum = 0;
    for (int64_t i = fx_thread(); i < v.size; i += THREADS)
        sum += (double)fx_get(x + i) * (double)fx_get(x + i);
    sum = fx_block_sum(sum, (double *)bytes);
    if (fx_thread() == 0) out[k] = (float)sum;
}

FX_KERNEL void FX_BOUNDS(THREADS)
    add_slices(const double *slice, int64_t count, int64_t size, float *out)
{
    const int64_t k = fx_index();
    if (k >= size) return;
    double sum = 0;
    for (int64_t s = 0; s < count; s++)
        sum += slice[s * size + k];
    out[k] = (float)sum;
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const view<T> v = view_of<T>(n);
    const int64_t S = slices(v), sides = tiles(v), pairs = v.G * v.G;
    const dim3 grid((unsigned)(sides * sides), (unsigned)S);
    float *sums = fx_f32(n->out[SUMS]);
    double *slice = (double *)fx_scratch(exec);
    FX_LAUNCH(exec, n, squares<T>, (unsigned)(2 * v.G), THREADS, sizeof(double) * WARPS, v,
              sums + pairs);
    if (S == 1) {
        FX_LAUNCH(exec, n, (products<T, float>), grid, THREADS, TILES_BYTES, v, sides, span_of(v),
                  sums);
        return FX_OK;
    }
    FX_LAUNCH(exec, n, (products<T, double>), grid, THREADS, TILES_BYTES, v, sides, span_of(v), slice);
    FX_LAUNCH(exec, n, add_slices, fx_grid(pairs, THREADS), THREADS, 0, slice, S, pairs, sums);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[PART]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

/* Factors of the task's latents k0 .. k0 + TILE - 1 and the other's j0 .. j0 + CHUNK - 1: [other]
 * [latent]; SR's are rows of d, FC's columns. */
FX_DEVICE void load_factors(const float *d, int64_t G, int task, int64_t k0, int64_t j0, float *tile)
{
    const int width = task == 0 ? CHUNK : TILE; /* along memory */
    for (int q = fx_thread(); q < CHUNK * TILE; q += THREADS) {
        const int j = task == 0 ? q % width : q / width, k = task == 0 ? q / width : q % width;
        const int64_t slot = k0 + k, other = j0 + j;
        const bool there = slot < G && other < G;
        tile[j * PITCH + k] = there ? d[task == 0 ? slot * G + other : other * G + slot] : 0.0f;
    }
}

/* Features i0 .. i0 + TILE - 1 of the task's latents j0 .. j0 + CHUNK - 1: [latent][feature]. */
template <typename T>
FX_DEVICE void load_features(const view<T> &v, int task, int64_t j0, int64_t i0, float *tile)
{
    enum { N = fx_wide<T>::COUNT, PIECES = TILE / N };
    for (int q = fx_thread(); q < CHUNK * PIECES; q += THREADS) {
        const int j = q / PIECES, c = q % PIECES * N;
        float x[N] = {0};
        if (j0 + j < v.G && i0 + c < v.size)
            load_some(latent(v, task, j0 + j) + i0 + c, v.size - i0 - c, v.wide, x);
        for (int i = 0; i < N; i++)
            tile[j * PITCH + c + i] = x[i];
    }
}

/* Block (t, task): a tile of TILE latents and as many features. */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS, 1)
    gradients(view<T> v, const float *d, int64_t tiles_a_row, T *dx, bool add)
{
    FX_SHARED(bytes);
    float *a = (float *)bytes, *b = a + CHUNK * PITCH;
    const int task = fx_block_y();
    const int64_t k0 = fx_block() / tiles_a_row * TILE, i0 = fx_block() % tiles_a_row * TILE;
    const int row = OWN * (fx_thread() / (TILE / OWN)), column = OWN * (fx_thread() % (TILE / OWN));
    double total[OWN][OWN] = {};
    for (int64_t j0 = 0; j0 < v.G; j0 += CHUNK) {
        float sum[OWN][OWN] = {};
        load_factors(d, v.G, task, k0, j0, a);
        load_features(v, 1 - task, j0, i0, b);
        fx_sync();
        multiply_tiles(a + row, b + column, sum);
        fx_sync();
        for (int i = 0; i < OWN; i++)
            for (int j = 0; j < OWN; j++)
                total[i][j] += (double)sum[i][j];
    }
    for (int i = 0; i < OWN && k0 + row + i < v.G; i++) {
        const int64_t k = k0 + row + i;
        const double own = 2 * (double)d[(v.G + task) * v.G + k];
        for (int j = 0; j < OWN && i0 + column + j < v.size; j++) {
            const int64_t at = (2 * k + task) * v.size + i0 + column + j;
            fx_put(dx + at, (float)(total[i][j] + own * (double)fx_get(v.all + at)), add);
        }
    }
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    const view<T> v = view_of<T>(n);
    const int64_t columns = (v.size + TILE - 1) / TILE;
    FX_LAUNCH(exec, n, gradients<T>, dim3((unsigned)(tiles(v) * columns), 2), THREADS, TILES_BYTES, v,
              fx_f32(n->dout[SUMS]), columns, fx_data<T>(n->din[PART]), fx_adds(n, PART));
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[PART]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_dots = {prepare, forward, backward};
