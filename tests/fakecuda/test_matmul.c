/* test_matmul.c: products by cuda/matmul.c against sums in double: every transposition, rows apart,
 * matrices that begin within their tensors, sums with D and with another C, bias, with and without
 * workspace, which may begin anywhere; what lies between D's rows stays. A product is chosen once,
 * before capture, within the budget of workspace; one that was not prepared is refused; runs repeat
 * their bits.
 *
 * Run: standin only
 * Run: source cuda/matmul.c
 * Planted and caught, in matmul.c: a pitch, a first element, D or the bias left out of the comparison
 * of products; transpositions exchanged; no epilogue; the bias promised on 256 bytes, matrices on 32,
 * their alignments exchanged or C's not told; no budget of workspace, or four times it; reduction in
 * place allowed; workspace without room to align it, or not aligned, or a want made smaller; D always
 * added, C never, A and D from their tensors' start, the bias never set; a layout, a preference, a
 * refused product not freed; an algorithm sought at every call; alignments of bf16 told as of fp32;
 * TF32 never, or where the exec is strict; types left out of the comparison of products. */
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../cuda/matmul.h"

enum { A, B, C, D, BIAS, TENSORS, ROOM = 4096, WORKSPACE = 1 << 20 };
enum { START = 4 }; /* where tensors begin: 16 bytes, and no more, divide the address */

typedef struct bench {
    fx_cuda exec;
    float *device[TENSORS], *host[TENSORS]; /* ROOM elements each; host is pinned */
    char *workspace;
} bench;

static int checks, bad;

static void check(bool holds, const char *what)
{
    checks++;
    if (holds) return;
    bad++;
    printf("BAD %s: %s\n", what, fx_error_message());
}

static void open_bench(bench *b)
{
    *b = (bench){.exec.strict = true};
    cudaStreamCreateWithPriority(&b->exec.stream, cudaStreamNonBlocking, 0);
    cudaMalloc((void **)&b->workspace, WORKSPACE);
    for (int t = 0; t < TENSORS; t++) {
        cudaMalloc((void **)&b->device[t], ROOM * sizeof(float));
        cudaHostAlloc((void **)&b->host[t], ROOM * sizeof(float), 0);
        for (int i = 0; i < ROOM; i++)
            b->host[t][i] = (float)((i * 7919 + t * 104729) % 2000 - 1000) / 1000;
        cudaMemcpyAsync(b->device[t], b->host[t], ROOM * sizeof(float), cudaMemcpyHostToDevice,
                        b->exec.stream);
    }
}

static void close_bench(bench *b)
{
    cudaStreamSynchronize(b->exec.stream);
    fx_matmul_close(&b->exec);
    for (int t = 0; t < TENSORS; t++) {
        cudaFree(b->device[t]);
        cudaFreeHost(b->host[t]);
    }
    cudaFree(b->workspace);
    cudaStreamDestroy(b->exec.stream);
}

static double element(const float *tensor, const fx_matrix *x, int64_t row, int64_t column)
{
    return (double)(x->transposed ? tensor[x->first + column * x->pitch + row]
                                  : tensor[x->first + row * x->pitch + column]);
}

/* What D's room should hold; `c`: what is added. */
static void expect(const bench *b, const fx_matmul *p, const float *c, float *want)
{
    const float *A0 = b->host[A] + START, *B0 = b->host[B] + START, *bias = b->host[BIAS] + START;
    memcpy(want, b->host[D], ROOM * sizeof(float));
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            double sum = p->adds ? element(c + START, &p->d, i, j) : 0.0;
            if (p->bias) sum += (double)bias[j];
            for (int64_t k = 0; k < p->k; k++)
                sum += element(A0, &p->a, i, k) * element(B0, &p->b, k, j);
            want[START + p->d.first + i * p->d.pitch + j] = (float)sum;
        }
}

static fx_status run(bench *b, const fx_matmul *p, const float *c, void *workspace)
{
    return fx_matmul_run(&b->exec.base, p, b->device[A] + START, b->device[B] + START, c + START,
                         b->device[BIAS] + START, b->device[D] + START, workspace);
}

