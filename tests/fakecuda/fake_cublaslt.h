/* fake_cublaslt.h: the stand-in's cuBLASLt: objects and calls (cublaslt.cpp), rules and execution on
 * the CPU (cublaslt_run.cpp). Matrices are fp32 or bf16, in columns. */
#ifndef FX_FAKE_CUBLASLT_H
#define FX_FAKE_CUBLASLT_H

#include <cublasLt.h>

#include "fake.h"

enum { ANY_ORDER, BY_WORKSPACE, WHOLE, CHOICES };
enum { PARTS = 4, MOST_ALIGNED = 256 };

struct fake_matrix {
    cudaDataType_t type;
    uint64_t rows, columns;
    int64_t pitch;

    bool operator==(const fake_matrix &o) const
    {
        return type == o.type && rows == o.rows && columns == o.columns && pitch == o.pitch;
    }
    size_t bytes(void) const
    {
        return ((columns - 1) * (uint64_t)pitch + rows) * width();
    }
    size_t width(void) const
    {
        return type == CUDA_R_16BF ? 2 : sizeof(float);
    }
};

struct fake_matmul {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    cublasOperation_t of_a, of_b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
};

struct fake_preference {
    uint64_t workspace;
    uint32_t schemes, aligned[5]; /* of A, B, C, D and the bias */
};

/* What an algorithm was chosen for. */
struct fake_problem {
    fake_matmul o;
    fake_matrix a, b, c, d;

    bool transposed_a(void) const
    {
        return o.of_a == CUBLAS_OP_T;
    }
    bool transposed_b(void) const
    {
        return o.of_b == CUBLAS_OP_T;
    }
    bool has_bias(void) const
    {
        return o.epilogue == CUBLASLT_EPILOGUE_BIAS;
    }
    uint64_t k(void) const
    {
        return transposed_a() ? a.rows : a.columns;
    }
    /* The bias is told later. */
    bool operator==(const fake_problem &p) const
    {
        return o.compute == p.o.compute && o.scale == p.o.scale && o.of_a == p.o.of_a &&
               o.of_b == p.o.of_b && o.epilogue == p.o.epilogue && a == p.a && b == p.b && c == p.c &&
               d == p.d;
    }
};

struct fake_algorithm {
    fake_problem p;
    fake_preference promised;
    int choice;
    uint64_t workspace;
};

/* Pointers of one run. */
struct fake_operands {
    const void *a, *b, *c;
    void *d;
    float *workspace, alpha, beta;
};

/* The library's own checks of a problem, pointers aside. */
cublasStatus_t fake_lt_check(const fake_problem &p);
/* Whether a search may propose this one. */
bool fake_lt_allowed(const fake_problem &p, const fake_preference &f, int choice);
uint64_t fake_lt_workspace(const fake_problem &p, int choice);
/* Puts the product into the stream's queue; ends the process if the algorithm can't have these
 * pointers. */
cublasStatus_t fake_lt_start(const fake_algorithm &how, const fake_operands &at, cudaStream_t stream);

#endif
