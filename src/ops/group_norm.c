/* Group normalisation with all that follows it in a residual block (spec 2, ResBlock 1, 2 and 5): one
 * op, because the parts share their passes over memory.
 *   x = [X, X2] along channels, never built; groups may straddle the two
 *   xhat = (x - mean) rstd         statistics over (H, W, C/G) of one sample and group
 *   u = A xhat + D                 A = gamma (1 + s), D = beta (1 + s) + t, per sample and channel
 *   y = pool(dropout(silu(u)))     each where the attributes ask for it
 * Work is cut into blocks of pixels whose size depends on shapes only, and their sums are combined in
 * order, so the result doesn't depend on the number of threads. Sums are per channel first, because
 * groups of 4, 6, 12 or 52 channels cut vectors; inside a chunk of pixels in fp32, then in double. */
#include "ops.h"

#include <string.h>
#include "group_norm_loops.h"
#include "group_norm_view.h"

static fx_status prepare(fx_exec *exec, const fx_node *n, bool backward, size_t *scratch_bytes)
{
    (void)exec;
    view v;
    sizes_of(n, &v);
    const fx_group_norm_attrs *a = &n->attrs.group_norm;
    const int64_t items = v.B * v.blocks,
                  pieces = backward && (a->pool || a->dropout > 0) ? items * PIECE * v.C : 0,
                  floats = v.B * COEFFICIENTS * v.C + items * 2 * v.C + pieces;
    *scratch_bytes = sizeof(double) * (size_t)(items * 2 * v.C) + sizeof(float) * (size_t)floats;
    return FX_OK;
}

static fx_status shape(fx_node *n)
{
    const fx_tensor *x = n->in[X], *x2 = n->in[X2], *mod = n->in[MOD];
    const fx_group_norm_attrs *a = &n->attrs.group_norm;
    FX_REQUIRE(x && n->in[GAMMA] && n->in[BETA] && x->rank == 4, FX_EARG,
               "needs an image, weight and bias");
    const int64_t *d = x->dim;
    FX_REQUIRE(!x2 || fx_has_shape(x2, 4, FX_DIMS(d[0], d[1], d[2], x2->dim[3])), FX_EARG,
               "the second source %s does not fit %s", fx_shape_text(x2), fx_shape_text(x));
    const int64_t C = d[3] + (x2 ? x2->dim[3] : 0);
    FX_REQUIRE(a->groups > 0 && C % a->groups == 0, FX_EARG,
               "%lld channels do not divide into %lld groups", (long long)C, (long long)a->groups);
    FX_REQUIRE(fx_has_shape(n->in[GAMMA], 1, &C) && fx_has_shape(n->in[BETA], 1, &C), FX_EARG,
               "weight %s and bias %s are not of %lld channels", fx_shape_text(n->in[GAMMA]),
               fx_shape_text(n->in[BETA]), (long long)C);
    FX_REQUIRE(!mod || (mod->rank == 2 && mod->dim[1] == 2 * C && d[0] % mod->dim[0] == 0), FX_EARG,
               "modulation %s is not (M, %lld) with M dividing %lld", fx_shape_text(mod),
               (long long)(2 * C), (long long)d[0]);
    FX_REQUIRE(!a->pool || (d[1] % 2 == 0 && d[2] % 2 == 0 && a->dropout == 0.0f), FX_EARG,
               "pooling %s needs even sides and no dropout", fx_shape_text(x));
    FX_REQUIRE(a->dropout >= 0.0f && a->dropout < 1.0f, FX_EARG, "dropout %g is not in [0, 1)",
               (double)a->dropout);
    const int64_t half = a->pool ? 2 : 1;
    FX_TRY(fx_out_shape(n, 0, 4, FX_DIMS(d[0], d[1] / half, d[2] / half, C)));
    FX_TRY(fx_saved_shape(n, MEAN, 2, FX_DIMS(d[0], a->groups)));
    return fx_saved_shape(n, RSTD, 2, FX_DIMS(d[0], a->groups));
}

