/* group_norm_view.h: the sizes and pointers of one group_norm node, its scratch, and how its work is
 * cut into blocks of pixels. Private to group_norm.c. Includes dropout.h. */
#ifndef FX_GROUP_NORM_VIEW_H
#define FX_GROUP_NORM_VIEW_H

#include <omp.h>
#include "dropout.h"
#include "ops.h"

/* in[]: (B,H,W,C1), (C), (C), (M,2C): s then t, (B,H,W,C2). MOD and X2 may be NULL */
enum { X, GAMMA, BETA, MOD, X2 };
enum { MEAN, RSTD }; /* saved[]: (B,G) twice */

enum {
    MOST_BLOCKS = 64, /* of a sample */
    CHUNK = 32,       /* pixels summed in fp32 */
    PIECE = 8,        /* pixels whose upstream gradient is built at once; divides CHUNK */
    FACTORS = 512,    /* dropout factors made at once */
    CACHE = 16 << 20  /* bytes of x that two passes share */
};
enum { CENTRE, SLOPE, OFFSET, CONSTANT, TILT, COEFFICIENTS };

/* Scratch: sums (B,blocks,2,C) in double; then in float coefficients (B,COEFFICIENTS,C), chunk sums
 * (B,blocks,2,C) and, in backward with dropout or pooling, upstream gradients (B,blocks,PIECE,C). The
 * two sums of a block: forward:  x - K and (x - K)^2, K the first pixel of the sample backward: S and Q
 * / rstd (see group_terms) The coefficients of a sample's channel: u = (x - CENTRE) SLOPE + OFFSET,  dx
 * = SLOPE du - CONSTANT - (x - CENTRE) TILT */
typedef struct view {
    int64_t B, H, W, P, C, G, K, M; /* P = H W pixels, K = C / G */
    int64_t block, blocks;          /* pixels in a block, blocks in a sample */
    int64_t from, to;               /* the samples at hand */
    int64_t width[2], first[2];     /* channels of the two sources, and where they start among all */
    const float *x[2], *gamma, *beta, *mod;
    float *keep[2]; /* where du waits for backward's second pass: a dx not added to, or NULL */
    bool silu, pool;
    fx_dropout dropout;
    double *sums;
    float *coefficients, *chunks, *pieces;
} view;

static inline void sizes_of(const fx_node *n, view *v)
{
    const int64_t *d = n->in[X]->dim, C2 = n->in[X2] ? n->in[X2]->dim[3] : 0;
    *v = (view){.B = d[0], .H = d[1], .W = d[2], .P = d[1] * d[2], .C = d[3] + C2, .width = {d[3], C2}};
    v->G = n->attrs.group_norm.groups;
    v->K = v->C / v->G;
    v->M = n->in[MOD] ? n->in[MOD]->dim[0] : 1;
    v->first[1] = d[3];
    const int64_t chunks = (v->P + CHUNK - 1) / CHUNK;
    v->block = (chunks + MOST_BLOCKS - 1) / MOST_BLOCKS * CHUNK;
    v->blocks = (v->P + v->block - 1) / v->block;
}

static inline view view_of(const fx_exec *exec, const fx_node *n)
{
    view v;
    sizes_of(n, &v);
    v.x[0] = fx_f32(n->in[X]);
    v.x[1] = fx_f32(n->in[X2]);
    v.gamma = fx_f32(n->in[GAMMA]);
    v.beta = fx_f32(n->in[BETA]);
    v.mod = fx_f32(n->in[MOD]);
    v.silu = n->attrs.group_norm.silu;
    v.pool = n->attrs.group_norm.pool;
    v.dropout = fx_dropout_of(exec, n, n->attrs.group_norm.dropout);
    v.sums = fx_scratch(exec);
    v.coefficients = (float *)(v.sums + v.B * v.blocks * 2 * v.C);
    v.chunks = v.coefficients + v.B * COEFFICIENTS * v.C;
    v.pieces = v.chunks + v.B * v.blocks * 2 * v.C;
    return v;
}

typedef struct span {
    int64_t start, end;
} span;

/* Sample by sample, or some at once where they are small, so that the second pass finds in cache what
 * the first one read: CACHE bytes are a part of what a socket shares. False when all are done. */
static inline bool next_samples(view *v)
{
    const int64_t fit = CACHE / (v->P * v->C * (int64_t)sizeof(float));
    v->from = v->to;
    v->to = v->from + (fit > 1 ? fit : 1) < v->B ? v->from + (fit > 1 ? fit : 1) : v->B;
    return v->from < v->B;
}

/* Blocks (b * blocks + block) of the samples at hand that the calling thread does, in every pass. */
static inline span own_items(const view *v)
{
    const int64_t items = (v->to - v->from) * v->blocks, threads = omp_get_num_threads(),
                  me = omp_get_thread_num(), start = v->from * v->blocks;
    return (span){start + items * me / threads, start + items * (me + 1) / threads};
}

static inline span pixels_of(const view *v, int64_t item)
{
    const int64_t start = item % v->blocks * v->block;
    return (span){start, start + v->block < v->P ? start + v->block : v->P};
}

static inline float *coefficient(const view *v, int64_t b, int which, int64_t c)
{
    return v->coefficients + (b * COEFFICIENTS + which) * v->C + c;
}

/* One of the two sums of a block: which = 0 or 1, from channel c. */
static inline double *sum_of(const view *v, int64_t b, int64_t block, int which, int64_t c)
{
    return v->sums + ((b * v->blocks + block) * 2 + which) * v->C + c;
}

static inline float scale_of(const view *v, int64_t b, int64_t c) /* 1 + s */
{
    return v->mod ? 1.0f + v->mod[b % v->M * 2 * v->C + c] : 1.0f;
}

static inline float shift_of(const view *v, int64_t b, int64_t c) /* t */
{
    return v->mod ? v->mod[(b % v->M * 2 + 1) * v->C + c] : 0.0f;
}

#endif
