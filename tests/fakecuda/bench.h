/* bench.h: starts kernels written for a test, in blocks of three warps, on the stand-in. */
#ifndef FX_BENCH_H
#define FX_BENCH_H

#include "dies.h"

#include "../../cuda/launch.cuh"

enum { THREADS = 96, WARPS = THREADS / FX_WARP };

struct bench {
    fx_cuda exec = {};
    fx_node node = {};
    float *out;
    rig r;
    bench()
    {
        exec.stream = r.a;
        node.name = "node";
        out = r.device;
    }
    /* Element i of what the kernels wrote. */
    float *result(void)
    {
        r.down(r.a);
        cudaStreamSynchronize(r.a);
        return r.pinned;
    }
};

#define START(kernel, grid, shared, ...)                                                               \
    [](bench &k) -> fx_status {                                                                        \
        FX_LAUNCH(&k.exec.base, &k.node, kernel, grid, THREADS, shared, __VA_ARGS__);                  \
        return FX_OK;                                                                                  \
    }

template <typename F> static void run(bench &b, F start)
{
    if (start(b) != FX_OK) printf("%s\n", fx_error_message());
    cudaStreamSynchronize(b.r.a);
}

template <typename F> static void kernel_dies(const char *what, const char *message, F start)
{
    dies(what, message, [=] {
        bench b;
        run(b, start);
    });
}

#endif
