/* group_norm_view.cuh: sizes and pointers of one group_norm node on CUDA, which thread does which part
 * of the work, and where things are in scratch. Private to group_norm.cu. A thread owns a column, WIDTH
 * neighbouring channels of one source: 16 bytes, or one channel where the sources' channels don't
 * divide by that. It walks over cells: pixels, or squares of four where they are averaged. A block has
 * up to COLUMNS columns beside each other (256 bytes of a pixel), and as many rows of cells as make
 * THREADS; its chunk of cells gives each thread EACH vectors of x. Launches go over sets of images that
 * both passes over them find in the second-level cache, or over bands of one image's channels, whole
 * groups, where an image is more than that. */
#ifndef FX_CUDA_GROUP_NORM_VIEW_CUH
#define FX_CUDA_GROUP_NORM_VIEW_CUH

#include "dropout.cuh"
#include "launch.cuh"

/* in[]: (B,H,W,C1), (C), (C), (M,2C): s then t, (B,H,W,C2). MOD and X2 may be NULL */
enum { X, GAMMA, BETA, MOD, X2 };
enum { MEAN, RSTD };                                          /* saved[]: (B,G) twice */
enum { CENTRE, SLOPE, OFFSET, CONSTANT, TILT, COEFFICIENTS }; /* of a sample's channel */
enum {
    THREADS = 128, /* most of a block; exactly those of a block that adds up one group */
    COLUMNS = 16,  /* most of a block, as are the rows */
    ROWS = 32,
    EACH = 16,        /* vectors of x that a thread reads */
    SQUARE = 4,       /* pixels of a cell where four are averaged */
    MOST_IMAGES = 64, /* of a set */
    SECTOR = 32,      /* bytes that memory moves at least; bands have as many times that */
    GROUP_SHARED = THREADS / FX_WARP * (int)sizeof(double)
};
static const int64_t SET_BYTES = 24 << 20, /* just below half of an H100's second-level cache */
    MOST = 1 << 30;                        /* images, pixels and channels: then they are ints */

template <typename T> struct view {
    int B, P, W, C, G, K, M;  /* P pixels of an image, of which W make a line; K = C / G */
    int width[2];             /* channels of the two sources */
    int band;                 /* channels of a launch: a part of C, whole groups and vectors */
    int columns, rows, slabs; /* of a block; blocks that share a pixel */
    const T *x[2], *gamma, *beta, *mod;
    float eps;
    bool silu, pool;
    fx_masked masked;
};

/* What a launch covers: of images first .. first + images - 1 the band that begins with `channel`, of
 * `cells` cells in `chunks` chunks. */
struct part {
    int first, images, channel, cells, chunk, chunks; /* chunk: cells of each but the last */
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
    v.gamma = fx_data<T>(n->in[GAMMA]), v.beta = fx_data<T>(n->in[BETA]),
    v.mod = fx_data<T>(n->in[MOD]);
    v.eps = a->eps, v.silu = a->silu, v.pool = a->pool, v.masked = fx_masked_of(n, a->dropout);
    v.band = band_of(v, WIDTH, backward);
    const int all = v.band / WIDTH;
    v.slabs = (all + COLUMNS - 1) / COLUMNS;
    v.columns = (all + v.slabs - 1) / v.slabs;
    v.rows = THREADS / v.columns < ROWS ? THREADS / v.columns : (int)ROWS;
    return v;
}

/* `square`: cells are squares. */
template <typename T> static part part_of(const view<T> &v, bool square, bool backward)
{
    const int64_t images = SET_BYTES / (image_bytes(v, backward) / v.C * v.band);
    const int most = v.B < MOST_IMAGES ? v.B : (int)MOST_IMAGES;
    part s = {};
    s.images = images < 1 ? 1 : images < most ? (int)images : most;
    s.cells = square ? v.P / SQUARE : v.P;
    s.chunk = v.rows * (square ? EACH / SQUARE : (int)EACH);
    s.chunks = (s.cells + s.chunk - 1) / s.chunk;
    return s;
}

/* The part of a set that begins with image `first`, of the band that begins with `channel`. */
template <typename T> static part next_part(const view<T> &v, part s, int first, int channel)
{
    s.first = first, s.channel = channel;
    if (first + s.images > v.B) s.images = v.B - first;
    return s;
}

template <typename T> static dim3 grid_of(const view<T> *v, const part *s)
{
    return dim3((unsigned)s->chunks * (unsigned)v->slabs, (unsigned)s->images);
}

