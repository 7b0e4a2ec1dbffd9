/* layers.c: the layers that blocks are made of: an op with its published parameter names and initial
 * values. */
#include "flexhpc/layers.h"

#include "flexhpc/str.h"

/* The parameter NAME.WHICH under the present scope. */
static fx_tensor *parameter(fx_builder *g, const char *name, const char *which, fx_init init, int rank,
                            const int64_t *dim)
{
    char full[FX_NAME_MAX];
    if (fx_print(full, sizeof full, "%s.%s", name, which) != FX_OK) {
        fx_builder_fail(g, FX_EARG, "%s: name too long", name);
        return NULL;
    }
    return fx_weight(g, full, init, rank, dim);
}

static fx_tensor *record(fx_builder *g, fx_op_id id, const char *name, fx_attrs attrs,
                         fx_tensor *const *in, int count)
{
    const fx_node *node = fx_record(g, id, name, attrs, in, count);
    return node ? node->out[0] : NULL;
}

fx_tensor *fx_conv3x3(fx_builder *g, const char *name, fx_tensor *x, int64_t cout,
                      fx_conv_options options)
{
    const int64_t cin = fx_channels(x) + fx_channels(options.x2);
    const fx_init init = {options.zero ? FX_INIT_ZERO : FX_INIT_UNIFORM, 9 * cin, 9 * cout};
    fx_tensor *w = parameter(g, name, "weight", init, 4, FX_DIMS(cout, cin, 3, 3));
    fx_tensor *b = parameter(g, name, "bias", init, 1, FX_DIMS(cout));
    const int64_t height = !x ? 0 : options.up ? 2 * x->dim[1] : x->dim[1]; /* of y, but for halve */
    const bool residual_up = options.residual && options.residual->dim[1] < height;
    const fx_attrs attrs = {.conv = {.stride = options.halve ? 2 : 1,
                                     .pad = 1,
                                     .upsample = options.up,
                                     .residual_upsample = residual_up}};
    if (options.bias) *options.bias = b;
    return record(
        g, FX_OP_conv, name, attrs,
        (fx_tensor *[]){x, w, options.bias ? NULL : b, options.residual, options.x2, options.bias2}, 6);
}

fx_tensor *fx_patch_conv(fx_builder *g, const char *name, fx_tensor *x, int64_t cout, int64_t p)
{
    const int64_t cin = fx_channels(x);
    const fx_init init = {FX_INIT_UNIFORM, p * p * cin, p * p * cout};
    fx_tensor *w = parameter(g, name, "weight", init, 4, FX_DIMS(cout, cin, p, p));
    fx_tensor *b = parameter(g, name, "bias", init, 1, FX_DIMS(cout));
    const fx_attrs attrs = {.conv = {.stride = (int)p, .pad = 0}};
    return record(g, FX_OP_conv, name, attrs, (fx_tensor *[]){x, w, b}, 3);
}

fx_tensor *fx_norm_silu(fx_builder *g, const char *name, fx_tensor *x, fx_norm_options options)
{
    const int64_t c = fx_channels(x) + fx_channels(options.x2);
    fx_tensor *gamma = parameter(g, name, "weight", (fx_init){FX_INIT_ONE, 0, 0}, 1, FX_DIMS(c));
    fx_tensor *beta = parameter(g, name, "bias", (fx_init){FX_INIT_ZERO, 0, 0}, 1, FX_DIMS(c));
    const fx_attrs attrs = {.group_norm = {.groups = 32,
                                           .eps = 1e-5f,
                                           .silu = !options.linear,
                                           .pool = options.pool,
                                           .dropout = options.dropout}};
    return record(g, FX_OP_group_norm, name, attrs,
                  (fx_tensor *[]){x, gamma, beta, options.mod, options.x2, options.bias}, 6);
}

fx_tensor *fx_linear(fx_builder *g, const char *name, fx_tensor *x, int64_t cout,
                     fx_linear_options options)
{
    const int64_t cin = fx_channels(x) + fx_channels(options.x2);
    static const fx_init_kind kinds[] = {[FX_START_XAVIER] = FX_INIT_XAVIER,
                                         [FX_START_UNIFORM] = FX_INIT_UNIFORM,
                                         [FX_START_ZERO] = FX_INIT_ZERO};
    const fx_init init = {kinds[options.init], cin, cout},
                  start = options.init == FX_START_UNIFORM ? init : (fx_init){FX_INIT_ZERO, 0, 0};
    fx_tensor *w =
        parameter(g, name, "weight", init, 2 + options.kernel_rank, FX_DIMS(cout, cin, 1, 1));
    fx_tensor *b = options.no_bias ? NULL : parameter(g, name, "bias", start, 1, FX_DIMS(cout));
    const fx_attrs attrs = {.linear = {.act = options.act, .dropout = options.dropout}};
    return record(g, FX_OP_linear, name, attrs, (fx_tensor *[]){x, w, b, options.residual, options.x2},
                  5);
}

