/* tensor.h: a dense row-major array that an op reads or writes. A tensor is a description; its memory
 * belongs to the program's arena, to the parameters, or to the program's kept buffers. Includes
 * error.h. */
#ifndef FLEXHPC_TENSOR_H
#define FLEXHPC_TENSOR_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FX_MAX_RANK = 4 };

typedef enum fx_dtype { FX_F32, FX_F64, FX_I32, FX_BF16 } fx_dtype;

/* Who owns the memory. PLANNED: an offset in the program's arena, reused. KEPT: its own room as long as
 * the program lives (inputs and outputs of the host). PARAMETER: a slab of fx_params. */
typedef enum fx_memory { FX_PLANNED, FX_KEPT, FX_PARAMETER } fx_memory;

/* What a planned tensor is for; `flexhpc plan` adds up bytes by it. */
typedef enum fx_role { FX_ACTIVATION, FX_STATISTIC, FX_GRADIENT, FX_RECOMPUTED, FX_ROLES } fx_role;

typedef struct fx_tensor {
    const char *name;
    int64_t dim[FX_MAX_RANK]; /* images: (B, H, W, C), C fastest */
    int rank;
    fx_dtype dtype;
    void *data; /* NULL until bound */

    fx_memory memory;
    fx_role role;
    bool wants_gradient; /* a trained parameter is upstream */
    struct fx_tensor
        *gradient; /* set by autodiff; another tensor's where a gradient is passed on unchanged */
    struct fx_node *producer; /* NULL for inputs and parameters */
    struct fx_param *param;   /* of the parameter that this is a slab's part of */

    /* Columns of the passes over the tape. */
    int first, last;                    /* entries between which it lives; -1: in none */
    size_t offset;                      /* in the arena */
    bool crosses_part, crosses_section; /* read in another part or section than made in */
    struct fx_tensor *again;            /* its recomputed copy */
} fx_tensor;

/* Its memory, of a tensor that is stored in fp32; NULL of NULL. */
static inline float *fx_f32(const fx_tensor *t)
{
    assert(!t || t->dtype == FX_F32);
    return t ? (float *)t->data : NULL;
}

static inline int64_t fx_count(const fx_tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++)
        count *= t->dim[i];
    return count;
}

static inline size_t fx_dtype_bytes(fx_dtype dtype)
{
    return dtype == FX_F64 ? 8 : dtype == FX_BF16 ? 2 : 4;
}

/* The nearest bf16, ties to even, and back: what the device does when it stores and loads one. */
static inline uint16_t fx_bf16_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u); /* stays a NaN */
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
static inline float fx_float_of(uint16_t bf16)
{
    const uint32_t bits = (uint32_t)bf16 << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline size_t fx_tensor_bytes(const fx_tensor *t)
{
    return (size_t)fx_count(t) * fx_dtype_bytes(t->dtype);
}

/* Sets the shape; refuses sizes below 1 and products above 2^40. Local. */
fx_status fx_set_shape(fx_tensor *t, int rank, const int64_t *dim);
bool fx_has_shape(const fx_tensor *t, int rank, const int64_t *dim);
bool fx_same_shape(const fx_tensor *a, const fx_tensor *b);

/* "(2, 64, 64, 1)" in a buffer of the calling thread; four calls may be alive at once. For messages.
 * Local. */
const char *fx_shape_text(const fx_tensor *t);

#define FX_DIMS(...) ((const int64_t[]){__VA_ARGS__})

#ifdef __cplusplus
}
#endif
#endif
