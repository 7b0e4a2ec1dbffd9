/* test_fake_cublaslt.cpp: each rule of the stand-in's cuBLASLt refuses what breaks it and lets through
 * what is sound; its algorithms are what a preference allows, and the one that sums in any order does.
 *
 * Run: standin only
 * Planted and caught: every rule taken out, one at a time: of cublaslt_run.cpp rows apart, nothing,
 * types of matrices, factors and sums (a bf16 result of fp32, TF32 of bf16, TF32 that rounds nothing),
 * k, rows and columns of D and C, epilogues, what a preference allows, the five alignments and the
 * workspace's, memory written and otherwise used (at all, by the workspace, by another C), sums in any
 * order; of cublaslt.cpp and fake_cublaslt.h life, leaks, sizes of attributes, the two rules of
 * capture, room, missing bias, C and workspace, too little workspace, no algorithm, one for another A,
 * D or epilogue, D being C, the bias' alignment at the search. */
#include "dies.h"

#include <cublasLt.h>

#include "flexhpc/tensor.h"

enum { M = 6, N = 5, K = 8, ROOM = 4096 }; /* D (M, N) = A (M, K) B (K, N), in columns */

/* A sound product, to be broken at one place. */
struct bench {
    rig r;
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c, d;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found[8];
    int count = 0;
    float one = 1, zero = 0, two = 2;
    float *A, *B, *C, *D, *bias;
    char *workspace;
    bench()
    {
        cublasLtCreate(&handle);
        cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
        cublasLtMatrixLayoutCreate(&a, CUDA_R_32F, M, K, M);
        cublasLtMatrixLayoutCreate(&b, CUDA_R_32F, K, N, K);
        cublasLtMatrixLayoutCreate(&c, CUDA_R_32F, M, N, M);
        cublasLtMatrixLayoutCreate(&d, CUDA_R_32F, M, N, M);
        cublasLtMatmulPreferenceCreate(&preference);
        cudaMalloc((void **)&workspace, ROOM);
        A = r.device, B = A + 64, C = A + 128, D = A + 192, bias = A + 256;
        prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (uint64_t)ROOM);
        for (int i = 0; i < rig::COUNT; i++)
            r.pinned[i] = (float)(i * 7919 % 1000) / 1000;
        r.up(r.a);
    }
    ~bench()
    {
        cudaStreamSynchronize(r.a);
        cublasLtMatmulPreferenceDestroy(preference);
        for (cublasLtMatrixLayout_t layout : {a, b, c, d})
            cublasLtMatrixLayoutDestroy(layout);
        cublasLtMatmulDescDestroy(desc);
        cublasLtDestroy(handle);
        cudaFree(workspace);
    }
    void compute(cublasComputeType_t type)
    {
        cublasLtMatmulDescDestroy(desc);
        cublasLtMatmulDescCreate(&desc, type, CUDA_R_32F);
    }
    /* A and B become bf16, with the values that the upper halves of A's and B's room hold. */
    void halve(void)
    {
        layout(&a, CUDA_R_16BF, M, K, M);
        layout(&b, CUDA_R_16BF, K, N, K);
    }
    template <typename T> cublasStatus_t set(cublasLtMatmulDescAttributes_t name, T value)
    {
        return cublasLtMatmulDescSetAttribute(desc, name, &value, sizeof value);
    }
    template <typename T> cublasStatus_t prefer(cublasLtMatmulPreferenceAttributes_t name, T value)
    {
        return cublasLtMatmulPreferenceSetAttribute(preference, name, &value, sizeof value);
    }
    void layout(cublasLtMatrixLayout_t *which, cudaDataType type, uint64_t rows, uint64_t columns,
                int64_t pitch)
    {
        cublasLtMatrixLayoutDestroy(*which);
        cublasLtMatrixLayoutCreate(which, type, rows, columns, pitch);
    }
    cublasStatus_t search(int room = 8)
    {
        return cublasLtMatmulAlgoGetHeuristic(handle, desc, a, b, c, d, preference, room, found,
                                              &count);
    }
    cublasStatus_t run(int choice, const float *beta, size_t bytes = ROOM)
    {
        return cublasLtMatmul(handle, desc, &one, A, a, B, b, beta, C, c, D, d,
                              choice < 0 ? nullptr : &found[choice].algo, workspace, bytes, r.a);
    }
    /* With the first algorithm that there is. */
    cublasStatus_t search_and_run(const float *beta)
    {
        const cublasStatus_t status = search();
        return status == CUBLAS_STATUS_SUCCESS ? run(0, beta) : status;
    }
    const float *result(void)
    {
        r.down(r.a);
        cudaStreamSynchronize(r.a);
        return r.pinned + (D - r.device);
    }
};

