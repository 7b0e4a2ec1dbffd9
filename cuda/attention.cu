/* CUDA twin of src/ops/attention.c. In bf16 tensor cores do the products (attention_mma.cuh). What
 * follows is fp32, exact: for checks, not for speed. A warp owns one query (or, for the gradients of
 * keys and values, one key) and walks over the others in chunks of 32: lane j has the chunk's j-th
 * score, and every lane sums the features lane, lane + 32, ... of the result. Backward is two launches:
 * dQ, which also leaves delta = sum dO O in scratch, then dK and dV. Nothing is summed by atomics. */
#include "attention_mma.cuh"

enum { CHUNK = FX_WARP, WARPS = 8, THREADS = WARPS * FX_WARP, HEAD = 256, OWN = HEAD / FX_WARP };

/* Two chunks with rows of d + 1 floats, so that lanes reading one column meet no bank twice, and two
 * rows a warp. */
static size_t shared_bytes(const view &v)
{
    return sizeof(float) * (size_t)(2 * CHUNK * (v.d + 1) + 2 * WARPS * v.d);
}

typedef struct tiles {
    float *chunk[2], *own[2]; /* (32, d + 1) of the block; (d) of the warp */
} tiles;

FX_DEVICE tiles tiles_in(unsigned char *bytes, int64_t d)
{
    float *at = (float *)bytes, *own = at + 2 * CHUNK * (d + 1) + 2 * fx_warp() * d;
    return tiles{{at, at + CHUNK * (d + 1)}, {own, own + d}};
}

/* Block (x, y): head y of all B heads; warp w has token 8 x + w, `index` of the heads' tokens. */
typedef struct place {
    int bh;
    int64_t token, index, row, out; /* row: of the token's query in QKV */
} place;

FX_DEVICE place place_of(const view &v)
{
    const int bh = fx_block_y();
    const int64_t token = (int64_t)fx_block() * WARPS + fx_warp();
    return place{bh, token, bh * v.T + token, row_of(v, bh, QUERY) + token * 3 * v.D,
                 out_row(v, bh) + token * v.D};
}

FX_DEVICE void load_own(const float *row, int64_t d, bool there, float *own)
{
    for (int64_t i = fx_lane(); i < d; i += FX_WARP)
        own[i] = there ? fx_get(row + i) : 0.0f;
}

