/* cudnn_math.cpp: graphs of correlations and sums on the CPU. Operands are bf16 or fp32 as stored,
 * products and sums fp32, results rounded once when they are stored. Every correlation is a product
 * with the matrix of patches (pixels of dst, k k C), one line of dst at a time. */
#include <string.h>

#include "fake_cudnn.h"

extern "C" {
#include "ops/onednn.h"
}

static float float_of(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float v;
    memcpy(&v, &wide, sizeof v);
    return v;
}

/* To nearest, ties to even. */
static uint16_t bf16_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

typedef std::vector<float> image;

static image load(const fake_tensor &t, const void *memory)
{
    image v((size_t)t.count());
    for (size_t i = 0; i < v.size(); i++)
        v[i] = t.bf16 ? float_of(((const uint16_t *)memory)[i]) : ((const float *)memory)[i];
    return v;
}

static void store(const fake_tensor &t, const image &v, void *memory)
{
    for (size_t i = 0; i < v.size(); i++)
        if (t.bf16)
            ((uint16_t *)memory)[i] = bf16_of(v[i]);
        else
            ((float *)memory)[i] = v[i];
}

/* Sizes of a correlation. */
struct sizes {
    int64_t B, H, W, C, K, k, Ho, Wo, stride, pad, row;
};

static sizes sizes_of(const fake_operation &o)
{
    const int64_t *x = o.tensor[0].dim, *w = o.tensor[1].dim, *y = o.tensor[2].dim;
    return {x[0], x[2], x[3], x[1], w[0], w[2], y[2], y[3], o.stride, o.pad, w[2] * w[2] * x[1]};
}

/* Visits every patch value of line (b, h) of dst that lies in src: (index in the patches, index in
 * src). */
template <typename F> static void patches(const sizes &s, int64_t b, int64_t h, F visit)
{
    for (int64_t w = 0; w < s.Wo; w++)
        for (int64_t u = 0; u < s.k; u++)
            for (int64_t t = 0; t < s.k; t++) {
                const int64_t y = h * s.stride + u - s.pad, x = w * s.stride + t - s.pad;
                if (y >= 0 && y < s.H && x >= 0 && x < s.W)
                    visit(w * s.row + (u * s.k + t) * s.C, ((b * s.H + y) * s.W + x) * s.C);
            }
}

static image correlate(const fake_operation &o, const image &src, const image &weights,
                       const image &dst)
{
    const sizes s = sizes_of(o);
    image out((size_t)o.tensor[o.result()].count(), 0.0f), lines((size_t)(s.Wo * s.row));
    for (int64_t line = 0; line < s.B * s.Ho; line++) {
        const int64_t b = line / s.Ho, h = line % s.Ho, at = line * s.Wo * s.K;
        float *matrix = lines.data();
        if (o.kind == FAKE_DATA) {
            fx_dnn_sgemm('N', 'N', s.Wo, s.row, s.K, 1, dst.data() + at, s.K, weights.data(), s.row, 0,
                         matrix, s.row);
            patches(s, b, h, [&](int64_t from, int64_t to) {
                for (int64_t c = 0; c < s.C; c++)
                    out[(size_t)(to + c)] += matrix[from + c];
            });
            continue;
        }
        memset(matrix, 0, lines.size() * sizeof *matrix);
        patches(s, b, h, [&](int64_t to, int64_t from) {
            memcpy(matrix + to, src.data() + from, (size_t)s.C * sizeof *matrix);
        });
        if (o.kind == FAKE_FORWARD)
            fx_dnn_sgemm('N', 'T', s.Wo, s.K, s.row, 1, matrix, s.row, weights.data(), s.row, 0,
                         out.data() + at, s.K);
        else
            fx_dnn_sgemm('T', 'N', s.K, s.row, s.Wo, 1, dst.data() + at, s.K, matrix, s.row, 1,
                         out.data(), s.row);
    }
    return out;
}

static image add(const image &a, const image &b)
{
    image sum = a; /* b repeats: one pixel's channels for all */
    for (size_t i = 0; i < sum.size(); i++)
        sum[i] += b[i % b.size()];
    return sum;
}

void fake_compute(const std::vector<fake_operation> &operations,
                  const std::map<int64_t, void *> &memory)
{
    std::map<int64_t, image> inner;
    for (const fake_operation &o : operations) {
        image value[3];
        const fake_tensor &result = o.tensor[o.result()];
        for (int i = 0; i < 3; i++)
            if (i != o.result())
                value[i] = o.tensor[i].inner ? inner.at(o.tensor[i].uid)
                                             : load(o.tensor[i], memory.at(o.tensor[i].uid));
        image v =
            o.kind == FAKE_SUM ? add(value[0], value[1]) : correlate(o, value[0], value[1], value[2]);
        if (o.kind != FAKE_SUM && o.beta != 0) v = add(v, load(result, memory.at(result.uid)));
        if (result.inner)
            inner[result.uid] = v;
        else
            store(result, v, memory.at(result.uid));
    }
}
