/* builder.c: records a step as a list of nodes. The first error sticks, later calls do nothing. */
#include "builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

fx_status fx_builder_create(fx_params *params, fx_builder **out)
{
    fx_builder *g = NULL;
    FX_TRY(FX_ALLOC(g, 1));
    g->params = params;
    g->rows.samples = 1;
    const fx_status status = fx_pool_create(&g->pool);
    if (status != FX_OK) {
        fx_free(g);
        return status;
    }
    *out = g;
    return FX_OK;
}

void fx_builder_free(fx_builder **g)
{
    if (!*g) return;
    fx_pool_free(&(*g)->pool);
    fx_free((*g)->entries);
    fx_free((*g)->tensors);
    fx_free((*g)->goals);
    fx_free((*g)->ready);
    fx_free(*g);
    *g = NULL;
}

fx_status fx_builder_status(const fx_builder *g)
{
    return g->status == FX_OK ? FX_OK : fx_fail(g->status, "%s", g->message);
}

/* Keeps the thread's recorded message as the builder's own, under `name`. */
static void keep_error(fx_builder *g, fx_status status, const char *name)
{
    if (g->status != FX_OK) return;
    g->status = status;
    snprintf(g->message, sizeof g->message, "%s%s: %s", g->scope, name, fx_error_message());
}

void fx_builder_fail(fx_builder *g, fx_status code, const char *fmt, ...)
{
    if (g->status != FX_OK) return;
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fx_fail(code, "%s", text);
    keep_error(g, code, "");
}

fx_params *fx_builder_params(fx_builder *g)
{
    return g->params;
}

void fx_scope_push(fx_builder *g, const char *fmt, ...)
{
    if (g->scopes == FX_SCOPES) {
        fx_builder_fail(g, FX_EARG, "scopes nest deeper than %d", FX_SCOPES);
        return;
    }
    const size_t end = strlen(g->scope), room = sizeof g->scope - end;
    g->scope_end[g->scopes++] = end;
    va_list args;
    va_start(args, fmt);
    const int used = vsnprintf(g->scope + end, room, fmt, args);
    va_end(args);
    if (used < 0 || (size_t)used + 1 >= room)
        fx_builder_fail(g, FX_EARG, "name too long");
    else
        memcpy(g->scope + end + used, ".", 2);
}

void fx_scope_pop(fx_builder *g)
{
    if (g->scopes > 0) g->scope[g->scope_end[--g->scopes]] = '\0';
}

void fx_builder_use_ema(fx_builder *g, bool ema)
{
    if (ema && fx_params_shares(g->params))
        fx_builder_fail(g, FX_EARG,
                        "the EMA is sharded over ranks (train.shard_optimizer): no rank has it");
    g->ema = ema;
}

void fx_builder_rows(fx_builder *g, fx_rows rows)
{
    g->rows = rows;
}

fx_rows fx_builder_rows_now(const fx_builder *g)
{
    return g->rows;
}

void fx_part(fx_builder *g)
{
    g->part++;
}

void fx_section(fx_builder *g)
{
    g->section++;
    g->part++;
}

fx_tensor *fx_builder_tensor(fx_builder *g, const char *name, fx_role role)
{
    fx_tensor *t = fx_pool_calloc(g->pool, 1, sizeof *t);
    const fx_status status =
        t ? fx_grow((void **)&g->tensors, &g->tensor_capacity, g->tensor_count, sizeof *g->tensors)
          : FX_ENOMEM;
    if (status != FX_OK) {
        keep_error(g, status, name);
        return NULL;
    }
    t->name = name;
    t->role = role;
    t->first = t->last = -1;
    g->tensors[g->tensor_count++] = t;
    return t;
}

bool fx_builder_append(fx_builder *g, fx_node *node, fx_pass pass)
{
    const fx_status status = fx_grow((void **)&g->entries, &g->capacity, g->count, sizeof *g->entries);
    if (status != FX_OK) {
        keep_error(g, status, "");
        return false;
    }
    g->entries[g->count++] = (fx_entry){.node = node, .pass = pass};
    return true;
}

fx_node *fx_builder_copy(fx_builder *g, const fx_node *node)
{
    fx_node *copy = fx_pool_calloc(g->pool, 1, sizeof *copy);
    if (copy)
        *copy = *node;
    else
        keep_error(g, FX_ENOMEM, "");
    return copy;
}

