/* dies.h: checks that a piece of code ends the process with a message of the stand-in's, by running it
 * in a child. For the tests of the stand-in. */
#ifndef FX_DIES_H
#define FX_DIES_H

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"

static int checks, bad;

static inline void holds(bool condition, const char *what)
{
    checks++;
    if (condition) return;
    bad++;
    printf("BAD %s\n", what);
}

static inline void is(cudaError_t got, cudaError_t want, const char *what)
{
    holds(got == want, what);
    if (got != want) printf("    %s, not %s\n", cudaGetErrorString(got), cudaGetErrorString(want));
}

/* What `body` prints to stderr in a child, and how the child ends: 0, or the signal. */
template <typename F> static std::string in_child(F body, int *how)
{
    int ends[2];
    if (pipe(ends) != 0) exit(1);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        body();
        exit(0);
    }
    close(ends[1]);
    std::string text;
    char piece[256];
    for (ssize_t n; (n = read(ends[0], piece, sizeof piece)) > 0;)
        text.append(piece, (size_t)n);
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    *how = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return text;
}

template <typename F> static void dies(const char *what, const char *message, F body)
{
    int how = 0;
    const std::string text = in_child(body, &how);
    checks++;
    if (how == SIGABRT && text.find(message) != std::string::npos) return;
    bad++;
    printf("BAD %s: ended by signal %d, said: %s\n", what, how, text.c_str());
}

/* The control: nearly the same code is let through, to the end of the process. */
template <typename F> static void lives(const char *what, F body)
{
    int how = 0;
    const std::string text = in_child(body, &how);
    checks++;
    if (how == 0 && text.empty()) return;
    bad++;
    printf("BAD %s: ended by signal %d, said: %s\n", what, how, text.c_str());
}

/* On a bench of its own each: the broken one ends with the message, the same without its fault lives.
 */
template <typename B>
static void fatal(const char *what, const char *message, void (*code)(B &, bool broken))
{
    lives(what, [=] {
        B b;
        code(b, false);
    });
    dies(what, message, [=] {
        B b;
        code(b, true);
    });
}

static inline int end_of_checks(void)
{
    printf("%d checks, %d bad\n", checks, bad);
    return bad > 0 || checks == 0;
}

/* What every test of the runtime needs. */
struct rig {
    cudaStream_t a, b;
    float *device, *pinned; /* COUNT elements each */
    enum { COUNT = 1024, BYTES = COUNT * 4 };
    rig()
    {
        cudaStreamCreateWithPriority(&a, cudaStreamNonBlocking, 0);
        cudaStreamCreateWithPriority(&b, cudaStreamNonBlocking, -5);
        cudaMalloc((void **)&device, BYTES);
        cudaHostAlloc((void **)&pinned, BYTES, 0);
        for (int i = 0; i < COUNT; i++)
            pinned[i] = (float)i;
    }
    ~rig()
    {
        cudaStreamSynchronize(a);
        cudaStreamSynchronize(b);
        cudaFree(device);
        cudaFreeHost(pinned);
        cudaStreamDestroy(a);
        cudaStreamDestroy(b);
    }
    void up(cudaStream_t stream)
    {
        cudaMemcpyAsync(device, pinned, BYTES, cudaMemcpyHostToDevice, stream);
    }
    void down(cudaStream_t stream)
    {
        cudaMemcpyAsync(pinned, device, BYTES, cudaMemcpyDeviceToHost, stream);
    }
};

static inline cudaEvent_t new_event(void)
{
    cudaEvent_t event = nullptr;
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    return event;
}

#endif