/* Rows t0 .. t0 + 31, `pitch` apart, of which those below T exist. */
FX_DEVICE void load_chunk(const float *first, int64_t pitch, int64_t t0, int64_t tokens, int64_t d,
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

FX_DEVICE void put_row(float *row, const float sum[OWN], float scale, int64_t d, bool add)
{
    for (int k = 0; k < OWN && k * FX_WARP + fx_lane() < d; k++)
        fx_put(row + k * FX_WARP + fx_lane(), scale * sum[k], add);
}

FX_KERNEL void FX_BOUNDS(THREADS) attend(view v, const float *qkv, float *out, float *lse)
{
    FX_SHARED(bytes);
    const tiles t = tiles_in(bytes, v.d);
    const place at = place_of(v);
    const bool there = at.token < v.T;
    float sum[OWN] = {0}, most = -INFINITY, total = 0;
    load_own(qkv + at.row, v.d, there, t.own[0]);
    for (int64_t t0 = 0; t0 < v.T; t0 += CHUNK) {
        load_chunk(qkv + row_of(v, at.bh, KEY), 3 * v.D, t0, v.T, v.d, t.chunk[0]);
        load_chunk(qkv + row_of(v, at.bh, VALUE), 3 * v.D, t0, v.T, v.d, t.chunk[1]);
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
    put_row(out + at.out, sum, 1.0f / total, v.d, false);
    if (fx_lane() == 0) lse[at.index] = most + logf(total);
}

/* dQ = scale sum over keys of ds K,  ds = P (dO V - delta). */
FX_KERNEL void FX_BOUNDS(THREADS)
    query_gradient(view v, const float *qkv, const float *out, const float *lse, const float *dout,
                   float *delta, float *dqkv, bool add)
{
    FX_SHARED(bytes);
    const tiles t = tiles_in(bytes, v.d);
    const place at = place_of(v);
    const bool there = at.token < v.T;
    float sum[OWN] = {0}, own_delta = 0;
    load_own(qkv + at.row, v.d, there, t.own[0]);
    load_own(dout + at.out, v.d, there, t.own[1]);
    for (int64_t i = fx_lane(); there && i < v.d; i += FX_WARP)
        own_delta += t.own[1][i] * fx_get(out + at.out + i);
    own_delta = fx_warp_sum(own_delta);
    if (there && fx_lane() == 0) delta[at.index] = own_delta;
    const float own_lse = there ? lse[at.index] : 0.0f;
    for (int64_t t0 = 0; t0 < v.T; t0 += CHUNK) {
        load_chunk(qkv + row_of(v, at.bh, KEY), 3 * v.D, t0, v.T, v.d, t.chunk[0]);
        load_chunk(qkv + row_of(v, at.bh, VALUE), 3 * v.D, t0, v.T, v.d, t.chunk[1]);
        fx_sync();
        const float p =
            t0 + fx_lane() < v.T ? expf(v.scale * dot(t.own[0], t.chunk[0], v.d) - own_lse) : 0.0f;
        add_rows(p * (dot(t.own[1], t.chunk[1], v.d) - own_delta), t.chunk[0], v.d, sum);
        fx_sync();
    }
    if (there) put_row(dqkv + at.row, sum, v.scale, v.d, add);
}

/* dK = scale sum over queries of ds Q,  dV = sum over queries of P dO. */
FX_KERNEL void FX_BOUNDS(THREADS)
    key_value_gradient(view v, const float *qkv, const float *lse, const float *dout,
                       const float *delta, float *dqkv, bool add)
{
    FX_SHARED(bytes);
    const tiles t = tiles_in(bytes, v.d);
    const place at = place_of(v);
    const bool there = at.token < v.T;
    float dk[OWN] = {0}, dv[OWN] = {0};
    load_own(qkv + at.row + v.D, v.d, there, t.own[0]);
    load_own(qkv + at.row + 2 * v.D, v.d, there, t.own[1]);
    for (int64_t t0 = 0; t0 < v.T; t0 += CHUNK) {
        load_chunk(qkv + row_of(v, at.bh, QUERY), 3 * v.D, t0, v.T, v.d, t.chunk[0]);
        load_chunk(dout + out_row(v, at.bh), v.D, t0, v.T, v.d, t.chunk[1]);
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
    put_row(dqkv + at.row + v.D, dk, v.scale, v.d, add);
    put_row(dqkv + at.row + 2 * v.D, dv, 1.0f, v.d, add);
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *bytes)
{
    (void)exec;
    *bytes = backward ? sizeof(float) * (size_t)fx_count(n->saved[LSE]) : 0;
    return FX_OK;
}

static dim3 grid_of(const fx_node *n, const view &v)
{
    return dim3(fx_grid(v.T, WARPS), (unsigned)(n->in[QKV]->dim[0] * v.heads));
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    if (n->in[QKV]->dtype == FX_BF16) return forward_mma(exec, n);
    const view v = view_of(n);
    FX_LAUNCH(exec, n, attend, grid_of(n, v), THREADS, shared_bytes(v), v, fx_f32(n->in[QKV]),
              fx_f32(n->out[0]), fx_f32(n->saved[LSE]));
    return FX_OK;
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    if (n->in[QKV]->dtype == FX_BF16) return backward_mma(exec, n);
    const view v = view_of(n);
    const float *qkv = fx_f32(n->in[QKV]), *dout = fx_f32(n->dout[0]), *lse = fx_f32(n->saved[LSE]);
    float *delta = (float *)fx_scratch(exec), *dqkv = fx_f32(n->din[QKV]);
    FX_LAUNCH(exec, n, query_gradient, grid_of(n, v), THREADS, shared_bytes(v), v, qkv,
              fx_f32(n->out[0]), lse, dout, delta, dqkv, fx_adds(n, QKV));
    FX_LAUNCH(exec, n, key_value_gradient, grid_of(n, v), THREADS, shared_bytes(v), v, qkv, lse, dout,
              delta, dqkv, fx_adds(n, QKV));
    return FX_OK;
}

extern "C" {
extern const fx_kernel fx_cuda_attention;
const fx_kernel fx_cuda_attention = {prepare, forward, backward};
}
