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
    sizes_of(n, backward, &v);
    *scratch_bytes = scratch_of(&v);
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

static void affine(const view *v, int64_t b, const float *mean, const float *rstd)
{
    const float *s = modulation(v, b), *t = s ? s + v->C : NULL;
    for (int64_t g = 0; g < v->G; g++)
        for (int64_t c = g * v->K; c < (g + 1) * v->K; c++) {
            const float scale = s ? 1.0f + s[c] : 1.0f;
            *coefficient(v, b, CENTRE, c) = mean[b * v->G + g];
            *coefficient(v, b, SLOPE, c) = rstd[b * v->G + g] * v->gamma[c] * scale;
            *coefficient(v, b, OFFSET, c) = v->beta[c] * scale + (t ? t[c] : 0.0f);
        }
}

/* The blocks' sums become those of the sample, in the place of block 0. */
static void combine_blocks(const view *v, int64_t b)
{
    double *restrict all = sum_of(v, b, 0, 0, 0);
    for (int64_t block = 1; block < v->blocks; block++) {
        const double *restrict one = sum_of(v, b, block, 0, 0);
        for (int64_t i = 0; i < 2 * v->C; i++)
            all[i] += one[i];
    }
}

/* Sums of one block, about the sample's first pixel K. */
static void block_moments(const view *v, int64_t b, int64_t block)
{
    const span own = pixels_of(v, block);
    memset(sum_of(v, b, block, 0, 0), 0, sizeof(double) * (size_t)(2 * v->C));
    for (int64_t p = own.start; p < own.end; p += CHUNK)
        for (int s = 0; s < 2; s++) {
            const int64_t C = v->width[s], pixels = own.end - p < CHUNK ? own.end - p : CHUNK;
            const float *K = v->x[s] + b * v->P * C;
            add_moments(K + p * C, pixels, C, K, sum_of(v, b, block, 0, v->first[s]),
                        sum_of(v, b, block, 1, v->first[s]));
        }
}

static void statistics(const view *v, int64_t b, double eps, float *mean, float *rstd)
{
    const double P = (double)v->P, *sum = sum_of(v, b, 0, 0, 0), *square = sum_of(v, b, 0, 1, 0);
    for (int64_t g = 0; g < v->G; g++) {
        double m = 0, spread = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t c = g * v->K; c < (g + 1) * v->K; c++) {
                const int s = c >= v->first[1];
                const double K = (double)v->x[s][b * v->P * v->width[s] + c - v->first[s]],
                             own = K + sum[c] / P;
                if (pass == 0)
                    m += own / (double)v->K;
                else
                    spread += square[c] - sum[c] * sum[c] / P + P * (own - m) * (own - m);
            }
        mean[b * v->G + g] = (float)m;
        rstd[b * v->G + g] = (float)(1 / sqrt(fmax(spread, 0) / (P * (double)v->K) + eps));
    }
}

static lines lines_of(const view *v, int64_t b, int source)
{
    const int64_t c = v->first[source];
    return (lines){coefficient(v, b, CENTRE, c), coefficient(v, b, SLOPE, c),
                   coefficient(v, b, OFFSET, c), coefficient(v, b, CONSTANT, c),
                   coefficient(v, b, TILT, c)};
}

/* Output pixels start .. end - 1 of sample b; factor (end - start, C) or NULL. */
static void write_pixels(const view *v, int64_t b, int64_t start, int64_t end, const float *factor,
                         float *y)
{
    for (int s = 0; s < 2; s++) {
        const int64_t C = v->width[s], first = v->first[s];
        const float *x = v->x[s] + (b * v->P + start) * C;
        const lines l = lines_of(v, b, s);
        if (v->silu && factor)
            normalise(x, end - start, C, v->C, l, true, factor + first, y + first);
        else if (factor)
            normalise(x, end - start, C, v->C, l, false, factor + first, y + first);
        else if (v->silu)
            normalise(x, end - start, C, v->C, l, true, NULL, y + first);
        else
            normalise(x, end - start, C, v->C, l, false, NULL, y + first);
    }
}