/* A block a group of the part's. */
template <typename T> static dim3 groups_of(const view<T> &v, const part &s)
{
    return dim3((unsigned)(v.band / v.K), (unsigned)s.images);
}

template <typename T> static unsigned threads_of(const view<T> *v)
{
    return fx_grid(v->rows * v->columns, FX_WARP) * FX_WARP;
}

template <typename T> static size_t fold_bytes(const view<T> *v, int width)
{
    return 2 * sizeof(float) * (size_t)(v->rows * v->columns * width);
}

/* Scratch: the sums of du and du xhat in double, (B,C), backward only; coefficients (B,COEFFICIENTS,C):
 *   u = (x - CENTRE) SLOPE + OFFSET, dx = SLOPE du - CONSTANT - (x - CENTRE) TILT
 * and pairs of sums of the chunks of one set, (images,C,chunks). */
struct scratch {
    double2 *sums;
    float *table;
    float2 *parts;
};

template <typename T> static size_t sums_bytes(const view<T> *v, bool backward)
{
    return backward ? sizeof(double2) * (size_t)v->B * (size_t)v->C : 0;
}
template <typename T> static size_t table_bytes(const view<T> *v)
{
    return (sizeof(float) * (size_t)v->B * COEFFICIENTS * (size_t)v->C + 15) / 16 * 16;
}
template <typename T> static size_t parts_bytes(const view<T> *v, const part *s)
{
    return sizeof(float2) * (size_t)s->images * (size_t)v->C * (size_t)s->chunks;
}

template <typename T> static scratch scratch_of(fx_exec *exec, const view<T> *v, bool backward)
{
    char *sums = (char *)fx_scratch(exec), *table = sums + sums_bytes(v, backward);
    return scratch{(double2 *)sums, (float *)table, (float2 *)(table + table_bytes(v))};
}

template <typename T> FX_DEVICE const T *modulation(const view<T> &v, int b)
{
    return v.mod ? v.mod + (int64_t)(b % v.M) * 2 * v.C : NULL;
}

/* Where a coefficient of sample b's channels begins in the table. */
template <typename T> FX_DEVICE int64_t table_row(const view<T> &v, int b, int which)
{
    return ((int64_t)b * COEFFICIENTS + which) * v.C;
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

/* The thread's part of a launch. */
template <typename T> struct place {
    int image, chunk; /* of the set; of the image */
    int row, column;  /* of the block */
    int start, end;   /* of the chunk: cells */
    bool there;       /* whether the thread has a column */
    bool second;      /* whose channels are the second source's */
    int b, c, width;  /* sample; first channel, among all; channels of the source */
    int64_t at;       /* where the column begins in the source */
    const T *x;       /* there */
};

/* `back`: from the end to the beginning, as blocks are started. */
template <int WIDTH, typename T> FX_DEVICE place<T> place_of(const view<T> &v, const part &s, bool back)
{
    place<T> p;
    const int slab = fx_block() % v.slabs, chunk = fx_block() / v.slabs;
    p.image = back ? s.images - 1 - fx_block_y() : fx_block_y();
    p.chunk = back ? s.chunks - 1 - chunk : chunk;
    p.row = fx_thread() / v.columns;
    p.column = fx_thread() % v.columns;
    p.start = p.chunk * s.chunk;
    p.end = p.start + s.chunk < s.cells ? p.start + s.chunk : s.cells;
    p.b = s.first + p.image;
    p.c = s.channel + (slab * v.columns + p.column) * WIDTH;
    p.there = p.row < v.rows && p.c < s.channel + v.band;
    p.second = p.c >= v.width[0];
    p.width = p.second ? v.width[1] : v.width[0];
    p.at = image_of(v, p.b, p.second) + p.c - (p.second ? v.width[0] : 0);
    p.x = (p.second ? v.x[1] : v.x[0]) + p.at;
    return p;
}

/* Where the column begins in an array (B,cells,C). */
template <typename T> FX_DEVICE int64_t joined(const view<T> &v, const part &s, const place<T> &p)
{
    return (int64_t)p.b * s.cells * v.C + p.c;
}

/* Where the sums of the chunks of a channel begin. */
template <typename T> FX_DEVICE int64_t part_row(const view<T> &v, const part &s, int image, int c)
{
    return ((int64_t)image * v.C + c) * s.chunks;
}

#endif
