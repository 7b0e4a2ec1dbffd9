/* attention_mma.cuh: attention in bf16 on tensor cores; statistics and sums in fp32.
 *   attend               S = Q K^T, softmax over a running maximum, O = P V, LSE
 *   query_gradient       delta = sum dO O;  P = exp(S / sqrt(d) - LSE), dS = P (dO V^T - delta),
 *                        dQ = dS K / sqrt(d)
 *   key_value_gradient   the same, transposed: dV = P^T dO, dK = dS^T Q / sqrt(d)
 * A warp owns 16 tokens of one head: queries, in the last kernel keys. What it owns stays in registers
 * as operands of fx_mma, for heads above 72 features in shared memory. The others come through shared
 * memory in chunks, the next copied while one is worked on, with one barrier a chunk. An accumulator's
 * registers, rounded to bf16, are the operand of the next product: scores never go through memory. What
 * is not there, tokens behind T and features behind d, is zeros in shared memory. Rows of it are 16
 * bytes longer than a multiple of 32, so that the eight rows of a matrix lie in different banks. Every
 * element has one warp, which adds in the order of tokens: no atomics. Where a gradient is added, it is
 * rounded to bf16 before.
 *
 * 257 tokens are 17 tiles, of 18 places in three blocks, and 272 rows: 1.12 times the FLOPs, which are
 * 4 T^2 d a head forward and 14 T^2 d backward (4 of them S and dP made twice, the price of an order
 * without atomics; 4 more for d above 128, where a block makes half of dK and dV). Bytes, each tensor
 * once a kernel: 8 B T D forward, 12 B T D twice backward, and a few fp32 a token; what a block meets
 * comes ceil(T / 96) times, but from the second-level cache. At T = 257 that is 128 FLOPs a byte
 * forward, where an H100 does 295: memory would bind if shared memory did not, from which 16 x 16
 * elements feed two fx_mma only. Both are far from what convolutions cost beside it.
 *
 * nvcc 13.0 -Xptxas -v, 2026-11-25, for sm_80, sm_90 and sm_100: no spills at any width. Registers of
 * attend, query_gradient, key_value_gradient on sm_90: width 64: 152, 138, 168; 72: 162, 154, 168; 128:
 * 190, 164, 230; 256: 191, 237, 238. Shared memory, forward and backward: width 64: 50 and 63 KiB; 72:
 * 61 and 77; 128: 94 and 119; 256: 83 and 132. So two blocks an SM up to 72, one above. */
#ifndef FX_CUDA_ATTENTION_MMA_CUH
#define FX_CUDA_ATTENTION_MMA_CUH

#include <type_traits>

#include "attention_tiles.cuh"

/* Of the lane's two rows: the largest score and the lane's share of the sum of exponentials. */
typedef struct softmax {
    float most[2], total[2];
} softmax;

/* The warp's queries meet 16 TILES keys, of which `count` exist. */
template <int WIDTH, int TILES>
FX_DEVICE void meet(const operand<WIDTH> &own, const fx_bf16 *keys, int count, float factor,
                    softmax *of, float sum[WIDTH / 8][4])
{
    float s[2 * TILES][4];
    scores<TILES>(own, keys, s);
    for (int r = 0; r < 2; r++) {
        float now = of->most[r];
        FX_UNROLL_ALL
        for (int n = 0; n < 2 * TILES; n++)
            for (int i = 2 * r; i < 2 * r + 2; i++) {
                s[n][i] = own_column(n, i) < count ? s[n][i] : -INFINITY;
                now = fmaxf(now, s[n][i]);
            }
        now = row_max(now);
        const float keep = fx_exp2(factor * (of->most[r] - now)), shift = factor * now;
        of->most[r] = now;
        of->total[r] *= keep;
        FX_UNROLL_ALL
        for (int n = 0; n < WIDTH / 8; n++)
            sum[n][2 * r] *= keep, sum[n][2 * r + 1] *= keep;
        FX_UNROLL_ALL
        for (int n = 0; n < 2 * TILES; n++)
            for (int i = 2 * r; i < 2 * r + 2; i++) {
                s[n][i] = fx_exp2(factor * s[n][i] - shift);
                of->total[r] += s[n][i];
            }
    }
    FX_UNROLL_ALL
    for (int n = 0; n < TILES; n++)
        add_weighted<WIDTH, WIDTH / 8>(
            s + 2 * n, keys + tiling<WIDTH>::MATRIX + n * TILE * tiling<WIDTH>::PITCH, sum);
}

