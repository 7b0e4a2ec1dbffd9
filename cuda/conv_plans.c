/* conv_plans.c: the list of an exec's plans, and cuDNN's handle. */
#include "conv_plans.h"

#include <cudnn.h>

#include "flexhpc/mem.h"

typedef struct row {
    fx_product product;
    fx_cudnn_plan plan;
} row;

typedef struct list {
    row *rows;
    size_t count, capacity;
} list;

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

static fx_status add(fx_cuda *exec, const fx_product *product)
{
    char text[160];
    const fx_cudnn_device device = {.handle = exec->cudnn};
    const fx_graph graph = fx_product_graph(product);
    const fx_cudnn_policy policy = fx_conv_policy(product, exec->strict);
    list *l = exec->plans;
    if (!l) {
        FX_TRY(FX_ALLOC(l, 1));
        exec->plans = l;
    }
    FX_TRY(fx_grow((void **)&l->rows, &l->capacity, l->count, sizeof *l->rows));
    row *r = &l->rows[l->count];
    r->product = *product;
    FX_TRY(fx_product_text(product, text, sizeof text));
    FX_TRY_CTX(fx_cudnn_plan_make(&device, &graph, &policy, &r->plan), "%s", text);
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

void fx_conv_close(fx_cuda *exec)
{
    list *l = exec->plans;
    for (size_t i = 0; l && i < l->count; i++)
        fx_cudnn_plan_close(&l->rows[i].plan);
    if (l) fx_free(l->rows);
    fx_free(l);
    exec->plans = NULL;
    if (exec->cudnn) cudnnDestroy(exec->cudnn);
    exec->cudnn = NULL;
}