/* The same where four pixels are averaged to one. */
static void write_pooled(const view *v, int64_t b, int64_t start, int64_t end, float *y)
{
    for (int64_t p = start; p < end; p++, y += v->C)
        for (int s = 0; s < 2; s++) {
            const int64_t C = v->width[s], below = v->W * C;
            const float *x =
                v->x[s] + b * v->P * C + 2 * (p / (v->W / 2)) * below + 2 * (p % (v->W / 2)) * C;
            const lines l = lines_of(v, b, s);
            if (v->silu)
                normalise_four(x, C, below, l, C, true, y + v->first[s]);
            else
                normalise_four(x, C, below, l, C, false, y + v->first[s]);
        }
}

/* The output pixels that come from a block's share of the image. */
static void write_block(const view *v, int64_t b, int64_t block, float *piece, float *y)
{
    const int64_t pixels = v->pool ? v->P / 4 : v->P, end = (block + 1) * pixels / v->blocks;
    for (int64_t p = block * pixels / v->blocks; p < end; p += CHUNK) {
        const int64_t stop = end - p < CHUNK ? end : p + CHUNK;
        const bool drops = fx_dropout_on(&v->dropout);
        float *to = y + (b * pixels + p) * v->C;
        if (drops) fx_dropout_factors(&v->dropout, b, p * v->C, (stop - p) * v->C, piece);
        if (v->pool)
            write_pooled(v, b, p, stop, to);
        else
            write_pixels(v, b, p, stop, drops ? piece : NULL, to);
    }
}

/* The second pass walks backwards: what the first one read last is still in cache. */
static fx_status forward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(exec, n, false);
    float *mean = fx_f32(n->saved[MEAN]), *rstd = fx_f32(n->saved[RSTD]);
#pragma omp parallel num_threads(v.threads)
    {
        const worker w = join(&v);
        const span own = own_blocks(&v, &w);
        for (int64_t b = w.samples.start; b < w.samples.end; b++) {
            for (int64_t block = own.start; block < own.end; block++)
                block_moments(&v, b, block);
            meet(&w);
            if (w.me == 0) {
                combine_blocks(&v, b);
                statistics(&v, b, (double)n->attrs.group_norm.eps, mean, rstd);
                affine(&v, b, mean, rstd);
            }
            meet(&w);
            for (int64_t block = own.end - 1; block >= own.start; block--)
                write_block(&v, b, block, w.piece, fx_f32(n->out[0]));
        }
    }
    return FX_OK;
}

/* The gradient of `count` <= CHUNK pixels' activations, (count,C): dy itself where nothing follows the
 * activation, else in `piece`. */
static const float *upstream(const view *v, const float *dy, int64_t b, int64_t p, int64_t count,
                             float *restrict piece)
{
    const int64_t C = v->C;
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
    fx_dropout_factors(&v->dropout, b, p * C, count * C, piece);
    for (int64_t i = 0; i < count * C; i++)
        piece[i] *= dy[i];
    return piece;
}

/* Where source s of sample b keeps du for the second pass, (P,width): dx where that is stored, the
 * worker's image where it is added to; NULL: it is computed again. */
static float *kept(const view *v, const fx_node *n, const worker *w, int64_t b, int s)
{
    const int input = s == 0 ? X : X2;
    if (!v->silu || !n->din[input]) return NULL;
    if (!fx_adds(n, input)) return fx_f32(n->din[input]) + b * v->P * v->width[s];
    return w->image ? w->image + v->P * v->first[s] : NULL;
}

static void block_sums(const view *v, const fx_node *n, const worker *w, int64_t b, int64_t block)
{
    const span own = pixels_of(v, block);
    memset(sum_of(v, b, block, 0, 0), 0, sizeof(double) * (size_t)(2 * v->C));
    for (int64_t p = own.start; p < own.end; p += CHUNK) {
        const int64_t pixels = own.end - p < CHUNK ? own.end - p : CHUNK;
        const float *upper = upstream(v, fx_f32(n->dout[0]), b, p, pixels, w->piece);
        for (int s = 0; s < 2; s++) {
            const int64_t C = v->width[s], first = v->first[s];
            const float *x = v->x[s] + (b * v->P + p) * C, *dy = upper + first;
            double *S = sum_of(v, b, block, 0, first), *Q = sum_of(v, b, block, 1, first);
            float *du = kept(v, n, w, b, s);
            const lines l = lines_of(v, b, s);
            if (du)
                add_sums(x, dy, pixels, C, v->C, l, true, S, Q, du + p * C);
            else if (v->silu)
                add_sums(x, dy, pixels, C, v->C, l, true, S, Q, NULL);
            else
                add_sums(x, dy, pixels, C, v->C, l, false, S, Q, NULL);
        }
    }
}

