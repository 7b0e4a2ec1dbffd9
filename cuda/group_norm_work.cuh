/* group_norm_work.cuh: which block of a launch does what, and what it waits for. Private to
 * group_norm.cu. Images go set by set, and a set band by band of its channels, whole groups, where an
 * image is more than a set by itself. Of each set and band the launch has, in the order of the numbers
 * that blocks take (fx_block_take):
 *   FIRST   pieces of the images, which leave sums of their chunk of pixels
 *   FOLD    some groups of an image; waits for the pieces of its band, adds up their sums in order
 *   SECOND  pieces again, backwards, so that what was read last is read first; waits for the folds
 * and, backward, behind all sets
 *   GRADIENTS of the parameters; waits for all folds
 * While the blocks of one band wait, those of the next have begun: a device holds more blocks than a
 * band has (528 on an H100, where a band of 12 MiB has 272), so that memory is busy, and the two bands
 * together are what has to stay in its second-level cache. Nobody waits for a block of a higher number.
 * Two counters an image's band say how many of its pieces and folds are done. The last block that is
 * through with waiting sets all counters to 0, for the next launch. */
#ifndef FX_CUDA_GROUP_NORM_WORK_CUH
#define FX_CUDA_GROUP_NORM_WORK_CUH

#include "group_norm_view.cuh"

enum role { FIRST, FOLD, SECOND, GRADIENTS };
enum { TAKEN, THROUGH, DONE }; /* counters: numbers taken; blocks through; the first of the bands' */

struct work {
    int images, bands;      /* of a set; of an image */
    int cells[2], chunk[2]; /* in the first and in the second pass: of an image, of a piece of it */
    int chunks;             /* of an image, in both */
    int pieces, seconds;    /* of an image's band; 0 seconds where none is wanted */
    int groups, folds;      /* of a fold; of an image's band */
    int team;               /* threads that add up a channel's chunks, a power of two */
    int sums, modulations;  /* blocks for the gradients of weight and bias, and of the modulation */
};

/* second: whether there is a second pass. The gradients' blocks are the caller's to add. */
template <typename T> static work work_of(const view<T> &v, bool backward, bool second)
{
    const int64_t images = SET_BYTES / (image_bytes(v, backward) / v.C * v.band);
    const int most = v.B < MOST_IMAGES ? v.B : (int)MOST_IMAGES;
    work w = {};
    w.images = images < 1 ? 1 : images < most ? (int)images : most;
    w.bands = v.C / v.band;
    for (int pass = 0; pass < 2; pass++) {
        const bool squares = v.pool && (backward || pass == 1);
        w.cells[pass] = squares ? v.P / SQUARE : v.P;
        w.chunk[pass] = v.rows * (squares ? EACH / SQUARE : (int)EACH);
    }
    w.chunks = (w.cells[0] + w.chunk[0] - 1) / w.chunk[0];
    w.pieces = w.chunks * v.slabs;
    w.seconds = second ? w.pieces : 0;
    for (w.team = 1; w.team < FX_WARP && 2 * w.team <= w.chunks;)
        w.team *= 2;
    w.groups = THREADS / w.team / v.K;
    if (w.groups < 1) w.groups = 1;
    if (w.groups > v.band / v.K) w.groups = v.band / v.K;
    w.folds = (v.band / v.K + w.groups - 1) / w.groups;
    return w;
}

template <typename T> static int64_t blocks_of(const view<T> &v, const work &w)
{
    return (int64_t)v.B * w.bands * (w.pieces + w.folds + w.seconds) + w.sums + w.modulations;
}

template <typename T> static int64_t counters_of(const view<T> &v, const work &w)
{
    return DONE + 2 * (int64_t)v.B * w.bands;
}

