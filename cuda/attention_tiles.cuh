/* attention_tiles.cuh: what the kernels of attention_mma.cuh are made of: the tiling, the stream of
 * chunks through shared memory, products of 16 rows, and the way of a tile to memory. */
#ifndef FX_CUDA_ATTENTION_TILES_CUH
#define FX_CUDA_ATTENTION_TILES_CUH

#include "attention_view.cuh"

enum { TILE = 16, MMA_WARPS = 6, MMA_THREADS = MMA_WARPS * FX_WARP, OWNED = MMA_WARPS * TILE };
static const float LOG2_E = 1.44269504f;

/* Heads of up to WIDTH features. */
template <int WIDTH> struct tiling {
    enum {
        STEPS = (WIDTH + TILE - 1) / TILE, /* of 16 features, over which a product sums */
        PADDED = STEPS * TILE,
        PITCH = PADDED + 8,
        CHUNK = WIDTH <= 128 ? 64 : 16,
        PART = WIDTH <= 128 ? WIDTH : 128, /* features of dK and dV that a warp sums */
        BLOCKS = WIDTH <= 72 ? 2 : 1,      /* an SM, at least */
        MATRIX = CHUNK * PITCH,
        STAGE = 2 * MATRIX /* of two tensors */
    };
    static size_t shared_bytes(int owned)
    {
        return sizeof(fx_bf16) * (size_t)(owned * OWNED * PITCH + 2 * STAGE);
    }
};

/* The block's head, the first token that its warps own, and the warp's. */
typedef struct tile_place {
    int bh;
    int64_t first, token;
} tile_place;

FX_DEVICE tile_place tile_place_of(const view &v)
{
    const int blocks = (int)((v.T + OWNED - 1) / OWNED), first = fx_block() % blocks * OWNED;
    return tile_place{fx_block() / blocks, first, first + fx_warp() * TILE};
}

/* A head's rows in a tensor. */
typedef struct head_rows {
    const fx_bf16 *at;
    int pitch;
} head_rows;

FX_DEVICE head_rows part_of(const view &v, const fx_bf16 *qkv, int bh, int part)
{
    return head_rows{qkv + row_of(v, bh, part), 3 * (int)v.D};
}
FX_DEVICE head_rows out_of(const view &v, const fx_bf16 *out, int bh)
{
    return head_rows{out + out_row(v, bh), (int)v.D};
}

/* How many of the next `most` tokens exist. */
FX_DEVICE int count_of(int64_t left, int most)
{
    return left < most ? (int)left : most;
}

/* Begins the block's copies of `count` rows, from row `first` on. */
template <int WIDTH>
FX_DEVICE void fetch(const view &v, head_rows from, int64_t first, int count, fx_bf16 *to)
{
    enum { WIDE = 8, PIECES = tiling<WIDTH>::PADDED / WIDE };
    const fx_bf16 *rows = from.at + first * from.pitch;
    const int there = count_of(v.T - first, count);
    FX_UNROLL(1)
    for (int i = fx_thread(); i < count * PIECES; i += MMA_THREADS) {
        const int r = i / PIECES, c = i % PIECES * WIDE;
        const bool exists = r < there && c < v.d;
        fx_copy_async(to + r * tiling<WIDTH>::PITCH + c, exists ? rows + (r * from.pitch + c) : rows,
                      exists);
    }
}

/* Begins the copies of what a block's warps own, of one or two tensors, and of the first chunk of what
 * they meet, behind it; returns where that is when all of it has come. */
template <int WIDTH>
FX_DEVICE fx_bf16 *open_stream(const view &v, const head_rows *own, int owned, int64_t first,
                               const head_rows met[2], fx_bf16 *shared)
{
    typedef tiling<WIDTH> G;
    for (int i = 0; i < owned; i++)
        fetch<WIDTH>(v, own[i], first, OWNED, shared + i * OWNED * G::PITCH);
    fx_bf16 *stage = shared + owned * OWNED * G::PITCH;
    for (int i = 0; i < 2; i++)
        fetch<WIDTH>(v, met[i], 0, G::CHUNK, stage + i * G::MATRIX);
    fx_copy_wait();
    fx_sync();
    return stage;
}

/* visit(chunk, t0) for every chunk of two tensors, the second at chunk + MATRIX. */
template <int WIDTH, typename F>
FX_DEVICE void stream(const view &v, const head_rows met[2], fx_bf16 *stage, F visit)
{
    typedef tiling<WIDTH> G;
    int turn = 0;
    for (int64_t t0 = 0; t0 < v.T; t0 += G::CHUNK, turn ^= 1) {
        fx_bf16 *next = stage + (turn ^ 1) * G::STAGE;
        for (int i = 0; i < 2 && t0 + G::CHUNK < v.T; i++)
            fetch<WIDTH>(v, met[i], t0 + G::CHUNK, G::CHUNK, next + i * G::MATRIX);
        visit(stage + turn * G::STAGE, t0);
        fx_copy_wait();
        fx_sync(); /* all have copied the next chunk, and are done with this one */
    }
}

/* Where the lane points in 16 x 16 elements at `tile`, rows `pitch` apart, for fx_ldmatrix. As A, and
 * transposed as B: columns 0 .. 7 of all rows, then 8 .. 15. As B: the rows are its columns. */
