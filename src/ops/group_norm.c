/* Group normalisation with all that follows it in a residual block (spec 2, ResBlock 1, 2 and 5): one
 * op, because the parts share their passes over memory.
 *   x = [X, X2] + BIAS along channels, never built; groups may straddle the two
 *   xhat = (x - mean) rstd         statistics over (H, W, C/G) of one sample and group
 *   u = A xhat + D                 A = gamma (1 + s), D = beta (1 + s) + t, per sample and channel
 *   y = pool(dropout(silu(u)))     each where the attributes ask for it
 * BIAS is that of a convolution whose result only this norm reads: here it is some arithmetic a
 * channel, forward and backward, where the convolution would need a pass over dy for its gradient. Work
 * is cut into blocks of pixels whose size depends on shapes only, and their sums are combined in order,
 * so the result doesn't depend on the number of threads. Sums are per channel first, because groups of
 * 4, 6, 12 or 52 channels cut vectors; inside a chunk of pixels in fp32, then in double. */
#include "ops.h"

#include <string.h>
#include "group_norm_loops.h"
#include "group_norm_terms.h"

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
    FX_REQUIRE(!n->in[BIAS] || fx_has_shape(n->in[BIAS], 1, &C), FX_EARG,
               "added bias %s is not of %lld channels", fx_shape_text(n->in[BIAS]), (long long)C);
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
    if (n->in[BIAS]) FX_TRY(fx_saved_shape(n, LEVEL, 2, FX_DIMS(d[0], C)));
    return fx_saved_shape(n, RSTD, 2, FX_DIMS(d[0], a->groups));
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
    float *mean = fx_f32(n->saved[MEAN]), *rstd = fx_f32(n->saved[RSTD]),
          *level = fx_f32(n->saved[LEVEL]);
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
                statistics(&v, b, (double)n->attrs.group_norm.eps, mean, rstd, level);
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
    {.name = "bias before, modulated, dropout",
     .attrs = {.group_norm = {4, 1e-5f, .silu = true, .dropout = 0.2f}},
     .dim = {{4, 4, 3, 16}, {16}, {16}, {2, 32}, {0}, {16}}},
    {.name = "bias before, several blocks",
     .attrs = {.group_norm = {2, 1e-5f, .silu = true}},
     .dim = {{2, 50, 45, 3}, {6}, {6}, {0}, {2, 50, 45, 3}, {6}}},
    {.name = "bias before, pooled",
     .attrs = {.group_norm = {4, 1e-5f, .silu = true, .pool = true}},
     .dim = {{2, 6, 4, 16}, {24}, {24}, {0}, {2, 6, 4, 8}, {24}}},
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
    .parameters = FX_IN(GAMMA) | FX_IN(BETA) | FX_IN(BIAS),
    .fp32 = FX_SAVED(MEAN) | FX_SAVED(RSTD) | FX_SAVED(LEVEL),
    .gradients = FX_IN(X) | FX_IN(GAMMA) | FX_IN(BETA) | FX_IN(MOD) | FX_IN(X2) | FX_IN(BIAS),
    .backward_reads = FX_IN(X) | FX_IN(GAMMA) | FX_IN(BETA) | FX_IN(MOD) | FX_IN(X2) | FX_IN(BIAS) |
                      FX_SAVED(MEAN) | FX_SAVED(RSTD) | FX_SAVED(LEVEL),
    .cheap = true,
    .cases = cases,
};
const fx_kernel fx_cpu_group_norm = {.prepare = prepare, .forward = forward, .backward = backward};