/* A piece's sums by channel and row, or a fold's by channel. */
template <typename T> static size_t shared_bytes(const view<T> &v, const work &w, int width)
{
    const size_t piece = 2 * sizeof(float) * (size_t)(v.rows * v.columns * width),
                 fold = sizeof(double2) * (size_t)(w.groups * v.K);
    return piece > fold ? piece : fold;
}

/* Scratch: the sums of du and du xhat in double, (B,C), and pairs of terms, (B,G), backward only; pairs
 * of sums of the chunks, (B,C,chunks). */
struct scratch {
    double2 *sums;
    float2 *terms, *parts;
};

template <typename T> static size_t parts_bytes(const view<T> &v, const work &w)
{
    return sizeof(float2) * (size_t)v.B * (size_t)v.C * (size_t)w.chunks;
}
template <typename T> static size_t backward_bytes(const view<T> &v)
{
    return (size_t)v.B * (sizeof(double2) * (size_t)v.C + sizeof(float2) * (size_t)v.G);
}

template <typename T> static scratch scratch_of(fx_exec *exec, const view<T> &v, bool backward)
{
    double2 *sums = (double2 *)fx_scratch(exec);
    if (!backward) return scratch{NULL, NULL, (float2 *)sums};
    float2 *terms = (float2 *)(sums + (int64_t)v.B * v.C);
    return scratch{sums, terms, terms + (int64_t)v.B * v.G};
}

/* Where the sums of the chunks of a channel begin. */
template <typename T> FX_DEVICE int64_t part_row(const view<T> &v, const work &w, int b, int c)
{
    return ((int64_t)b * v.C + c) * w.chunks;
}

struct item {
    role kind;
    int b, channel; /* sample, where its band begins */
    int index;      /* of the piece, the fold or the gradients' block */
    int *done;      /* counters of the band: pieces, folds */
};

/* The block's work. shared: an int. */
template <typename T> FX_DEVICE item take(const view<T> &v, const work &w, int *counters, void *shared)
{
    int t = fx_block_take(counters + TAKEN, (int *)shared);
    const int image = w.pieces + w.folds + w.seconds, all = v.B * w.bands * image;
    if (t >= all) return item{GRADIENTS, 0, 0, t - all, NULL};
    const int first = t / (w.images * w.bands * image) * w.images;
    const int images = w.images < v.B - first ? w.images : v.B - first;
    t -= first * w.bands * image;
    const int band = t / (images * image);
    t -= band * images * image;
    item i = {FIRST, 0, band * v.band, 0, NULL};
    int each = w.pieces;
    if (t >= images * w.pieces) i.kind = FOLD, each = w.folds, t -= images * w.pieces;
    if (i.kind == FOLD && t >= images * w.folds)
        i.kind = SECOND, each = w.seconds, t = images * (w.folds + w.seconds) - 1 - t;
    i.b = first + t / each;
    i.index = t % each;
    i.done = counters + DONE + 2 * (i.b * w.bands + band);
    return i;
}

/* Of a block that waits for nobody any more, of `all`. */
template <typename T> FX_DEVICE void through(const view<T> &v, const work &w, int *counters, int all)
{
    if (fx_thread() > 0 || fx_take(counters + THROUGH) < all - 1) return;
    for (int i = 0; i < DONE + 2 * v.B * w.bands; i++)
        counters[i] = 0;
}

/* Waits as the block's kind of work must. */
template <typename T>
FX_DEVICE void await(const view<T> &v, const work &w, const item &i, int *counters)
{
    const int bands = v.B * w.bands;
    if (i.kind == FOLD) fx_block_await(i.done, w.pieces);
    if (i.kind == SECOND) fx_block_await(i.done + 1, w.folds);
    if (i.kind == GRADIENTS) {
        for (int k = fx_thread(); k < bands; k += THREADS)
            fx_await(counters + DONE + 2 * k + 1, w.folds);
        fx_sync();
    }
    if (i.kind == SECOND || i.kind == GRADIENTS)
        through(v, w, counters, bands * w.seconds + w.sums + w.modulations);
}

#endif