/* With S = sum du and Q = sum du xhat per sample and channel, M1 and M2 the group means of A S and A Q:
 *   dx = rstd (A du - M1 - xhat M2), so CONSTANT = rstd M1 and TILT = rstd^2 M2 */
static void group_terms(const view *v, int64_t b, const float *rstd)
{
    const double *S = sum_of(v, b, 0, 0, 0);
    const float *mod = modulation(v, b);
    double *Q = sum_of(v, b, 0, 1, 0);
    for (int64_t g = 0; g < v->G; g++) {
        const double r = (double)rstd[b * v->G + g], size = (double)(v->P * v->K);
        double m1 = 0, m2 = 0;
        for (int64_t c = g * v->K; c < (g + 1) * v->K; c++) {
            const double A = (double)v->gamma[c] * (mod ? (double)(1.0f + mod[c]) : 1.0) / size;
            Q[c] *= r;
            m1 += A * S[c];
            m2 += A * Q[c];
        }
        for (int64_t c = g * v->K; c < (g + 1) * v->K; c++) {
            *coefficient(v, b, CONSTANT, c) = (float)(r * m1);
            *coefficient(v, b, TILT, c) = (float)(r * r * m2);
        }
    }
}

static void block_gradients(const view *v, const fx_node *n, const worker *w, int64_t b, int64_t block)
{
    const span own = pixels_of(v, block);
    const float *keep[2] = {kept(v, n, w, b, 0), kept(v, n, w, b, 1)};
    const bool all_kept = (keep[0] || !n->din[X]) && (keep[1] || !n->din[X2]);
    for (int64_t p = own.start; p < own.end; p += CHUNK) {
        const int64_t pixels = own.end - p < CHUNK ? own.end - p : CHUNK;
        const float *upper = all_kept ? NULL : upstream(v, fx_f32(n->dout[0]), b, p, pixels, w->piece);
        for (int s = 0; s < 2; s++) {
            const int input = s == 0 ? X : X2;
            const int64_t C = v->width[s], at = (b * v->P + p) * C;
            const bool adds = fx_adds(n, input);
            const float *x = v->x[s] + at;
            const lines l = lines_of(v, b, s);
            if (!n->din[input]) continue;
            float *dx = fx_f32(n->din[input]) + at;
            if (keep[s] && adds)
                write_dx(x, keep[s] + p * C, pixels, C, C, l, false, true, dx);
            else if (keep[s])
                write_dx(x, keep[s] + p * C, pixels, C, C, l, false, false, dx);
            else if (v->silu)
                write_dx(x, upper + v->first[s], pixels, C, v->C, l, true, adds, dx);
            else
                write_dx(x, upper + v->first[s], pixels, C, v->C, l, false, adds, dx);
        }
    }
}

/* dgamma = sum_b (1 + s) Q,  dbeta = sum_b (1 + s) S
 * ds = gamma Q + beta S and dt = S, summed over the samples that share a row of MOD */
static void parameter_gradients(const view *v, const fx_node *n, int64_t c)
{
    double gamma = 0, beta = 0;
    for (int64_t b = 0; b < v->B; b++) {
        const float *mod = modulation(v, b);
        const double S = *sum_of(v, b, 0, 0, c), Q = *sum_of(v, b, 0, 1, c),
                     scale = mod ? (double)(1.0f + mod[c]) : 1.0;
        gamma += scale * Q;
        beta += scale * S;
        if (!n->din[MOD]) continue;
        float *ds = fx_f32(n->din[MOD]) + b % v->M * 2 * v->C + c;
        const unsigned adds = b >= v->M || fx_adds(n, MOD);
        fx_put(ds, (float)((double)v->gamma[c] * Q + (double)v->beta[c] * S), adds);
        fx_put(ds + v->C, (float)S, adds);
    }
    if (n->din[GAMMA]) fx_put(fx_f32(n->din[GAMMA]) + c, (float)gamma, fx_adds(n, GAMMA));
    if (n->din[BETA]) fx_put(fx_f32(n->din[BETA]) + c, (float)beta, fx_adds(n, BETA));
}

