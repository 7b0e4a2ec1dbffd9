/* test_fake_cudnn.c: each rule of the stand-in's cuDNN refuses what breaks it, with the library's own
 * status, and lets through what is sound; once with the installed libcudnn as its planner and once with
 * its own table.
 *
 * Run: standin only
 * Run: cudnn
 * Planted and caught: rules taken out one at a time: channels; a uid of two tensors; the alignment of
 * tensors, and of pointers; setting when finished (by the table alone: the installed library refuses it
 * as well); memory read and written; an engine's number and knobs. */
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../cuda/conv_products.h"

static cudnnHandle_t handle;
static int checks, bad;

static void check(bool holds, const char *what)
{
    checks++;
    if (holds) return;
    bad++;
    printf("BAD %s\n", what);
}

static const fx_product SOUND = {.pass = FX_GRAPH_FORWARD,
                                 .dtype = FX_BF16,
                                 .z = true,
                                 .bias = true,
                                 .B = 1,
                                 .H = 4,
                                 .W = 4,
                                 .Ci = 8,
                                 .Co = 16,
                                 .k = 3,
                                 .stride = 1,
                                 .pad = 1};

static bool plans(const fx_graph *g, bool strict, fx_cudnn_plan *plan)
{
    const fx_cudnn_device device = {.handle = handle};
    const fx_cudnn_policy policy = {.strict = strict, .workspace = 64 << 20};
    return fx_cudnn_plan_make(&device, g, &policy, 0, plan) == FX_OK;
}

static bool refuses(const fx_graph *g)
{
    fx_cudnn_plan plan;
    if (!plans(g, false, &plan)) return true;
    fx_cudnn_plan_close(&plan);
    return false;
}

static void graphs(void)
{
    const fx_graph sound = fx_product_graph(&SOUND);
    fx_graph g = sound;
    check(!refuses(&g), "a sound graph");
    g.tensor[FX_GRAPH_SRC].stride[1] = 16, g.tensor[FX_GRAPH_SRC].stride[3] = 1;
    check(refuses(&g), "channels that are not innermost");
    g = sound;
    g.tensor[FX_GRAPH_Z].stride[0]++;
    check(refuses(&g), "images apart");
    g = sound;
    g.tensor[FX_GRAPH_DST].dim[2]++, g.tensor[FX_GRAPH_DST].stride[0] += 64;
    check(refuses(&g), "shapes that do not fit");
    g = sound;
    g.tensor[FX_GRAPH_Z].dtype = FX_F32;
    check(refuses(&g), "z of another type");
    g = sound;
    g.op[1].tensor[1] = FX_GRAPH_BIAS, g.op[2].tensor[1] = FX_GRAPH_Z;
    check(refuses(&g), "bias before z");
    g = sound;
    g.op[0].add = true;
    check(refuses(&g), "sums behind a correlation that adds");
    g = sound;
    g.op[1].tensor[0] = FX_GRAPH_INNER + 1, g.op[1].tensor[2] = FX_GRAPH_INNER;
    check(refuses(&g), "a tensor that is read before it is made, or made twice");
    fx_product p = SOUND;
    p.Ci = 12;
    g = fx_product_graph(&p);
    check(refuses(&g), "12 channels");
    p = SOUND;
    p.pass = FX_GRAPH_WEIGHTS;
    p.z = p.bias = false;
    g = fx_product_graph(&p);
    check(!refuses(&g), "a weight gradient");
    g.tensor[FX_GRAPH_WEIGHT].dtype = FX_F32;
    check(refuses(&g), "a weight gradient in fp32 from bf16");
}

static void policies(void)
{
    fx_product p = SOUND;
    fx_cudnn_plan plan;
    p.dtype = FX_F32;
    const fx_graph g = fx_product_graph(&p);
    check(plans(&g, true, &plan) && !plan.tensor_core, "strict fp32 is without tensor cores");
    fx_cudnn_plan_close(&plan);
}

/* An engine by its number and knobs. */
static void choices(void)
{
    const fx_cudnn_device device = {.handle = handle};
    const fx_cudnn_policy policy = {.workspace = 64 << 20};
    const fx_graph g = fx_product_graph(&SOUND);
    fx_cudnn_plan plan, again;
    check(plans(&g, false, &plan), "a sound graph");
    check(fx_cudnn_plan_restore(&device, &g, &policy, &plan.choice, &again) == FX_OK, "the same again");
    fx_cudnn_plan_close(&again);
    fx_cudnn_choice other = plan.choice;
    check(other.knobs > 0, "an engine with knobs");
    other.knob[0].value = 99999;
    check(fx_cudnn_plan_restore(&device, &g, &policy, &other, &again) != FX_OK, "no such value");
    other.engine = 99999;
    check(fx_cudnn_plan_restore(&device, &g, &policy, &other, &again) != FX_OK, "no such engine");
    fx_cudnn_plan_close(&plan);
}