/* D as it is on the device, which gets back what the host has. */
static void take(bench *b, float *got)
{
    const size_t bytes = ROOM * sizeof(float);
    float *kept = b->host[C]; /* pinned; C is not needed any more */
    cudaMemcpyAsync(kept, b->device[D], bytes, cudaMemcpyDeviceToHost, b->exec.stream);
    cudaMemcpyAsync(b->device[D], b->host[D], bytes, cudaMemcpyHostToDevice, b->exec.stream);
    cudaStreamSynchronize(b->exec.stream);
    memcpy(got, kept, bytes);
}

static void product(const fx_matmul *p, bool other_c, const char *what)
{
    bench b;
    static float want[ROOM], got[ROOM], again[ROOM];
    size_t bytes = 0;
    open_bench(&b);
    expect(&b, p, b.host[other_c ? C : D], want);
    check(fx_matmul_prepare(&b.exec.base, p, &bytes) == FX_OK, what);
    check(bytes <= WORKSPACE - 64 && (bytes > 0) == (p->k >= 4), "workspace");
    /* At the end of the memory, and on 64 bytes as a planner gives it. */
    char *workspace = b.workspace + (WORKSPACE - bytes) / 64 * 64;
    const float *c = b.device[other_c ? C : D];
    check(run(&b, p, c, workspace) == FX_OK, what);
    take(&b, got);
    check(run(&b, p, c, workspace) == FX_OK, what);
    take(&b, again);
    double worst = 0;
    for (int i = 0; i < ROOM; i++)
        worst = fmax(worst, fabs((double)want[i] - (double)got[i]));
    check(worst < 1e-5, what);
    check(memcmp(got, again, sizeof got) == 0, "the same bits again");
    close_bench(&b);
}

/* Every case is one of these with something else. */
static fx_matmul plain(int64_t m, int64_t n, int64_t k)
{
    return (fx_matmul){.m = m, .n = n, .k = k, .a.pitch = k, .b.pitch = n, .d.pitch = n};
}

static void products(void)
{
    fx_matmul p = plain(7, 5, 12);
    product(&p, false, "plain");
    p.a = (fx_matrix){.pitch = 7, .transposed = true};
    product(&p, false, "A transposed");
    p.b = (fx_matrix){.pitch = 12, .transposed = true};
    product(&p, false, "both transposed");
    p.a = (fx_matrix){.pitch = 12};
    product(&p, false, "B transposed");
    p.bias = true;
    product(&p, false, "bias");
    p.adds = true;
    product(&p, false, "bias, + D");
    product(&p, true, "bias, + C");
    p.bias = false;
    product(&p, true, "+ C");
    p.a = (fx_matrix){.first = 3, .pitch = 20};
    p.b = (fx_matrix){.first = 6, .pitch = 31, .transposed = true};
    p.d = (fx_matrix){.first = 5, .pitch = 9};
    product(&p, false, "matrices within tensors, + D");
    p.adds = false;
    p.bias = true;
    product(&p, false, "matrices within tensors, bias");
    p = plain(7, 5, 3);
    product(&p, false, "without workspace");
    p = plain(1, 1, 1);
    product(&p, false, "one element");
}

/* bf16 operands that begin within their tensors, at 2 bytes; D in bf16, with bias, or + D in fp32. */
static void bf16_product(fx_dtype result)
{
    enum { FIRST = 3, HALVES = 8 /* of START */ };
    bench b;
    static float values[TENSORS][ROOM];
    static uint16_t got[2 * ROOM];
    size_t bytes = 0;
    fx_matmul p = plain(7, 5, 12);
    p.a.first = p.b.first = FIRST;
    p.operands = FX_BF16;
    p.result = result;
    p.bias = result == FX_BF16;
    p.adds = !p.bias;
    open_bench(&b);
    cudaStreamSynchronize(b.exec.stream);
    for (int t = 0; t < TENSORS; t++) {
        const bool half = t == A || t == B || result == FX_BF16;
        for (int i = 0; i < ROOM; i++) {
            values[t][i] = half ? fx_float_of(fx_bf16_of(b.host[t][i])) : b.host[t][i];
            if (half) ((uint16_t *)b.host[t])[i] = fx_bf16_of(values[t][i]);
        }
        cudaMemcpyAsync(b.device[t], b.host[t], ROOM * sizeof(float), cudaMemcpyHostToDevice,
                        b.exec.stream);
    }
    check(fx_matmul_prepare(&b.exec.base, &p, &bytes) == FX_OK, "a product of bf16");
    check(run(&b, &p, b.device[D], b.workspace) == FX_OK, "a product of bf16");
    take(&b, (float *)got);
    for (int64_t i = 0; i < p.m * p.n; i++) {
        const int64_t row = i / p.n, column = i % p.n, at = result == FX_BF16 ? HALVES + i : START + i;
        double sum = p.bias ? (double)values[BIAS][HALVES + column] : (double)values[D][at];
        for (int64_t k = 0; k < p.k; k++)
            sum += (double)values[A][HALVES + FIRST + row * p.k + k] *
                   (double)values[B][HALVES + FIRST + k * p.n + column];
        const double found =
            (double)(result == FX_BF16 ? fx_float_of(got[at]) : ((const float *)got)[at]);
        check(fabs(found - sum) <= (result == FX_BF16 ? 0x1p-8 * fabs(sum) : 0) + 1e-5,
              "a product of bf16");
    }
    close_bench(&b);
}

