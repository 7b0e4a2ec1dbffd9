/* slabs.c: the memory of parameters. Every slab has the same layout: trained parameters in the order
 * given at allocation, buffers behind them (in the value slab only). Of a sharded slab a rank holds a
 * range of that; a whole one that is gathered from shares has room for as many of equal width. */
#include "slabs.h"

#include "flexhpc/backend.h"
#include "flexhpc/mem.h"

enum { ALIGN_ELEMENTS = 16 }; /* 64 bytes: vector loads and the next parameter's start agree */

void fx_params_release(fx_params *params)
{
    for (int s = 0; params->exec && s < FX_SLABS; s++)
        params->exec->backend->release(params->exec, params->slab[s].data, params->slab_bytes[s]);
}

static bool is_sharded(const fx_params *params, fx_slab slab)
{
    const bool copied = params->storage == FX_BF16;
    return params->ranks > 1 && (slab == FX_SLAB_MOMENT1 || slab == FX_SLAB_MOMENT2 ||
                                 slab == FX_SLAB_EMA || (slab == FX_SLAB_VALUE && copied));
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
    if (params->ranks > 1) at = params->ranks * fx_share_width(at, params->ranks);
    params->buffers_start = at;
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

/* Elements that a slab takes, all replicas and buffers. */
static int64_t held(const fx_params *params, fx_slab slab, unsigned slabs)
{
    const int64_t n = params->trained_elements, buffers = params->all_elements - params->buffers_start;
    const bool sharded = is_sharded(params, slab);
    if (slab == FX_SLAB_VALUE) return sharded ? params->share.count + buffers : params->all_elements;
    if (slab == FX_SLAB_GRADIENT) return params->replicas * n;
    if (slab == FX_SLAB_COPY)
        return params->ranks > 1 ? params->buffers_start : slabs & 1u << FX_SLAB_EMA ? 2 * n : n;
    return sharded ? params->share.count : n;
}

/* The tensors of a rank that holds its share of some slabs, and works on its share of all. */
static void lay_out_shares(fx_params *params)
{
    for (fx_slab s = 0; s < FX_SLABS; s++) {
        const fx_tensor *slab = &params->slab[s];
        if (is_sharded(params, s)) params->slab[s].dim[0] = params->share.count;
        params->share_view[s] = slab_of(slab->dtype, s == FX_SLAB_COPY ? 2 : 1, 1, params->share.count);
    }
    params->shares = slab_of(params->storage, 1, 1, params->buffers_start);
}

fx_status fx_params_lay_out(fx_params *params, fx_param *const *order, unsigned slabs)
{
    const int64_t replicas = params->replicas;
    FX_REQUIRE(!params->slabs, FX_EARG, "slabs are laid out already");
    FX_REQUIRE(params->count > 0, FX_EARG, "no parameters to lay out");
    FX_TRY(place_all(params, order));
    const int64_t n = params->trained_elements;
    params->share = fx_share_of(n, params->rank, params->ranks);
    if (params->storage == FX_BF16) slabs |= 1u << FX_SLAB_COPY;
    for (fx_slab s = 0; s < FX_SLABS; s++) {
        if (!(slabs & (1u << s))) continue;
        params->slab[s] = slab_of(FX_F32, s == FX_SLAB_GRADIENT ? 2 : 1, replicas, n);
        if (s == FX_SLAB_COPY)
            params->slab[s] =
                slab_of(FX_BF16, 2, slabs & 1u << FX_SLAB_EMA && params->ranks == 1 ? 2 : 1, n);
        params->slab_bytes[s] = (size_t)held(params, s, slabs) * fx_dtype_bytes(params->slab[s].dtype);
    }
    if (slabs & (1u << FX_SLAB_GRADIENT)) {
        params->gradient = fx_pool_calloc(params->pool, (size_t)replicas, sizeof *params->gradient);
        if (!params->gradient) return FX_ENOMEM;
        for (int r = 0; r < replicas; r++)
            params->gradient[r] = slab_of(FX_F32, 1, 1, n);
    }
    if (params->ranks > 1) lay_out_shares(params);
    params->slabs = slabs;
    return FX_OK;
}

static void bind(const fx_tensor *slab, int64_t place, fx_tensor *t)
{
    if (slab->data) t->data = (char *)slab->data + (size_t)place * fx_dtype_bytes(slab->dtype);
}

/* Where element 0 of the parameter is in the slab, from the first element that this rank holds. */
static int64_t place_in(const fx_params *params, const fx_param *p, fx_slab slab)
{
    if (!is_sharded(params, slab)) return p->offset;
    return p->trained ? p->offset - params->share.first
                      : p->offset - params->buffers_start + params->share.count;
}

static void bind_shares(fx_params *params)
{
    for (fx_slab s = 0; s < FX_SLABS; s++)
        if (!is_sharded(params, s)) bind(&params->slab[s], params->share.first, &params->share_view[s]);
    params->shares.data = params->slab[params->storage == FX_BF16 ? FX_SLAB_COPY : FX_SLAB_VALUE].data;
}

/* The slab `slab` as kernels read trained parameters: itself, or its row of the copies; without data
 * where this rank holds a share of it. */
static fx_tensor as_read(const fx_params *params, fx_slab slab)
{
    const fx_tensor *copies = &params->slab[FX_SLAB_COPY];
    fx_tensor row = slab_of(params->storage, 1, 1, params->trained_elements);
    if (params->storage == FX_F32) return is_sharded(params, slab) ? row : params->slab[slab];
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
        if (!p->trained) {
            bind(&params->slab[FX_SLAB_VALUE], place_in(params, p, FX_SLAB_VALUE), &p->value);
            continue;
        }
        bind(&value, p->offset, &p->value);
        bind(&ema, p->offset, &p->ema);
        for (int r = 0; params->gradient && r < params->replicas; r++)
            bind(&params->gradient[r], p->offset, &p->gradient[r]);
    }
    if (params->ranks > 1) bind_shares(params);
    return FX_OK;
}

