/* CUDA twin of src/ops/attention.c, exact in fp32 whatever the storage. A warp owns one query (or, for
 * the gradients of keys and values, one key) and walks over the others in chunks of 32: lane j has the
 * chunk's j-th score, and every lane sums the features lane, lane + 32, ... of the result. Backward is
 * two launches: dQ, which also leaves delta = sum dO O        in scratch, (B, heads, T) then dK and dV.
 * Nothing is summed by atomics. */
#include "launch.cuh"

enum { QKV }; /* in[]: (B, T, 3D), a row is (3, heads, d) */
enum { LSE }; /* saved[]: (B, heads, T) */
enum { CHUNK = FX_WARP, WARPS = 8, THREADS = WARPS * FX_WARP, HEAD = 256, OWN = HEAD / FX_WARP };
enum { Q, K, V }; /* of a row */

typedef struct view {
    int64_t T, heads, d, D;
    float scale;
} view;

static view view_of(const fx_node *n)
{
    const int64_t *x = n->in[QKV]->dim, heads = n->attrs.attention.heads, D = x[2] / 3;
    return view{x[1], heads, D / heads, D, 1.0f / sqrtf((float)(D / heads))};
}

/* Two chunks with rows of d + 1 floats, so that lanes reading one column meet no bank twice, and two
 * rows a warp. */
static size_t shared_bytes(const view *v)
{
    return sizeof(float) * (size_t)(2 * CHUNK * (v->d + 1) + 2 * WARPS * v->d);
}

typedef struct tiles {
    float *chunk[2], *own[2]; /* (32, d + 1) of the block; (d) of the warp */
} tiles;

FX_DEVICE tiles tiles_in(unsigned char *bytes, int64_t d)
{
    float *at = (float *)bytes, *own = at + 2 * CHUNK * (d + 1) + 2 * fx_warp() * d;
    return tiles{{at, at + CHUNK * (d + 1)}, {own, own + d}};
}

/* Block (x, y): head y of all B heads; warp w has token 8 x + w, `index` of the head's tokens. */
typedef struct place {
    int64_t b, h, token, index;
} place;

FX_DEVICE place place_of(const view &v)
{
    const int64_t bh = fx_block_y(), token = (int64_t)fx_block() * WARPS + fx_warp();
    return place{bh / v.heads, bh % v.heads, token, bh * v.T + token};
}

/* Where feature 0 of token t begins in QKV or in its gradient; part 0, 1, 2: query, key, value. */
FX_DEVICE int64_t row_of(const view &v, const place &at, int part, int64_t t)
{
    return (at.b * v.T + t) * 3 * v.D + part * v.D + at.h * v.d;
}

/* The same in the output or its gradient. */
FX_DEVICE int64_t out_row(const view &v, const place &at, int64_t t)
{
    return (at.b * v.T + t) * v.D + at.h * v.d;
}

template <typename T> FX_DEVICE void load_own(const T *row, int64_t d, bool there, float *own)
{
    for (int64_t i = fx_lane(); i < d; i += FX_WARP)
        own[i] = there ? fx_get(row + i) : 0.0f;
}

/* Rows t0 .. t0 + 31, `pitch` apart, of which those below T exist. */
template <typename T>
FX_DEVICE void load_chunk(const T *first, int64_t pitch, int64_t t0, int64_t tokens, int64_t d,
                          float *chunk)
{
    for (int64_t i = fx_thread(); i < CHUNK * d; i += fx_threads()) {
        const int64_t j = i / d, c = i % d;
        chunk[j * (d + 1) + c] = t0 + j < tokens ? fx_get(first + (t0 + j) * pitch + c) : 0.0f;
    }
}

FX_DEVICE float dot(const float *own, const float *chunk, int64_t d)
{
    const float *row = chunk + fx_lane() * (d + 1);
    float sum = 0;
    for (int64_t i = 0; i < d; i++)
        sum += own[i] * row[i];
    return sum;
}