static const char *full_name(fx_builder *g, const char *name)
{
    const char *full = fx_pool_print(g->pool, "%s%s", g->scope, name);
    if (!full) keep_error(g, FX_ENOMEM, name);
    return full;
}

static fx_tensor *input(fx_builder *g, const char *name, fx_dtype dtype, int rank, const int64_t *dim)
{
    if (g->status != FX_OK) return NULL;
    const char *full = full_name(g, name);
    fx_tensor *t = full ? fx_builder_tensor(g, full, FX_ACTIVATION) : NULL;
    if (!t) return NULL;
    t->memory = FX_KEPT;
    t->dtype = dtype;
    const fx_status status = fx_set_shape(t, rank, dim);
    if (status == FX_OK) return t;
    keep_error(g, status, name);
    return NULL;
}

fx_tensor *fx_input(fx_builder *g, const char *name, int rank, const int64_t *dim)
{
    return input(g, name, FX_F32, rank, dim);
}

fx_tensor *fx_input_stored(fx_builder *g, const char *name, int rank, const int64_t *dim)
{
    return input(g, name, fx_params_storage(g->params), rank, dim);
}

fx_tensor *fx_keep(fx_builder *g, fx_tensor *t)
{
    if (g->status == FX_OK && t && t->memory == FX_PLANNED) t->memory = FX_KEPT;
    return t;
}

fx_tensor *fx_weight(fx_builder *g, const char *name, fx_init init, int rank, const int64_t *dim)
{
    if (g->status != FX_OK) return NULL;
    fx_param *p = NULL;
    const char *full = full_name(g, name);
    if (!full) return NULL;
    const fx_status status = fx_params_get(g->params, full, init, rank, dim, &p);
    if (status != FX_OK) {
        keep_error(g, status, name);
        return NULL;
    }
    return g->ema && p->trained ? &p->ema : &p->value;
}

static fx_status make_shaped(fx_node *node, fx_tensor *t, int i, const char *kind, int rank,
                             const int64_t *dim)
{
    FX_REQUIRE(t, FX_EARG, "%s %d has no tensor", kind, i);
    if (t->rank == 0) return fx_set_shape(t, rank, dim);
    FX_REQUIRE(fx_has_shape(t, rank, dim), FX_EARG, "%s: %s %d has shape %s already", node->name, kind,
               i, fx_shape_text(t));
    return FX_OK;
}

fx_status fx_out_shape(fx_node *node, int i, int rank, const int64_t *dim)
{
    return make_shaped(node, node->out[i], i, "output", rank, dim);
}

fx_status fx_saved_shape(fx_node *node, int i, int rank, const int64_t *dim)
{
    return make_shaped(node, node->saved[i], i, "saved tensor", rank, dim);
}

static fx_tensor *typed(fx_builder *g, const fx_node *node, unsigned bit, fx_role role)
{
    fx_tensor *t = fx_builder_tensor(g, node->name, role);
    if (t) t->dtype = fx_type_of(node->op, bit, fx_params_storage(g->params));
    return t;
}

/* Gives the node room for every output and saved tensor, for its shape rule to choose from. */
static bool open_outputs(fx_builder *g, fx_node *node, fx_tensor *const *out, int count)
{
    for (int i = 0; i < FX_MAX_OUT; i++)
        if (!(node->out[i] = i < count ? out[i] : typed(g, node, FX_OUT(i), FX_ACTIVATION)))
            return false;
    for (int i = 0; i < FX_MAX_SAVED; i++)
        if (!(node->saved[i] = typed(g, node, FX_SAVED(i), FX_STATISTIC))) return false;
    return true;
}

/* Drops those that the shape rule left alone: they are the last ones listed. */
static void close_outputs(fx_builder *g, fx_node *node, size_t listed)
{
    size_t kept = listed;
    for (size_t i = listed; i < g->tensor_count; i++)
        if (g->tensors[i]->rank > 0) g->tensors[kept++] = g->tensors[i];
    g->tensor_count = kept;
    for (int i = 0; i < FX_MAX_OUT; i++)
        if (node->out[i]->rank == 0) node->out[i] = NULL;
    for (int i = 0; i < FX_MAX_SAVED; i++)
        if (node->saved[i]->rank == 0) node->saved[i] = NULL;
}

