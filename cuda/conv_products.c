/* conv_products.c: from a conv node to correlations, and from a correlation to a graph. */
#include "conv_products.h"

#include "flexhpc/str.h"

enum { WORKSPACE = 8 << 20, WORKSPACE_FP32 = 64 << 20 };

static fx_graph_tensor image(fx_dtype dtype, int64_t N, int64_t C, int64_t H, int64_t W)
{
    return (fx_graph_tensor){.dtype = dtype, .dim = {N, C, H, W}, .stride = {H * W * C, 1, W * C, C}};
}

fx_graph fx_product_graph(const fx_product *c)
{
    const int64_t Ho = (c->H + 2 * c->pad - c->k) / c->stride + 1,
                  Wo = (c->W + 2 * c->pad - c->k) / c->stride + 1;
    fx_graph g = {0};
    g.tensor[FX_GRAPH_SRC] = image(c->dtype, c->B, c->Ci, c->H, c->W);
    g.tensor[FX_GRAPH_WEIGHT] = image(c->dtype, c->Co, c->Ci, c->k, c->k);
    g.tensor[FX_GRAPH_DST] = image(c->dtype, c->B, c->Co, Ho, Wo);
    if (c->z) g.tensor[FX_GRAPH_Z] = g.tensor[FX_GRAPH_DST];
    if (c->bias) g.tensor[FX_GRAPH_BIAS] = image(c->dtype, 1, c->Co, 1, 1);
    for (int i = 0; i < c->z + c->bias; i++) {
        g.tensor[FX_GRAPH_INNER + i] = image(FX_F32, c->B, c->Co, Ho, Wo);
        g.tensor[FX_GRAPH_INNER + i].inner = true;
    }
    const int sums = c->z + c->bias, operand[2] = {c->z ? FX_GRAPH_Z : FX_GRAPH_BIAS, FX_GRAPH_BIAS};
    g.op[g.ops++] =
        (fx_graph_op){.kind = c->pass,
                      .tensor = {FX_GRAPH_SRC, FX_GRAPH_WEIGHT, sums ? FX_GRAPH_INNER : FX_GRAPH_DST},
                      .stride = c->stride,
                      .pad = c->pad,
                      .add = c->add};
    for (int i = 0; i < sums; i++)
        g.op[g.ops++] =
            (fx_graph_op){.kind = FX_GRAPH_SUM,
                          .tensor = {FX_GRAPH_INNER + i, operand[i],
                                     i + 1 == sums ? FX_GRAPH_DST : FX_GRAPH_INNER + i + 1}};
    return g;
}

bool fx_same_product(const fx_product *a, const fx_product *b)
{
    return a->pass == b->pass && a->dtype == b->dtype && a->add == b->add && a->z == b->z &&
           a->bias == b->bias && a->B == b->B && a->H == b->H && a->W == b->W && a->Ci == b->Ci &&
           a->Co == b->Co && a->k == b->k && a->stride == b->stride && a->pad == b->pad;
}

fx_status fx_product_text(const fx_product *c, char *text, size_t size)
{
    static const char *const pass[] = {"forward", "data", "weights"};
    return fx_print(text, size,
                    "%s%s%s%s %s (%lld,%lld,%lld,%lld) to %lld, %lldx%lld stride %lld pad %lld",
                    pass[c->pass], c->add ? "+add" : "", c->z ? "+z" : "", c->bias ? "+bias" : "",
                    c->dtype == FX_BF16 ? "bf16" : "fp32", (long long)c->B, (long long)c->H,
                    (long long)c->W, (long long)c->Ci, (long long)c->Co, (long long)c->k,
                    (long long)c->k, (long long)c->stride, (long long)c->pad);
}

static int64_t padded(int64_t channels)
{
    return (channels + 7) / 8 * 8;
}

fx_tensor *fx_conv_source(const fx_node *n, int s)
{
    return n->in[s == 0 ? FX_CONV_X : FX_CONV_X2];
}

fx_tensor *fx_conv_source_gradient(const fx_node *n, int s)
{
    return n->din[s == 0 ? FX_CONV_X : FX_CONV_X2];
}

bool fx_conv_adds(const fx_node *n, int s)
{
    return (n->accumulate & FX_IN(s == 0 ? FX_CONV_X : FX_CONV_X2)) != 0;
}

