/* conv_plans.c: the list of an exec's plans, and cuDNN's handle.
 *
 * Who chooses an engine: rank 0, from what a checkpoint kept, the file of choices, or by cuDNN's
 * heuristics, or by trying (cuda.autotune); the others are told, so that all ranks compute with the
 * same engines, whatever their devices and files. What was tried has names of its own in the file: a
 * run that does not try gets what the heuristics say, always. */
#include "conv_plans.h"

#include <cudnn.h>
#include <string.h>

#include "conv_tune.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

typedef struct row {
    fx_product product;
    fx_cudnn_plan plan;
} row;

typedef struct list {
    row *rows;
    size_t count, capacity;
    fx_plan_cache *cache; /* rank 0's */
    size_t told;          /* of `count`, what exec->base.engines has */
    bool warned;          /* that a choice in it will not do */
} list;

/* What rank 0 tells of a product. */
typedef struct word {
    fx_status status;
    char name[FX_PLAN_NAME];
    fx_cudnn_choice choice;
} word;

static fx_status open_library(fx_cuda *exec)
{
    cudnnHandle_t handle = NULL;
    cudnnStatus_t status = cudnnCreate(&handle);
    FX_REQUIRE(status == CUDNN_STATUS_SUCCESS, FX_EDEVICE, "cudnnCreate: %s",
               cudnnGetErrorString(status));
    exec->cudnn = handle;
    status = cudnnSetStream(handle, exec->stream);
    FX_REQUIRE(status == CUDNN_STATUS_SUCCESS, FX_EDEVICE, "cudnnSetStream: %s",
               cudnnGetErrorString(status));
    return FX_OK;
}

static const fx_cudnn_plan *find(const fx_cuda *exec, const fx_product *product)
{
    const list *l = exec->plans;
    for (size_t i = 0; l && i < l->count; i++)
        if (fx_same_product(&l->rows[i].product, product)) return &l->rows[i].plan;
    return NULL;
}

static fx_status open_cache(const fx_cuda *exec, fx_plan_cache **out)
{
    char key[512];
    struct cudaDeviceProp device;
    FX_CUDA(cudaGetDeviceProperties(&device, exec->device));
    FX_TRY(fx_print(key, sizeof key, "%s, compute capability %d.%d, %d multiprocessors, cuDNN %zu",
                    device.name, device.major, device.minor, device.multiProcessorCount,
                    cudnnGetVersion()));
    return fx_plan_cache_open(exec->base.options.plan_cache, key, exec->base.options.engines, out);
}

/* Whether other ranks are there to be told; a plan alone (no native) has none. */
static bool is_shared(const fx_cuda *exec)
{
    const fx_comm *comm = exec->base.options.comm;
    return comm->size > 1 && comm->native;
}

static fx_status name_of(const fx_cuda *exec, const fx_product *product, const fx_cudnn_policy *policy,
                         char *name)
{
    char text[FX_PLAN_NAME];
    FX_TRY(fx_product_text(product, text, sizeof text));
    return fx_print(name, FX_PLAN_NAME, "%s%s%s", text, policy->strict ? ", strict" : "",
                    exec->base.options.autotune ? ", tuned" : "");
}

/* A choice that cuDNN has no engine for any more is made again; the first one is told of. */
static fx_status make(fx_cuda *exec, list *l, const char *name, const fx_graph *graph,
                      const fx_cudnn_policy *policy, fx_cudnn_plan *out)
{
    const fx_cudnn_device device = {.handle = exec->cudnn};
    const fx_cudnn_choice *known = fx_plan_cache_find(l->cache, name);
    if (known) {
        if (fx_cudnn_plan_restore(&device, graph, policy, known, out) == FX_OK) return FX_OK;
        fx_log(l->warned ? FX_DEBUG : FX_WARN, "the kept plan of %s is chosen again: %s", name,
               fx_error_message());
        l->warned = true;
        fx_error_clear();
    }
    FX_TRY(fx_cudnn_plan_make(&device, graph, policy, 0, out));
    fx_status status = FX_OK;
    if (exec->base.options.autotune) status = fx_conv_tune(exec, graph, policy, out);
    if (status == FX_OK) status = fx_plan_cache_add(l->cache, name, &out->choice);
    if (status != FX_OK) fx_cudnn_plan_close(out);
    return status;
}

/* Rank 0's. */
static fx_status choose(fx_cuda *exec, list *l, const char *name, const fx_graph *graph,
                        const fx_cudnn_policy *policy, fx_cudnn_plan *out)
{
    FX_TRY(make(exec, l, name, graph, policy, out));
    const fx_status status = fx_plan_cache_use(l->cache, name, &out->choice);
    if (status != FX_OK) fx_cudnn_plan_close(out);
    return status;
}