fx_tensor *fx_params_slab(fx_params *params, fx_slab slab, int replica)
{
    if (!(params->slabs & (1u << slab)) || replica >= params->replicas) return NULL;
    return slab == FX_SLAB_GRADIENT ? &params->gradient[replica] : &params->slab[slab];
}

fx_tensor *fx_params_share(fx_params *params, fx_slab slab)
{
    if (params->ranks == 1 || is_sharded(params, slab)) return fx_params_slab(params, slab, 0);
    return params->slabs & (1u << slab) ? &params->share_view[slab] : NULL;
}

fx_tensor *fx_params_shares(fx_params *params)
{
    return params->ranks > 1 ? &params->shares : NULL;
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

fx_range fx_params_part(const fx_params *params, const fx_param *p, fx_slab slab, int rank)
{
    const int64_t count = fx_count(&p->value);
    if (!p->trained || !is_sharded(params, slab)) return (fx_range){0, count};
    const fx_range share = fx_share_of(params->trained_elements, rank, params->ranks);
    const int64_t low = share.first - p->offset, high = low + share.count;
    const int64_t first = low < 0 ? 0 : low < count ? low : count;
    return (fx_range){first, (high < first ? first : high < count ? high : count) - first};
}

/* The part of the parameter that this rank holds, and where: its first element. */
static fx_status locate(fx_params *params, const fx_param *p, fx_slab slab, fx_range *part, float **out)
{
    const fx_tensor *held_slab = fx_params_slab(params, slab, 0);
    FX_REQUIRE(slab != FX_SLAB_COPY && held_slab && held_slab->data &&
                   (p->trained || slab == FX_SLAB_VALUE),
               FX_EARG, "%s: no such slab", p->name);
    *part = fx_params_part(params, p, slab, params->rank);
    if (part->count > 0) *out = fx_f32(held_slab) + place_in(params, p, slab) + part->first;
    return FX_OK;
}

fx_status fx_params_read(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab, float *out)
{
    float *at = NULL;
    fx_range part = {0, 0};
    FX_TRY(locate(params, p, slab, &part, &at));
    if (part.count == 0) return FX_OK;
    return exec->backend->download(exec, out + part.first, at, (size_t)part.count * sizeof(float));
}

fx_status fx_params_write(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab,
                          const float *in)
{
    float *at = NULL;
    fx_range part = {0, 0};
    FX_TRY(locate(params, p, slab, &part, &at));
    if (part.count > 0)
        FX_TRY(exec->backend->upload(exec, at, in + part.first, (size_t)part.count * sizeof(float)));
    const fx_tensor *copy = slab == FX_SLAB_VALUE ? &p->value : slab == FX_SLAB_EMA ? &p->ema : NULL;
    return copy && copy->data && copy->dtype == FX_BF16 ? fx_tensor_write(exec, copy, in) : FX_OK;
}
