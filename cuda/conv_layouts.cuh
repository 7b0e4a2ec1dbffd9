/* conv_layouts.cuh: between the layouts of tensors in the program and those that cuDNN reads: images
 * with channels padded, weights with channels innermost or folded for upsampling, and the way back for
 * results and gradients. Private to conv.cu. */
#ifndef FX_CONV_LAYOUTS_CUH
#define FX_CONV_LAYOUTS_CUH

#include "conv_products.h"
#include "device.cuh"

enum { PAD = 8 };     /* channels are padded to multiples of it */
enum { PART = 128 };  /* channels, and threads, of a block of pack() and unpack() */
enum { FOLDED = 16 }; /* taps of a folded kernel */

/* PAD values from or to an address on 16 bytes. */
template <typename T> FX_DEVICE void get_pad(const T *p, float v[PAD])
{
    for (int i = 0; i < PAD; i += fx_wide<T>::COUNT)
        fx_get_wide(p + i, v + i);
}
template <typename T> FX_DEVICE void set_pad(T *p, const float v[PAD])
{
    for (int i = 0; i < PAD; i += fx_wide<T>::COUNT)
        fx_set_wide(p + i, v + i);
}

/* to (rows, width) = from (rows, C), zeros behind. A thread has 8 channels of a row; `count` of them.
 */
template <typename From, typename To>
FX_KERNEL void widen(const From *from, To *to, int64_t count, int C, int width)
{
    const int64_t i = fx_index(), row = i / (width / PAD);
    const int c = (int)(i % (width / PAD)) * PAD;
    if (i >= count) return;
    float v[PAD];
    for (int j = 0; j < PAD; j++)
        v[j] = c + j < C ? fx_get(from + row * C + c + j) : 0.0f;
    set_pad(to + i * PAD, v);
}

/* The way back: to (rows, C) = or += from (rows, width). */
template <typename From, typename To>
FX_KERNEL void narrow(const From *from, To *to, int64_t count, int C, int width, bool add)
{
    const int64_t i = fx_index(), row = i / (width / PAD);
    const int c = (int)(i % (width / PAD)) * PAD;
    if (i >= count) return;
    float v[PAD];
    get_pad(from + i * PAD, v);
    for (int j = 0; j < PAD; j++)
        if (c + j < C) fx_put(to + row * C + c + j, v[j], add);
}

/* Weights that a block of pack() and unpack() moves through shared memory, so that both layouts are met
 * in runs: block (x, y) has channels PART x .. of source s to output channel y. */
struct slab {
    int ci, taps, count; /* this thread's channel; weights of the block that exist */
    int64_t at;          /* of the first in the published layout */
    float *shared;       /* (PART, taps) */
};

FX_DEVICE slab slab_of(const fx_conv_view &v, int s, unsigned char *bytes)
{
    const int64_t first = (int64_t)fx_block() * PART, co = fx_block_y(), taps = v.k * v.k,
                  left = co < v.Co && first < v.C[s] ? v.C[s] - first : 0;
    return slab{(int)first + fx_thread(), (int)taps, (int)((left < PART ? left : (int64_t)PART) * taps),
                co * v.row + (v.first[s] + first) * taps, (float *)bytes};
}

/* What is added by channel; either may be NULL. */
template <typename T> struct biases {
    const T *first, *second;
};
template <typename T> FX_DEVICE float added(const biases<T> &b, int64_t co)
{
    return (b.first ? fx_get(b.first + co) : 0.0f) + (b.second ? fx_get(b.second + co) : 0.0f);
}

/* Of source s: packed (padded_Co, taps, padded) from w, and where packed_bias is not NULL
 * the sum of the biases, zeros in what pads. */
template <typename T>
FX_KERNEL void FX_BOUNDS(PART)
    pack(const T *w, T *packed, biases<T> bias, T *packed_bias, fx_conv_view v, int s)
{
    FX_SHARED(bytes);
    const slab b = slab_of(v, s, bytes);
    const int64_t co = fx_block_y(), width = v.padded[s];
    T *to = packed + co * b.taps * width + b.ci;
    for (int i = fx_thread(); i < b.count; i += PART)
        b.shared[i] = fx_get(w + b.at + i);
    fx_sync();
    for (int t = 0; t < b.taps && b.ci < width; t++) {
        const int i = fx_thread() * b.taps + t;
        fx_set(to + t * width, i < b.count ? b.shared[i] : 0.0f);
    }
    if (packed_bias && b.ci == 0) fx_set(packed_bias + co, co < v.Co ? added(bias, co) : 0.0f);
}

/* The way back, for gradients. */
template <typename T>
FX_KERNEL void FX_BOUNDS(PART) unpack(const T *packed, float *dw, fx_conv_view v, int s, bool add)
{
    FX_SHARED(bytes);
    const slab b = slab_of(v, s, bytes);
    const int64_t width = v.padded[s];
    const T *from = packed + fx_block_y() * b.taps * width + b.ci;
    for (int t = 0; t < b.taps && b.ci < width; t++)
        b.shared[fx_thread() * b.taps + t] = fx_get(from + t * width);
    fx_sync();
    for (int i = fx_thread(); i < b.count; i += PART)
        fx_put(dw + b.at + i, b.shared[i], add);
}

/* F[ci][.][co] = A W[co][first + ci] A^T, with A w = (w2, w1 + w2, w0 + w1, w0): (padded, 16,
 * padded_Co). */
template <typename T> FX_KERNEL void fold(const T *w, T *F, fx_conv_view v, int s)
{
    const int i = (int)fx_index(), width = (int)v.padded_Co, ci = i / width, co = i % width;
    if (ci >= v.padded[s]) return;
    const bool real = co < v.Co && ci < v.C[s];
    const T *k = w + co * v.row + (v.first[s] + ci) * 9;
    float wide[3][4];
    for (int y = 0; y < 3; y++) {
        const float a = real ? fx_get(k + 3 * y) : 0, b = real ? fx_get(k + 3 * y + 1) : 0,
                    c = real ? fx_get(k + 3 * y + 2) : 0;
        wide[y][0] = c, wide[y][1] = b + c, wide[y][2] = a + b, wide[y][3] = a;
    }
    for (int t = 0; t < 4; t++) {
        T *f = F + ((int64_t)ci * FOLDED + t) * width + co;
        fx_set(f, wide[2][t]);
        fx_set(f + 4 * width, wide[1][t] + wide[2][t]);
        fx_set(f + 8 * width, wide[0][t] + wide[1][t]);
        fx_set(f + 12 * width, wide[0][t]);
    }
}

/* dW = A^T dF A: per dimension dw = (f2 + f3, f1 + f2, f0 + f1). */
template <typename T> FX_KERNEL void unfold(const T *dF, float *dw, fx_conv_view v, int s, bool add)
{
    const int i = (int)fx_index(), Co = (int)v.Co, ci = i / Co, co = i % Co;
    if (ci >= v.C[s]) return;
    const T *from = dF + ci * FOLDED * v.padded_Co + co;
    float *to = dw + co * v.row + (v.first[s] + ci) * 9, f[4][4];
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 4; x++)
            f[y][x] = fx_get(from + (4 * y + x) * v.padded_Co);
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++)
            fx_put(to + 3 * y + x,
                   (f[2 - y][2 - x] + f[2 - y][3 - x]) + (f[3 - y][2 - x] + f[3 - y][3 - x]), add);
}

#endif