fx_tensor *fx_layer_norm(fx_builder *g, const char *name, fx_tensor *x, float eps)
{
    const int64_t d = fx_channels(x);
    fx_tensor *gamma = parameter(g, name, "weight", (fx_init){FX_INIT_ONE, 0, 0}, 1, FX_DIMS(d));
    fx_tensor *beta = parameter(g, name, "bias", (fx_init){FX_INIT_ZERO, 0, 0}, 1, FX_DIMS(d));
    const fx_attrs attrs = {.layer_norm = {.eps = eps}};
    return record(g, FX_OP_layer_norm, name, attrs, (fx_tensor *[]){x, gamma, beta}, 3);
}

fx_tensor *fx_drop_rows(fx_builder *g, const char *name, fx_tensor *x, fx_tensor *base, float p)
{
    return record(g, FX_OP_drop_rows, name, (fx_attrs){.drop_rows = {.p = p}}, (fx_tensor *[]){x, base},
                  2);
}

fx_tensor *fx_add(fx_builder *g, const char *name, fx_tensor *x, fx_tensor *a, fx_tensor *b,
                  float scale)
{
    return record(g, FX_OP_add, name, (fx_attrs){.add = {.scale = scale}}, (fx_tensor *[]){x, a, b}, 3);
}

fx_tensor *fx_apply(fx_builder *g, fx_op_id id, const char *name, fx_tensor *x)
{
    return record(g, id, name, (fx_attrs){0}, &x, 1);
}

fx_tensor *fx_embedding(fx_builder *g, const char *name, fx_tensor *x, int64_t width,
                        fx_embedding_options options)
{
    const int64_t hidden = options.hidden ? options.hidden : 2 * width;
    fx_scope_push(g, "%s", name);
    fx_tensor *h =
        fx_linear(g, "0", x, hidden, (fx_linear_options){.act = FX_SILU, .init = options.init});
    h = fx_linear(g, "2", h, width,
                  (fx_linear_options){.residual = options.residual, .init = options.init});
    fx_scope_pop(g);
    return h;
}

fx_tensor *fx_fourier(fx_builder *g, const char *name, fx_tensor *t, int64_t width)
{
    fx_tensor *frequencies =
        parameter(g, name, "freqs", (fx_init){FX_INIT_FREQUENCIES, 0, 0}, 1, FX_DIMS(width));
    fx_tensor *phases =
        parameter(g, name, "phases", (fx_init){FX_INIT_PHASES, 0, 0}, 1, FX_DIMS(width));
    if (!t) return NULL;
    return record(g, FX_OP_fourier, name, (fx_attrs){0}, (fx_tensor *[]){t, frequencies, phases}, 3);
}

fx_tensor *fx_tokens(fx_builder *g, fx_tensor *x, fx_tensor *emb)
{
    if (!x) return NULL;
    fx_tensor *positions = fx_weight(g, "pos_embed", (fx_init){FX_INIT_NORMAL_002, 0, 0}, 3,
                                     FX_DIMS(1, 1 + x->dim[1] * x->dim[2], fx_channels(x)));
    return record(g, FX_OP_tokens, "tokens", (fx_attrs){0}, (fx_tensor *[]){x, emb, positions}, 3);
}

fx_tensor *fx_untoken(fx_builder *g, fx_tensor *x, int64_t height)
{
    return record(g, FX_OP_untoken, "untoken", (fx_attrs){.untoken = {.height = height}}, &x, 1);
}

fx_tensor *fx_unpatch(fx_builder *g, fx_tensor *x, int64_t p)
{
    const fx_attrs attrs = {.patch = {.size = p, .inverse = true}};
    return record(g, FX_OP_patch, "patches", attrs, &x, 1);
}

fx_tensor *fx_add_token(fx_builder *g, fx_tensor *x, fx_tensor *emb)
{
    return record(g, FX_OP_add_token, "token0", (fx_attrs){0}, (fx_tensor *[]){x, emb}, 2);
}
