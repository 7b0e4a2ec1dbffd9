/* Scaled dot-product attention of all heads; d = D/heads, one (batch, head) at a time:
 *   S = Q K^T / sqrt(d),  P = softmax(S) over keys,  O = P V,  LSE = log sum exp S
 * Keys and values are streamed in chunks with a running maximum m and sum l (Milakov and Gimelshein,
 * Online normalizer calculation for softmax, 2018), so that memory grows with the number of tokens and
 * not with its square; backward computes P again from LSE. */
#include <string.h>

#include "ops.h"
#include "vecmath.h"

enum { QKV }; /* in[]: (B, T, 3D) or an image (B, h, w, 3D), T = h w; a row is (3, heads, d) */
enum { LSE }; /* saved[]: (B, heads, T) */
enum { QUERIES = 32, KEYS = 64, HEAD = 256, ROWS = 6 }; /* block, chunk, largest d, rows of a tile */

typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));
enum { LANES = sizeof(lanes) / sizeof(float), WIDE = 2 * LANES };

typedef struct view {
    int64_t B, T, heads, d, D, row; /* row: floats from one token of QKV to the next */
    float scale;
} view;

static view view_of(const fx_node *n)
{
    const fx_tensor *x = n->in[QKV];
    view v = {.B = x->dim[0], .heads = n->attrs.attention.heads, .row = x->dim[x->rank - 1]};
    v.T = fx_count(x) / v.B / v.row;
    v.D = v.row / 3;
    v.d = v.D / v.heads;
    v.scale = 1.0f / sqrtf((float)v.d);
    return v;
}

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[QKV];
    const int64_t heads = n->attrs.attention.heads;
    FX_REQUIRE(x && (x->rank == 3 || x->rank == 4) && x->dim[x->rank - 1] % 3 == 0, FX_EARG,
               "%s: needs (batch, tokens, 3 D) or an image of 3 D channels", n->name);
    const int64_t width = x->dim[x->rank - 1] / 3;
    FX_REQUIRE(heads > 0 && width % heads == 0, FX_EARG,
               "%s: width %lld does not divide into %lld heads", n->name, (long long)width,
               (long long)heads);
    const int64_t d = width / heads, tokens = fx_count(x) / x->dim[0] / (3 * width);
    FX_REQUIRE(d % LANES == 0 && d <= HEAD, FX_EARG,
               "%s: a head of %lld is not a multiple of %d up to %d", n->name, (long long)d, LANES,
               HEAD);
    int64_t dim[FX_MAX_RANK];
    memcpy(dim, x->dim, sizeof dim);
    dim[x->rank - 1] = width;
    FX_TRY(fx_out_shape(n, 0, x->rank, dim));
    return fx_saved_shape(n, LSE, 3, FX_DIMS(x->dim[0], heads, tokens));
}

/* One tile of C += A B: `rows` <= ROWS of A and C, `vectors` vectors of columns, whose sums stay in
 * registers. Rows that a tile lacks are computed from its last one and not stored. */
static inline void tile(int64_t rows, int vectors, int64_t k, const float *A, int64_t lda,
                        const float *B, int64_t ldb, float *C, int64_t ldc, bool adds)
{
    const float *a[ROWS];
    lanes sum[ROWS][2] = {0};
    for (int r = 0; r < ROWS; r++)
        a[r] = A + (r < rows ? r : rows - 1) * lda;
    for (int64_t i = 0; i < k; i++) {
        const lanes b[2] = {*(const lanes *)(B + i * ldb),
                            vectors > 1 ? *(const lanes *)(B + i * ldb + LANES) : (lanes){0}};
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < vectors; c++)
                sum[r][c] += a[r][i] * b[c];
    }
    for (int64_t r = 0; r < rows; r++)
        for (int c = 0; c < vectors; c++) {
            lanes *to = (lanes *)(C + r * ldc) + c;
            if (adds) sum[r][c] += *to;
            *to = sum[r][c];
        }
}

/* C (m,n) = or += A (m,k) B (k,n); n a multiple of LANES. */
static void product(int64_t m, int64_t n, int64_t k, const float *A, int64_t lda, const float *B,
                    int64_t ldb, float *C, int64_t ldc, bool adds)
{
    for (int64_t c = 0; c < n;) {
        const bool wide = c + WIDE <= n;
        for (int64_t r = 0; r < m; r += ROWS) {
            const int64_t rows = m - r < ROWS ? m - r : ROWS;
            if (wide)
                tile(rows, 2, k, A + r * lda, lda, B + c, ldb, C + r * ldc + c, ldc, adds);
            else
                tile(rows, 1, k, A + r * lda, lda, B + c, ldb, C + r * ldc + c, ldc, adds);
        }
        c += wide ? WIDE : LANES;
    }
}

/* to (d,KEYS) = the transpose of `keys` rows of `from`, zeros behind. */
static void transpose(const float *from, int64_t row, int64_t keys, int64_t d, float *to)
{
    for (int64_t c = 0; c < d; c++)
        for (int64_t j = 0; j < KEYS; j++)
            to[c * KEYS + j] = j < keys ? from[j * row + c] : 0.0f;
}

