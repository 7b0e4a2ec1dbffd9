/* matmul.c: cuBLASLt's matrices are column-major, and a row-major matrix is its column-major transpose:
 * D^T = B^T A^T, so A and B change places, rows and columns their names, and nothing is copied. The
 * bias of D's columns is then that of the library's rows, which is the one that it knows.
 *
 * The same bits every time: one algorithm a product, the library's first choice for its shape, without
 * those that add to D from several blocks in turn (reduction in place); what is cut along k goes
 * through the workspace and is summed in order. Sums are fp32. fp32 operands are multiplied as they
 * are, without tensor cores, where the exec is strict, else rounded to TF32. */
#include "matmul.h"

#include <cublasLt.h>
#include <string.h>

#include "flexhpc/mem.h"

/* Workspace: what NVIDIA advises for Hopper; the library wants it on 256 bytes. */
enum { WORKSPACE_LIMIT = 32 << 20, WORKSPACE_ALIGNED = 256, ALIGNED = 16 };

typedef struct row {
    fx_matmul product;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, d; /* of our A, B, D */
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
} row;

typedef struct list {
    row *rows;
    size_t count, capacity;
} list;

/* FX_OK, or an error with the name of the call. */
static fx_status check(cublasStatus_t status, const char *call)
{
    if (status == CUBLAS_STATUS_SUCCESS) return FX_OK;
    return fx_fail(status == CUBLAS_STATUS_ALLOC_FAILED ? FX_ENOMEM : FX_EDEVICE, "%.*s: %s",
                   (int)strcspn(call, "("), call, cublasLtGetStatusString(status));
}

#define LT_TRY(call)      FX_TRY(check(call, #call))
#define LT_TRY_DONE(call) FX_TRY_DONE(check(call, #call))

static bool same_matrix(const fx_matrix *a, const fx_matrix *b)
{
    return a->first == b->first && a->pitch == b->pitch && a->transposed == b->transposed;
}

static bool same_product(const fx_matmul *a, const fx_matmul *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && same_matrix(&a->a, &b->a) &&
           same_matrix(&a->b, &b->b) && same_matrix(&a->d, &b->d) && a->adds == b->adds &&
           a->bias == b->bias && a->operands == b->operands && a->result == b->result;
}

static row *find(const fx_cuda *exec, const fx_matmul *product)
{
    const list *l = exec->products;
    for (size_t i = 0; l && i < l->count; i++)
        if (same_product(&l->rows[i].product, product)) return &l->rows[i];
    return NULL;
}

static void free_row(row *r)
{
    if (r->a) cublasLtMatrixLayoutDestroy(r->a);
    if (r->b) cublasLtMatrixLayoutDestroy(r->b);
    if (r->d) cublasLtMatrixLayoutDestroy(r->d);
    if (r->desc) cublasLtMatmulDescDestroy(r->desc);
}

void fx_matmul_close(fx_cuda *exec)
{
    list *l = exec->products;
    for (size_t i = 0; l && i < l->count; i++)
        free_row(&l->rows[i]);
    if (l) fx_free(l->rows);
    fx_free(l);
    exec->products = NULL;
    if (exec->cublaslt) cublasLtDestroy(exec->cublaslt);
    exec->cublaslt = NULL;
}

/* The library's layout of a matrix of ours, op(matrix) having these rows and columns. */
static fx_status layout(cublasLtMatrixLayout_t *out, const fx_matrix *matrix, fx_dtype dtype,
                        int64_t rows, int64_t columns)
{
    const cudaDataType_t type = dtype == FX_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const uint64_t stored_rows = (uint64_t)(matrix->transposed ? columns : rows),
                   stored_columns = (uint64_t)(matrix->transposed ? rows : columns);
    LT_TRY(cublasLtMatrixLayoutCreate(out, type, stored_columns, stored_rows, matrix->pitch));
    return FX_OK;
}

#define SET(desc, name, value)                                                                         \
    cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_##name, &(value), sizeof(value))

static fx_status describe(row *r, bool strict)
{
    const fx_matmul *p = &r->product;
    const cublasComputeType_t compute =
        strict || p->operands == FX_BF16 ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32F_FAST_TF32;
    const cublasOperation_t op_a = p->a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                            op_b = p->b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    LT_TRY(cublasLtMatmulDescCreate(&r->desc, compute, CUDA_R_32F));
    LT_TRY(SET(r->desc, TRANSA, op_b));
    LT_TRY(SET(r->desc, TRANSB, op_a));
    if (p->bias) { /* only the alignment of the bias is looked at before a run */
        const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
        const uintptr_t somewhere = ALIGNED;
        LT_TRY(SET(r->desc, EPILOGUE, epilogue));
        LT_TRY(SET(r->desc, BIAS_POINTER, somewhere));
    }
    FX_TRY(layout(&r->a, &p->a, p->operands, p->m, p->k));
    FX_TRY(layout(&r->b, &p->b, p->operands, p->k, p->n));
    return layout(&r->d, &p->d, p->result, p->m, p->n);
}