/* TF32 has 11 bits: not strict, a product is off by more than fp32's rounding and less than that. */
static void tf32_product(void)
{
    bench b;
    static float want[ROOM], got[ROOM];
    const fx_matmul p = plain(7, 5, 12);
    size_t bytes = 0;
    double worst = 0;
    open_bench(&b);
    b.exec.strict = false;
    expect(&b, &p, b.host[D], want);
    check(fx_matmul_prepare(&b.exec.base, &p, &bytes) == FX_OK, "a product in TF32");
    check(run(&b, &p, b.device[D], b.workspace) == FX_OK, "a product in TF32");
    take(&b, got);
    for (int i = 0; i < ROOM; i++)
        worst = fmax(worst, fabs((double)want[i] - (double)got[i]));
    check(worst > 1e-5 && worst < 12 * 0x1p-10, "a product in TF32");
    close_bench(&b);
}

static void rules(void)
{
    bench b;
    fx_matmul p = plain(8, 8, 8), large = plain(2048, 2048, 8);
    size_t bytes = 1 << 18, none = 0;
    cudaGraph_t graph = NULL;
    open_bench(&b);
    check(run(&b, &p, b.device[C], b.workspace) == FX_EARG, "a product that was not prepared");
    check(fx_matmul_prepare(&b.exec.base, &p, &bytes) == FX_OK && bytes == 1 << 18,
          "a want of more workspace stays");
    check(fx_matmul_prepare(&b.exec.base, &large, &none) == FX_OK && none == 0,
          "nothing above the budget of workspace");
    for (int i = 0; i < 3; i++) {
        fx_matmul other = p;
        (i == 0 ? &other.a : i == 1 ? &other.b : &other.d)->first = 4;
        check(run(&b, &other, b.device[C], b.workspace) == FX_EARG, "a product with another matrix");
    }
    p.result = FX_BF16;
    check(run(&b, &p, b.device[C], b.workspace) == FX_EARG, "a product of another type");
    p.result = FX_F32;
    p.operands = FX_BF16;
    check(run(&b, &p, b.device[C], b.workspace) == FX_EARG, "a product of other operands");
    p.operands = FX_F32;
    p.bias = true;
    check(run(&b, &p, b.device[C], b.workspace) == FX_EARG, "a product with another epilogue");
    p.bias = false;
    cudaStreamBeginCapture(b.exec.stream, cudaStreamCaptureModeThreadLocal);
    check(fx_matmul_prepare(&b.exec.base, &p, &bytes) == FX_OK, "asked for again in a capture");
    check(run(&b, &p, b.device[C], b.workspace) == FX_OK, "run in a capture");
    check(cudaStreamEndCapture(b.exec.stream, &graph) == cudaSuccess, "a capture");
    cudaGraphDestroy(graph);
    p.b.pitch = 7;
    check(fx_matmul_prepare(&b.exec.base, &p, &bytes) == FX_EDEVICE, "rows that meet");
    check(strstr(fx_error_message(), "cublasLtMatmulAlgoGetHeuristic: CUBLAS_STATUS_INVALID_VALUE"),
          "the message names the call");
    close_bench(&b);
}

int main(void)
{
    products();
    bf16_product(FX_BF16);
    bf16_product(FX_F32);
    tf32_product();
    rules();
    printf("%d checks, %d bad\n", checks, bad);
    return bad > 0 || checks == 0;
}
