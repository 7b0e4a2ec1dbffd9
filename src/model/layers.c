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
    const int64_t height = !x ? 0 : options.up ? 2 * x->dim[1] : x->dim[1];
    const bool residual_up = options.residual && options.residual->dim[1] < height;
    const fx_attrs attrs = {
        .conv = {.stride = 1, .pad = 1, .upsample = options.up, .residual_upsample = residual_up}};
    if (options.bias) *options.bias = b;
    return record(g, FX_OP_conv, name, attrs,
                  (fx_tensor *[]){x, w, options.bias ? NULL : b, options.residual, options.x2}, 5);
}

fx_tensor *fx_norm_silu(fx_builder *g, const char *name, fx_tensor *x, fx_norm_options options)
{
    const int64_t c = fx_channels(x) + fx_channels(options.x2);
    fx_tensor *gamma = parameter(g, name, "weight", (fx_init){FX_INIT_ONE, 0, 0}, 1, FX_DIMS(c));
    fx_tensor *beta = parameter(g, name, "bias", (fx_init){FX_INIT_ZERO, 0, 0}, 1, FX_DIMS(c));
    const fx_attrs attrs = {.group_norm = {.groups = 32,
                                           .eps = 1e-5f,
                                           .silu = true,
                                           .pool = options.pool,
                                           .dropout = options.dropout}};
    return record(g, FX_OP_group_norm, name, attrs,
                  (fx_tensor *[]){x, gamma, beta, options.mod, options.x2, options.bias}, 6);
}

fx_tensor *fx_linear(fx_builder *g, const char *name, fx_tensor *x, int64_t cout,
                     fx_linear_options options)
{
    const int64_t cin = fx_channels(x) + fx_channels(options.x2);
    const fx_init xavier = {FX_INIT_XAVIER, cin, cout};
    fx_tensor *w = parameter(g, name, "weight", xavier, 2, FX_DIMS(cout, cin));
    fx_tensor *b = options.no_bias
                       ? NULL
                       : parameter(g, name, "bias", (fx_init){FX_INIT_ZERO, 0, 0}, 1, FX_DIMS(cout));
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
                        fx_tensor *residual)
{
    fx_scope_push(g, "%s", name);
    fx_tensor *h = fx_linear(g, "0", x, 2 * width, (fx_linear_options){.act = FX_SILU});
    h = fx_linear(g, "2", h, width, (fx_linear_options){.residual = residual});
    fx_scope_pop(g);
    return h;
}
