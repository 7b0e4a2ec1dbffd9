/* CUDA twin of src/ops/group_norm.c. Each direction is one launch, whose blocks make two passes over an
 * image; between them blocks of some groups add up the chunks' sums, in order and in double:
 *   forward    moments | statistics | y
 *   backward   sums of du and du xhat | terms | dx, and after all images the parameters' gradients
 * group_norm_work.cuh says in which order, and who waits. Memory binds: forward moves x and y, backward
 * x, dy and dx, and dx once more where it is added to; the second pass finds in the second-level cache
 * what the first one read. The chunks' sums are 2 % beside that. Activation and dropout are computed
 * again in backward's second pass, at some 40 instructions an element with dropout, half of them its
 * random numbers. A chunk's moments are about its own first pixel in fp32, and kept about the image's
 * first pixel, so that neither a large mean nor an outlier costs digits. */
#include "group_norm_backward.cuh"
#include "group_norm_forward.cuh"

/* Blocks of a multiprocessor: vectors of 8 channels want more registers, and have as many bytes in
 * flight with fewer threads. */
template <int WIDTH> struct blocks {
    enum { FORWARD = WIDTH == 8 ? 5 : 8, BACKWARD = WIDTH == 8 ? 4 : 5 };
};

template <int WIDTH, int CELL, typename T>
FX_KERNEL void FX_BOUNDS(THREADS, blocks<WIDTH>::FORWARD)
    normalise(view<T> v, work w, int *counters, float2 *parts, float *mean, float *rstd, float *level,
              const fx_step *step, T *y)
{
    FX_SHARED(bytes);
    const item i = take(v, w, counters, bytes);
    await(v, w, i, counters);
    if (i.kind == FIRST) {
        moments<WIDTH>(v, w, i, (float *)bytes, parts);
        fx_block_raise(i.done);
    } else if (i.kind == FOLD) {
        statistics(v, w, i, (double2 *)bytes, parts, mean, rstd, level);
        fx_block_raise(i.done + 1);
    } else {
        write_y<WIDTH, CELL>(v, w, i, mean, rstd, fx_mask_of(v.masked, step), y);
    }
}

template <int WIDTH, int CELL, typename T>
FX_KERNEL void FX_BOUNDS(THREADS, blocks<WIDTH>::BACKWARD)
    differentiate(view<T> v, work w, int *counters, scratch at, const float *mean, const float *rstd,
                  const float *level, const fx_step *step, const T *dy, gradients<T> to)
{
    FX_SHARED(bytes);
    const item i = take(v, w, counters, bytes);
    await(v, w, i, counters);
    if (i.kind == FIRST) {
        sums_of_du<WIDTH, CELL>(v, w, i, mean, rstd, fx_mask_of(v.masked, step), dy, (float *)bytes,
                                at.parts);
        fx_block_raise(i.done);
    } else if (i.kind == FOLD) {
        group_terms(v, w, i, (double2 *)bytes, rstd, at);
        fx_block_raise(i.done + 1);
    } else if (i.kind == SECOND) {
        write_dx<WIDTH, CELL>(v, w, i, mean, rstd, at.terms, fx_mask_of(v.masked, step), dy, to);
    } else if (i.index < w.sums) {
        parameter_gradients(v, (int64_t)i.index * THREADS + fx_thread(), at, rstd, level, to);
    } else {
        modulation_gradient(v, (int64_t)(i.index - w.sums) * THREADS + fx_thread(), at.sums, to);
    }
}

template <typename T, int WIDTH> static fx_status forward_by(fx_exec *exec, const fx_node *n)
{
    const view<T> v = view_of<T, WIDTH>(n, false);
    const work w = work_of(v, false, true);
    const unsigned grid = (unsigned)blocks_of(v, w);
    float2 *parts = scratch_of(exec, v, false).parts;
    float *mean = fx_f32(n->saved[MEAN]), *rstd = fx_f32(n->saved[RSTD]),
          *level = fx_f32(n->saved[LEVEL]);
    T *y = fx_data<T>(n->out[0]);
    if (v.pool)
        FX_LAUNCH(exec, n, (normalise<WIDTH, SQUARE, T>), grid, THREADS, shared_bytes(v, w, WIDTH), v,
                  w, fx_cuda_counters(exec), parts, mean, rstd, level, fx_cuda_step(exec), y);
    else
        FX_LAUNCH(exec, n, (normalise<WIDTH, 1, T>), grid, THREADS, shared_bytes(v, w, WIDTH), v, w,
                  fx_cuda_counters(exec), parts, mean, rstd, level, fx_cuda_step(exec), y);
    return FX_OK;
}

