/* group_norm_view.cuh: sizes and pointers of one group_norm node on CUDA, which thread does which part
 * of a block's work, and where things are in scratch. Private to group_norm.cu. A thread owns a column,
 * WIDTH neighbouring channels of one source: 16 bytes, or one channel where the sources' channels don't
 * divide by that. It walks over cells: pixels, or squares of four where they are averaged. A block has
 * up to COLUMNS columns beside each other (256 bytes of a pixel), and as many rows of cells as make
 * THREADS; its chunk of cells gives each thread EACH vectors of x. */
#ifndef FX_CUDA_GROUP_NORM_VIEW_CUH
#define FX_CUDA_GROUP_NORM_VIEW_CUH

#include "dropout.cuh"
#include "launch.cuh"

/* in[]: (B,H,W,C1), (C), (C), (M,2C): s then t, (B,H,W,C2), (C). MOD, X2 and BIAS may be NULL */
enum { X, GAMMA, BETA, MOD, X2, BIAS };
enum { MEAN, RSTD, LEVEL }; /* saved[]: (B,G) twice; with BIAS (B,C), means of xhat */
enum {
    THREADS = 128, /* of a block */
    COLUMNS = 16,  /* most of a block, as are the rows */
    ROWS = 32,
    EACH = 16,        /* vectors of x that a thread reads */
    SQUARE = 4,       /* pixels of a cell where four are averaged */
    MOST_IMAGES = 64, /* of a set */
    SECTOR = 32       /* bytes that memory moves at least; bands have as many times that */
};
/* A quarter of an H100's second-level cache: the next set begins while the last one waits. */
static const int64_t SET_BYTES = 12 << 20,
                     MOST = 1 << 30; /* images, pixels and channels: then they are ints */

template <typename T> struct view {
    int B, P, W, C, G, K, M;  /* P pixels of an image, of which W make a line; K = C / G */
    int width[2];             /* channels of the two sources */
    int band;                 /* channels that are worked on together: whole groups and vectors */
    int columns, rows, slabs; /* of a block; blocks that share a pixel */
    const T *x[2], *gamma, *beta, *mod, *bias;
    float eps;
    bool silu, pool;
    fx_masked masked;
};

/* Whether threads read 16 bytes at once. */
static inline bool is_wide(const fx_node *n)
{
    const int64_t count = 16 / (int64_t)fx_dtype_bytes(n->in[X]->dtype);
    return n->in[X]->dim[3] % count == 0 && (!n->in[X2] || n->in[X2]->dim[3] % count == 0);
}

/* What the passes over one image touch: x, y forward, x, dx, dy backward. */
template <typename T> static int64_t image_bytes(const view<T> &v, bool backward)
{
    const int64_t x = (int64_t)v.P * v.C, y = v.pool ? x / SQUARE : x;
    return (int64_t)sizeof(T) * (backward ? 2 * x + y : x + y);
}

/* The widest band of an image that both passes find in the cache; the narrowest where none is so. */
template <typename T> static int band_of(const view<T> &v, int width, bool backward)
{
    int band = v.C;
    for (int bands = 1; bands <= v.G && image_bytes(v, backward) / v.C * band > SET_BYTES; bands++) {
        const int own = v.C / bands;
        if (own * bands == v.C && own % v.K == 0 && own % width == 0 &&
            own * (int)sizeof(T) % SECTOR == 0)
            band = own;
    }
    return band;
}

template <typename T, int WIDTH> static view<T> view_of(const fx_node *n, bool backward)
{
    const int64_t *d = n->in[X]->dim;
    const fx_group_norm_attrs *a = &n->attrs.group_norm;
    view<T> v = {};
    v.B = (int)d[0], v.P = (int)(d[1] * d[2]), v.W = (int)d[2];
    v.width[0] = (int)d[3], v.width[1] = n->in[X2] ? (int)n->in[X2]->dim[3] : 0;
    v.C = v.width[0] + v.width[1], v.G = (int)a->groups, v.K = v.C / v.G;
    v.M = n->in[MOD] ? (int)n->in[MOD]->dim[0] : 1;
    v.x[0] = fx_data<T>(n->in[X]), v.x[1] = fx_data<T>(n->in[X2]);
    v.gamma = fx_data<T>(n->in[GAMMA]), v.beta = fx_data<T>(n->in[BETA]);
    v.mod = fx_data<T>(n->in[MOD]), v.bias = fx_data<T>(n->in[BIAS]);
    v.eps = a->eps, v.silu = a->silu, v.pool = a->pool, v.masked = fx_masked_of(n, a->dropout);
    v.band = band_of(v, WIDTH, backward);
    const int all = v.band / WIDTH;
    v.slabs = (all + COLUMNS - 1) / COLUMNS;
    v.columns = (all + v.slabs - 1) / v.slabs;
    v.rows = THREADS / v.columns < ROWS ? THREADS / v.columns : (int)ROWS;
    return v;
}

template <typename T> FX_DEVICE const T *modulation(const view<T> &v, int b)
{
    return v.mod ? v.mod + (int64_t)(b % v.M) * 2 * v.C : NULL;
}

/* Where the image of sample b begins in its source. */
template <typename T> FX_DEVICE int64_t image_of(const view<T> &v, int b, bool second)
{
    return (int64_t)b * v.P * (second ? v.width[1] : v.width[0]);
}

template <typename T> FX_DEVICE float x_at(const view<T> &v, int b, int pixel, int c)
{
    const bool second = c >= v.width[0];
    const T *image = (second ? v.x[1] : v.x[0]) + image_of(v, b, second);
    return second ? fx_get(image + (int64_t)pixel * v.width[1] + c - v.width[0])
                  : fx_get(image + (int64_t)pixel * v.width[0] + c);
}

/* The thread's part of a block's work. */
template <typename T> struct place {
    int chunk;       /* of the image */
    int row, column; /* of the block */
    int start, end;  /* of the chunk: cells */
    bool there;      /* whether the thread has a column */
    bool second;     /* whose channels are the second source's */
    int b, c, width; /* sample; first channel, among all; channels of the source */
    int64_t at;      /* where the column begins in the source */
    const T *x;      /* there */
};

/* Of piece `index` of sample b's band that begins with `channel`; an image has `cells` cells, a block
 * `size` of them. */
template <int WIDTH, typename T>
FX_DEVICE place<T> place_of(const view<T> &v, int b, int channel, int index, int cells, int size)
{
    place<T> p;
    const int slab = index % v.slabs;
    p.chunk = index / v.slabs;
    p.row = fx_thread() / v.columns;
    p.column = fx_thread() % v.columns;
    p.start = p.chunk * size;
    p.end = p.start + size < cells ? p.start + size : cells;
    p.b = b;
    p.c = channel + (slab * v.columns + p.column) * WIDTH;
    p.there = p.row < v.rows && p.c < channel + v.band;
    p.second = p.c >= v.width[0];
    p.width = p.second ? v.width[1] : v.width[0];
    p.at = image_of(v, p.b, p.second) + p.c - (p.second ? v.width[0] : 0);
    p.x = (p.second ? v.x[1] : v.x[0]) + p.at;
    return p;
}

/* Where the column begins in an array (B,cells,C). */
template <typename T> FX_DEVICE int64_t joined(const view<T> &v, const place<T> &p, int cells)
{
    return (int64_t)p.b * cells * v.C + p.c;
}

#endif