/* The activation's gradient costs more than memory traffic: it is computed once where there is room. */
static fx_status backward(fx_exec *exec, const fx_node *n)
{
    const view v = view_of(exec, n, true);
    const float *rstd = fx_f32(n->saved[RSTD]);
#pragma omp parallel num_threads(v.threads)
    {
        const worker w = join(&v);
        const span own = own_blocks(&v, &w);
        for (int64_t b = w.samples.start; b < w.samples.end; b++) {
            if (w.me == 0) affine(&v, b, fx_f32(n->saved[MEAN]), rstd);
            meet(&w);
            for (int64_t block = own.start; block < own.end; block++)
                block_sums(&v, n, &w, b, block);
            meet(&w);
            if (w.me == 0) {
                combine_blocks(&v, b);
                group_terms(&v, b, rstd);
            }
            meet(&w);
            for (int64_t block = own.end - 1; block >= own.start && (n->din[X] || n->din[X2]); block--)
                block_gradients(&v, n, &w, b, block);
        }
#pragma omp barrier
#pragma omp for
        for (int64_t c = 0; c < v.C; c++)
            parameter_gradients(&v, n, c);
    }
    return FX_OK;
}

static const fx_op_case cases[] = {
    {.name = "plain", .attrs = {.group_norm = {2, 1e-5f}}, .dim = {{2, 3, 5, 8}, {8}, {8}}},
    {.name = "silu, a channel a group",
     .attrs = {.group_norm = {8, 1e-5f, .silu = true}},
     .dim = {{1, 7, 6, 8}, {8}, {8}}},
    {.name = "straddling, modulated, dropout",
     .attrs = {.group_norm = {4, 1e-5f, .silu = true, .dropout = 0.2f}},
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
    {.name = "many channels",
     .attrs = {.group_norm = {2, 1e-5f, .silu = true}},
     .dim = {{1, 3, 2, 88}, {136}, {136}, {0}, {1, 3, 2, 48}}},
    {.name = "many images",
     .attrs = {.group_norm = {2, 1e-5f, .silu = true}},
     .dim = {{66, 1, 2, 4}, {4}, {4}}},
    {.name = "several tiles of channels",
     .attrs = {.group_norm = {8, 1e-5f, .silu = true, .dropout = 0.1f}},
     .dim = {{2, 5, 7, 20}, {56}, {56}, {2, 112}, {2, 5, 7, 36}}},
    {.name = "several tiles, stored as they are",
     .attrs = {.group_norm = {4, 1e-5f}},
     .dim = {{1, 6, 7, 36}, {36}, {36}}},
    {.name = "small values",
     .attrs = {.group_norm = {2, 1e-5f, .silu = true}},
     .dim = {{2, 4, 4, 6}, {8}, {8}, {0}, {2, 4, 4, 2}},
     .scale = 1e-3f},
    {0},
};

const fx_op fx_op_group_norm = {
    .name = "group_norm",
    .shape = shape,
    .parameters = FX_IN(GAMMA) | FX_IN(BETA),
    .fp32 = FX_SAVED(MEAN) | FX_SAVED(RSTD),
    .gradients = FX_IN(X) | FX_IN(GAMMA) | FX_IN(BETA) | FX_IN(MOD) | FX_IN(X2),
    .backward_reads = FX_IN(X) | FX_IN(GAMMA) | FX_IN(BETA) | FX_IN(MOD) | FX_IN(X2) | FX_SAVED(MEAN) |
                      FX_SAVED(RSTD),
    .cheap = true,
    .cases = cases,
};
const fx_kernel fx_cpu_group_norm = {.prepare = prepare, .forward = forward, .backward = backward};
