/* mem.h: host memory. Every allocation of the library goes through here, so that a test can fail the
 * n-th one and a failure has a message. Includes error.h. */
#ifndef FLEXHPC_MEM_H
#define FLEXHPC_MEM_H

#include <stddef.h>
#include <stdint.h>
#include "flexhpc/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* count * size zeroed bytes, aligned to 64; the caller frees with fx_free. NULL, with the error
 * recorded, when there is no such memory or the product overflows. Never returns NULL for 0 bytes.
 * Local. */
void *fx_calloc(size_t count, size_t size);

/* Frees what fx_calloc gave; NULL is nothing to free. Local. */
void fx_free(void *memory);

/* A large zeroed block in pages of its own, huge ones where the system grants them: arenas and slabs.
 * Pages get memory when first touched. NULL as fx_calloc. The caller gives it back with fx_unmap and
 * the same size. Local. */
void *fx_map(size_t bytes);
void fx_unmap(void *memory, size_t bytes);

/* FX_TRY(FX_ALLOC(pointer, count)): `pointer` gets zeroed room for `count` of what it points to. */
#define FX_ALLOC(pointer, count)                                                                       \
    (((pointer) = fx_calloc((size_t)(count), sizeof *(pointer))) ? FX_OK : FX_ENOMEM)

/* Grows a heap array so that index `count` can be written; doubles `*capacity`. *array is NULL at
 * first; the caller frees it with fx_free. On failure the array stays as it was. Local. */
fx_status fx_grow(void **array, size_t *capacity, size_t count, size_t size);

/* A pool hands out small pieces that live and die together (nodes, names, shapes). Not thread-safe. */
typedef struct fx_pool fx_pool;
fx_status fx_pool_create(fx_pool **out);
void *fx_pool_calloc(fx_pool *pool, size_t count,
                     size_t size); /* zeroed, aligned to 16; NULL as fx_calloc */
char *fx_pool_print(fx_pool *pool, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void fx_pool_free(fx_pool **pool);

/* Test hook: the n-th fx_calloc from now fails (1 = the next); 0 turns it off. Counts made so far since
 * the last call are returned. Local. */
uint64_t fx_mem_fail_after(uint64_t n);

#ifdef __cplusplus
}
#endif
#endif
