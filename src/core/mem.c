/* mem.c: host allocation with messages, a test hook that fails the n-th one, and pools. */
#include "flexhpc/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64, PIECE_ALIGNMENT = 16, POOL_BLOCK = 1 << 16 };

static atomic_uint_fast64_t calls, fail_at;

uint64_t fx_mem_fail_after(uint64_t n)
{
    const uint64_t made = atomic_exchange(&calls, 0);
    atomic_store(&fail_at, n);
    return made;
}

void *fx_calloc(size_t count, size_t size)
{
    const uint64_t call = atomic_fetch_add(&calls, 1) + 1;
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - ALIGNMENT) {
        fx_fail(FX_ENOMEM, "%zu x %zu bytes do not fit an address space", count, size);
        return NULL;
    }
    const size_t rounded = bytes == 0 ? ALIGNMENT : (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *memory = call == atomic_load(&fail_at) ? NULL : aligned_alloc(ALIGNMENT, rounded);
    if (!memory) {
        fx_fail(FX_ENOMEM, "out of memory: %zu bytes", bytes);
        return NULL;
    }
    return memset(memory, 0, rounded);
}

void fx_free(void *memory)
{
    free(memory);
}

void *fx_map(size_t bytes)
{
    const uint64_t call = atomic_fetch_add(&calls, 1) + 1;
    void *memory = call == atomic_load(&fail_at) ? MAP_FAILED
                                                 : mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fx_fail(FX_ENOMEM, "out of memory: %zu bytes", bytes);
        return NULL;
    }
    (void)madvise(memory, bytes, MADV_HUGEPAGE); /* a wish: a refusal changes speed only */
    return memory;
}

void fx_unmap(void *memory, size_t bytes)
{
    if (memory) munmap(memory, bytes ? bytes : 1);
}

fx_status fx_grow(void **array, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity) return FX_OK;
    const size_t wanted = *capacity < 8 ? 16 : 2 * *capacity;
    void *larger = fx_calloc(wanted > count ? wanted : count + 1, size);
    if (!larger) return FX_ENOMEM;
    if (*array) memcpy(larger, *array, *capacity * size);
    fx_free(*array);
    *array = larger;
    *capacity = wanted > count ? wanted : count + 1;
    return FX_OK;
}

typedef struct block {
    struct block *next;
    size_t used, size;
    char *bytes;
} block;

struct fx_pool {
    block *first;
};

fx_status fx_pool_create(fx_pool **out)
{
    return FX_ALLOC(*out, 1);
}

static block *block_create(size_t size)
{
    block *b = fx_calloc(1, sizeof *b);
    if (!b) return NULL;
    b->bytes = fx_calloc(size, 1);
    b->size = size;
    if (b->bytes) return b;
    fx_free(b);
    return NULL;
}

void *fx_pool_calloc(fx_pool *pool, size_t count, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        fx_fail(FX_ENOMEM, "%zu x %zu bytes do not fit an address space", count, size);
        return NULL;
    }
    bytes = (bytes + PIECE_ALIGNMENT - 1) / PIECE_ALIGNMENT * PIECE_ALIGNMENT;
    if (!pool->first || pool->first->size - pool->first->used < bytes) {
        block *b = block_create(bytes > POOL_BLOCK ? bytes : POOL_BLOCK);
        if (!b) return NULL;
        b->next = pool->first;
        pool->first = b;
    }
    void *piece = pool->first->bytes + pool->first->used;
    pool->first->used += bytes;
    return piece;
}

char *fx_pool_print(fx_pool *pool, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = length < 0 ? NULL : fx_pool_calloc(pool, (size_t)length + 1, 1);
    if (text) vsnprintf(text, (size_t)length + 1, fmt, again);
    va_end(again);
    return text;
}

void fx_pool_free(fx_pool **pool)
{
    if (!*pool) return;
    for (block *b = (*pool)->first, *next; b; b = next) {
        next = b->next;
        fx_free(b->bytes);
        fx_free(b);
    }
    fx_free(*pool);
    *pool = NULL;
}