/* to (count,d) = rows of `from` side by side: at their distance in QKV they would share few sets of the
 * cache. */
static void gather(const float *from, int64_t row, int64_t count, int64_t d, float *to)
{
    for (int64_t j = 0; j < count; j++)
        memcpy(to + j * d, from + j * row, sizeof *to * (size_t)d);
}

/* The largest of KEYS numbers. */
static float largest(const float *s)
{
    float lane[FX_LANES];
    memcpy(lane, s, sizeof lane);
    for (int j = FX_LANES; j < KEYS; j += FX_LANES)
        for (int k = 0; k < FX_LANES; k++)
            lane[k] = s[j + k] > lane[k] ? s[j + k] : lane[k];
    for (int half = FX_LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            lane[k] = lane[k + half] > lane[k] ? lane[k + half] : lane[k];
    return lane[0];
}

/* s = exp(scale s - m) over `keys` of KEYS numbers, 0 behind; returns their sum. */
static float exponentials(float *s, int64_t keys, float scale, float m)
{
    float lane[FX_LANES] = {0};
    for (int j = 0; j < KEYS; j++)
        s[j] = fx_exp(scale * s[j] - m);
    for (int64_t j = keys; j < KEYS; j++)
        s[j] = 0.0f;
    for (int j = 0; j < KEYS; j += FX_LANES)
        for (int k = 0; k < FX_LANES; k++)
            lane[k] += s[j + k];
    for (int half = FX_LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            lane[k] += lane[k + half];
    return lane[0];
}

/* A query meets a chunk of keys: s becomes its weights, o and l are rescaled to the new maximum. */
static void meet(const view *v, float *s, int64_t keys, bool first, float *o, float *m, float *l)
{
    for (int64_t j = keys; j < KEYS; j++)
        s[j] = -INFINITY;
    const float most = v->scale * largest(s), now = first || most > *m ? most : *m;
    const float shrink = first ? 0.0f : fx_exp(*m - now);
    *l = (first ? 0.0f : *l * shrink) + exponentials(s, keys, v->scale, now);
    *m = now;
    for (int64_t c = 0; c < v->d; c++)
        o[c] = first ? 0.0f : o[c] * shrink;
}

/* One head. q, k, v: of token 0, `row` floats apart; o: `D` floats apart; m becomes LSE. */
static void forward_head(const view *v, const float *q, const float *k, const float *val, float *o,
                         float *m, float *l)
{
    float turned[HEAD * KEYS], values[KEYS * HEAD], S[QUERIES * KEYS];
    for (int64_t j = 0; j < v->T; j += KEYS) {
        const int64_t keys = v->T - j < KEYS ? v->T - j : KEYS;
        transpose(k + j * v->row, v->row, keys, v->d, turned);
        gather(val + j * v->row, v->row, keys, v->d, values);
        for (int64_t i = 0; i < v->T; i += QUERIES) {
            const int64_t queries = v->T - i < QUERIES ? v->T - i : QUERIES;
            product(queries, KEYS, v->d, q + i * v->row, v->row, turned, KEYS, S, KEYS, false);
            for (int64_t r = 0; r < queries; r++)
                meet(v, S + r * KEYS, keys, j == 0, o + (i + r) * v->D, &m[i + r], &l[i + r]);
            product(queries, v->d, keys, S, KEYS, values, v->d, o + i * v->D, v->D, true);
        }
    }
    for (int64_t i = 0; i < v->T; i++) {
        const float inverse = 1.0f / l[i];
        for (int64_t c = 0; c < v->d; c++)
            o[i * v->D + c] *= inverse;
        m[i] += logf(l[i]);
    }
}

static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(n);
    const float *x = fx_f32(n->in[QKV]);
    float *o = fx_f32(n->out[0]), *lse = fx_f32(n->saved[LSE]), *l = fx_scratch(exec);
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < v.B * v.heads; t++) {
        const int64_t b = t / v.heads, at = t % v.heads * v.d;
        const float *q = x + b * v.T * v.row + at;
        forward_head(&v, q, q + v.D, q + 2 * v.D, o + b * v.T * v.D + at, lse + t * v.T, l + t * v.T);
    }
    return FX_OK;
}

/* P and dS of a block of queries and a chunk of keys, from S and dP, also transposed: (KEYS,QUERIES).
 */
static void softmax_backward(const view *v, int64_t queries, int64_t keys, const float *lse,
                             const float *delta, float *S, const float *dP, float *turned_P,
                             float *turned_dS)
{
    for (int64_t r = 0; r < queries; r++) {
        float *s = S + r * KEYS;
        const float *dp = dP + r * KEYS;
        exponentials(s, keys, v->scale, lse[r]);
        for (int64_t j = 0; j < KEYS; j++)
            turned_P[j * QUERIES + r] = s[j];
        for (int64_t j = 0; j < KEYS; j++)
            s[j] *= (dp[j] - delta[r]) * v->scale;
        for (int64_t j = 0; j < KEYS; j++)
            turned_dS[j * QUERIES + r] = s[j];
    }
}

