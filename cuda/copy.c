/* copy.c: copies between host and device through two pinned blocks: while one is on its way, the host
 * works on the other. Batches lie in pinned memory already and are copied straight from it. */
#include <string.h>

#include "exec.h"
#include "flexhpc/mem.h"

enum { BLOCKS = 2 };
static const size_t BLOCK_BYTES = 4 << 20;

/* Pinned memory that callers hold. */
typedef struct held {
    char *start;
    size_t bytes;
} held;

struct fx_cuda_staging {
    char *block[BLOCKS];
    cudaEvent_t done[BLOCKS]; /* the last copy out of or into the block */
    unsigned next;
    held *held;
    size_t count, capacity;
    cudaEvent_t straight; /* the last copy out of them */
};

fx_status fx_cuda_staging_create(fx_cuda_staging **out)
{
    fx_status status = FX_OK;
    fx_cuda_staging *s = NULL;
    FX_TRY(FX_ALLOC(s, 1));
    for (int i = 0; i < BLOCKS; i++) {
        FX_TRY_DONE(
            fx_cuda_check(cudaHostAlloc((void **)&s->block[i], BLOCK_BYTES, 0), "pinned memory", NULL));
        FX_TRY_DONE(fx_cuda_check(cudaEventCreateWithFlags(&s->done[i], cudaEventDisableTiming),
                                  "cudaEventCreate", NULL));
    }
    FX_TRY_DONE(fx_cuda_check(cudaEventCreateWithFlags(&s->straight, cudaEventDisableTiming),
                              "cudaEventCreate", NULL));
done:
    *out = s;
    if (status != FX_OK) fx_cuda_staging_free(out);
    return status;
}

void fx_cuda_staging_free(fx_cuda_staging **staging)
{
    fx_cuda_staging *s = *staging;
    if (!s) return;
    for (int i = 0; i < BLOCKS; i++) {
        if (s->block[i]) cudaFreeHost(s->block[i]);
        if (s->done[i]) cudaEventDestroy(s->done[i]);
    }
    if (s->straight) cudaEventDestroy(s->straight);
    fx_free(s->held);
    fx_free(s);
    *staging = NULL;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

fx_status fx_cuda_host_allocate(fx_cuda *exec, size_t bytes, void **out)
{
    fx_cuda_staging *s = exec->staging;
    void *all = s->held;
    *out = NULL;
    FX_TRY(fx_grow(&all, &s->capacity, s->count, sizeof *s->held));
    s->held = all;
    FX_TRY_CTX(fx_cuda_check(cudaHostAlloc(out, bytes, 0), "pinned memory", NULL), "%zu bytes", bytes);
    memset(*out, 0, bytes);
    s->held[s->count++] = (held){*out, bytes};
    return FX_OK;
}

void fx_cuda_host_release(fx_cuda *exec, void *memory)
{
    fx_cuda_staging *s = exec->staging;
    for (size_t i = 0; memory && i < s->count; i++)
        if (s->held[i].start == memory) {
            cudaFreeHost(memory); /* no upload is on its way: each has waited */
            s->held[i] = s->held[--s->count];
            return;
        }
}

static bool is_held(const fx_cuda_staging *s, const char *host, size_t bytes)
{
    for (size_t i = 0; i < s->count; i++)
        if (host >= s->held[i].start && host + bytes <= s->held[i].start + s->held[i].bytes)
            return true;
    return false;
}

fx_status fx_cuda_upload(fx_cuda *exec, void *device, const void *host, size_t bytes)
{
    fx_cuda_staging *s = exec->staging;
    if (is_held(s, host, bytes)) {
        FX_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, exec->stream));
        FX_CUDA(cudaEventRecord(s->straight, exec->stream));
        return fx_cuda_await(exec, s->straight); /* the caller may write there again */
    }
    for (size_t at = 0; at < bytes; at += BLOCK_BYTES) {
        const size_t n = least(bytes - at, BLOCK_BYTES);
        const unsigned i = s->next++ % BLOCKS;
        FX_TRY(fx_cuda_await(exec, s->done[i]));
        memcpy(s->block[i], (const char *)host + at, n);
        FX_CUDA(
            cudaMemcpyAsync((char *)device + at, s->block[i], n, cudaMemcpyHostToDevice, exec->stream));
        FX_CUDA(cudaEventRecord(s->done[i], exec->stream));
    }
    return FX_OK;
}

fx_status fx_cuda_download(fx_cuda *exec, void *host, const void *device, size_t bytes)
{
    fx_cuda_staging *s = exec->staging;
    const unsigned first = s->next;
    size_t asked = 0;
    for (size_t at = 0; at < bytes; at += BLOCK_BYTES) { /* asks for one block more than it takes */
        for (; asked < bytes && asked <= at + BLOCK_BYTES; asked += BLOCK_BYTES) {
            const unsigned i = s->next++ % BLOCKS;
            FX_CUDA(cudaMemcpyAsync(s->block[i], (const char *)device + asked,
                                    least(bytes - asked, BLOCK_BYTES), cudaMemcpyDeviceToHost,
                                    exec->stream));
            FX_CUDA(cudaEventRecord(s->done[i], exec->stream));
        }
        const unsigned i = (first + (unsigned)(at / BLOCK_BYTES)) % BLOCKS;
        FX_TRY(fx_cuda_await(exec, s->done[i]));
        memcpy((char *)host + at, s->block[i], least(bytes - at, BLOCK_BYTES));
    }
    return FX_OK;
}
