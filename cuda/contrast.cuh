/* contrast.cuh: what the kernels of the two forms of the contrastive term share: where latents lie, and
 * the inner products of all pairs of them. The products are cut along the latents into slices, so that
 * a small batch fills the device too; 32 terms are summed in fp32, which the hardware does at full
 * speed, the sums in double. */
#ifndef FX_CONTRAST_CUH
#define FX_CONTRAST_CUH

#include "launch.cuh"

enum { THREADS = 256, WARPS = THREADS / FX_WARP };
enum { TILE = 64, CHUNK = 32, PITCH = TILE + 4, OWN = 4 }; /* of the products */
enum { SLICE_LEAST = 8 * CHUNK, BLOCKS_WANTED = 2 * 132 };
#define SMALLEST 1e-12 /* norm */

/* Own latents from e, all others from `all`, (G,2,size); of features, where none are own (B = 0), size
 * are those that this rank has. */
template <typename T> struct view {
    int64_t B, G, size, first; /* size: elements of one latent; first: global slot of local sample 0 */
    const T *e, *all;
    bool wide; /* latents start at 16 bytes */
};

template <typename T> FX_DEVICE const T *latent(const view<T> &v, int task, int64_t slot)
{
    const int64_t i = slot - v.first;
    return i >= 0 && i < v.B ? v.e + (task * v.B + i) * v.size : v.all + (2 * slot + task) * v.size;
}

/* Of the forward products. Shapes alone decide, so all devices sum in one order. */
template <typename T> static inline int64_t tiles(const view<T> &v)
{
    return (v.G + TILE - 1) / TILE;
}
template <typename T> static inline int64_t slices(const view<T> &v)
{
    const int64_t most = (v.size + SLICE_LEAST - 1) / SLICE_LEAST;
    const int64_t wanted = BLOCKS_WANTED / (tiles(v) * tiles(v));
    return wanted < 1 ? 1 : wanted < most ? wanted : most;
}
/* Latent numbers of a slice. */
template <typename T> static inline int64_t span_of(const view<T> &v)
{
    return ((v.size + slices(v) - 1) / slices(v) + CHUNK - 1) / CHUNK * CHUNK;
}

/* 16 bytes of a latent, of which `left` elements exist. */
template <typename T> FX_DEVICE void load_some(const T *p, int64_t left, bool wide, float *x)
{
    if (wide) return fx_get_wide(p, left, x);
    for (int c = 0; c < fx_wide<T>::COUNT; c++)
        x[c] = c < left ? fx_get(p + c) : 0.0f;
}

/* Features k .. k + CHUNK - 1, below `end`, of the task's latents from `slot` on, transposed: [feature]
 * [latent]. */
template <typename T>
FX_DEVICE void load_tile(const view<T> &v, int task, int64_t slot, int64_t k, int64_t end, float *tile)
{
    enum { N = fx_wide<T>::COUNT };
    const int row = fx_thread() % TILE;
    for (int c = N * (fx_thread() / TILE); c < CHUNK; c += N * (THREADS / TILE)) {
        float x[N] = {0};
        if (slot + row < v.G) load_some(latent(v, task, slot + row) + k + c, end - k - c, v.wide, x);
        for (int i = 0; i < N; i++)
            tile[(c + i) * PITCH + row] = x[i];
    }
}

FX_DEVICE void multiply_tiles(const float *a, const float *b, float sum[OWN][OWN])
{
    for (int k = 0; k < CHUNK; k++) {
        float x[OWN], y[OWN];
        fx_get_wide(a + k * PITCH, x);
        fx_get_wide(b + k * PITCH, y);
        for (int i = 0; i < OWN; i++)
            for (int j = 0; j < OWN; j++)
                sum[i][j] += x[i] * y[j];
    }
}

/* Block (t, s): a tile of the products over slice s, out (slices,G,G). A thread has OWN x OWN of them.
 */
template <typename T, typename S>
FX_KERNEL void FX_BOUNDS(THREADS, 1) products(view<T> v, int64_t tiles_a_row, int64_t span, S *out)
{
    FX_SHARED(bytes);
    float *a = (float *)bytes, *b = a + CHUNK * PITCH;
    const int64_t i0 = fx_block() / tiles_a_row * TILE, j0 = fx_block() % tiles_a_row * TILE;
    const int64_t begin = fx_block_y() * span, stop = begin + span < v.size ? begin + span : v.size;
    const int row = OWN * (fx_thread() / (TILE / OWN)), column = OWN * (fx_thread() % (TILE / OWN));
    double total[OWN][OWN] = {};
    for (int64_t k = begin; k < stop; k += CHUNK) {
        float sum[OWN][OWN] = {};
        load_tile(v, 0, i0, k, stop, a);
        load_tile(v, 1, j0, k, stop, b);
        fx_sync();
        multiply_tiles(a + row, b + column, sum);
        fx_sync();
        for (int i = 0; i < OWN; i++)
            for (int j = 0; j < OWN; j++)
                total[i][j] += (double)sum[i][j];
    }
    for (int i = 0; i < OWN; i++)
        for (int j = 0; j < OWN; j++) {
            const int64_t r = i0 + row + i, c = j0 + column + j;
            if (r < v.G && c < v.G) out[(fx_block_y() * v.G + r) * v.G + c] = (S)total[i][j];
        }
}

/* Bytes of shared memory of a kernel of products. */
static const size_t TILES_BYTES = sizeof(float) * 2 * CHUNK * PITCH;

FX_DEVICE double warp_max(double v)
{
    for (int mask = FX_WARP / 2; mask > 0; mask /= 2)
        v = fmax(v, fx_shuffle_xor(v, mask));
    return v;
}

#endif