/* Kernels take the types for granted. A trained parameter's gradient is fp32, so it has to be where the
 * op writes one that is. */
static fx_status check_type(const fx_node *node, int i, fx_dtype storage)
{
    const fx_tensor *t = node->in[i];
    const unsigned bit = FX_IN(i);
    if (!t || storage == FX_F32) return FX_OK;
    FX_REQUIRE(t->dtype == fx_type_of(node->op, bit, storage) ||
                   (t->dtype == FX_F32 && (node->op->converts & bit)),
               FX_EARG, "input %d is %s", i, t->dtype == FX_F32 ? "fp32, not bf16" : "bf16, not fp32");
    FX_REQUIRE(!t->param || !t->wants_gradient || (node->op->parameters & bit), FX_EARG,
               "input %d is a parameter", i);
    return FX_OK;
}

/* Backward writes each input's gradient on its own: one tensor twice would need an order among them. */
static fx_status check_inputs(const fx_node *node, int count, fx_dtype storage)
{
    for (int i = 0; i < FX_MAX_IN; i++)
        FX_TRY(check_type(node, i, storage));
    FX_REQUIRE(count <= FX_MAX_IN, FX_EARG, "%d inputs, at most %d", count, FX_MAX_IN);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++)
            FX_REQUIRE(!node->in[i] || node->in[i] != node->in[j] || !(node->op->gradients & FX_IN(i)),
                       FX_EARG, "inputs %d and %d are one tensor", j, i);
    return FX_OK;
}

/* An output wants a gradient when an input does that backward can serve. Only out[0] carries one. */
static void set_producer(fx_node *node)
{
    bool wants = false;
    for (int i = 0; i < FX_MAX_IN; i++)
        wants =
            wants || (node->in[i] && node->in[i]->wants_gradient && (node->op->gradients & FX_IN(i)));
    for (int i = 0; i < FX_MAX_OUT; i++) {
        if (!node->out[i] || node->out[i]->producer) continue;
        node->out[i]->producer = node;
        node->out[i]->wants_gradient = wants && i == 0;
    }
    for (int i = 0; i < FX_MAX_SAVED; i++)
        if (node->saved[i]) node->saved[i]->producer = node;
}

fx_node *fx_record_into(fx_builder *g, fx_op_id id, const char *name, fx_attrs attrs,
                        fx_tensor *const *in, int count, fx_tensor *const *out, int count_out)
{
    if (g->status != FX_OK) return NULL;
    fx_node *node = fx_pool_calloc(g->pool, 1, sizeof *node);
    if (!node || !(node->name = full_name(g, name))) {
        keep_error(g, FX_ENOMEM, name);
        return NULL;
    }
    node->op = fx_ops[id];
    node->id = id;
    node->stream = fx_crc32(node->name);
    node->attrs = attrs;
    node->rows = g->rows;
    node->part = g->part;
    node->section = g->section;
    for (int i = 0; i < count && i < FX_MAX_IN; i++)
        node->in[i] = in[i];
    fx_status status = check_inputs(node, count, fx_params_storage(g->params));
    if (status == FX_OK) {
        const size_t listed = g->tensor_count;
        if (!open_outputs(g, node, out, count_out)) return NULL;
        status = node->op->shape(node);
        close_outputs(g, node, listed);
    }
    if (status != FX_OK) {
        keep_error(g, status, name);
        return NULL;
    }
    set_producer(node);
    return fx_builder_append(g, node, FX_FORWARD) ? node : NULL;
}

fx_node *fx_record(fx_builder *g, fx_op_id id, const char *name, fx_attrs attrs, fx_tensor *const *in,
                   int count)
{
    return fx_record_into(g, id, name, attrs, in, count, NULL, 0);
}

void fx_objective(fx_builder *g, fx_tensor *t, float weight)
{
    if (g->status != FX_OK) return;
    const fx_status status =
        fx_grow((void **)&g->goals, &g->goal_capacity, g->goal_count, sizeof *g->goals);
    if (status != FX_OK) {
        keep_error(g, status, "objective");
        return;
    }
    g->goals[g->goal_count++] = (fx_goal){t, weight};
}

int fx_builder_entries(const fx_builder *g, const fx_entry **entries)
{
    *entries = g->entries;
    return (int)g->count;
}
