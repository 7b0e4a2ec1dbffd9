/* objective.c: what training minimises: mean error of the velocity (or its equivalent) over all pixels,
 * samples and tasks, plus the contrastive term between the two tasks' latents over the batch of a group
 * of ranks (flex-model 6). */
#include "flexhpc/diffusion.h"

static void record_noise(fx_builder *g, const fx_objective_options *o, const fx_batch *b,
                         unsigned tasks, fx_objective_nodes *out)
{
    const fx_attrs attrs = {.diffuse = {o->schedule, o->target}};
    fx_tensor *in[] = {b->t, b->eps, tasks & FX_TASK_SR ? b->lowres : NULL, b->snapshots,
                       tasks & FX_TASK_FC ? b->future : NULL};
    const fx_node *node = fx_record(g, FX_OP_diffuse, "diffuse", attrs, in, 5);
    if (!node) return;
    out->z = node->out[0];
    out->target = node->out[1];
    out->schedule = node->out[2];
}

/* The latents of this micro-batch, whose first sample is the builder's first slot, go out before the
 * decoder begins, so that it hides the way. */
static void record_exchange(fx_builder *g, const fx_objective_options *o, fx_objective_nodes *out)
{
    const fx_attrs attrs = {.gather = {.stride = o->stride,
                                       .offset = fx_builder_rows_now(g).slot0,
                                       .ranks = o->contrast_ranks}};
    if (o->exchange == FX_EXCHANGE_GATHER) {
        const fx_node *node = fx_record_into(g, FX_OP_gather, "contrast.gather", attrs, &out->latent, 1,
                                             &out->all, out->all ? 1 : 0);
        if (node) out->all = node->out[0];
    } else if (o->exchange == FX_EXCHANGE_FEATURES) {
        const fx_node *node = fx_record(g, FX_OP_exchange, "contrast.exchange", attrs, &out->latent, 1);
        if (!node) return;
        out->arrived = node->out[0];
        out->box = node->out[1];
    }
}

void fx_record_objective(fx_builder *g, const fx_model *model, const fx_objective_options *o,
                         const fx_batch *b, fx_objective_nodes *out)
{
    fx_conditions conditions;
    fx_features features;
    *out = (fx_objective_nodes){.all = out->all};
    fx_model_conditions(g, model, b->lowres, b->snapshots, b->re, &conditions);
    record_noise(g, o, b, model->tasks, out);
    fx_model_encode(g, model, &conditions, out->z, b->t, b->re, &features);
    out->latent = features.out;
    record_exchange(g, o, out);
    out->velocity = fx_model_decode(g, model, &conditions, &features, b->t, b->re);
    const fx_attrs attrs = {.loss = {.criterion = o->criterion, .predict = o->schedule.predict}};
    const fx_node *loss =
        fx_record(g, FX_OP_loss, "loss", attrs,
                  (fx_tensor *[]){out->velocity, out->target, out->z, out->schedule}, 4);
    if (!loss) return;
    out->loss = loss->out[0];
    const int64_t tasks = model->tasks == (FX_TASK_SR | FX_TASK_FC) ? 2 : 1;
    fx_objective(g, out->loss, (float)(1.0 / (double)(tasks * o->global_samples)));
}

static int64_t micro_batch_of(const fx_objective_nodes *nodes)
{
    return nodes[0].latent ? nodes[0].latent->dim[0] / 2 : 0;
}

/* Every micro-batch's latents are in one tensor of the group's batch, on every rank; each micro-batch
 * is differentiated by its own samples. */
static void record_gathered(fx_builder *g, const fx_objective_options *o, fx_objective_nodes *nodes,
                            int count)
{
    fx_record(g, FX_OP_join, "contrast.join", (fx_attrs){0}, NULL, 0);
    for (int k = 0; k < count; k++) {
        const fx_attrs attrs = {.contrast = {.temperature = o->contrast_temperature,
                                             .stride = o->stride,
                                             .offset = k * micro_batch_of(nodes)}};
        fx_tensor *in[] = {nodes[k].latent, nodes[count - 1].all};
        const fx_node *node = fx_record(g, FX_OP_contrast, "contrast", attrs, in, 2);
        if (!node) return;
        nodes[k].contrast = node->out[0];
        fx_objective(g, nodes[k].contrast, o->contrast_weight);
    }
}

/* Some features of all samples are here: products over these, summed over the ranks, are products of
 * whole latents, and the gradient of the one term goes back the way that the latents came. */
static void record_by_features(fx_builder *g, const fx_objective_options *o, fx_objective_nodes *nodes,
                               int count)
{
    fx_tensor *part = NULL;
    for (int k = 0; k < count; k++) {
        const fx_attrs attrs = {.gather = {.stride = o->stride,
                                           .offset = k * micro_batch_of(nodes),
                                           .ranks = o->contrast_ranks}};
        const fx_node *node =
            fx_record_into(g, FX_OP_arrive, "contrast.arrive", attrs,
                           (fx_tensor *[]){nodes[k].arrived, nodes[k].box}, 2, &part, part ? 1 : 0);
        if (!node) return;
        part = node->out[0];
    }
    const fx_node *dots = fx_record(g, FX_OP_dots, "contrast.dots", (fx_attrs){0}, &part, 1);
    if (!dots) return;
    fx_tensor *sums = dots->out[0];
    const fx_attrs all = {.reduce = {.offset = 0, .count = fx_count(sums), .group = true}};
    fx_record(g, FX_OP_all_reduce, "contrast.sum", all, &sums, 1);
    fx_record(g, FX_OP_join, "contrast.join", (fx_attrs){0}, NULL, 0);
    fx_section(g); /* products that went over the ranks are kept: one rank can't make them again */
    const fx_attrs attrs = {.contrast = {.temperature = o->contrast_temperature}};
    const fx_node *node = fx_record(g, FX_OP_contrast_dots, "contrast", attrs, &sums, 1);
    if (!node) return;
    for (int k = 0; k < count; k++)
        nodes[k].contrast = node->out[0];
    fx_objective(g, node->out[0], o->contrast_weight);
}

void fx_record_contrast(fx_builder *g, const fx_objective_options *o, fx_objective_nodes *nodes,
                        int count)
{
    if (o->exchange == FX_EXCHANGE_FEATURES)
        record_by_features(g, o, nodes, count);
    else
        record_gathered(g, o, nodes, count);
}
