/* profile_times.c: a profile for programs: how long each entry of the tape took, and the time between
 * them.
 */
#include "flexhpc/json.h"
#include "synthetic.h"

static json_t *entries_of(const fx_recorder *r, int steps)
{
    json_t *list = json_array();
    for (int e = 0; e < r->count; e++) {
        const fx_entry *entry = &r->entries[e];
        const bool talks = entry->node->op->communicates || entry->node->id == FX_OP_join;
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:b, s:f, s:f, s:f}", "name", entry->node->name, "pass",
                            entry->pass == FX_BACKWARD ? "backward" : "forward", "op",
                            entry->node->op->name, "communicates", talks, "seconds",
                            r->total[e] / steps, "flop", fx_node_flops(entry->node, entry->pass),
                            "bytes", fx_node_bytes(entry->node, entry->pass)));
    }
    if (json_array_size(list) == (size_t)r->count) return list;
    json_decref(list);
    return NULL;
}

fx_status fx_recorder_write(const fx_recorder *r, const fx_synthetic *s, int steps, double seconds,
                            const char *file)
{
    char backend[256];
    double inside = 0;
    const fx_step_options *o = &s->trainee->options;
    FX_TRY(s->exec->backend->describe(s->exec, backend, sizeof backend));
    for (int e = 0; e < r->count; e++)
        inside += r->total[e] / steps;
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:f, s:f, s:o}", "kind", "profile", "backend", backend,
        "storage", s->exec->storage == FX_BF16 ? "bf16" : "fp32", "ranks", s->comm->size, "batch",
        (json_int_t)(o->micro_batch * o->accumulate), "image", (json_int_t)o->model.image, "parameters",
        (json_int_t)fx_params_elements(s->trainee->params, true), "step_s", seconds, "between_s",
        seconds > inside ? seconds - inside : 0.0, "entries", entries_of(r, steps));
    const fx_status status = fx_json_write(file, root);
    json_decref(root);
    return status;
}
