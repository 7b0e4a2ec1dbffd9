/* tensor.c: shapes and their names in messages. */
#include "flexhpc/tensor.h"

#include <stdio.h>
#include <string.h>

static const int64_t LARGEST = (int64_t)1 << 40; /* elements: 4 TiB of fp32, beyond any device */

fx_status fx_set_shape(fx_tensor *t, int rank, const int64_t *dim)
{
    FX_REQUIRE(rank >= 1 && rank <= FX_MAX_RANK, FX_EARG, "a tensor of %d dimensions", rank);
    int64_t count = 1;
    for (int i = 0; i < rank; i++) {
        FX_REQUIRE(dim[i] >= 1, FX_EARG, "dimension %d is %lld", i, (long long)dim[i]);
        FX_REQUIRE(!__builtin_mul_overflow(count, dim[i], &count) && count <= LARGEST, FX_EARG,
                   "more than 2^40 elements");
    }
    t->rank = rank;
    memcpy(t->dim, dim, sizeof(int64_t) * (size_t)rank);
    return FX_OK;
}

bool fx_has_shape(const fx_tensor *t, int rank, const int64_t *dim)
{
    return t->rank == rank && memcmp(t->dim, dim, sizeof(int64_t) * (size_t)rank) == 0;
}

bool fx_same_shape(const fx_tensor *a, const fx_tensor *b)
{
    return fx_has_shape(a, b->rank, b->dim);
}

const char *fx_shape_text(const fx_tensor *t)
{
    enum { TEXTS = 4, TEXT = 128 };
    static _Thread_local char texts[TEXTS][TEXT];
    static _Thread_local int next;
    char *text = texts[next++ % TEXTS];
    if (!t) return "(none)";
    int used = snprintf(text, TEXT, "(");
    for (int i = 0; i < t->rank; i++)
        used +=
            snprintf(text + used, (size_t)(TEXT - used), i ? ", %lld" : "%lld", (long long)t->dim[i]);
    snprintf(text + used, (size_t)(TEXT - used), ")");
    return text;
}