/* sum += the chunk's rows, weighted with what lane j has for row j. */
FX_DEVICE void add_rows(float weight, const float *chunk, int64_t d, float sum[OWN])
{
    for (int j = 0; j < CHUNK; j++) {
        const float w = fx_shuffle(weight, j), *row = chunk + j * (d + 1);
        for (int k = 0; k < OWN && k * FX_WARP + fx_lane() < d; k++)
            sum[k] += w * row[k * FX_WARP + fx_lane()];
    }
}

template <typename T>
FX_DEVICE void put_row(T *row, const float sum[OWN], float scale, int64_t d, bool add)
{
    for (int k = 0; k < OWN && k * FX_WARP + fx_lane() < d; k++)
        fx_put(row + k * FX_WARP + fx_lane(), scale * sum[k], add);
}

template <typename T> FX_KERNEL void FX_BOUNDS(THREADS) attend(view v, const T *qkv, T *out, float *lse)
{
    FX_SHARED(bytes);
    const tiles t = tiles_in(bytes, v.d);
    const place at = place_of(v);
    const bool there = at.token < v.T;
    float sum[OWN] = {0}, most = -INFINITY, total = 0;
    load_own(qkv + row_of(v, at, Q, at.token), v.d, there, t.own[0]);
    for (int64_t t0 = 0; t0 < v.T; t0 += CHUNK) {
        load_chunk(qkv + row_of(v, at, K, 0), 3 * v.D, t0, v.T, v.d, t.chunk[0]);
        load_chunk(qkv + row_of(v, at, V, 0), 3 * v.D, t0, v.T, v.d, t.chunk[1]);
        fx_sync();
        const float score = t0 + fx_lane() < v.T ? v.scale * dot(t.own[0], t.chunk[0], v.d) : -INFINITY;
        const float now = fmaxf(most, fx_warp_max(score)), keep = expf(most - now),
                    p = expf(score - now);
        total = keep * total + fx_warp_sum(p);
        for (int k = 0; k < OWN; k++)
            sum[k] *= keep;
        add_rows(p, t.chunk[1], v.d, sum);
        most = now;
        fx_sync();
    }
    if (!there) return;
    put_row(out + out_row(v, at, at.token), sum, 1.0f / total, v.d, false);
    if (fx_lane() == 0) lse[at.index] = most + logf(total);
}

/* dQ = scale sum over keys of ds K,  ds = P (dO V - delta). */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS) query_gradient(view v, const T *qkv, const T *out, const float *lse,
                                                 const T *dout, float *delta, T *dqkv, bool add)
{
    FX_SHARED(bytes);
    const tiles t = tiles_in(bytes, v.d);
    const place at = place_of(v);
    const bool there = at.token < v.T;
    float sum[OWN] = {0}, own_delta = 0;
    load_own(qkv + row_of(v, at, Q, at.token), v.d, there, t.own[0]);
    load_own(dout + out_row(v, at, at.token), v.d, there, t.own[1]);
    for (int64_t i = fx_lane(); there && i < v.d; i += FX_WARP)
        own_delta += t.own[1][i] * fx_get(out + out_row(v, at, at.token) + i);
    own_delta = fx_warp_sum(own_delta);
    if (there && fx_lane() == 0) delta[at.index] = own_delta;
    const float own_lse = there ? lse[at.index] : 0.0f;
    for (int64_t t0 = 0; t0 < v.T; t0 += CHUNK) {
        load_chunk(qkv + row_of(v, at, K, 0), 3 * v.D, t0, v.T, v.d, t.chunk[0]);
        load_chunk(qkv + row_of(v, at, V, 0), 3 * v.D, t0, v.T, v.d, t.chunk[1]);
        fx_sync();
        const float p =
            t0 + fx_lane() < v.T ? expf(v.scale * dot(t.own[0], t.chunk[0], v.d) - own_lse) : 0.0f;
        add_rows(p * (dot(t.own[1], t.chunk[1], v.d) - own_delta), t.chunk[0], v.d, sum);
        fx_sync();
    }
    if (there) put_row(dqkv + row_of(v, at, Q, at.token), sum, v.scale, v.d, add);
}