/* The largest power of two up to 16 that divides a matrix's address, in bytes. */
static uint32_t alignment(const fx_matrix *matrix, fx_dtype dtype)
{
    uint32_t bytes = ALIGNED;
    while (matrix->first * (int64_t)fx_dtype_bytes(dtype) % bytes != 0)
        bytes /= 2;
    return bytes;
}

#define PREFER(preference, name, value)                                                                \
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_##name, &(value),            \
                                         sizeof(value))

static fx_status choose(cublasLtHandle_t handle, row *r)
{
    fx_status status = FX_OK;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t result = {.state = CUBLAS_STATUS_NOT_SUPPORTED};
    int count = 0;
    const fx_matmul *p = &r->product;
    const uint64_t limit = WORKSPACE_LIMIT;
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE,
                   align_a = alignment(&p->b, p->operands), align_b = alignment(&p->a, p->operands),
                   align_d = alignment(&p->d, p->result);
    LT_TRY_DONE(cublasLtMatmulPreferenceCreate(&preference));
    LT_TRY_DONE(PREFER(preference, MAX_WORKSPACE_BYTES, limit));
    LT_TRY_DONE(PREFER(preference, REDUCTION_SCHEME_MASK, schemes));
    LT_TRY_DONE(PREFER(preference, MIN_ALIGNMENT_A_BYTES, align_a));
    LT_TRY_DONE(PREFER(preference, MIN_ALIGNMENT_B_BYTES, align_b));
    LT_TRY_DONE(PREFER(preference, MIN_ALIGNMENT_C_BYTES, align_d));
    LT_TRY_DONE(PREFER(preference, MIN_ALIGNMENT_D_BYTES, align_d));
    LT_TRY_DONE(cublasLtMatmulAlgoGetHeuristic(handle, r->desc, r->b, r->a, r->d, r->d, preference, 1,
                                               &result, &count));
    if (count == 0 || result.state != CUBLAS_STATUS_SUCCESS)
        status = fx_fail(FX_EDEVICE, "cuBLASLt has no algorithm for (%lld, %lld) x (%lld, %lld)",
                         (long long)p->m, (long long)p->k, (long long)p->k, (long long)p->n);
    r->algo = result.algo;
    r->workspace = result.workspaceSize;
done:
    if (preference) cublasLtMatmulPreferenceDestroy(preference);
    return status;
}

static fx_status add(fx_cuda *exec, const fx_matmul *product)
{
    list *l = exec->products;
    if (!l) {
        FX_TRY(FX_ALLOC(l, 1));
        exec->products = l;
    }
    FX_TRY(fx_grow((void **)&l->rows, &l->capacity, l->count, sizeof *l->rows));
    row *r = &l->rows[l->count];
    *r = (row){.product = *product};
    fx_status status = describe(r, exec->strict);
    if (status == FX_OK) status = choose(exec->cublaslt, r);
    if (status == FX_OK)
        l->count++;
    else
        free_row(r);
    return status;
}

fx_status fx_matmul_prepare(fx_exec *base, const fx_matmul *product, size_t *workspace)
{
    fx_cuda *exec = fx_cuda_of(base);
    if (!exec->cublaslt) {
        cublasLtHandle_t handle = NULL;
        LT_TRY(cublasLtCreate(&handle));
        exec->cublaslt = handle;
    }
    if (!find(exec, product)) FX_TRY(add(exec, product));
    const size_t bytes = find(exec, product)->workspace,
                 room = bytes > 0 ? bytes + WORKSPACE_ALIGNED - 1 : 0;
    if (*workspace < room) *workspace = room;
    return FX_OK;
}

static const void *at(const void *tensor, const fx_matrix *matrix, fx_dtype dtype)
{
    return (const char *)tensor + matrix->first * (int64_t)fx_dtype_bytes(dtype);
}

fx_status fx_matmul_run(fx_exec *base, const fx_matmul *product, const void *a, const void *b,
                        const void *c, const void *bias, void *d, void *workspace)
{
    const fx_cuda *exec = fx_cuda_of(base);
    const row *r = find(exec, product);
    const fx_matmul *p = product;
    const float one = 1.0f, keep = p->adds ? 1.0f : 0.0f;
    const uintptr_t start = (uintptr_t)workspace;
    FX_REQUIRE(r, FX_EARG, "a matrix product that was not prepared");
    if (p->bias) LT_TRY(SET(r->desc, BIAS_POINTER, bias));
    void *room = (void *)((start + WORKSPACE_ALIGNED - 1) / WORKSPACE_ALIGNED * WORKSPACE_ALIGNED);
    LT_TRY(cublasLtMatmul(exec->cublaslt, r->desc, &one, at(b, &p->b, p->operands), r->b,
                          at(a, &p->a, p->operands), r->a, &keep, at(p->adds ? c : d, &p->d, p->result),
                          r->d, (void *)at(d, &p->d, p->result), r->d, &r->algo, room, r->workspace,
                          exec->stream));
    return FX_OK;
}