template <int WIDTH>
FX_KERNEL void FX_BOUNDS(MMA_THREADS, tiling<WIDTH>::BLOCKS)
    attend_mma(view v, const fx_bf16 *qkv, fx_bf16 *out, float *lse)
{
    typedef tiling<WIDTH> G;
    FX_SHARED(bytes);
    const tile_place at = tile_place_of(v);
    const head_rows query = part_of(v, qkv, at.bh, QUERY);
    const head_rows met[2] = {part_of(v, qkv, at.bh, KEY), part_of(v, qkv, at.bh, VALUE)};
    const float factor = LOG2_E * v.scale;
    operand<WIDTH> own;
    softmax of = {{-INFINITY, -INFINITY}, {0, 0}};
    float sum[WIDTH / 8][4] = {};
    fx_bf16 *own_rows = (fx_bf16 *)bytes + fx_warp() * TILE * G::PITCH;
    fx_bf16 *stage = open_stream<WIDTH>(v, &query, 1, at.first, met, (fx_bf16 *)bytes);
    open_operand(own_rows, &own);
    stream<WIDTH>(v, met, stage, [&](const fx_bf16 *keys, int64_t t0) {
        if (at.token >= v.T) return;
        if (t0 + G::CHUNK <= v.T)
            return meet<WIDTH, G::CHUNK / TILE>(own, keys, G::CHUNK, factor, &of, sum);
        const int count = count_of(v.T - t0, G::CHUNK);
        for (int j = 0; j < count; j += TILE)
            meet<WIDTH, 1>(own, keys + j * G::PITCH, count - j, factor, &of, sum);
    });
    if (at.token >= v.T) return;
    const float total[2] = {row_sum(of.total[0]), row_sum(of.total[1])};
    const float inverse[2] = {1.0f / total[0], 1.0f / total[1]};
    put_tile<WIDTH, WIDTH / 8>(v, sum, inverse, own_rows, out + out_row(v, at.bh), v.D, at.token, 0,
                               false);
    for (int r = 0; r < 2; r++) {
        const int64_t token = at.token + own_row(2 * r);
        if (fx_lane() % 4 == 0 && token < v.T)
            lse[at.bh * v.T + token] = v.scale * of.most[r] + logf(total[r]);
    }
}

/* Of the warp's row lane / 2, on both its lanes; 0 behind T. */
template <int WIDTH>
FX_DEVICE float delta_of(const view &v, const fx_bf16 *own_dout, head_rows out, int64_t token)
{
    enum { WIDE = 8 };
    const int r = fx_lane() / 2;
    float sum = 0;
    for (int c = fx_lane() % 2 * WIDE; token + r < v.T && c < v.d; c += 2 * WIDE) {
        float a[WIDE], b[WIDE];
        fx_get_wide(own_dout + r * tiling<WIDTH>::PITCH + c, a);
        fx_get_wide(out.at + (token + r) * out.pitch + c, b);
        for (int i = 0; i < WIDE; i++)
            sum += a[i] * b[i];
    }
    return sum + fx_shuffle_xor(sum, 1);
}

