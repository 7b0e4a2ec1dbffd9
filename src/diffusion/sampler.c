/* sampler.c: DDIM with eta 0 as a list of nodes (flex-model 6; Song, Meng, Ermon: Denoising diffusion
 * implicit models, 2021). The task encoders do not see the time: what they gave is an input. */
#include "flexhpc/diffusion.h"

fx_tensor *fx_record_sampler(fx_builder *g, const fx_model *model, fx_schedule_attrs schedule,
                             int steps, const fx_conditions *conditions, fx_tensor *re, fx_tensor *x)
{
    fx_tensor *mean = NULL;
    if (!re) return NULL;
    for (int k = steps; k >= 1; k--) {
        const double t = (double)k / steps, t_next = (double)(k - 1) / steps;
        const fx_attrs time = {.fill = {.value = (float)t, .rank = 1, .dim = {re->dim[0]}}};
        const fx_node *fill = fx_record(g, FX_OP_fill, "time", time, NULL, 0);
        if (!fill) return NULL;
        fx_tensor *velocity = fx_model_velocity(g, model, conditions, x, fill->out[0], re, NULL);
        const fx_attrs attrs = {
            .ddim = {.predict = schedule.predict, .shift = schedule.shift, .t = t, .t_next = t_next}};
        const fx_node *node = fx_record(g, FX_OP_ddim, "ddim", attrs, (fx_tensor *[]){x, velocity}, 2);
        if (!node) return NULL;
        x = node->out[0];
        mean = node->out[1];
    }
    return mean;
}