/* dK = scale sum over queries of ds Q,  dV = sum over queries of P dO. */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS)
    key_value_gradient(view v, const T *qkv, const float *lse, const T *dout, const float *delta,
                       T *dqkv, bool add)
{
    FX_SHARED(bytes);
    const tiles t = tiles_in(bytes, v.d);
    const place at = place_of(v);
    const bool there = at.token < v.T;
    float dk[OWN] = {0}, dv[OWN] = {0};
    load_own(qkv + row_of(v, at, K, at.token), v.d, there, t.own[0]);
    load_own(qkv + row_of(v, at, V, at.token), v.d, there, t.own[1]);
    for (int64_t t0 = 0; t0 < v.T; t0 += CHUNK) {
        load_chunk(qkv + row_of(v, at, Q, 0), 3 * v.D, t0, v.T, v.d, t.chunk[0]);
        load_chunk(dout + out_row(v, at, 0), v.D, t0, v.T, v.d, t.chunk[1]);
        fx_sync();
        const int64_t query = (int64_t)fx_block_y() * v.T + t0 + fx_lane();
        const bool exists = t0 + fx_lane() < v.T;
        const float p = exists ? expf(v.scale * dot(t.own[0], t.chunk[0], v.d) - lse[query]) : 0.0f;
        const float ds = exists ? p * (dot(t.own[1], t.chunk[1], v.d) - delta[query]) : 0.0f;
        add_rows(ds, t.chunk[0], v.d, dk);
        add_rows(p, t.chunk[1], v.d, dv);
        fx_sync();
    }
    if (!there) return;
    put_row(dqkv + row_of(v, at, K, at.token), dk, v.scale, v.d, add);
    put_row(dqkv + row_of(v, at, V, at.token), dv, 1.0f, v.d, add);
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    (void)exec;
    *bytes = backward ? sizeof(float) * (size_t)fx_count(n->saved[LSE]) : 0;
    return FX_OK;
}

static dim3 grid_of(const fx_node *n, const view *v)
{
    return dim3(fx_grid(v->T, WARPS), (unsigned)(n->in[QKV]->dim[0] * v->heads));
}

template <typename T> static fx_status forward_as(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    FX_LAUNCH(exec, n, attend<T>, grid_of(n, &v), THREADS, shared_bytes(&v), v,
              (const T *)n->in[QKV]->data, (T *)n->out[0]->data, fx_f32(n->saved[LSE]));
    return FX_OK;
}

template <typename T> static fx_status backward_as(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const dim3 grid = grid_of(n, &v);
    const T *qkv = (const T *)n->in[QKV]->data, *dout = (const T *)n->dout[0]->data;
    const float *lse = fx_f32(n->saved[LSE]);
    float *delta = (float *)fx_scratch(exec);
    T *dqkv = (T *)n->din[QKV]->data;
    const bool add = (n->accumulate & FX_IN(QKV)) != 0;
    FX_LAUNCH(exec, n, query_gradient<T>, grid, THREADS, shared_bytes(&v), v, qkv,
              (const T *)n->out[0]->data, lse, dout, delta, dqkv, add);
    FX_LAUNCH(exec, n, key_value_gradient<T>, grid, THREADS, shared_bytes(&v), v, qkv, lse, dout,
              (const float *)delta, dqkv, add);
    return FX_OK;
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    return n->in[QKV]->dtype == FX_BF16 ? forward_as<fx_bf16>(exec, n) : forward_as<float>(exec, n);
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    return n->in[QKV]->dtype == FX_BF16 ? backward_as<fx_bf16>(exec, n) : backward_as<float>(exec, n);
}

extern "C" {
extern const fx_kernel fx_cuda_attention;
const fx_kernel fx_cuda_attention = {prepare, forward, backward};
}