static cudnnStatus_t set_int(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, int64_t v)
{
    return cudnnBackendSetAttribute(d, name, CUDNN_TYPE_INT64, 1, &v);
}

static cudnnBackendDescriptor_t tensor(int64_t uid, cudnnDataType_t type, int64_t alignment)
{
    const int64_t dim[4] = {1, 8, 2, 2}, stride[4] = {32, 1, 16, 8};
    cudnnBackendDescriptor_t d = NULL;
    cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &d);
    cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim);
    cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    set_int(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment);
    if (uid) set_int(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, uid);
    return d;
}

/* sum = sum of tensors with these uids, the operation unfinished. */
static cudnnBackendDescriptor_t sum(const cudnnBackendDescriptor_t *operands)
{
    static const cudnnBackendAttributeName_t NAMES[] = {CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
                                                        CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                                                        CUDNN_ATTR_OPERATION_POINTWISE_YDESC};
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t pointwise = NULL, op = NULL;
    cudnnBackendCreateDescriptor(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &pointwise);
    cudnnBackendSetAttribute(pointwise, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    cudnnBackendSetAttribute(pointwise, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
    cudnnBackendFinalize(pointwise);
    cudnnBackendCreateDescriptor(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, &op);
    cudnnBackendSetAttribute(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
                             CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &pointwise);
    for (int i = 0; i < 3; i++)
        if (cudnnBackendSetAttribute(op, NAMES[i], CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &operands[i]) !=
            CUDNN_STATUS_SUCCESS)
            return NULL;
    return op;
}

/* Of one sum; the second tensor has a type of its own. */
static cudnnStatus_t graph_of(const int64_t *uids, cudnnDataType_t second)
{
    cudnnBackendDescriptor_t operands[3], graph = NULL;
    for (int i = 0; i < 3; i++) {
        operands[i] = tensor(uids[i], i == 1 ? second : CUDNN_DATA_FLOAT, 16);
        cudnnBackendFinalize(operands[i]);
    }
    cudnnBackendDescriptor_t op = sum(operands);
    cudnnStatus_t status = cudnnBackendFinalize(op);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    cudnnBackendCreateDescriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &graph);
    cudnnBackendSetAttribute(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                             &op);
    return cudnnBackendFinalize(graph);
}

static void descriptors(void)
{
    int64_t count = 0, value = 0;
    cudnnBackendDescriptor_t d = tensor(0, CUDNN_DATA_FLOAT, 16);
    check(cudnnBackendFinalize(d) == CUDNN_STATUS_BAD_PARAM, "a tensor without uid");
    d = tensor(1, CUDNN_DATA_FLOAT, 2);
    check(cudnnBackendFinalize(d) == CUDNN_STATUS_NOT_SUPPORTED, "a tensor on 2 bytes");
    d = tensor(1, CUDNN_DATA_FLOAT, 16);
    const cudnnBackendDescriptor_t unfinished[3] = {d, d, d};
    check(sum(unfinished) == NULL, "an operation on an unfinished tensor");
    check(cudnnBackendGetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &count,
                                   &value) == CUDNN_STATUS_BAD_PARAM,
          "asking an unfinished descriptor");
    check(cudnnBackendFinalize(d) == CUDNN_STATUS_SUCCESS, "a sound tensor");
    check(cudnnBackendFinalize(d) == CUDNN_STATUS_BAD_PARAM, "finishing twice");
    check(set_int(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, 2) == CUDNN_STATUS_BAD_PARAM,
          "setting when finished");
    check(cudnnBackendDestroyDescriptor(d) == CUDNN_STATUS_SUCCESS, "destroying");
    check(cudnnBackendFinalize(d) == CUDNN_STATUS_BAD_PARAM, "using what was destroyed");
    const cudnnDataType_t same = CUDNN_DATA_FLOAT, other = CUDNN_DATA_BFLOAT16;
    check(graph_of((const int64_t[]){1, 1, 3}, same) == CUDNN_STATUS_SUCCESS, "a sound sum");
    check(graph_of((const int64_t[]){1, 1, 3}, other) == CUDNN_STATUS_BAD_PARAM,
          "a uid of two tensors");
    check(graph_of((const int64_t[]){1, 2, 1}, same) == CUDNN_STATUS_BAD_PARAM, "a uid read and made");
}