template <int WIDTH>
FX_KERNEL void FX_BOUNDS(MMA_THREADS, tiling<WIDTH>::BLOCKS)
    query_gradient_mma(view v, const fx_bf16 *qkv, const fx_bf16 *out, const float *lse,
                       const fx_bf16 *dout, float *delta, fx_bf16 *dqkv, bool add)
{
    typedef tiling<WIDTH> G;
    FX_SHARED(bytes);
    const tile_place at = tile_place_of(v);
    const head_rows owned[2] = {part_of(v, qkv, at.bh, QUERY), out_of(v, dout, at.bh)};
    const head_rows met[2] = {part_of(v, qkv, at.bh, KEY), part_of(v, qkv, at.bh, VALUE)};
    const float factor = LOG2_E * v.scale, scale[2] = {v.scale, v.scale};
    operand<WIDTH> query, own_dout;
    float sum[WIDTH / 8][4] = {}, own_delta[2], shift[2];
    fx_bf16 *own_rows = (fx_bf16 *)bytes + fx_warp() * TILE * G::PITCH;
    fx_bf16 *stage = open_stream<WIDTH>(v, owned, 2, at.first, met, (fx_bf16 *)bytes);
    open_operand(own_rows, &query);
    open_operand(own_rows + OWNED * G::PITCH, &own_dout);
    const float of_pair =
        delta_of<WIDTH>(v, own_rows + OWNED * G::PITCH, out_of(v, out, at.bh), at.token);
    if (fx_lane() % 2 == 0 && at.token + fx_lane() / 2 < v.T)
        delta[at.bh * v.T + at.token + fx_lane() / 2] = of_pair;
    for (int r = 0; r < 2; r++) {
        const int64_t token = at.token + own_row(2 * r);
        own_delta[r] = fx_shuffle(of_pair, 2 * own_row(2 * r));
        shift[r] = token < v.T ? LOG2_E * lse[at.bh * v.T + token] : 0.0f;
    }
    stream<WIDTH>(v, met, stage, [&](const fx_bf16 *chunk, int64_t t0) {
        if (at.token >= v.T) return;
        const int count = count_of(v.T - t0, G::CHUNK);
        FX_UNROLL(1)
        for (int j = 0; j < count; j += TILE) {
            const fx_bf16 *keys = chunk + j * G::PITCH;
            float p[2][4], ds[2][4];
            scores<1>(query, keys, p);
            scores<1>(own_dout, keys + G::MATRIX, ds);
            FX_UNROLL_ALL
            for (int n = 0; n < 2; n++)
                for (int i = 0; i < 4; i++) {
                    const bool exists = own_column(n, i) < count - j; /* else exp(-LSE), any number */
                    p[n][i] = fx_exp2(exists ? factor * p[n][i] - shift[i / 2] : -INFINITY);
                    ds[n][i] = p[n][i] * (ds[n][i] - own_delta[i / 2]);
                }
            add_weighted<WIDTH, WIDTH / 8>(ds, keys, sum);
        }
    });
    if (at.token >= v.T) return;
    put_tile<WIDTH, WIDTH / 8>(v, sum, scale, own_rows, dqkv + row_of(v, at.bh, QUERY), 3 * v.D,
                               at.token, 0, add);
}

/* Rows are keys here, and columns queries. */
template <int WIDTH>
FX_KERNEL void FX_BOUNDS(MMA_THREADS, tiling<WIDTH>::BLOCKS)
    key_value_gradient_mma(view v, const fx_bf16 *qkv, const float *lse, const fx_bf16 *dout,
                           const float *delta, fx_bf16 *dqkv, bool add)
{
    typedef tiling<WIDTH> G;
    FX_SHARED(bytes);
    const tile_place at = tile_place_of(v);
    const head_rows owned[2] = {part_of(v, qkv, at.bh, KEY), part_of(v, qkv, at.bh, VALUE)};
    const head_rows met[2] = {part_of(v, qkv, at.bh, QUERY), out_of(v, dout, at.bh)};
    const float factor = LOG2_E * v.scale, scale[2] = {v.scale, v.scale}, one[2] = {1, 1};
    const float *own_lse = lse + at.bh * v.T, *deltas = delta + at.bh * v.T;
    const int c0 = fx_block_y() * G::PART;
    operand<WIDTH> key;
    operand<WIDTH, WIDTH <= 64> value; /* both would be too much at 72 */
    float dk[G::PART / 8][4] = {}, dv[G::PART / 8][4] = {};
    fx_bf16 *own_keys = (fx_bf16 *)bytes + fx_warp() * TILE * G::PITCH;
    fx_bf16 *own_values = own_keys + OWNED * G::PITCH;
    fx_bf16 *stage = open_stream<WIDTH>(v, owned, 2, at.first, met, (fx_bf16 *)bytes);
    open_operand(own_keys, &key);
    open_operand(own_values, &value);
    stream<WIDTH>(v, met, stage, [&](const fx_bf16 *chunk, int64_t t0) {
        if (at.token >= v.T) return;
        const int count = count_of(v.T - t0, G::CHUNK);
        FX_UNROLL(1)
        for (int j = 0; j < count; j += TILE) {
            const fx_bf16 *queries = chunk + j * G::PITCH, *douts = queries + G::MATRIX;
            float shift[2][2], own_delta[2][2], p[2][4], ds[2][4];
            scores<1>(key, queries, p);
            FX_UNROLL_ALL
            for (int n = 0; n < 2; n++)
                for (int i = 0; i < 2; i++) {
                    const int c = j + own_column(n, i), query = c < count ? c : 0;
                    shift[n][i] = c < count ? LOG2_E * own_lse[t0 + query] : INFINITY;
                    own_delta[n][i] = deltas[t0 + query];
                }
            scores<1>(value, douts, ds);
            FX_UNROLL_ALL
            for (int n = 0; n < 2; n++)
                for (int i = 0; i < 4; i++) {
                    p[n][i] = fx_exp2(factor * p[n][i] - shift[n][i % 2]);
                    ds[n][i] = p[n][i] * (ds[n][i] - own_delta[n][i % 2]);
                }
            add_weighted<WIDTH, G::PART / 8>(p, douts + c0, dv);
            add_weighted<WIDTH, G::PART / 8>(ds, queries + c0, dk);
        }
    });
    if (at.token >= v.T) return;
    put_tile<WIDTH, G::PART / 8>(v, dk, scale, own_keys, dqkv + row_of(v, at.bh, KEY), 3 * v.D,
                                 at.token, c0, add);
    put_tile<WIDTH, G::PART / 8>(v, dv, one, own_values, dqkv + row_of(v, at.bh, VALUE), 3 * v.D,
                                 at.token, c0, add);
}

