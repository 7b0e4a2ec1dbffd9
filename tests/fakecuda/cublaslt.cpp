/* cublaslt.cpp: the entry points of cuBLASLt that the backend uses, for fp32 and bf16 matrices in
 * columns. What the library refuses is refused with its own status; what it would let pass by luck, or
 * leaves undefined, ends the process: an algorithm for another problem or none, pointers on less than
 * what the algorithm was promised, a workspace that is not on 256 bytes, memory that is written and
 * otherwise used, an object that is not alive, a search for an algorithm while a stream captures.
 *
 * A search proposes these as far as the preference allows them, in this order: cut along k and added in
 * any order (what reduction in place may do), cut along k through the workspace, not cut. */
#include <string.h>

#include <set>

#include "fake_cublaslt.h"

struct cublasLtContext {
    int unused;
};

static std::set<const void *> alive;           /* handles, descriptors, layouts, preferences */
static std::vector<fake_algorithm> algorithms; /* a cublasLtMatmulAlgo_t holds a number */

static void born(const void *object)
{
    alive.insert(object);
    fake_objects++;
}

static void must_live(const void *object, const char *call)
{
    if (!alive.count(object)) fake_fatal("%s: an object that is not alive", call);
}

template <typename T> static cublasStatus_t destroy(T *object, const char *call)
{
    must_live(object, call);
    alive.erase(object);
    fake_objects--;
    delete object;
    return CUBLAS_STATUS_SUCCESS;
}

template <typename T> static cublasStatus_t take(T *to, const void *value, size_t bytes)
{
    if (!value || bytes != sizeof *to) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

static fake_problem problem_of(cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                               cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                               cublasLtMatrixLayout_t d, const char *call)
{
    for (const void *object : {(void *)desc, (void *)a, (void *)b, (void *)c, (void *)d})
        must_live(object, call);
    return {*(fake_matmul *)desc, *(fake_matrix *)a, *(fake_matrix *)b, *(fake_matrix *)c,
            *(fake_matrix *)d};
}

/* What the pointer was at the search is what the algorithm counts on. */
static uint32_t alignment_of(const void *at)
{
    uint32_t bytes = MOST_ALIGNED;
    while ((uintptr_t)at % bytes != 0)
        bytes /= 2;
    return bytes;
}

extern "C" {

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
        return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED:
        return "CUBLAS_STATUS_EXECUTION_FAILED";
    default:
        return "CUBLAS_STATUS_INVALID_VALUE";
    }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    if (fake_capture_forbids()) return CUBLAS_STATUS_NOT_INITIALIZED;
    born(*handle = new cublasLtContext());
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    return destroy(handle, "cublasLtDestroy");
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t pitch)
{
    born(*out = (cublasLtMatrixLayout_t) new fake_matrix{type, rows, columns, pitch});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(const cublasLtMatrixLayout_t layout)
{
    return destroy((fake_matrix *)layout, "cublasLtMatrixLayoutDestroy");
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    born(*out = (cublasLtMatmulDesc_t) new fake_matmul{compute, scale, CUBLAS_OP_N, CUBLAS_OP_N,
                                                       CUBLASLT_EPILOGUE_DEFAULT, nullptr});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(const cublasLtMatmulDesc_t desc)
{
    return destroy((fake_matmul *)desc, "cublasLtMatmulDescDestroy");
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t name, const void *value,
                                              size_t bytes)
{
    must_live(desc, "cublasLtMatmulDescSetAttribute");
    fake_matmul *o = (fake_matmul *)desc;
    switch ((int)name) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        return take(&o->of_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        return take(&o->of_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        return take(&o->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        return take(&o->bias, value, bytes);
    default:
        return CUBLAS_STATUS_INVALID_VALUE;
    }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    born(*out = (cublasLtMatmulPreference_t) new fake_preference{
             0,
             CUBLASLT_REDUCTION_SCHEME_MASK,
             {MOST_ALIGNED, MOST_ALIGNED, MOST_ALIGNED, MOST_ALIGNED, MOST_ALIGNED}});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(const cublasLtMatmulPreference_t which)
{
    return destroy((fake_preference *)which, "cublasLtMatmulPreferenceDestroy");
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t which,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t bytes)
{
    must_live(which, "cublasLtMatmulPreferenceSetAttribute");
    fake_preference *f = (fake_preference *)which;
    switch ((int)name) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        return take(&f->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
        return take(&f->schemes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        return take(&f->aligned[name - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
    default:
        return CUBLAS_STATUS_INVALID_VALUE;
    }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t which, int room,
                                              cublasLtMatmulHeuristicResult_t *results, int *count)
{
    const char *call = "cublasLtMatmulAlgoGetHeuristic";
    if (fake_capture_forbids()) fake_fatal("%s while a stream captures", call);
    must_live(handle, call);
    must_live(which, call);
    const fake_problem p = problem_of(desc, a, b, c, d, call);
    fake_preference f = *(fake_preference *)which;
    f.aligned[4] = alignment_of(p.o.bias);
    *count = 0;
    if (room <= 0) return CUBLAS_STATUS_INVALID_VALUE;
    const cublasStatus_t status = fake_lt_check(p);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    for (int choice = 0; choice < CHOICES && *count < room; choice++) {
        if (!fake_lt_allowed(p, f, choice)) continue;
        cublasLtMatmulHeuristicResult_t *r = &results[(*count)++];
        *r = {};
        r->algo.data[0] = algorithms.size() + 1;
        r->workspaceSize = fake_lt_workspace(p, choice);
        algorithms.push_back({p, f, choice, r->workspaceSize});
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t a, const void *B,
                              cublasLtMatrixLayout_t b, const void *beta, const void *C,
                              cublasLtMatrixLayout_t c, void *D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes,
                              cudaStream_t stream)
{
    const char *call = "cublasLtMatmul";
    must_live(handle, call);
    const fake_problem p = problem_of(desc, a, b, c, d, call);
    const cublasStatus_t status = fake_lt_check(p);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    if (!alpha || !beta || !A || !B || !D || (p.has_bias() && !p.o.bias) ||
        (*(const float *)beta != 0 && !C))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!algo || algo->data[0] == 0 || algo->data[0] > algorithms.size())
        fake_fatal("%s: no algorithm was chosen", call);
    fake_algorithm how = algorithms[algo->data[0] - 1];
    if (!(how.p == p)) fake_fatal("%s: the algorithm was chosen for another problem", call);
    if (how.workspace > bytes || (how.workspace > 0 && !workspace)) return CUBLAS_STATUS_INVALID_VALUE;
    if (C == D && !(p.c == p.d)) return CUBLAS_STATUS_INVALID_VALUE;
    how.p.o.bias = p.o.bias;
    return fake_lt_start(
        how, {A, B, C, D, (float *)workspace, *(const float *)alpha, *(const float *)beta}, stream);
}

} /* extern "C" */
