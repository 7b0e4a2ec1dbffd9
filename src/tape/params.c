/* params.c: the ordered list of a model's parameters and the slabs that hold them. Every slab has the
 * same layout: trained parameters in the order given at allocation, buffers behind them (in the value
 * slab only). */
#include "flexhpc/params.h"

#include <string.h>

#include "flexhpc/backend.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

enum { ALIGN_ELEMENTS = 16 }; /* 64 bytes: vector loads and the next parameter's start agree */

struct fx_params {
    fx_pool *pool;
    fx_param **list;
    size_t count, capacity;
    int replicas;

    fx_exec *exec; /* of the slabs */
    fx_tensor slab[FX_SLABS];
    fx_tensor *gradient; /* one a replica, in one block */
    fx_tensor gradients; /* the block: (replicas, n) */
    size_t slab_bytes[FX_SLABS];
    int64_t trained_elements, all_elements; /* with alignment gaps */
};

fx_status fx_params_create(fx_params **out)
{
    fx_params *params = NULL;
    FX_TRY(FX_ALLOC(params, 1));
    params->replicas = 1;
    const fx_status status = fx_pool_create(&params->pool);
    if (status != FX_OK) {
        fx_free(params);
        return status;
    }
    *out = params;
    return FX_OK;
}

static void release_slabs(fx_params *params)
{
    if (!params->exec) return;
    const fx_backend *backend = params->exec->backend;
    for (int s = 0; s < FX_SLABS; s++) {
        if (s != FX_SLAB_GRADIENT)
            backend->release(params->exec, params->slab[s].data, params->slab_bytes[s]);
        params->slab[s].data = NULL;
    }
    backend->release(params->exec, params->gradients.data,
                     params->slab_bytes[FX_SLAB_GRADIENT] * (size_t)params->replicas);
    params->gradients.data = NULL;
    params->gradient = NULL; /* the array is the pool's */
    params->exec = NULL;
}

void fx_params_free(fx_params **params)
{
    if (!*params) return;
    release_slabs(*params);
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
        FX_REQUIRE(!params->exec, FX_EARG, "%s: a new parameter after the slabs were allocated", name);
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

static int64_t place(fx_param *p, int64_t at)
{
    p->offset = at;
    const int64_t end = at + fx_count(&p->value);
    return (end + ALIGN_ELEMENTS - 1) / ALIGN_ELEMENTS * ALIGN_ELEMENTS;
}

static fx_status lay_out(fx_params *params, fx_param *const *order)
{
    int64_t at = 0;
    size_t placed = 0;
    for (size_t i = 0; i < params->count; i++) {
        fx_param *p = params->list[i];
        if (p->trained) at = place(order ? order[placed++] : p, at);
    }
    params->trained_elements = at;
    for (size_t i = 0; i < params->count; i++) {
        if (!params->list[i]->trained) at = place(params->list[i], at);
        FX_REQUIRE(params->list[i]->offset >= 0, FX_EARG, "%s has no place in the order",
                   params->list[i]->name);
    }
    params->all_elements = at;
    return FX_OK;
}

static fx_tensor slab_of(int rank, int64_t rows, int64_t elements)
{
    fx_tensor slab = {.name = "slab", .rank = rank, .memory = FX_PARAMETER, .first = -1, .last = -1};
    slab.dim[0] = rank == 2 ? rows : elements;
    slab.dim[1] = rank == 2 ? elements : 0;
    return slab;
}

static fx_status allocate(fx_params *params, fx_slab s)
{
    const int64_t n = s == FX_SLAB_VALUE ? params->all_elements : params->trained_elements;
    params->slab_bytes[s] = (size_t)n * sizeof(float);
    params->slab[s] = slab_of(1, 1, params->trained_elements);
    return params->exec->backend->allocate(params->exec, params->slab_bytes[s], &params->slab[s].data);
}

static fx_status allocate_gradients(fx_params *params)
{
    const int64_t n = params->trained_elements;
    const size_t bytes = (size_t)n * sizeof(float);
    params->slab_bytes[FX_SLAB_GRADIENT] = bytes;
    params->gradients = slab_of(2, params->replicas, n);
    params->gradient = fx_pool_calloc(params->pool, (size_t)params->replicas, sizeof *params->gradient);
    if (!params->gradient) return FX_ENOMEM;
    FX_TRY(params->exec->backend->allocate(params->exec, bytes * (size_t)params->replicas,
                                           &params->gradients.data));
    for (int r = 0; r < params->replicas; r++) {
        params->gradient[r] = slab_of(1, 1, n);
        params->gradient[r].data = (char *)params->gradients.data + (size_t)r * bytes;
    }
    return FX_OK;
}

static void bind(const fx_tensor *slab, const fx_param *p, fx_tensor *t)
{
    if (slab->data) t->data = (char *)slab->data + (size_t)p->offset * sizeof(float);
}

fx_status fx_params_allocate(fx_params *params, fx_exec *exec, fx_param *const *order, unsigned slabs)
{
    FX_REQUIRE(!params->exec, FX_EARG, "slabs are allocated already");
    FX_REQUIRE(params->count > 0, FX_EARG, "no parameters to allocate");
    FX_TRY(lay_out(params, order));
    params->exec = exec;
    for (fx_slab s = 0; s < FX_SLABS; s++)
        if ((slabs & (1u << s)) && s != FX_SLAB_GRADIENT) FX_TRY(allocate(params, s));
    if (slabs & (1u << FX_SLAB_GRADIENT)) FX_TRY(allocate_gradients(params));
    for (size_t i = 0; i < params->count; i++) {
        fx_param *p = params->list[i];
        bind(&params->slab[FX_SLAB_VALUE], p, &p->value);
        if (!p->trained) continue;
        bind(&params->slab[FX_SLAB_EMA], p, &p->ema);
        for (int r = 0; params->gradient && r < params->replicas; r++)
            bind(&params->gradient[r], p, &p->gradient[r]);
    }
    return FX_OK;
}

fx_tensor *fx_params_slab(fx_params *params, fx_slab slab, int replica)
{
    if (slab == FX_SLAB_GRADIENT)
        return params->gradient && replica < params->replicas ? &params->gradient[replica] : NULL;
    return params->slab[slab].data ? &params->slab[slab] : NULL;
}

fx_tensor *fx_params_gradients(fx_params *params)
{
    return params->gradient ? &params->gradients : NULL;
}

size_t fx_params_bytes(const fx_params *params)
{
    size_t bytes =
        params->gradient ? params->slab_bytes[FX_SLAB_GRADIENT] * (size_t)params->replicas : 0;
    for (int s = 0; s < FX_SLABS; s++)
        if (params->slab[s].data) bytes += params->slab_bytes[s];
    return bytes;
}

static fx_status locate(fx_params *params, const fx_param *p, fx_slab slab, float **out)
{
    const fx_tensor *whole = fx_params_slab(params, slab, 0);
    FX_REQUIRE(whole && (p->trained || slab == FX_SLAB_VALUE), FX_EARG, "%s: no such slab", p->name);
    *out = fx_f32(whole) + p->offset;
    return FX_OK;
}

fx_status fx_params_read(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab, float *out)
{
    float *at = NULL;
    FX_TRY(locate(params, p, slab, &at));
    return exec->backend->download(exec, out, at, fx_tensor_bytes(&p->value));
}

fx_status fx_params_write(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab,
                          const float *in)
{
    float *at = NULL;
    FX_TRY(locate(params, p, slab, &at));
    return exec->backend->upload(exec, at, in, fx_tensor_bytes(&p->value));
}