/* Runs the plan with uids and pointers as they are given. */
static cudnnStatus_t pack_and_run(const fx_cudnn_plan *plan, const int64_t *uids, void **pointers,
                                  int64_t count, void *workspace)
{
    cudnnBackendDescriptor_t pack = NULL;
    cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids);
    cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count,
                             pointers);
    cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                             &workspace);
    cudnnStatus_t status = cudnnBackendExecute(handle, plan->plan, pack);
    check(status == CUDNN_STATUS_BAD_PARAM, "a variant pack that is not finished");
    status = cudnnBackendFinalize(pack);
    if (status == CUDNN_STATUS_SUCCESS) status = cudnnBackendExecute(handle, plan->plan, pack);
    cudnnBackendDestroyDescriptor(pack);
    return status;
}

static void runs(cudaStream_t stream)
{
    enum { TENSORS = FX_GRAPH_BIAS + 1, ROOM = 1 << 20 };
    int64_t uids[TENSORS + 1];
    void *at[TENSORS + 1], *workspace = NULL;
    fx_cudnn_plan plan;
    fx_product large = SOUND; /* enough for its engine to want workspace */
    large.dtype = FX_F32;
    large.B = 2, large.H = large.W = 32, large.Ci = large.Co = 64;
    const fx_graph g = fx_product_graph(&large);
    for (int i = 0; i <= TENSORS; i++) {
        uids[i] = i + 1;
        cudaMalloc(&at[i], ROOM);
    }
    cudaMalloc(&workspace, 64 << 20);
    check(plans(&g, true, &plan), "a sound graph");
    check(plan.workspace > 0, "a plan that wants workspace");
    check(pack_and_run(&plan, uids, at, TENSORS, workspace) == CUDNN_STATUS_SUCCESS, "a sound run");
    check(pack_and_run(&plan, uids, at, TENSORS, NULL) == CUDNN_STATUS_BAD_PARAM, "no workspace");
    check(pack_and_run(&plan, uids, at, TENSORS - 1, workspace) == CUDNN_STATUS_BAD_PARAM,
          "a uid is missing");
    check(pack_and_run(&plan, uids, at, TENSORS + 1, workspace) == CUDNN_STATUS_BAD_PARAM,
          "an inner tensor in the variant pack");
    void *const sound = at[FX_GRAPH_SRC];
    at[FX_GRAPH_SRC] = (char *)sound + 2;
    check(pack_and_run(&plan, uids, at, TENSORS, workspace) == CUDNN_STATUS_BAD_PARAM,
          "a pointer that is not on 16 bytes");
    at[FX_GRAPH_SRC] = at[FX_GRAPH_DST];
    check(pack_and_run(&plan, uids, at, TENSORS, workspace) == CUDNN_STATUS_BAD_PARAM,
          "memory that is read and written");
    at[FX_GRAPH_SRC] = sound;
    check(pack_and_run(&plan, uids, at, TENSORS, at[FX_GRAPH_DST]) == CUDNN_STATUS_BAD_PARAM,
          "a workspace that is used otherwise");
    cudaStreamSynchronize(stream); /* what is queued holds the memory */
    fx_cudnn_plan_close(&plan);
    for (int i = 0; i <= TENSORS; i++)
        cudaFree(at[i]);
    cudaFree(workspace);
}

/* In a process of its own, which must abort. */
static void handle_before_plans(void)
{
    int status = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        fx_cudnn_plan plan;
        const fx_graph g = fx_product_graph(&SOUND);
        close(STDERR_FILENO);
        if (plans(&g, false, &plan)) cudnnDestroy(handle);
        _exit(0);
    }
    check(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status),
          "a handle destroyed before its plans");
}

int main(int argc, char **argv)
{
    int status = 0;
    cudaStream_t stream = NULL;
    const bool own = argc > 1;
    if (own) setenv("FX_FAKE_CUDNN", "none", 1);
    cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0);
    cudnnCreate(&handle);
    cudnnSetStream(handle, stream);
    graphs();
    policies();
    choices();
    descriptors();
    runs(stream);
    handle_before_plans();
    cudnnDestroy(handle);
    cudaStreamDestroy(stream);
    printf("%s: cuDNN %zu, %d checks, %d bad\n", own ? "table" : "installed", cudnnGetVersion(), checks,
           bad);
    fflush(stdout);
    if (!own) { /* again, by the table alone */
        const pid_t child = fork();
        if (child == 0) execl(argv[0], argv[0], "table", (char *)NULL);
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) bad++;
    }
    return bad > 0 || checks == 0;
}