static void affine(const view *v, const float *mean, const float *rstd)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = v->from * v->C; i < v->to * v->C; i++) {
        const int64_t b = i / v->C, c = i % v->C, bg = b * v->G + c / v->K;
        *coefficient(v, b, CENTRE, c) = mean[bg];
        *coefficient(v, b, SLOPE, c) = rstd[bg] * v->gamma[c] * scale_of(v, b, c);
        *coefficient(v, b, OFFSET, c) = v->beta[c] * scale_of(v, b, c) + shift_of(v, b, c);
    }
}

/* The blocks' sums become those of the sample, in the place of block 0. */
static void combine_blocks(const view *v)
{
#pragma omp parallel for schedule(static)
    for (int64_t b = v->from; b < v->to; b++)
        for (int64_t block = 1; block < v->blocks; block++)
            for (int64_t i = 0; i < 2 * v->C; i++)
                sum_of(v, b, 0, 0, 0)[i] += sum_of(v, b, block, 0, 0)[i];
}

/* Sums of one block. A chunk is shifted by its own first pixel, so that a large mean loses nothing in
 * fp32; the sums about the sample's first pixel K follow in double. */
static void block_moments(const view *v, int64_t item)
{
    const int64_t b = item / v->blocks, block = item % v->blocks;
    const span own = pixels_of(v, item);
    memset(sum_of(v, b, block, 0, 0), 0, sizeof(double) * (size_t)(2 * v->C));
    for (int64_t p = own.start; p < own.end; p += CHUNK)
        for (int s = 0; s < 2; s++) {
            const int64_t C = v->width[s], pixels = own.end - p < CHUNK ? own.end - p : CHUNK;
            const float *K = v->x[s] + b * v->P * C, *x = K + p * C;
            float *sum = v->chunks + item * 2 * v->C, *square = sum + C;
            double *total = sum_of(v, b, block, 0, v->first[s]),
                   *squares = sum_of(v, b, block, 1, v->first[s]);
            memset(sum, 0, sizeof *sum * (size_t)(2 * C));
            chunk_moments(x, pixels, C, sum, square);
#pragma omp simd
            for (int64_t c = 0; c < C; c++) {
                const double shift = (double)x[c] - (double)K[c], moved = (double)pixels * shift;
                total[c] += (double)sum[c] + moved;
                squares[c] += (double)square[c] + shift * (2 * (double)sum[c] + moved);
            }
        }
}

static void statistics(const view *v, double eps, float *mean, float *rstd)
{
#pragma omp parallel
    {
        const span own = own_items(v);
        for (int64_t item = own.start; item < own.end; item++)
            block_moments(v, item);
    }
    combine_blocks(v);
#pragma omp parallel for schedule(static)
    for (int64_t bg = v->from * v->G; bg < v->to * v->G; bg++) {
        const int64_t b = bg / v->G, c0 = bg % v->G * v->K;
        const double P = (double)v->P, *sum = sum_of(v, b, 0, 0, 0), *square = sum_of(v, b, 0, 1, 0);
        double m = 0, spread = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t c = c0; c < c0 + v->K; c++) {
                const int s = c >= v->first[1];
                const double K = (double)v->x[s][b * v->P * v->width[s] + c - v->first[s]],
                             own = K + sum[c] / P;
                if (pass == 0)
                    m += own / (double)v->K;
                else
                    spread += square[c] - sum[c] * sum[c] / P + P * (own - m) * (own - m);
            }
        mean[bg] = (float)m;
        rstd[bg] = (float)(1 / sqrt(fmax(spread, 0) / (P * (double)v->K) + eps));
    }
}

static lines lines_of(const view *v, int64_t b, int source)
{
    const int64_t c = v->first[source];
    return (lines){coefficient(v, b, CENTRE, c), coefficient(v, b, SLOPE, c),
                   coefficient(v, b, OFFSET, c), coefficient(v, b, CONSTANT, c),
                   coefficient(v, b, TILT, c)};
}

static void drop(const fx_dropout *d, int64_t b, int64_t first, int64_t count, float *y)
{
    float factor[FACTORS];
    for (int64_t done = 0; done < count; done += FACTORS) {
        const int64_t size = count - done < FACTORS ? count - done : FACTORS;
        fx_dropout_factors(d, b, first + done, size, factor);
        for (int64_t i = 0; i < size; i++)
            y[done + i] *= factor[i];
    }
}