static bool wants(const fx_node *n, int input)
{
    return n->din[input] != NULL;
}

template <typename T> static work backward_work(const fx_node *n, const view<T> &v)
{
    work w = work_of(v, true, wants(n, X) || wants(n, X2));
    if (wants(n, GAMMA) || wants(n, BETA) || wants(n, BIAS)) w.sums = (int)fx_grid(v.C, THREADS);
    if (wants(n, MOD)) w.modulations = (int)fx_grid((int64_t)v.M * v.C, THREADS);
    return w;
}

template <typename T, int WIDTH> static fx_status backward_by(fx_exec *exec, const fx_node *n)
{
    const view<T> v = view_of<T, WIDTH>(n, true);
    const work w = backward_work(n, v);
    const unsigned grid = (unsigned)blocks_of(v, w);
    if (w.seconds + w.sums + w.modulations == 0) return FX_OK;
    const scratch at = scratch_of(exec, v, true);
    const float *mean = fx_f32(n->saved[MEAN]), *rstd = fx_f32(n->saved[RSTD]),
                *level = fx_f32(n->saved[LEVEL]);
    const T *dy = fx_data<T>(n->dout[0]);
    const gradients<T> to = {{fx_data<T>(n->din[X]), fx_data<T>(n->din[X2])},
                             fx_data<T>(n->din[MOD]),
                             fx_f32(n->din[GAMMA]),
                             fx_f32(n->din[BETA]),
                             fx_f32(n->din[BIAS]),
                             {fx_adds(n, X), fx_adds(n, X2)},
                             fx_adds(n, MOD),
                             fx_adds(n, GAMMA),
                             fx_adds(n, BETA),
                             fx_adds(n, BIAS)};
    if (v.pool)
        FX_LAUNCH(exec, n, (differentiate<WIDTH, SQUARE, T>), grid, THREADS, shared_bytes(v, w, WIDTH),
                  v, w, fx_cuda_counters(exec), at, mean, rstd, level, fx_cuda_step(exec), dy, to);
    else
        FX_LAUNCH(exec, n, (differentiate<WIDTH, 1, T>), grid, THREADS, shared_bytes(v, w, WIDTH), v, w,
                  fx_cuda_counters(exec), at, mean, rstd, level, fx_cuda_step(exec), dy, to);
    return FX_OK;
}

template <typename T, int WIDTH>
static fx_status prepare_by(const fx_node *n, bool backward, size_t *bytes)
{
    const int64_t *d = n->in[X]->dim;
    FX_REQUIRE(d[0] <= MOST && d[1] * d[2] <= MOST && fx_count(n->in[GAMMA]) <= MOST, FX_EARG,
               "%s is more than %lld images, pixels or channels", fx_shape_text(n->in[X]),
               (long long)MOST);
    const view<T> v = view_of<T, WIDTH>(n, backward);
    const work w = work_of(v, backward, true);
    FX_REQUIRE(counters_of(v, w) <= FX_COUNTERS && blocks_of(v, w) <= MOST, FX_EARG,
               "%s is more than one launch counts, %d bands of images or %lld blocks",
               fx_shape_text(n->in[X]), (FX_COUNTERS - DONE) / 2, (long long)MOST);
    *bytes = (backward ? backward_bytes(v) : 0) + parts_bytes(v, w);
    return FX_OK;
}

template <typename T> static fx_status prepare_as(const fx_node *n, bool backward, size_t *bytes)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return is_wide(n) ? prepare_by<T, WIDE>(n, backward, bytes) : prepare_by<T, 1>(n, backward, bytes);
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    (void)exec;
    return fx_is_bf16(n->in[X]) ? prepare_as<fx_bf16>(n, backward, bytes)
                                : prepare_as<float>(n, backward, bytes);
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return is_wide(n) ? forward_by<T, WIDE>(exec, n) : forward_by<T, 1>(exec, n);
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    enum { WIDE = fx_wide<T>::COUNT };
    return is_wide(n) ? backward_by<T, WIDE>(exec, n) : backward_by<T, 1>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return fx_is_bf16(n->in[X]) ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

const fx_kernel fx_cuda_group_norm = {prepare, forward, backward};
