/* params.c: the ordered list of a model's parameters: names, shapes, how they start. Their memory is
 * slabs.c's. */
#include "slabs.h"

#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/str.h"

fx_status fx_params_create(fx_params **out)
{
    fx_params *params = NULL;
    FX_TRY(FX_ALLOC(params, 1));
    params->replicas = params->ranks = 1;
    const fx_status status = fx_pool_create(&params->pool);
    if (status != FX_OK) {
        fx_free(params);
        return status;
    }
    *out = params;
    return FX_OK;
}

void fx_params_free(fx_params **params)
{
    if (!*params) return;
    fx_params_release(*params);
    fx_pool_free(&(*params)->pool);
    fx_free((*params)->list);
    fx_free(*params);
    *params = NULL;
}

fx_status fx_params_replicas(fx_params *params, int replicas)
{
    FX_REQUIRE(params->count == 0 && replicas >= 1, FX_EARG,
               "gradient replicas are set before the first tape");
    params->replicas = replicas;
    return FX_OK;
}

int fx_params_replica_count(const fx_params *params)
{
    return params->replicas;
}

fx_status fx_params_store_as(fx_params *params, fx_dtype storage)
{
    FX_REQUIRE(params->count == 0 && (storage == FX_F32 || storage == FX_BF16), FX_EARG,
               "parameters are stored as fp32 or bf16, said before the first tape");
    params->storage = storage;
    return FX_OK;
}

fx_dtype fx_params_storage(const fx_params *params)
{
    return params->storage;
}

fx_status fx_params_shard(fx_params *params, int rank, int ranks)
{
    FX_REQUIRE(!params->slabs && rank >= 0 && rank < ranks, FX_EARG,
               "parameters are sharded over ranks before their layout");
    params->rank = rank;
    params->ranks = ranks;
    return FX_OK;
}

static bool is_trained(fx_init init)
{
    return init.kind != FX_INIT_FREQUENCIES && init.kind != FX_INIT_PHASES;
}

static void describe(fx_param *p, fx_tensor *t, bool wants_gradient)
{
    t->name = p->name;
    t->memory = FX_PARAMETER;
    t->param = p;
    t->first = t->last = -1;
    t->wants_gradient = wants_gradient;
}

static fx_status add(fx_params *params, const char *name, fx_init init, int rank, const int64_t *dim,
                     fx_param **out)
{
    FX_TRY(fx_grow((void **)&params->list, &params->capacity, params->count, sizeof *params->list));
    fx_param *p = fx_pool_calloc(params->pool, 1, sizeof *p);
    if (!p || !(p->name = fx_pool_print(params->pool, "%s", name))) return FX_ENOMEM;
    if (!(p->gradient = fx_pool_calloc(params->pool, (size_t)params->replicas, sizeof *p->gradient)))
        return FX_ENOMEM;
    p->stream = fx_crc32(name);
    p->init = init;
    p->trained = is_trained(init);
    p->offset = -1;
    describe(p, &p->value, p->trained);
    describe(p, &p->ema, false);
    if (p->trained) p->value.dtype = p->ema.dtype = params->storage;
    FX_TRY(fx_set_shape(&p->value, rank, dim));
    FX_TRY(fx_set_shape(&p->ema, rank, dim));
    for (int r = 0; r < params->replicas; r++) {
        describe(p, &p->gradient[r], false);
        FX_TRY(fx_set_shape(&p->gradient[r], rank, dim));
    }
    params->list[params->count++] = p;
    *out = p;
    return FX_OK;
}

fx_status fx_params_get(fx_params *params, const char *name, fx_init init, int rank, const int64_t *dim,
                        fx_param **out)
{
    fx_param *p = fx_params_find(params, name);
    if (!p) {
        FX_REQUIRE(!params->slabs, FX_EARG, "%s: a new parameter after the slabs were laid out", name);
        return add(params, name, init, rank, dim, out);
    }
    FX_REQUIRE(fx_has_shape(&p->value, rank, dim), FX_EARG, "%s has shape %s on another tape", name,
               fx_shape_text(&p->value));
    FX_REQUIRE(p->init.kind == init.kind, FX_EARG, "%s starts in another way on another tape", name);
    *out = p;
    return FX_OK;
}

int fx_params_count(const fx_params *params)
{
    return (int)params->count;
}

fx_param *fx_params_at(fx_params *params, int i)
{
    return params->list[i];
}

fx_param *fx_params_find(fx_params *params, const char *name)
{
    const uint32_t stream = fx_crc32(name);
    for (size_t i = 0; i < params->count; i++)
        if (params->list[i]->stream == stream && strcmp(params->list[i]->name, name) == 0)
            return params->list[i];
    return NULL;
}

int64_t fx_params_elements(const fx_params *params, bool trained)
{
    int64_t total = 0;
    for (size_t i = 0; i < params->count; i++)
        if (params->list[i]->trained == trained) total += fx_count(&params->list[i]->value);
    return total;
}
