/* flops.c: the arithmetic that a node's formula asks for: 2 per multiply-add of its products, whatever
 * the kernel does instead (folded upsampling does 4/9 of it, attention's backward computes scores
 * again); and the bytes of the tensors that it names. */
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
    const int64_t *qkv = n->in[X]->dim; /* (B, T, 3D) */
    return (pass == FX_FORWARD ? 2 : 4) * (double)(qkv[0] * qkv[1] * qkv[1]) * (double)(qkv[2] / 3);
}

double fx_node_flops(const fx_node *node, fx_pass pass)
{
    switch (node->id) {
    case FX_OP_conv:
    case FX_OP_linear:
        return 2 * layer_products(node, pass);
    case FX_OP_attention:
        return 2 * attention_products(node, pass);
    default:
        return 0;
    }
}

static double bytes_of(fx_tensor *const *t, int count, unsigned mask)
{
    double bytes = 0;
    for (int i = 0; i < count; i++)
        if (t[i] && mask >> i & 1) bytes += (double)fx_tensor_bytes(t[i]);
    return bytes;
}

double fx_node_bytes(const fx_node *n, fx_pass pass)
{
    const unsigned all = ~0u, reads = pass == FX_FORWARD ? all : n->op->backward_reads;
    double bytes = bytes_of(n->in, FX_MAX_IN, reads) + bytes_of(n->out, FX_MAX_OUT, reads / FX_OUT(0)) +
                   bytes_of(n->saved, FX_MAX_SAVED, reads / FX_SAVED(0));
    if (pass == FX_FORWARD) return bytes;
    return bytes + bytes_of(n->dout, FX_MAX_OUT, all) + bytes_of(n->din, FX_MAX_IN, all) +
           bytes_of(n->din, FX_MAX_IN, n->accumulate);
}