static void status(const char *what, cublasStatus_t want, cublasStatus_t (*broken)(bench &))
{
    bench b;
    const cublasStatus_t got = broken(b);
    holds(got == want, what);
    if (got != want) printf("    %s\n", cublasLtGetStatusString(got));
}

static void refused(void)
{
    const cublasStatus_t wrong = CUBLAS_STATUS_INVALID_VALUE, no = CUBLAS_STATUS_NOT_SUPPORTED;
    status("a sound product", CUBLAS_STATUS_SUCCESS,
           [](bench &b) { return b.search_and_run(&b.zero); });
    status("an attribute's size", wrong, [](bench &b) {
        const char small = CUBLAS_OP_T;
        return cublasLtMatmulDescSetAttribute(b.desc, CUBLASLT_MATMUL_DESC_TRANSA, &small, 1);
    });
    status("a preference's size", wrong,
           [](bench &b) { return b.prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 32); });
    status("rows apart by less than a row", wrong, [](bench &b) {
        b.layout(&b.a, CUDA_R_32F, M, K, M - 1);
        return b.search();
    });
    status("nothing", wrong, [](bench &b) {
        b.layout(&b.a, CUDA_R_32F, M, 0, M);
        b.layout(&b.b, CUDA_R_32F, 0, N, K);
        return b.search();
    });
    status("k and k", wrong, [](bench &b) {
        b.layout(&b.b, CUDA_R_32F, K - 1, N, K);
        return b.search();
    });
    status("a transpose that does not fit", wrong, [](bench &b) {
        b.set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
        return b.search();
    });
    status("the rows of D", wrong, [](bench &b) {
        b.layout(&b.d, CUDA_R_32F, M + 1, N, M + 1);
        return b.search();
    });
    status("the columns of D", wrong, [](bench &b) {
        b.layout(&b.d, CUDA_R_32F, M, N + 1, M);
        return b.search();
    });
    status("the rows of C", wrong, [](bench &b) {
        b.layout(&b.c, CUDA_R_32F, M - 1, N, M);
        return b.search();
    });
    status("the columns of C", wrong, [](bench &b) {
        b.layout(&b.c, CUDA_R_32F, M, N - 1, M);
        return b.search();
    });
    status("A of another type", no, [](bench &b) {
        b.layout(&b.a, CUDA_R_16BF, M, K, M);
        return b.search();
    });
    status("an epilogue that is not known", no, [](bench &b) {
        b.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
        return b.search();
    });
    status("C of another type than D", no, [](bench &b) {
        b.layout(&b.c, CUDA_R_16BF, M, N, M);
        return b.search();
    });
    status("fp32 to bf16", no, [](bench &b) {
        b.layout(&b.c, CUDA_R_16BF, M, N, M);
        b.layout(&b.d, CUDA_R_16BF, M, N, M);
        return b.search();
    });
    status("fp16", no, [](bench &b) {
        for (cublasLtMatrixLayout_t *m : {&b.a, &b.b})
            b.layout(m, CUDA_R_16F, m == &b.a ? M : K, m == &b.a ? K : N, m == &b.a ? M : K);
        return b.search();
    });
    status("TF32 of bf16", no, [](bench &b) {
        b.halve();
        b.compute(CUBLAS_COMPUTE_32F_FAST_TF32);
        return b.search();
    });
    status("sums of another type", no, [](bench &b) {
        b.compute(CUBLAS_COMPUTE_64F);
        return b.search();
    });
    status("factors of another type", no, [](bench &b) {
        cublasLtMatmulDescDestroy(b.desc);
        cublasLtMatmulDescCreate(&b.desc, CUBLAS_COMPUTE_32F, CUDA_R_64F);
        return b.search();
    });
    status("room for no algorithm", wrong, [](bench &b) { return b.search(0); });
    status("an epilogue without its bias", wrong, [](bench &b) {
        b.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
        return b.search_and_run(&b.zero);
    });
    status("C is wanted, and is not there", wrong, [](bench &b) {
        b.C = nullptr;
        return b.search_and_run(&b.two);
    });
    status("C is neither wanted nor there", CUBLAS_STATUS_SUCCESS, [](bench &b) {
        b.C = nullptr;
        return b.search_and_run(&b.zero);
    });
    status("D is C, otherwise laid out", wrong, [](bench &b) {
        b.C = b.D;
        b.layout(&b.c, CUDA_R_32F, M, N, M + 1);
        return b.search_and_run(&b.two);
    });
    status("less workspace than wanted", wrong, [](bench &b) {
        b.search();
        return b.run(1, &b.zero, b.found[1].workspaceSize - 1);
    });
    status("no workspace", wrong, [](bench &b) {
        b.search();
        char *const kept = b.workspace;
        b.workspace = nullptr;
        const cublasStatus_t got = b.run(1, &b.zero);
        b.workspace = kept;
        return got;
    });
    status("a stream that is none", CUBLAS_STATUS_EXECUTION_FAILED, [](bench &b) {
        const cudaStream_t kept = b.r.a;
        b.search();
        b.r.a = nullptr;
        const cublasStatus_t got = b.run(0, &b.zero);
        b.r.a = kept;
        return got;
    });
    status("a handle made while a stream captures", CUBLAS_STATUS_NOT_INITIALIZED, [](bench &b) {
        cublasLtHandle_t other = nullptr;
        cudaGraph_t graph = nullptr;
        cudaStreamBeginCapture(b.r.a, cudaStreamCaptureModeThreadLocal);
        const cublasStatus_t got = cublasLtCreate(&other);
        holds(cudaStreamEndCapture(b.r.a, &graph) != cudaSuccess, "the capture is lost");
        return got;
    });
}

