/* cublaslt_run.cpp: which products the stand-in's cuBLASLt refuses and which algorithms it has for the
 * others; and the products, by the CPU's sgemm, in the order of sums that the algorithm stands for.
 * Operands are rounded to TF32 where tensor cores may do that; results to bf16 where they are stored
 * so. */
#include <string.h>

#include <algorithm>

#include "fake_cublaslt.h"

extern "C" {
#include "ops/onednn.h"
}

static bool is_wide(const fake_matrix &m)
{
    return m.type == CUDA_R_32F;
}

cublasStatus_t fake_lt_check(const fake_problem &p)
{
    for (const fake_matrix *m : {&p.a, &p.b, &p.c, &p.d}) {
        if (m->rows == 0 || m->columns == 0 || m->pitch < (int64_t)m->rows)
            return CUBLAS_STATUS_INVALID_VALUE;
        if (m->type != CUDA_R_32F && m->type != CUDA_R_16BF) return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (p.a.type != p.b.type || p.c.type != p.d.type || (is_wide(p.a) && !is_wide(p.d)))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p.o.compute != CUBLAS_COMPUTE_32F &&
        !(p.o.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && is_wide(p.a)))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p.o.scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p.o.epilogue != CUBLASLT_EPILOGUE_DEFAULT && !p.has_bias()) return CUBLAS_STATUS_NOT_SUPPORTED;
    const uint64_t m = p.transposed_a() ? p.a.columns : p.a.rows,
                   n = p.transposed_b() ? p.b.rows : p.b.columns,
                   k = p.transposed_b() ? p.b.columns : p.b.rows;
    const bool fits =
        p.k() == k && p.d.rows == m && p.d.columns == n && p.c.rows == m && p.c.columns == n;
    return fits ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

uint64_t fake_lt_workspace(const fake_problem &p, int choice)
{
    return choice == BY_WORKSPACE ? PARTS * p.d.rows * p.d.columns * sizeof(float) : 0;
}

bool fake_lt_allowed(const fake_problem &p, const fake_preference &f, int choice)
{
    if (choice == WHOLE) return true;
    const uint32_t scheme = choice == ANY_ORDER ? CUBLASLT_REDUCTION_SCHEME_INPLACE
                                                : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    return (f.schemes & scheme) && p.k() >= PARTS && fake_lt_workspace(p, choice) <= f.workspace;
}

static float element(const fake_matrix &m, const void *at, uint64_t i)
{
    return is_wide(m) ? ((const float *)at)[i] : fx_float_of(((const uint16_t *)at)[i]);
}

/* To 10 bits of fraction, the nearest, ties away from 0, as the conversion instruction does. */
static float to_tf32(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0x1000u) & 0xffffe000u;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The matrix as the multiplier sees it: `copy`, or itself where that is no different. */
static const float *operand(const fake_problem &p, const fake_matrix &m, const void *at,
                            std::vector<float> *copy)
{
    const bool rounds = p.o.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if (is_wide(m) && !rounds) return (const float *)at;
    copy->resize(m.bytes() / m.width());
    for (uint64_t i = 0; i < copy->size(); i++)
        (*copy)[i] = rounds ? to_tf32(element(m, at, i)) : element(m, at, i);
    return copy->data();
}

/* to (columns, rows) = the product over from <= k < end; row-major, it is the transposes' product. */
static void multiply(const fake_problem &p, const float *A, const float *B, uint64_t from, uint64_t end,
                     float *to)
{
    const float *a = A + (p.transposed_a() ? from : from * (uint64_t)p.a.pitch),
                *b = B + (p.transposed_b() ? from * (uint64_t)p.b.pitch : from);
    const int64_t rows = (int64_t)p.d.rows, columns = (int64_t)p.d.columns;
    if (fx_dnn_sgemm(p.transposed_b() ? 'T' : 'N', p.transposed_a() ? 'T' : 'N', columns, rows,
                     (int64_t)(end - from), 1, b, p.b.pitch, a, p.a.pitch, 0, to, rows) != FX_OK)
        fake_fatal("cublasLtMatmul: %s", fx_error_message());
}