/* Rank 0's choice, made here. */
static fx_status hear(fx_cuda *exec, const word *w, const char *name, const fx_graph *graph,
                      const fx_cudnn_policy *policy, fx_cudnn_plan *plan)
{
    const fx_cudnn_device device = {.handle = exec->cudnn};
    FX_REQUIRE(w->status == FX_OK, FX_EPEER, "rank 0 has no plan for it");
    FX_REQUIRE(strcmp(w->name, name) == 0, FX_EARG, "rank 0 plans %.*s meanwhile", FX_PLAN_NAME,
               w->name);
    return fx_cudnn_plan_restore(&device, graph, policy, &w->choice, plan);
}

/* Tells and hears rank 0's choice. Collective: all ranks prepare the same convolutions. */
static fx_status share(fx_cuda *exec, const char *name, const fx_graph *graph,
                       const fx_cudnn_policy *policy, fx_status status, fx_cudnn_plan *plan)
{
    fx_comm *comm = exec->base.options.comm;
    word w = {.status = status, .choice = plan->choice};
    memcpy(w.name, name, strlen(name) + 1);
    FX_TRY(comm->ops->broadcast(comm, &w, sizeof w, 0));
    if (comm->rank != 0) status = hear(exec, &w, name, graph, policy, plan);
    const fx_status all = fx_agree(comm, status);
    if (all != FX_OK && status == FX_OK) fx_cudnn_plan_close(plan);
    return all;
}

static fx_status add(fx_cuda *exec, const fx_product *product)
{
    char name[FX_PLAN_NAME] = "";
    const fx_graph graph = fx_product_graph(product);
    const fx_cudnn_policy policy = fx_conv_policy(product, exec->strict);
    const bool mine = !is_shared(exec) || exec->base.options.comm->rank == 0;
    list *l = exec->plans;
    if (!l) {
        FX_TRY(FX_ALLOC(l, 1));
        exec->plans = l;
    }
    FX_TRY(fx_grow((void **)&l->rows, &l->capacity, l->count, sizeof *l->rows));
    row *r = &l->rows[l->count];
    *r = (row){.product = *product};
    FX_TRY(name_of(exec, product, &policy, name));
    fx_status status = mine && !l->cache ? open_cache(exec, &l->cache) : FX_OK;
    if (mine && status == FX_OK) status = choose(exec, l, name, &graph, &policy, &r->plan);
    if (is_shared(exec)) status = share(exec, name, &graph, &policy, status, &r->plan);
    if (status != FX_OK) return fx_context(status, "%s", name);
    l->count++;
    return FX_OK;
}

fx_status fx_conv_plan(fx_exec *base, const fx_product *product, size_t *workspace)
{
    fx_cuda *exec = fx_cuda_of(base);
    if (!exec->cudnn) FX_TRY(open_library(exec));
    if (!find(exec, product)) FX_TRY(add(exec, product));
    const size_t bytes = find(exec, product)->workspace;
    if (*workspace < bytes) *workspace = bytes;
    return FX_OK;
}

fx_status fx_conv_run(fx_exec *base, const fx_product *product, void *const pointer[FX_GRAPH_TENSORS],
                      void *workspace)
{
    const fx_cuda *exec = fx_cuda_of(base);
    const fx_cudnn_plan *plan = find(exec, product);
    FX_REQUIRE(plan, FX_EARG, "a convolution that was not prepared");
    return fx_cudnn_plan_run(exec->cudnn, plan, pointer, workspace);
}

fx_status fx_conv_keep(fx_cuda *exec)
{
    list *l = exec->plans;
    if (!l || !l->cache || l->told == l->count) return FX_OK;
    char *text = NULL;
    fx_plan_cache_save(l->cache);
    FX_TRY(fx_plan_cache_text(l->cache, &text));
    fx_free(exec->base.engines);
    exec->base.engines = text;
    l->told = l->count;
    return FX_OK;
}

void fx_conv_close(fx_cuda *exec)
{
    list *l = exec->plans;
    for (size_t i = 0; l && i < l->count; i++)
        fx_cudnn_plan_close(&l->rows[i].plan);
    if (l) fx_plan_cache_close(&l->cache);
    if (l) fx_free(l->rows);
    fx_free(l);
    fx_free(exec->base.engines);
    exec->base.engines = NULL;
    exec->plans = NULL;
    if (exec->cudnn) cudnnDestroy(exec->cudnn);
    exec->cudnn = NULL;
}
