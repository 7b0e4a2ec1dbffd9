/* objective.c: what training minimises: mean error of the velocity (or its equivalent) over all pixels,
 * samples and tasks, plus the contrastive term between the two tasks' latents over the batch of a group
 * of ranks (flex-model 6). */
#include "flexhpc/diffusion.h"

static void record_noise(fx_builder *g, const fx_objective_options *o, const fx_batch *b,
                         unsigned tasks, fx_objective_nodes *out)
{
    const fx_attrs attrs = {.diffuse = o->schedule};
    fx_tensor *in[] = {b->t, b->eps, tasks & FX_TASK_SR ? b->lowres : NULL, b->snapshots,
                       tasks & FX_TASK_FC ? b->future : NULL};
    const fx_node *node = fx_record(g, FX_OP_diffuse, "diffuse", attrs, in, 5);
    if (!node) return;
    out->z = node->out[0];
    out->target = node->out[1];
    out->schedule = node->out[2];
}

void fx_record_objective(fx_builder *g, const fx_model *model, const fx_objective_options *o,
                         const fx_batch *b, fx_objective_nodes *out)
{
    fx_conditions conditions;
    *out = (fx_objective_nodes){0};
    fx_model_conditions(g, model, b->lowres, b->snapshots, b->re, &conditions);
    record_noise(g, o, b, model->tasks, out);
    out->velocity = fx_model_velocity(g, model, &conditions, out->z, b->t, b->re, &out->latent);
    const fx_attrs attrs = {.loss = {.criterion = o->criterion, .predict = o->schedule.predict}};
    const fx_node *loss =
        fx_record(g, FX_OP_loss, "loss", attrs,
                  (fx_tensor *[]){out->velocity, out->target, out->z, out->schedule}, 4);
    if (!loss) return;
    out->loss = loss->out[0];
    const int64_t tasks = model->tasks == (FX_TASK_SR | FX_TASK_FC) ? 2 : 1;
    fx_objective(g, out->loss, (float)(1.0 / (double)(tasks * o->global_samples)));
}

/* Every micro-batch's latents go to one tensor of the group's batch, on every rank; then each
 * micro-batch is differentiated by its own samples. */
void fx_record_contrast(fx_builder *g, const fx_objective_options *o, fx_objective_nodes *nodes,
                        int count)
{
    fx_tensor *all = NULL;
    const int64_t micro_batch = nodes[0].latent ? nodes[0].latent->dim[0] / 2 : 0;
    for (int k = 0; k < count; k++) {
        const fx_attrs attrs = {
            .gather = {.stride = o->stride, .offset = k * micro_batch, .ranks = o->contrast_ranks}};
        const fx_node *node = fx_record_into(g, FX_OP_gather, "contrast.gather", attrs,
                                             &nodes[k].latent, 1, &all, all ? 1 : 0);
        if (!node) return;
        all = node->out[0];
    }
    fx_record(g, FX_OP_join, "contrast.join", (fx_attrs){0}, NULL, 0);
    for (int k = 0; k < count; k++) {
        const fx_attrs attrs = {.contrast = {.temperature = o->contrast_temperature,
                                             .stride = o->stride,
                                             .offset = k * micro_batch}};
        fx_tensor *in[] = {nodes[k].latent, all};
        const fx_node *node = fx_record(g, FX_OP_contrast, "contrast", attrs, in, 2);
        if (!node) return;
        nodes[k].contrast = node->out[0];
        fx_objective(g, nodes[k].contrast, o->contrast_weight);
    }
}
