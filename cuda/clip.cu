/* CUDA twin of src/ops/clip.c. Sums in double, over blocks whose size no device decides, then over the
 * blocks in order: the same bits on every GPU. The factor stays on the device; `update` reads it there.
 * Bound by memory: 4 bytes an element, once. */
#include "launch.cuh"

enum { GRADIENT };                  /* in[]: (n), the slab */
enum { NORM, FACTOR, FINITE, PAD }; /* out[0] */
enum { THREADS = 256, ROUNDS = 16, LAST_THREADS = 1024 };

template <typename T> static int64_t block_elements(void)
{
    return (int64_t)THREADS * ROUNDS * fx_wide<T>::COUNT;
}

static unsigned blocks(const fx_node *n)
{
    return fx_grid(fx_count(n->in[GRADIENT]), block_elements<float>());
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)exec, (void)backward;
    *scratch_bytes = sizeof(double) * blocks(n);
    return FX_OK;
}

template <typename T> FX_KERNEL void FX_BOUNDS(THREADS) squares(const T *g, int64_t count, double *part)
{
    FX_SHARED(bytes);
    enum { WIDE = fx_wide<T>::COUNT };
    const int64_t first = (int64_t)fx_block() * THREADS * ROUNDS;
    double sum = 0;
    for (int r = 0; r < ROUNDS; r++) {
        const int64_t i = WIDE * (first + r * THREADS + fx_thread());
        if (i >= count) break;
        float v[WIDE];
        double square = 0;
        fx_get_wide(g + i, count - i, v);
        for (int k = 0; k < WIDE; k++)
            square += (double)v[k] * (double)v[k];
        sum += square;
    }
    sum = fx_block_sum(sum, (double *)bytes);
    if (fx_thread() == 0) part[fx_block()] = sum;
}

/* One block. */
FX_KERNEL void FX_BOUNDS(LAST_THREADS)
    judge(const double *part, unsigned parts, float max_norm, const fx_step *step, float *out)
{
    FX_SHARED(bytes);
    double square = 0;
    for (unsigned i = (unsigned)fx_thread(); i < parts; i += (unsigned)fx_threads())
        square += part[i];
    square = fx_block_sum(square, (double *)bytes);
    if (fx_thread() > 0) return;
    const double scale = (double)step->gradient_scale, norm = scale * sqrt(square);
    const double most = (double)max_norm, clipped = most / (norm + 1e-6);
    out[NORM] = (float)norm;
    out[FACTOR] = (float)(most > 0 && clipped < 1 ? scale * clipped : scale);
    out[FINITE] = fabsf((float)norm) < INFINITY ? 1.0f : 0.0f;
    out[PAD] = 0;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    double *part = (double *)fx_scratch(exec);
    const unsigned parts = blocks(n);
    const int last = parts < LAST_THREADS ? (int)fx_grid(parts, FX_WARP) * FX_WARP : LAST_THREADS;
    FX_LAUNCH(exec, n, squares<float>, parts, THREADS, sizeof(double) * THREADS / FX_WARP,
              fx_f32(n->in[GRADIENT]), fx_count(n->in[GRADIENT]), part);
    FX_LAUNCH(exec, n, judge, 1, last, sizeof(double) * LAST_THREADS / FX_WARP, part, parts,
              n->attrs.clip.max_norm, fx_cuda_step(exec), fx_f32(n->out[0]));
    return FX_OK;
}

const fx_kernel fx_cuda_clip = {prepare, forward, NULL};