typedef struct head {
    const float *q, *k, *v, *dO, *lse, *delta;
    float *dq, *dk, *dv;
} head;

/* With delta_i = <dO_i, O_i>:  dV = P^T dO,  dS = P (dO V^T - delta) / sqrt(d),  dQ = dS K,  dK = dS^T
 * Q. All gradients are added. */
static void backward_head(const view *v, const head *h)
{
    float turned_k[HEAD * KEYS], turned_v[HEAD * KEYS], S[QUERIES * KEYS], dP[QUERIES * KEYS];
    float turned_P[KEYS * QUERIES], turned_dS[KEYS * QUERIES];
    float keys_here[KEYS * HEAD], q[QUERIES * HEAD], dO[QUERIES * HEAD];
    const int64_t row = v->row, d = v->d;
    for (int64_t j = 0; j < v->T; j += KEYS) {
        const int64_t keys = v->T - j < KEYS ? v->T - j : KEYS;
        transpose(h->k + j * row, row, keys, d, turned_k);
        transpose(h->v + j * row, row, keys, d, turned_v);
        gather(h->k + j * row, row, keys, d, keys_here);
        for (int64_t i = 0; i < v->T; i += QUERIES) {
            const int64_t queries = v->T - i < QUERIES ? v->T - i : QUERIES;
            gather(h->q + i * row, row, queries, d, q);
            gather(h->dO + i * v->D, v->D, queries, d, dO);
            product(queries, KEYS, d, q, d, turned_k, KEYS, S, KEYS, false);
            product(queries, KEYS, d, dO, d, turned_v, KEYS, dP, KEYS, false);
            softmax_backward(v, queries, keys, h->lse + i, h->delta + i, S, dP, turned_P, turned_dS);
            product(keys, d, queries, turned_P, QUERIES, dO, d, h->dv + j * row, row, true);
            product(keys, d, queries, turned_dS, QUERIES, q, d, h->dk + j * row, row, true);
            product(queries, d, keys, S, KEYS, keys_here, d, h->dq + i * row, row, true);
        }
    }
}

static fx_status backward(fx_exec *exec, const fx_node *n)
{
    if (!n->din[QKV]) return FX_OK;
    const view v = view_of(n);
    const float *x = fx_f32(n->in[QKV]), *o = fx_f32(n->out[0]), *dO = fx_f32(n->dout[0]);
    const float *lse = fx_f32(n->saved[LSE]);
    float *dx = fx_f32(n->din[QKV]), *delta = fx_scratch(exec);
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < v.B * v.heads; t++) {
        const int64_t b = t / v.heads, at = t % v.heads * v.d, in = b * v.T * v.row + at,
                      out = b * v.T * v.D + at;
        for (int64_t i = 0; i < v.T; i++) {
            delta[t * v.T + i] = (float)fx_dot(dO + out + i * v.D, o + out + i * v.D, v.d);
            for (int part = 0; part < 3 && !fx_adds(n, QKV); part++)
                memset(dx + in + i * v.row + part * v.D, 0, sizeof *dx * (size_t)v.d);
        }
        const head h = {.q = x + in,
                        .k = x + in + v.D,
                        .v = x + in + 2 * v.D,
                        .dO = dO + out,
                        .lse = lse + t * v.T,
                        .delta = delta + t * v.T,
                        .dq = dx + in,
                        .dk = dx + in + v.D,
                        .dv = dx + in + 2 * v.D};
        backward_head(&v, &h);
    }
    return FX_OK;
}

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward_pass, size_t *bytes)
{
    (void)exec;
    (void)backward_pass; /* l of forward, delta of backward: one float a query and head */
    const view v = view_of(n);
    *bytes = sizeof(float) * (size_t)(v.B * v.heads * v.T);
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "one token", .attrs.attention = {1}, .dim = {{1, 1, 24}}},
    {.name = "5 tokens, 2 heads of 8", .attrs.attention = {2}, .dim = {{2, 5, 48}}},
    {.name = "65 tokens, a head of 24", .attrs.attention = {1}, .dim = {{1, 65, 72}}, .scale = 0.5f},
    {.name = "161 tokens, 2 heads of 16", .attrs.attention = {2}, .dim = {{1, 161, 96}}},
    {.name = "an image", .attrs.attention = {2}, .dim = {{2, 3, 5, 48}}},
    {.name = "large scores", .attrs.attention = {1}, .dim = {{1, 70, 48}}, .scale = 2.0f},
    {0},
};

const fx_op fx_op_attention = {
    .name = "attention",
    .shape = shape,
    .fp32 = FX_SAVED(LSE),
    .gradients = FX_IN(QKV),
    .backward_reads = FX_IN(QKV) | FX_OUT(0) | FX_SAVED(LSE),
    .cases = cases,
};
const fx_kernel fx_cpu_attention = {prepare, forward, backward};