/* sum: alpha times the product, (columns, rows). */
static void store(const fake_problem &p, const fake_operands &at, const std::vector<float> &sum)
{
    const fake_matrix bias = {p.d.type, p.d.rows, 1, (int64_t)p.d.rows};
    for (uint64_t e = 0; e < sum.size(); e++) {
        const uint64_t row = e % p.d.rows, column = e / p.d.rows,
                       i = column * (uint64_t)p.d.pitch + row;
        float v = sum[e];
        if (at.beta != 0) v += at.beta * element(p.c, at.c, column * (uint64_t)p.c.pitch + row);
        if (p.has_bias()) v += element(bias, p.o.bias, row);
        if (is_wide(p.d))
            ((float *)at.d)[i] = v;
        else
            ((uint16_t *)at.d)[i] = fx_bf16_of(v);
    }
}

static void compute(const fake_algorithm &how, const fake_operands &at)
{
    const fake_problem &p = how.p;
    const uint64_t size = p.d.rows * p.d.columns, parts = how.choice == WHOLE ? 1 : PARTS;
    std::vector<float> own(how.choice == BY_WORKSPACE ? 0 : parts * size), sum(size, 0.0f), copy[2];
    const float *A = operand(p, p.a, at.a, &copy[0]), *B = operand(p, p.b, at.b, &copy[1]);
    float *part = how.choice == BY_WORKSPACE ? at.workspace : own.data();
    std::vector<uint64_t> order;
    for (uint64_t i = 0; i < parts; i++) {
        multiply(p, A, B, i * p.k() / parts, (i + 1) * p.k() / parts, part + i * size);
        order.push_back(i);
    }
    for (uint64_t i = parts; how.choice == ANY_ORDER && i > 1; i--)
        std::swap(order[i - 1], order[fake_random() % i]);
    for (uint64_t i : order)
        for (uint64_t e = 0; e < size; e++)
            sum[e] += part[i * size + e];
    for (float &v : sum)
        v *= at.alpha;
    store(p, at, sum);
}

static void must_align(const void *at, uint32_t promised, const char *what)
{
    if ((uintptr_t)at % promised != 0)
        fake_fatal("cublasLtMatmul: %s at %p, promised on %u bytes", what, at, promised);
}

cublasStatus_t fake_lt_start(const fake_algorithm &how, const fake_operands &at, cudaStream_t stream)
{
    const fake_problem &p = how.p;
    must_align(at.a, how.promised.aligned[0], "A");
    must_align(at.b, how.promised.aligned[1], "B");
    if (at.beta != 0) must_align(at.c, how.promised.aligned[2], "C");
    must_align(at.d, how.promised.aligned[3], "D");
    if (p.has_bias()) must_align(p.o.bias, how.promised.aligned[4], "the bias");
    must_align(at.workspace, MOST_ALIGNED, "the workspace");
    std::vector<fake_range> ranges = {
        {at.d, p.d.bytes(), true},
        {at.workspace, how.workspace, true},
        {at.a, p.a.bytes(), false},
        {at.b, p.b.bytes(), false},
        {p.has_bias() ? p.o.bias : nullptr, p.d.rows * p.d.width(), false}};
    if (how.workspace == 0) ranges.erase(ranges.begin() + 1);
    if (at.beta != 0) ranges.push_back({at.c, p.c.bytes(), false});
    for (const fake_range &w : ranges)
        for (const fake_range &r : ranges)
            if (w.write && &w != &r && fake_overlap(w, r) &&
                !(w.at == at.d && r.at == at.c && p.c == p.d))
                fake_fatal("cublasLtMatmul: memory at %p is written and otherwise used", r.at);
    const cudaError_t error = fake_enqueue(stream, "cublasLtMatmul", ranges, [=] { compute(how, at); });
    return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
