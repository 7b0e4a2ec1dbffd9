/* fake.h: what the parts of the stand-in share. The stand-in is strict: what CUDA leaves undefined, or
 * would let pass by luck, ends the process with one line. */
#ifndef FX_FAKE_H
#define FX_FAKE_H

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

/* Device memory that a piece of work reads or writes. */
struct fake_range {
    const void *at;
    size_t bytes;
    bool write;
};

/* Puts `work` at the end of the stream's queue, or into the graph that the stream captures. `name` is
 * for messages: which call, of which node. */
cudaError_t fake_enqueue(cudaStream_t stream, const std::string &name,
                         const std::vector<fake_range> &ranges, std::function<void()> work);

/* One line on stderr, then abort. */
[[noreturn]] void fake_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Random numbers of the process, from FX_FAKE_SEED or 1. */
uint64_t fake_random(void);

#endif