/* Output pixels start .. end - 1 of sample b. */
static void write_pixels(const view *v, int64_t b, int64_t start, int64_t end, float *y)
{
    for (int64_t p = start; p < end; p++, y += v->C)
        for (int s = 0; s < 2; s++) {
            const int64_t C = v->width[s], below = v->W * C;
            const float *sample = v->x[s] + b * v->P * C;
            float *to = y + v->first[s];
            const lines l = lines_of(v, b, s);
            if (v->pool) {
                const float *x = sample + 2 * (p / (v->W / 2)) * below + 2 * (p % (v->W / 2)) * C;
                if (v->silu)
                    normalise_four(x, C, below, l, C, true, to);
                else
                    normalise_four(x, C, below, l, C, false, to);
            } else if (v->silu)
                normalise(sample + p * C, l, C, true, to);
            else
                normalise(sample + p * C, l, C, false, to);
        }
}

/* The output pixels that come from a block's share of the image. */
static void write_block(const view *v, int64_t item, float *y)
{
    const int64_t b = item / v->blocks, block = item % v->blocks, pixels = v->pool ? v->P / 4 : v->P;
    const int64_t end = (block + 1) * pixels / v->blocks;
    for (int64_t p = block * pixels / v->blocks; p < end; p += PIECE) {
        const int64_t stop = end - p < PIECE ? end : p + PIECE;
        float *to = y + (b * pixels + p) * v->C;
        write_pixels(v, b, p, stop, to);
        if (fx_dropout_on(&v->dropout)) drop(&v->dropout, b, p * v->C, (stop - p) * v->C, to);
    }
}

/* The second pass walks backwards: what the first one read last is still in cache. */
static fx_status forward(fx_exec *exec, const fx_node *n)
{
    view v = view_of(exec, n);
    while (next_samples(&v)) {
        statistics(&v, (double)n->attrs.group_norm.eps, fx_f32(n->saved[MEAN]), fx_f32(n->saved[RSTD]));
        affine(&v, fx_f32(n->saved[MEAN]), fx_f32(n->saved[RSTD]));
#pragma omp parallel
        {
            const span own = own_items(&v);
            for (int64_t item = own.end - 1; item >= own.start; item--)
                write_block(&v, item, fx_f32(n->out[0]));
        }
    }
    return FX_OK;
}

/* The gradient of `count` <= PIECE pixels' activations, (count,C): dy itself where nothing follows the
 * activation, else in the item's piece. */
static const float *upstream(const view *v, const float *dy, int64_t item, int64_t p, int64_t count)
{
    const int64_t b = item / v->blocks, C = v->C;
    float *piece = v->pieces + item * PIECE * C;
    if (v->pool) {
        for (int64_t k = 0; k < count; k++) {
            const int64_t h = (p + k) / v->W / 2, w = (p + k) % v->W / 2;
            const float *from = dy + ((b * (v->H / 2) + h) * (v->W / 2) + w) * C;
            for (int64_t c = 0; c < C; c++)
                piece[k * C + c] = 0.25f * from[c];
        }
        return piece;
    }
    dy += (b * v->P + p) * C;
    if (!fx_dropout_on(&v->dropout)) return dy;
    memcpy(piece, dy, sizeof *piece * (size_t)(count * C));
    drop(&v->dropout, b, p * C, count * C, piece);
    return piece;
}

