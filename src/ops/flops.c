/* flops.c: what a node's formula asks for, whatever the kernel does instead: arithmetic, 2 per
 * multiply-add of its products (folded upsampling does 4/9 of it, attention's backward computes scores
 * again), and bytes, every tensor of a pass once. */
#include "flexhpc/program.h"

/* in[]: X, W, BIAS, RESIDUAL, X2 for convolutions and linear layers alike. */
enum { X, W, X2 = 4 };

/* Multiply-adds of out = W in, counted per input channel or feature of the sources that take part. */
static double layer_products(const fx_node *n, fx_pass pass)
{
    const fx_tensor *out = n->out[0] ? n->out[0] : n->dout[0], *w = n->in[W];
    double taps = 1, columns = 0;
    for (int i = 2; i < w->rank; i++)
        taps *= (double)w->dim[i];
    for (int i = X; i <= X2; i += X2 - X) {
        const fx_tensor *x = n->in[i];
        if (!x) continue;
        const int products = pass == FX_FORWARD ? 1 : (n->din[i] != NULL) + (n->din[W] != NULL);
        columns += products * (double)x->dim[x->rank - 1];
    }
    return (double)fx_count(out) * taps * columns;
}

/* Forward: scores and values; backward: the gradients of scores, values, queries and keys. */
static double attention_products(const fx_node *n, fx_pass pass)
{
    const fx_tensor *qkv = n->in[X]; /* (B, T, 3D), T in one or two dimensions */
    const int64_t B = qkv->dim[0], row = qkv->dim[qkv->rank - 1], T = fx_count(qkv) / B / row;
    return (pass == FX_FORWARD ? 2 : 4) * (double)(B * T * T) * (double)(row / 3);
}

/* Of all pairs of latents; backward of the gathered ones is for the own samples alone. */
static double contrast_products(const fx_node *n, fx_pass pass)
{
    const bool whole = n->id == FX_OP_dots;
    const fx_tensor *all = n->in[whole ? 0 : 1];
    const double G = (double)all->dim[0], size = (double)fx_count(all) / (2 * G);
    const double rows = whole ? 2 * G : (double)n->in[0]->dim[0];
    return (pass == FX_FORWARD ? G : rows) * G * size;
}

double fx_node_flops(const fx_node *node, fx_pass pass)
{
    switch (node->id) {
    case FX_OP_conv:
    case FX_OP_linear:
        return 2 * layer_products(node, pass);
    case FX_OP_attention:
        return 2 * attention_products(node, pass);
    case FX_OP_contrast:
    case FX_OP_dots:
        return 2 * contrast_products(node, pass);
    default:
        return 0;
    }
}

static double bytes_of(fx_tensor *const *t, int count, unsigned of)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        if (t[i] && of & 1u << i) sum += (double)fx_tensor_bytes(t[i]);
    return sum;
}

/* Of an op without outputs, which is the optimizer: it reads all but the copies, and rewrites all but
 * the gradient and clip's result. */
static double bytes_in_place(const fx_node *n)
{
    const unsigned gradient = FX_IN(1), norm = FX_IN(5), copies = FX_IN(6);
    return bytes_of(n->in, FX_MAX_IN, ~copies) + bytes_of(n->in, FX_MAX_IN, ~(gradient | norm));
}

double fx_node_bytes(const fx_node *node, fx_pass pass)
{
    const unsigned reads = node->op->backward_reads, all = ~0u;
    if (node->op->communicates || node->id == FX_OP_join) return 0;
    if (node->id == FX_OP_widen) return 3 * bytes_of(node->in, 1, all); /* fp32 from bf16 */
    if (pass == FX_FORWARD && !node->out[0]) return bytes_in_place(node);
    if (pass == FX_FORWARD)
        return bytes_of(node->in, FX_MAX_IN, all) + bytes_of(node->out, FX_MAX_OUT, all) +
               bytes_of(node->saved, FX_MAX_SAVED, all);
    return bytes_of(node->in, FX_MAX_IN, reads) + bytes_of(node->out, FX_MAX_OUT, reads >> 8) +
           bytes_of(node->saved, FX_MAX_SAVED, reads >> 16) + bytes_of(node->dout, 1, all) +
           bytes_of(node->din, FX_MAX_IN, all) + bytes_of(node->din, FX_MAX_IN, node->accumulate);
}