static void ended(void)
{
    fatal<bench>("a search while a stream captures", "while a stream captures",
                 [](bench &b, bool broken) {
                     cudaGraph_t graph = nullptr;
                     cudaStreamBeginCapture(b.r.a, cudaStreamCaptureModeThreadLocal);
                     if (broken) b.search();
                     cudaStreamEndCapture(b.r.a, &graph);
                     cudaGraphDestroy(graph);
                 });
    fatal<bench>("no algorithm", "no algorithm was chosen", [](bench &b, bool broken) {
        b.search();
        b.run(broken ? -1 : 0, &b.zero);
    });
    fatal<bench>("an algorithm that nobody filled in", "no algorithm was chosen",
                 [](bench &b, bool broken) {
                     b.search();
                     if (broken) b.found[0] = {};
                     b.run(0, &b.zero);
                 });
    fatal<bench>("the algorithm of another D", "chosen for another problem", [](bench &b, bool broken) {
        b.search();
        if (broken) b.layout(&b.d, CUDA_R_32F, M, N, M + 1);
        b.run(0, &b.zero);
    });
    fatal<bench>("the algorithm of another A", "chosen for another problem", [](bench &b, bool broken) {
        b.search();
        if (broken) b.layout(&b.a, CUDA_R_32F, M, K, M + 1);
        b.run(0, &b.zero);
    });
    fatal<bench>("an algorithm without the epilogue", "chosen for another problem",
                 [](bench &b, bool broken) {
                     if (!broken) b.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
                     b.search();
                     b.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
                     b.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, b.bias);
                     b.run(0, &b.zero);
                 });
    fatal<bench>("A on less than was promised", "A at", [](bench &b, bool broken) {
        if (!broken) b.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 4u);
        b.A++;
        b.search_and_run(&b.zero);
    });
    fatal<bench>("B on less than was promised", "B at", [](bench &b, bool broken) {
        if (!broken) b.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 8u);
        b.B += 2;
        b.search_and_run(&b.zero);
    });
    fatal<bench>("C on less than was promised", "C at", [](bench &b, bool broken) {
        if (!broken) b.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, 16u);
        b.C += 4;
        b.search_and_run(&b.two);
    });
    fatal<bench>("D on less than was promised", "D at", [](bench &b, bool broken) {
        if (!broken) b.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, 4u);
        b.D++;
        b.search_and_run(&b.zero);
    });
    fatal<bench>("the bias on less than it was at the search", "the bias at",
                 [](bench &b, bool broken) {
                     b.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
                     b.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, (uintptr_t)(broken ? 16 : 4));
                     b.search();
                     b.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, b.bias + 1);
                     b.run(0, &b.zero);
                 });
    fatal<bench>("a workspace on 128 bytes", "the workspace at", [](bench &b, bool broken) {
        b.search();
        b.workspace += broken ? 128 : 256;
        b.run(1, &b.zero, b.found[1].workspaceSize);
        b.workspace -= 256;
    });
    fatal<bench>("D in B", "written and otherwise used", [](bench &b, bool broken) {
        if (broken) b.D = b.B;
        b.search_and_run(&b.zero);
    });
    fatal<bench>("D in a part of C", "written and otherwise used", [](bench &b, bool broken) {
        b.C = b.D + (broken ? -64 : 64);
        b.layout(&b.c, CUDA_R_32F, M, N, 16);
        b.search_and_run(&b.two);
    });
    fatal<bench>("the workspace in A", "written and otherwise used", [](bench &b, bool broken) {
        b.search();
        char *const kept = b.workspace;
        if (broken) b.workspace = (char *)b.A;
        b.run(1, &b.zero);
        b.workspace = kept;
    });
    fatal<bench>("a layout that is gone", "an object that is not alive", [](bench &b, bool broken) {
        b.search();
        if (broken) cublasLtMatrixLayoutDestroy(b.c);
        b.run(0, &b.zero);
    });
    fatal<bench>("a handle that is gone", "an object that is not alive", [](bench &b, bool broken) {
        b.search();
        if (broken) cublasLtDestroy(b.handle);
        b.run(0, &b.zero);
    });
    fatal<bench>("a descriptor that is never destroyed", "are alive", [](bench &, bool broken) {
        cublasLtMatmulDesc_t other = nullptr;
        cublasLtMatmulDescCreate(&other, CUBLAS_COMPUTE_32F, CUDA_R_32F);
        if (!broken) cublasLtMatmulDescDestroy(other);
    });
    fatal<bench>("memory that is not the device's", "no allocation", [](bench &b, bool broken) {
        static float host[64];
        if (broken) b.A = host;
        b.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 4u);
        b.search_and_run(&b.zero);
    });
    fatal<bench>("two streams", "nothing orders them", [](bench &b, bool broken) {
        const cudaStream_t kept = b.r.a;
        b.search_and_run(&b.zero);
        if (broken) b.r.a = b.r.b;
        b.run(0, &b.zero);
        cudaStreamSynchronize(b.r.a);
        b.r.a = kept;
    });
}