FX_DEVICE const fx_bf16 *as_a(const fx_bf16 *tile, int pitch)
{
    return tile + fx_lane() % 16 * pitch + fx_lane() / 16 * 8;
}
FX_DEVICE const fx_bf16 *as_b(const fx_bf16 *tile, int pitch)
{
    return tile + (fx_lane() % 8 + fx_lane() / 16 * 8) * pitch + fx_lane() / 8 % 2 * 8;
}

/* The warp's 16 rows as the first operand. */
template <int WIDTH, bool KEPT = (WIDTH <= 72)> struct operand {
    uint32_t kept[KEPT ? tiling<WIDTH>::STEPS : 1][4];
    const fx_bf16 *lane;
};

template <int WIDTH, bool KEPT>
FX_DEVICE void open_operand(const fx_bf16 *rows, operand<WIDTH, KEPT> *o)
{
    o->lane = as_a(rows, tiling<WIDTH>::PITCH);
    if constexpr (KEPT) {
        FX_UNROLL_ALL
        for (int k = 0; k < tiling<WIDTH>::STEPS; k++)
            fx_ldmatrix(o->kept[k], o->lane + k * TILE);
    }
}

/* s (16, 16 TILES) = own rows times the transpose of 16 TILES rows at `others`. */
template <int TILES, int WIDTH, bool KEPT>
FX_DEVICE void scores(const operand<WIDTH, KEPT> &own, const fx_bf16 *others, float s[2 * TILES][4])
{
    typedef tiling<WIDTH> G;
    const fx_bf16 *lane = as_b(others, G::PITCH);
    FX_UNROLL_ALL
    for (int n = 0; n < 2 * TILES; n++)
        s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
    FX_UNROLL_ALL
    for (int k = 0; k < G::STEPS; k++) {
        uint32_t a[4], b[4];
        if constexpr (KEPT)
            for (int i = 0; i < 4; i++)
                a[i] = own.kept[k][i];
        else
            fx_ldmatrix(a, own.lane + k * TILE);
        FX_UNROLL_ALL
        for (int n = 0; n < TILES; n++) {
            fx_ldmatrix(b, lane + n * TILE * G::PITCH + k * TILE);
            fx_mma(s[2 * n], a, b[0], b[1]);
            fx_mma(s[2 * n + 1], a, b[2], b[3]);
        }
    }
}

/* sum (16, 8 COUNT) += w (16, 16) times 16 rows at `others`, from their column 0 on; w is two
 * accumulators side by side. */
template <int WIDTH, int COUNT>
FX_DEVICE void add_weighted(const float w[2][4], const fx_bf16 *others, float sum[COUNT][4])
{
    const uint32_t a[4] = {fx_pack_bf16(w[0][0], w[0][1]), fx_pack_bf16(w[0][2], w[0][3]),
                           fx_pack_bf16(w[1][0], w[1][1]), fx_pack_bf16(w[1][2], w[1][3])};
    const fx_bf16 *lane = as_a(others, tiling<WIDTH>::PITCH);
    FX_UNROLL_ALL
    for (int n = 0; n < COUNT; n += 2) {
        uint32_t b[4];
        fx_ldmatrix_trans(b, lane + n * 8);
        fx_mma(sum[n], a, b[0], b[1]);
        if (n + 1 < COUNT) fx_mma(sum[n + 1], a, b[2], b[3]);
    }
}

/* Where element i of the lane's four is in a tile, and in the n-th accumulator of a row of them. */
FX_DEVICE int own_row(int i)
{
    return fx_lane() / 4 + i / 2 * 8;
}
FX_DEVICE int own_column(int n, int i)
{
    return n * 8 + fx_lane() % 4 * 2 + i % 2;
}

/* Over the four lanes that share a row. */
FX_DEVICE float row_max(float v)
{
    v = fmaxf(v, fx_shuffle_xor(v, 1));
    return fmaxf(v, fx_shuffle_xor(v, 2));
}
FX_DEVICE float row_sum(float v)
{
    v += fx_shuffle_xor(v, 1);
    return v + fx_shuffle_xor(v, 2);
}

/* Stores the warp's 16 rows of scale[row half] sum, or adds them to what is at `to`: 8 COUNT columns
 * from column c0 on, of which those exist that are below d. They are rounded to bf16 on their way
 * through the warp's own rows of shared memory, so that they leave by 16 bytes. */
template <int WIDTH, int COUNT>
FX_DEVICE void put_tile(const view &v, const float sum[COUNT][4], const float scale[2],
                        fx_bf16 *own_rows, fx_bf16 *to, int64_t pitch, int64_t token, int c0, bool add)
{
    enum { PITCH = tiling<WIDTH>::PITCH, WIDE = 8 };
    fx_warp_sync();
    FX_UNROLL_ALL
    for (int n = 0; n < COUNT; n++)
        for (int i = 0; i < 4; i += 2)
            fx_set_pair(own_rows + own_row(i) * PITCH + own_column(n, i), scale[i / 2] * sum[n][i],
                        scale[i / 2] * sum[n][i + 1]);
    fx_warp_sync();
    for (int i = fx_lane(); i < TILE * COUNT; i += FX_WARP) {
        const int r = i / COUNT, c = i % COUNT * WIDE;
        float wide[WIDE];
        if (token + r >= v.T || c0 + c >= v.d) continue;
        fx_get_wide(own_rows + r * PITCH + c, wide);
        fx_put_all<WIDE>(to + (token + r) * pitch + c0 + c, wide, add);
    }
}

#endif