fx_conv_view fx_conv_view_of(const fx_node *n)
{
    const fx_conv_attrs *a = &n->attrs.conv;
    const fx_tensor *x = n->in[FX_CONV_X], *x2 = n->in[FX_CONV_X2], *w = n->in[FX_CONV_W];
    fx_conv_view v = {.B = x->dim[0],
                      .H = x->dim[1],
                      .W = x->dim[2],
                      .Ho = n->out[0]->dim[1],
                      .Wo = n->out[0]->dim[2],
                      .Co = w->dim[0],
                      .k = w->dim[2],
                      .stride = a->stride,
                      .pad = a->pad,
                      .row = w->dim[1] * w->dim[2] * w->dim[3],
                      .C = {x->dim[3], x2 ? x2->dim[3] : 0},
                      .first = {0, x->dim[3]},
                      .sources = x2 ? 2 : 1,
                      .upsample = a->upsample,
                      .residual_upsample = a->residual_upsample};
    v.dtype = w->dtype;
    v.padded[0] = padded(v.C[0]);
    v.padded[1] = padded(v.C[1]);
    v.padded_Co = padded(v.Co);
    return v;
}

bool fx_conv_direct(const fx_conv_view *v, const fx_tensor *t)
{
    return t->dtype == v->dtype && t->dim[3] % 8 == 0;
}

/* The folded correlation from the doubled image (Co channels) to source s. */
static fx_product folded(const fx_conv_view *v, int s, fx_graph_kind pass, bool add)
{
    return (fx_product){.pass = pass,
                        .dtype = v->dtype,
                        .add = add,
                        .B = v->B,
                        .H = v->Ho,
                        .W = v->Wo,
                        .Ci = v->padded_Co,
                        .Co = v->padded[s],
                        .k = 4,
                        .stride = 2,
                        .pad = 1};
}

/* The correlation from source s to the result; not with upsampling. */
static fx_product plain(const fx_conv_view *v, int s, fx_graph_kind pass, bool add)
{
    return (fx_product){.pass = pass,
                        .dtype = v->dtype,
                        .add = add,
                        .B = v->B,
                        .H = v->H,
                        .W = v->W,
                        .Ci = v->padded[s],
                        .Co = v->padded_Co,
                        .k = v->k,
                        .stride = v->stride,
                        .pad = v->pad};
}

bool fx_conv_prefills(const fx_node *n, const fx_conv_view *v)
{
    const bool bias = n->in[FX_CONV_BIAS];
    if (!n->in[FX_CONV_RESIDUAL]) return v->upsample && bias;
    return v->upsample || v->residual_upsample || !bias;
}

fx_product fx_conv_forward(const fx_node *n, const fx_conv_view *v, int s)
{
    const bool add = s > 0 || fx_conv_prefills(n, v);
    if (v->upsample) return folded(v, s, FX_GRAPH_DATA, add);
    fx_product p = plain(v, s, FX_GRAPH_FORWARD, add);
    p.z = !add && n->in[FX_CONV_RESIDUAL];
    p.bias = !add && n->in[FX_CONV_BIAS];
    return p;
}

fx_product fx_conv_data(const fx_node *n, const fx_conv_view *v, int s)
{
    const fx_tensor *dx = fx_conv_source_gradient(n, s);
    const bool add = n->accumulate & FX_IN(s == 0 ? FX_CONV_X : FX_CONV_X2) && fx_conv_direct(v, dx);
    return v->upsample ? folded(v, s, FX_GRAPH_FORWARD, add) : plain(v, s, FX_GRAPH_DATA, add);
}

fx_product fx_conv_weights(const fx_conv_view *v, int s)
{
    return v->upsample ? folded(v, s, FX_GRAPH_WEIGHTS, false) : plain(v, s, FX_GRAPH_WEIGHTS, false);
}

fx_cudnn_policy fx_conv_policy(const fx_product *p, bool strict)
{
    return (fx_cudnn_policy){.strict = strict && p->dtype == FX_F32,
                             .tensor_core = p->dtype == FX_BF16,
                             .workspace = p->dtype == FX_BF16 ? WORKSPACE : WORKSPACE_FP32};
}
