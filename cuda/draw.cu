/* CUDA twin of src/ops/draw.c: the times and the noise of a step, by the same counters; normals by
 * Box-Muller in double, as there. A thread draws four numbers of one sample. Fp64 arithmetic binds,
 * about 150 instructions a pair: by count 3 us on an H100 for 8 samples of 256^2. Memory: 4 bytes an
 * element, written. */
#include "launch.cuh"
#include "rng.cuh"

#include "flexhpc/str.h"

enum { T, EPS, THREADS = 256 };

typedef struct draws {
    uint32_t slot0, stream_t, stream_eps; /* slot0: beside the step's */
    int64_t pixels;
} draws;

/* Words of elements 4 block .. 4 block + 3 of a sample's stream. */
FX_DEVICE fx_philox words(const fx_step *step, int64_t block, uint32_t slot_task, uint32_t stream)
{
    return fx_random(step->seed, (uint32_t)block, slot_task, stream, step->step);
}

FX_DEVICE void normals(const fx_philox &random, float out[4])
{
    for (int pair = 0; pair < 2; pair++) {
        const double u =
            ((double)random.word[2 * pair] + 1.0) * 0x1p-32; /* (0, 1]: the logarithm exists */
        const double radius = sqrt(-2.0 * log(u));
        double sine, cosine;
        fx_circle((double)random.word[2 * pair + 1] * 0x1p-32, &sine, &cosine);
        out[2 * pair] = (float)(radius * cosine);
        out[2 * pair + 1] = (float)(radius * sine);
    }
}

/* Block (x, y): sample y. */
FX_KERNEL void FX_BOUNDS(THREADS) draw(draws v, const fx_step *step, float *t, float *eps)
{
    const int64_t b = fx_block_y(), first = 4 * fx_index();
    if (first >= v.pixels) return;
    const uint32_t slot_task = 2 * (step->slot0 + v.slot0 + (uint32_t)b); /* as task 0 */
    float four[4], *to = eps + b * v.pixels + first;
    normals(words(step, first / 4, slot_task, v.stream_eps), four);
    if (v.pixels % 4 == 0)
        fx_set_wide(to, four);
    else
        for (int k = 0; k < 4; k++)
            if (first + k < v.pixels) to[k] = four[k];
    if (first == 0) t[b] = (float)(words(step, 0, slot_task, v.stream_t).word[0] >> 8) * 0x1p-24f;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const int64_t B = n->attrs.draw.samples, pixels = n->attrs.draw.side * n->attrs.draw.side;
    const draws v = {(uint32_t)n->rows.slot0, fx_crc32("t"), fx_crc32("eps"), pixels};
    FX_LAUNCH(exec, n, draw, dim3(fx_grid(pixels, 4 * THREADS), (unsigned)B), THREADS, 0, v,
              fx_cuda_step(exec), fx_f32(n->out[T]), fx_f32(n->out[EPS]));
    return FX_OK;
}

const fx_kernel fx_cuda_draw = {NULL, forward, NULL};