static void block_sums(const view *v, const float *dy, int64_t item)
{
    const int64_t b = item / v->blocks, C = v->C;
    const span own = pixels_of(v, item);
    float *chunk = v->chunks + item * 2 * C;
    double *total = sum_of(v, b, item % v->blocks, 0, 0);
    memset(total, 0, sizeof *total * (size_t)(2 * C));
    memset(chunk, 0, sizeof *chunk * (size_t)(2 * C));
    for (int64_t p = own.start; p < own.end; p += PIECE) {
        const int64_t pixels = own.end - p < PIECE ? own.end - p : PIECE;
        const float *upper = upstream(v, dy, item, p, pixels);
        for (int s = 0; s < 2; s++) {
            const int64_t width = v->width[s], first = v->first[s], at = (b * v->P + p) * width;
            const lines l = lines_of(v, b, s);
            float *S = chunk + first, *Q = chunk + C + first;
            if (v->keep[s])
                add_sums(v->x[s] + at, upper + first, pixels, C, l, width, true, S, Q, v->keep[s] + at);
            else if (v->silu)
                add_sums(v->x[s] + at, upper + first, pixels, C, l, width, true, S, Q, NULL);
            else
                add_sums(v->x[s] + at, upper + first, pixels, C, l, width, false, S, Q, NULL);
        }
        if ((p + PIECE) % CHUNK == 0 || p + PIECE >= own.end)
            for (int64_t i = 0; i < 2 * C; i++) {
                total[i] += (double)chunk[i];
                chunk[i] = 0;
            }
    }
}

/* With S = sum du and Q = sum du xhat per sample and channel, M1 and M2 the group means of A S and A Q:
 *   dx = rstd (A du - M1 - xhat M2), so CONSTANT = rstd M1 and TILT = rstd^2 M2 */
static void group_terms(const view *v, const float *rstd)
{
#pragma omp parallel for schedule(static)
    for (int64_t bg = v->from * v->G; bg < v->to * v->G; bg++) {
        const int64_t b = bg / v->G, c0 = bg % v->G * v->K;
        const double r = (double)rstd[bg], *S = sum_of(v, b, 0, 0, 0);
        double *Q = sum_of(v, b, 0, 1, 0), m1 = 0, m2 = 0;
        for (int64_t c = c0; c < c0 + v->K; c++) {
            const double A = (double)v->gamma[c] * (double)scale_of(v, b, c) / (double)(v->P * v->K);
            Q[c] *= r;
            m1 += A * S[c];
            m2 += A * Q[c];
        }
        for (int64_t c = c0; c < c0 + v->K; c++) {
            *coefficient(v, b, CONSTANT, c) = (float)(r * m1);
            *coefficient(v, b, TILT, c) = (float)(r * r * m2);
        }
    }
}

static void block_gradients(const view *v, const fx_node *n, const float *dy, int64_t item)
{
    const int64_t b = item / v->blocks;
    const span own = pixels_of(v, item);
    const bool all_kept = (v->keep[0] || !n->din[X]) && (v->keep[1] || !n->din[X2]);
    for (int64_t p = own.start; p < own.end; p += PIECE) {
        const int64_t pixels = own.end - p < PIECE ? own.end - p : PIECE;
        const float *upper = all_kept ? NULL : upstream(v, dy, item, p, pixels);
        for (int s = 0; s < 2; s++) {
            const int input = s == 0 ? X : X2;
            const int64_t C = v->width[s], at = (b * v->P + p) * C;
            const float *x = v->x[s] + at, *du = v->keep[s] ? v->keep[s] + at : NULL;
            const lines l = lines_of(v, b, s);
            if (!n->din[input]) continue;
            float *dx = fx_f32(n->din[input]) + at;
            if (du)
                write_dx(x, du, pixels, C, l, C, false, 0, dx);
            else if (v->silu)
                write_dx(x, upper + v->first[s], pixels, v->C, l, C, true, fx_adds(n, input), dx);
            else
                write_dx(x, upper + v->first[s], pixels, v->C, l, C, false, fx_adds(n, input), dx);
        }
    }
}

/* dgamma = sum_b (1 + s) Q,  dbeta = sum_b (1 + s) S
 * ds = gamma Q + beta S and dt = S, summed over the samples that share a row of MOD */
static void parameter_gradients(const view *v, const fx_node *n)
{
    float *dgamma = fx_f32(n->din[GAMMA]), *dbeta = fx_f32(n->din[BETA]), *dmod = fx_f32(n->din[MOD]);
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < v->C; c++) {
        double gamma = 0, beta = 0;
        for (int64_t b = 0; b < v->B; b++) {
            const double S = *sum_of(v, b, 0, 0, c), Q = *sum_of(v, b, 0, 1, c),
                         scale = (double)scale_of(v, b, c);
            gamma += scale * Q;
            beta += scale * S;
            if (!dmod) continue;
            float *ds = dmod + b % v->M * 2 * v->C + c;
            const unsigned adds = b >= v->M || fx_adds(n, MOD);
            fx_put(ds, (float)((double)v->gamma[c] * Q + (double)v->beta[c] * S), adds);
            fx_put(ds + v->C, (float)S, adds);
        }
        if (dgamma) fx_put(&dgamma[c], (float)gamma, fx_adds(n, GAMMA));
        if (dbeta) fx_put(&dbeta[c], (float)beta, fx_adds(n, BETA));
    }
}

