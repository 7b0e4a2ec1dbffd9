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
    fx_dtype storage;

    fx_exec *exec;            /* of the slabs' memory; NULL: none yet */
    unsigned slabs;           /* laid out: bits 1 << fx_slab */
    fx_tensor slab[FX_SLABS]; /* (n); gradients (replicas, n) */
    fx_tensor *gradient;      /* one a replica, in that block */
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
    for (int s = 0; params->exec && s < FX_SLABS; s++)
        params->exec->backend->release(params->exec, params->slab[s].data, params->slab_bytes[s]);
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

static int64_t place(fx_param *p, int64_t at)
{
    p->offset = at;
    const int64_t end = at + fx_count(&p->value);
    return (end + ALIGN_ELEMENTS - 1) / ALIGN_ELEMENTS * ALIGN_ELEMENTS;
}

static fx_status place_all(fx_params *params, fx_param *const *order)
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

static fx_tensor slab_of(fx_dtype dtype, int rank, int64_t rows, int64_t elements)
{
    fx_tensor slab = {
        .name = "slab", .rank = rank, .dtype = dtype, .memory = FX_PARAMETER, .first = -1, .last = -1};
    slab.dim[0] = rank == 2 ? rows : elements;
    slab.dim[1] = rank == 2 ? elements : 0;
    return slab;
}

fx_status fx_params_lay_out(fx_params *params, fx_param *const *order, unsigned slabs)
{
    const int64_t replicas = params->replicas;
    FX_REQUIRE(!params->slabs, FX_EARG, "slabs are laid out already");
    FX_REQUIRE(params->count > 0, FX_EARG, "no parameters to lay out");
    FX_TRY(place_all(params, order));
    const int64_t n = params->trained_elements;
    for (fx_slab s = 0; s < FX_SLABS; s++) {
        if (!(slabs & (1u << s))) continue;
        const int64_t held = s == FX_SLAB_VALUE      ? params->all_elements
                             : s == FX_SLAB_GRADIENT ? replicas * n
                                                     : n;
        params->slab[s] = slab_of(FX_F32, s == FX_SLAB_GRADIENT ? 2 : 1, replicas, n);
        params->slab_bytes[s] = (size_t)held * sizeof(float);
    }
    if (slabs & (1u << FX_SLAB_GRADIENT)) {
        params->gradient = fx_pool_calloc(params->pool, (size_t)replicas, sizeof *params->gradient);
        if (!params->gradient) return FX_ENOMEM;
        for (int r = 0; r < replicas; r++)
            params->gradient[r] = slab_of(FX_F32, 1, 1, n);
    }
    if (params->storage == FX_BF16) {
        params->slab[FX_SLAB_COPY] = slab_of(FX_BF16, 2, slabs & 1u << FX_SLAB_EMA ? 2 : 1, n);
        params->slab_bytes[FX_SLAB_COPY] = fx_tensor_bytes(&params->slab[FX_SLAB_COPY]);
        slabs |= 1u << FX_SLAB_COPY;
    }
    params->slabs = slabs;
    return FX_OK;
}

static void bind(const fx_tensor *slab, const fx_param *p, fx_tensor *t)
{
    if (slab->data) t->data = (char *)slab->data + (size_t)p->offset * fx_dtype_bytes(slab->dtype);
}

/* The slab `slab` as kernels read trained parameters: itself, or its row of the copies. */
static fx_tensor as_read(const fx_params *params, fx_slab slab)
{
    const fx_tensor *copies = &params->slab[FX_SLAB_COPY];
    if (params->storage == FX_F32) return params->slab[slab];
    fx_tensor row = slab_of(FX_BF16, 1, 1, params->trained_elements);
    if (copies->data && (slab == FX_SLAB_VALUE || copies->dim[0] == 2))
        row.data = (char *)copies->data + (slab == FX_SLAB_EMA ? fx_tensor_bytes(&row) : 0);
    return row;
}

fx_status fx_params_allocate(fx_params *params, fx_exec *exec, fx_param *const *order, unsigned slabs)
{
    FX_TRY(fx_params_lay_out(params, order, slabs));
    params->exec = exec;
    for (fx_slab s = 0; s < FX_SLABS; s++)
        if (params->slabs & (1u << s))
            FX_TRY_CTX(exec->backend->allocate(exec, params->slab_bytes[s], &params->slab[s].data),
                       "parameters");
    for (int r = 0; params->gradient && r < params->replicas; r++)
        params->gradient[r].data =
            fx_f32(&params->slab[FX_SLAB_GRADIENT]) + r * params->trained_elements;
    const fx_tensor value = as_read(params, FX_SLAB_VALUE), ema = as_read(params, FX_SLAB_EMA);
    for (size_t i = 0; i < params->count; i++) {
        fx_param *p = params->list[i];
        bind(p->trained ? &value : &params->slab[FX_SLAB_VALUE], p, &p->value);
        if (!p->trained) continue;
        bind(&ema, p, &p->ema);
        for (int r = 0; params->gradient && r < params->replicas; r++)
            bind(&params->gradient[r], p, &p->gradient[r]);
    }
    return FX_OK;
}

fx_tensor *fx_params_slab(fx_params *params, fx_slab slab, int replica)
{
    if (!(params->slabs & (1u << slab)) || replica >= params->replicas) return NULL;
    return slab == FX_SLAB_GRADIENT ? &params->gradient[replica] : &params->slab[slab];
}

fx_tensor *fx_params_gradients(fx_params *params)
{
    return params->gradient ? &params->slab[FX_SLAB_GRADIENT] : NULL;
}

size_t fx_params_slab_bytes(const fx_params *params, fx_slab slab)
{
    return params->slab_bytes[slab];
}

size_t fx_params_bytes(const fx_params *params)
{
    size_t bytes = 0;
    for (int s = 0; s < FX_SLABS; s++)
        bytes += params->slab_bytes[s];
    return bytes;
}

static fx_status locate(fx_params *params, const fx_param *p, fx_slab slab, float **out)
{
    const fx_tensor *whole = fx_params_slab(params, slab, 0);
    FX_REQUIRE(slab != FX_SLAB_COPY && whole && whole->data && (p->trained || slab == FX_SLAB_VALUE),
               FX_EARG, "%s: no such slab", p->name);
    *out = fx_f32(whole) + p->offset;
    return FX_OK;
}

static size_t bytes_of(const fx_param *p)
{
    return (size_t)fx_count(&p->value) * sizeof(float);
}

fx_status fx_params_read(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab, float *out)
{
    float *at = NULL;
    FX_TRY(locate(params, p, slab, &at));
    return exec->backend->download(exec, out, at, bytes_of(p));
}

fx_status fx_params_write(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab,
                          const float *in)
{
    float *at = NULL;
    FX_TRY(locate(params, p, slab, &at));
    FX_TRY(exec->backend->upload(exec, at, in, bytes_of(p)));
    const fx_tensor *copy = slab == FX_SLAB_VALUE ? &p->value : slab == FX_SLAB_EMA ? &p->ema : NULL;
    return copy && copy->dtype == FX_BF16 ? fx_tensor_write(exec, copy, in) : FX_OK;
}
