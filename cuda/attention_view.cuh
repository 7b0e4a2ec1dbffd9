/* attention_view.cuh: where attention finds things. QKV and its gradient are (B, T, 3D), or images of T
 * pixels, a row being (query, key, value) of all heads; the output and its gradient (B, T, D), D =
 * heads d; LSE and delta (B, heads, T). */
#ifndef FX_CUDA_ATTENTION_VIEW_CUH
#define FX_CUDA_ATTENTION_VIEW_CUH

#include "launch.cuh"

enum { QKV }; /* in[] */
enum { LSE }; /* saved[] */
enum { QUERY, KEY, VALUE };

typedef struct view {
    int64_t T, d, D;
    int heads;
    float scale;
} view;

static view view_of(const fx_node *n)
{
    const fx_tensor *x = n->in[QKV];
    const int64_t row = x->dim[x->rank - 1], D = row / 3, d = D / n->attrs.attention.heads;
    return view{fx_count(x) / x->dim[0] / row, d, D, (int)(D / d), 1.0f / sqrtf((float)d)};
}

/* Feature 0 of token 0 in head `bh` of all B heads. */
FX_DEVICE int64_t row_of(const view &v, int bh, int part)
{
    return bh / v.heads * v.T * 3 * v.D + part * v.D + bh % v.heads * v.d;
}
FX_DEVICE int64_t out_row(const view &v, int bh)
{
    return bh / v.heads * v.T * v.D + bh % v.heads * v.d;
}

#endif