/* The activation's gradient costs more than memory traffic: it is computed once where dx can hold it.
 */
static fx_status backward(fx_exec *exec, const fx_node *n)
{
    view v = view_of(exec, n);
    const float *dy = fx_f32(n->dout[0]), *rstd = fx_f32(n->saved[RSTD]);
    v.keep[0] = v.silu && !fx_adds(n, X) ? fx_f32(n->din[X]) : NULL;
    v.keep[1] = v.silu && !fx_adds(n, X2) ? fx_f32(n->din[X2]) : NULL;
    while (next_samples(&v)) {
        affine(&v, fx_f32(n->saved[MEAN]), rstd);
#pragma omp parallel
        {
            const span own = own_items(&v);
            for (int64_t item = own.start; item < own.end; item++)
                block_sums(&v, dy, item);
        }
        combine_blocks(&v);
        group_terms(&v, rstd);
        if (!n->din[X] && !n->din[X2]) continue;
#pragma omp parallel
        {
            const span own = own_items(&v);
            for (int64_t item = own.end - 1; item >= own.start; item--)
                block_gradients(&v, n, dy, item);
        }
    }
    parameter_gradients(&v, n);
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "plain", .attrs = {.group_norm = {2, 1e-5f}}, .dim = {{2, 3, 5, 8}, {8}, {8}}},
    {.name = "silu, a channel a group",
     .attrs = {.group_norm = {8, 1e-5f, .silu = true}},
     .dim = {{1, 7, 6, 8}, {8}, {8}}},
    {.name = "straddling, modulated",
     .attrs = {.group_norm = {4, 1e-5f, .silu = true}},
     .dim = {{4, 4, 3, 16}, {24}, {24}, {2, 48}, {4, 4, 3, 8}}},
    {.name = "odd groups, dropout",
     .attrs = {.group_norm = {3, 1e-5f, .silu = true, .dropout = 0.3f}},
     .dim = {{2, 5, 3, 7}, {9}, {9}, {2, 18}, {2, 5, 3, 2}}},
    {.name = "pooled",
     .attrs = {.group_norm = {4, 1e-5f, .silu = true, .pool = true}},
     .dim = {{2, 6, 4, 12}, {12}, {12}}},
    {.name = "pooled, plain, two sources",
     .attrs = {.group_norm = {2, 1e-5f, .pool = true}},
     .dim = {{3, 4, 2, 4}, {6}, {6}, {1, 12}, {3, 4, 2, 2}}},
    {.name = "several blocks",
     .attrs = {.group_norm = {2, 1e-5f, .silu = true, .dropout = 0.1f}},
     .dim = {{1, 50, 45, 4}, {4}, {4}}},
    {.name = "small values",
     .attrs = {.group_norm = {2, 1e-5f, .silu = true}},
     .dim = {{2, 4, 4, 6}, {8}, {8}, {0}, {2, 4, 4, 2}},
     .scale = 1e-3f},
    {0},
};

const fx_op fx_op_group_norm = {
    .name = "group_norm",
    .shape = shape,
    .gradients = FX_IN(X) | FX_IN(GAMMA) | FX_IN(BETA) | FX_IN(MOD) | FX_IN(X2),
    .backward_reads = FX_IN(X) | FX_IN(GAMMA) | FX_IN(BETA) | FX_IN(MOD) | FX_IN(X2) | FX_SAVED(MEAN) |
                      FX_SAVED(RSTD),
    .cheap = true,
    .cases = cases,
};
const fx_kernel fx_cpu_group_norm = {.prepare = prepare, .forward = forward, .backward = backward};
