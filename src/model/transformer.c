/* transformer.c: the transformer block of FLEX and UViT: pre-norm attention and MLP; in the decoder it
 * starts by joining the encoder's tokens. */
#include "flexhpc/layers.h"

static const float NORM_EPS = 1e-6f;

fx_tensor *fx_transformer_block(fx_builder *g, fx_tensor *x, fx_tensor *skip,
                                fx_transformer_options options)
{
    const int64_t d = fx_channels(x);
    fx_part(g);
    if (skip) x = fx_linear(g, "skip_linear", x, d, (fx_linear_options){.x2 = skip});

    fx_tensor *h = fx_layer_norm(g, "norm1", x, NORM_EPS);
    h = fx_linear(g, "attn.qkv", h, 3 * d, (fx_linear_options){.no_bias = true});
    const fx_attrs attrs = {.attention = {.heads = options.heads}};
    const fx_node *attention = fx_record(g, FX_OP_attention, "attn", attrs, &h, 1);
    if (!attention) return NULL;
    x = fx_linear(g, "attn.proj", attention->out[0], d, (fx_linear_options){.residual = x});

    h = fx_layer_norm(g, "norm2", x, NORM_EPS);
    h = fx_linear(g, "mlp.fc1", h, options.mlp_ratio * d,
                  (fx_linear_options){.act = options.act, .dropout = options.dropout});
    return fx_linear(g, "mlp.fc2", h, d,
                     (fx_linear_options){.dropout = options.dropout, .residual = x});
}
