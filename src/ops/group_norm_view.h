/* group_norm_view.h: the sizes and pointers of one group_norm node, its scratch, and who does which
 * part of its work. Private to group_norm.c. Includes dropout.h. An image is cut into blocks of pixels,
 * and both passes over it go block by block. Small images belong to one thread each, so that its second
 * pass finds in its own cache what the first one read; larger ones are shared by all threads, one after
 * the other. */
#ifndef FX_GROUP_NORM_VIEW_H
#define FX_GROUP_NORM_VIEW_H

#include <omp.h>
#include "dropout.h"
#include "ops.h"

/* in[]: (B,H,W,C1), (C), (C), (M,2C): s then t, (B,H,W,C2), (C). MOD, X2 and BIAS may be NULL */
enum { X, GAMMA, BETA, MOD, X2, BIAS };
enum { MEAN, RSTD, LEVEL }; /* saved[]: (B,G) twice; with BIAS (B,C), means of xhat */

enum {
    MOST_BLOCKS = 64,  /* of a sample */
    CHUNK = 32,        /* pixels summed in fp32, and worked on at once */
    LEAST_BLOCK = 128, /* pixels, so that sums are few beside the image */
    SMALL = 256 << 10  /* bytes of an image that stay in a core's cache */
};
enum { CENTRE, SLOPE, OFFSET, CONSTANT, TILT, COEFFICIENTS };

/* Scratch: sums (B,blocks,2,C) in double; in float coefficients (B,COEFFICIENTS,C) and, a thread, a
 * piece (CHUNK,C) for dropout factors or upstream gradients and, where small images' gradients are
 * added, the du of one image. The two sums of a block: forward (x - K) and (x - K)^2, K the first pixel
 * of the sample; backward S and Q / rstd (see group_terms). The coefficients of a sample's channel: u =
 * (x - CENTRE) SLOPE + OFFSET, dx = SLOPE du - CONSTANT - (x - CENTRE) TILT */
typedef struct view {
    int64_t B, H, W, P, C, G, K, M; /* P = H W pixels, K = C / G */
    int64_t block, blocks;          /* pixels in a block, blocks in a sample */
    int64_t width[2], first[2];     /* channels of the two sources, and where they start among all */
    int threads;
    const float *x[2], *gamma, *beta, *mod, *bias;
    bool silu, pool, small;
    fx_dropout dropout;
    double *sums;
    float *coefficients, *own;          /* own: what threads have for themselves, one after the other */
    int64_t piece_floats, image_floats; /* of which each has a piece and an image */
} view;

static inline void sizes_of(const fx_node *n, bool backward, view *v)
{
    const int64_t *d = n->in[X]->dim, C2 = n->in[X2] ? n->in[X2]->dim[3] : 0;
    const fx_group_norm_attrs *a = &n->attrs.group_norm;
    *v = (view){.B = d[0], .H = d[1], .W = d[2], .P = d[1] * d[2], .C = d[3] + C2, .width = {d[3], C2}};
    v->G = a->groups;
    v->K = v->C / v->G;
    v->M = n->in[MOD] ? n->in[MOD]->dim[0] : 1;
    v->first[1] = d[3];
    const int64_t chunks = (v->P + CHUNK - 1) / CHUNK;
    v->block = (chunks + MOST_BLOCKS - 1) / MOST_BLOCKS * CHUNK;
    if (v->block < LEAST_BLOCK) v->block = LEAST_BLOCK;
    v->blocks = (v->P + v->block - 1) / v->block;
    v->silu = a->silu;
    v->pool = a->pool;
    v->threads = omp_get_max_threads();
    v->small = v->B >= v->threads && v->P * v->C * (int64_t)sizeof(float) <= SMALL;
    const bool added = fx_adds(n, X) || fx_adds(n, X2);
    if (a->dropout > 0 || (backward && a->pool)) v->piece_floats = (CHUNK * v->C + 15) / 16 * 16;
    if (backward && v->small && v->silu && added) v->image_floats = (v->P * v->C + 15) / 16 * 16;
}

static inline int64_t own_floats(const view *v)
{
    return v->piece_floats + v->image_floats;
}

static inline size_t scratch_of(const view *v)
{
    return sizeof(double) * (size_t)(v->B * v->blocks * 2 * v->C) +
           sizeof(float) * (size_t)(v->B * COEFFICIENTS * v->C + v->threads * own_floats(v));
}

static inline view view_of(const fx_exec *exec, const fx_node *n, bool backward)
{
    view v;
    sizes_of(n, backward, &v);
    v.x[0] = fx_f32(n->in[X]);
    v.x[1] = fx_f32(n->in[X2]);
    v.gamma = fx_f32(n->in[GAMMA]);
    v.beta = fx_f32(n->in[BETA]);
    v.mod = fx_f32(n->in[MOD]);
    v.bias = fx_f32(n->in[BIAS]);
    v.dropout = fx_dropout_of(exec, n, n->attrs.group_norm.dropout);
    v.sums = fx_scratch(exec);
    v.coefficients = (float *)(v.sums + v.B * v.blocks * 2 * v.C);
    v.own = v.coefficients + v.B * COEFFICIENTS * v.C;
    return v;
}

typedef struct span {
    int64_t start, end;
} span;

/* The calling thread as one of the crew that shares its samples, and its own memory. */
typedef struct worker {
    int64_t me, crew;
    span samples;
    float *piece, *image; /* image is NULL where there is none */
} worker;

/* To be called in a parallel region. */
static inline worker join(const view *v)
{
    const int64_t threads = omp_get_num_threads(), me = omp_get_thread_num();
    float *own = v->own + me * own_floats(v);
    worker w = {me, threads, {0, v->B}, own, v->image_floats ? own + v->piece_floats : NULL};
    if (v->small) {
        w.samples = (span){v->B * me / threads, v->B * (me + 1) / threads};
        w.me = 0;
        w.crew = 1;
    }
    return w;
}

/* Until all of the crew are here. */
static inline void meet(const worker *w)
{
    if (w->crew > 1) {
#pragma omp barrier
    }
}

/* The blocks of each of its samples that are the worker's, in every pass. */
static inline span own_blocks(const view *v, const worker *w)
{
    return (span){v->blocks * w->me / w->crew, v->blocks * (w->me + 1) / w->crew};
}

static inline span pixels_of(const view *v, int64_t block)
{
    const int64_t start = block * v->block;
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

/* s and t of sample b, or NULL. */
static inline const float *modulation(const view *v, int64_t b)
{
    return v->mod ? v->mod + b % v->M * 2 * v->C : NULL;
}

#endif