/* Which algorithms a search gives. */
static void choices(void)
{
    bench b;
    b.search();
    holds(b.count == 3 && b.found[1].workspaceSize > 0, "all three");
    b.prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
             (uint32_t)CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    b.search();
    holds(b.count == 2 && b.found[0].workspaceSize > 0, "none that sums in any order");
    b.search(1);
    holds(b.count == 1, "the first");
    b.prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (uint64_t)b.found[0].workspaceSize - 1);
    b.search();
    holds(b.count == 1 && b.found[0].workspaceSize == 0, "none that wants more workspace");
}

/* Element (i, j) of op(A) op(B) + beta C + bias; the bench's matrices are at A, B, C, bias. */
static void values(void)
{
    for (int choice = 0; choice < 3; choice++) {
        bench b;
        const float *at = b.r.pinned, *A = at, *B = at + 64, *C = at + 128, *bias = at + 256;
        b.set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
        b.layout(&b.a, CUDA_R_32F, K, M, K);
        b.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
        b.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, b.bias);
        b.search();
        b.run(choice, &b.two);
        const float *D = b.result();
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                float want = bias[i] + 2 * C[j * M + i];
                for (int k = 0; k < K; k++)
                    want += A[i * K + k] * B[j * K + k];
                holds(fabsf(D[j * M + i] - want) < 1e-5f, "a product");
            }
    }
}

/* bf16 operands, the result in fp32 or bf16; fp32 operands that TF32 rounds. */
static void types(void)
{
    for (int narrow = 0; narrow < 2; narrow++) {
        bench b;
        uint16_t *A = (uint16_t *)b.r.pinned, *B = A + 2 * 64;
        for (int i = 0; i < 2 * 128; i++)
            A[i] = fx_bf16_of((float)(i * 7919 % 1000) / 1000);
        b.r.up(b.r.a);
        b.halve();
        if (narrow)
            for (cublasLtMatrixLayout_t *m : {&b.c, &b.d})
                b.layout(m, CUDA_R_16BF, M, N, M);
        b.search();
        b.run(2, &b.zero);
        const float *D = b.result();
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                float want = 0;
                for (int k = 0; k < K; k++)
                    want += fx_float_of(A[k * M + i]) * fx_float_of(B[j * K + k]);
                const int at = j * M + i;
                if (narrow)
                    holds(((const uint16_t *)D)[at] == fx_bf16_of(want), "a product in bf16");
                else
                    holds(fabsf(D[at] - want) < 1e-5f, "a product of bf16");
            }
    }
    bench b;
    for (int i = 0; i < 64; i++)
        b.r.pinned[i] = i % 2 ? 1 + 0x1p-11f : 1 + 0x1p-12f; /* to 1 + 2^-10 and to 1 */
    for (int i = 64; i < 128; i++)
        b.r.pinned[i] = 1;
    b.r.up(b.r.a);
    b.compute(CUBLAS_COMPUTE_32F_FAST_TF32);
    b.search();
    b.run(2, &b.zero);
    const float *D = b.result();
    for (int i = 0; i < M * N; i++)
        holds(D[i] == (i % M % 2 ? K * (1 + 0x1p-10f) : (float)K), "operands rounded to TF32");
}

static bool differs(int choice)
{
    bench b;
    float first[M * N];
    bool other = false;
    b.search();
    b.run(choice, &b.zero);
    memcpy(first, b.result(), sizeof first);
    for (int i = 0; i < 20; i++) {
        b.run(choice, &b.zero);
        other |= memcmp(first, b.result(), sizeof first) != 0;
    }
    return other;
}

int main(void)
{
    refused();
    ended();
    choices();
    values();
    types();
    holds(differs(0), "sums in any order differ from run to run");
    holds(!differs(1) && !differs(2), "others do not");
    return end_of_checks();
}