/* Runs `with` of the least width that has room for d features. */
template <typename F> static fx_status with_width(int64_t d, F with)
{
    if (d <= 16) return with(std::integral_constant<int, 16>());
    if (d <= 32) return with(std::integral_constant<int, 32>());
    if (d <= 64) return with(std::integral_constant<int, 64>());
    if (d <= 72) return with(std::integral_constant<int, 72>());
    if (d <= 128) return with(std::integral_constant<int, 128>());
    return with(std::integral_constant<int, 256>());
}

static unsigned tiled_blocks(const fx_node *n, const view &v)
{
    return (unsigned)n->in[QKV]->dim[0] * (unsigned)v.heads * fx_grid(v.T, OWNED);
}

static fx_status forward_mma(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    return with_width(v.d, [&](auto width) {
        enum { WIDTH = decltype(width)::value };
        FX_LAUNCH(exec, n, attend_mma<WIDTH>, tiled_blocks(n, v), MMA_THREADS,
                  tiling<WIDTH>::shared_bytes(1), v, (const fx_bf16 *)n->in[QKV]->data,
                  (fx_bf16 *)n->out[0]->data, fx_f32(n->saved[LSE]));
        return FX_OK;
    });
}

static fx_status backward_mma(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const fx_bf16 *qkv = (const fx_bf16 *)n->in[QKV]->data, *dout = (const fx_bf16 *)n->dout[0]->data;
    const float *lse = fx_f32(n->saved[LSE]);
    float *delta = (float *)fx_scratch(exec);
    fx_bf16 *dqkv = (fx_bf16 *)n->din[QKV]->data;
    return with_width(v.d, [&](auto width) {
        enum { WIDTH = decltype(width)::value };
        const unsigned parts = (unsigned)((v.d + tiling<WIDTH>::PART - 1) / tiling<WIDTH>::PART);
        FX_LAUNCH(exec, n, query_gradient_mma<WIDTH>, tiled_blocks(n, v), MMA_THREADS,
                  tiling<WIDTH>::shared_bytes(2), v, qkv, (const fx_bf16 *)n->out[0]->data, lse, dout,
                  delta, dqkv, fx_adds(n, QKV));
        FX_LAUNCH(exec, n, key_value_gradient_mma<WIDTH>, dim3(tiled_blocks(n, v), parts), MMA_THREADS,
                  tiling<WIDTH>::shared_bytes(2), v, qkv, lse, dout, (const float *)delta, dqkv,
                  fx_adds(n, QKV));
        return FX_OK;
    });
}

#endif
