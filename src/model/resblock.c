/* resblock.c: the residual block of FLEX (paper, section 3; published code) and of the U-Net. The ops
 * are fused as the hardware wants them: a norm takes its two sources, modulation, SiLU, dropout and
 * averaging in one pass; a convolution reads its input doubled and takes its bias and residual in its
 * epilogue. Nearest-neighbour doubling commutes with SiLU, so the doubled activation is never stored.
 */
#include "flexhpc/layers.h"

fx_tensor *fx_resblock(fx_builder *g, fx_tensor *x, fx_tensor *skip, fx_tensor *silu_emb, int64_t cout,
                       fx_resblock_options options)
{
    const bool up = options.resample == FX_UP, down = options.resample == FX_DOWN;
    const fx_linear_init init = options.unet ? FX_START_UNIFORM : FX_START_XAVIER;
    /* Biases that others add: of in_layers.2, which only the norm reads, and of skip_connection, whose
     * gradient is that of out_layers.3's. */
    fx_tensor *bias = NULL, *skip_bias = NULL;
    fx_part(g);
    fx_tensor *h = fx_norm_silu(g, "in_layers.0", x, (fx_norm_options){.x2 = skip, .pool = down});
    h = fx_conv3x3(g, "in_layers.2", h, cout, (fx_conv_options){.up = up, .bias = &bias});

    fx_tensor *scale_shift =
        fx_linear(g, "emb_layers.1", silu_emb, 2 * cout, (fx_linear_options){.init = init});
    h = fx_norm_silu(g, "out_layers.0", h,
                     (fx_norm_options){.mod = scale_shift, .bias = bias, .dropout = options.dropout});

    if (down) x = fx_apply(g, FX_OP_pool, "pool", x);
    if (down && skip) skip = fx_apply(g, FX_OP_pool, "pool_skip", skip);
    const bool widens = skip || fx_channels(x) != cout;
    if (widens && options.unet) /* at the size before doubling, which commutes with it */
        x = fx_linear(g, "skip_connection", x, cout,
                      (fx_linear_options){.x2 = skip, .init = init, .kernel_rank = 2});
    else if (widens)
        x = fx_conv3x3(g, "skip_connection", x, cout,
                       (fx_conv_options){.x2 = skip, .up = up, .bias = &skip_bias});
    return fx_conv3x3(g, "out_layers.3", h, cout,
                      (fx_conv_options){.residual = x, .zero = true, .bias2 = skip_bias});
}
