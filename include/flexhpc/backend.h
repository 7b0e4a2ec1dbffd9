/* backend.h: where a program runs: `cpu` (built in, the reference) or `cuda` (a library opened at run
 * time). A backend is few functions and no opinion. Includes comm.h, config.h, tape.h. */
#ifndef FLEXHPC_BACKEND_H
#define FLEXHPC_BACKEND_H

#include "flexhpc/comm.h"
#include "flexhpc/config.h"
#include "flexhpc/tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How convolutions and products are computed; sums are fp32 in all three. */
typedef enum fx_precision {
    FX_PRECISION_FP32, /* as written: on cuda without tensor cores */
    FX_PRECISION_TF32, /* cuda: fp32 storage, tensor cores that round operands to 11 bits */
    FX_PRECISION_BF16  /* bf16 operands; cuda stores activations and their gradients so */
} fx_precision;

typedef struct fx_exec_options {
    fx_comm *comm;  /* outlives the exec */
    fx_comm *group; /* the ranks that share a contrastive term, of comm's; NULL: all of them. Outlives
                       the programs whose ops use it */
    fx_precision precision;
    int threads;            /* CPU threads a rank; 0: what OMP_NUM_THREADS or the affinity mask gives */
    double connect_seconds; /* cuda: deadline of the connection by NCCL; 0: 120 s */
    const char *plan_cache; /* cuda: the key cuda.plan_cache; NULL: off. Outlives the exec */
    const char *engines;    /* cuda, rank 0: those of the run that this one goes on with (fx_exec); they
                               go before plan_cache. NULL: none. Outlives the exec */
    bool autotune;          /* cuda: convolutions take the fastest of the first few engines */
    bool eager; /* cuda: every entry is started by itself; otherwise lists that are run again are
                   captured as one graph */
} fx_exec_options;

/* Sees every entry of a run in eager mode. `begin` and `end` are called around an entry's work (NaN
 * hunting; either may be NULL). With `timed` they are not, and no entry is waited for: it is told when
 * each entry's work began and ended, in seconds of the backend's clock, as soon as that is known. */
typedef struct fx_observer {
    void *self;
    void (*begin)(void *self, const fx_entry *entry, int index);
    fx_status (*end)(void *self, const fx_entry *entry, int index);
    void (*timed)(void *self, int index, double start, double end);
} fx_observer;

/* What a device gives at its best, all of it idle. */
typedef struct fx_device_limits {
    double product; /* FLOP/s of a matrix product in the exec's precision */
    double copy;    /* bytes/s, read and written, of a copy in its memory */
    double upload;  /* bytes/s from pinned memory of the host */
    double sum;     /* bytes/s of data summed over the ranks; 0 on one */
} fx_device_limits;

struct fx_flow_ops; /* flow.h */

typedef struct fx_backend {
    const char *name, *build_id;
    const fx_kernel *const *kernels; /* FX_OP_COUNT of them */
    fx_status (*find)(void);         /* FX_EDEVICE, saying why, where no device answers */
    fx_status (*open)(const fx_exec_options *options, fx_exec **out); /* Collective over its comm */
    void (*close)(fx_exec **exec);
    fx_status (*allocate)(fx_exec *exec, size_t bytes, void **out); /* zeroed, 64-byte aligned */
    void (*release)(fx_exec *exec, void *memory, size_t bytes);
    /* Zeroed memory of the host, 64-byte aligned, which `upload` reads without a copy between. Given
     * back before the exec is closed. */
    fx_status (*allocate_host)(fx_exec *exec, size_t bytes, void **out);
    void (*release_host)(fx_exec *exec, void *memory); /* NULL: nothing */
    fx_status (*upload)(fx_exec *exec, void *device, const void *host, size_t bytes);
    fx_status (*download)(fx_exec *exec, void *host, const void *device,
                          size_t bytes); /* waits for the data */
    fx_status (*run)(fx_exec *exec, const fx_entry *entries, int count, const fx_step *step,
                     void *arena, const fx_observer *observer);
    void (*forget)(fx_exec *exec, const fx_entry *entries); /* call before entries that were run are
                                                               changed or freed */
    fx_status (*wait)(fx_exec *exec);
    fx_status (*limits)(fx_exec *exec, int64_t side, size_t bytes,
                        fx_device_limits *out); /* by products of side x side matrices and copies of
                                            `bytes`. FX_EDEVICE: no device to measure. Collective */
    fx_status (*energy)(fx_exec *exec,
                        double *joules); /* that the device has used since its driver was loaded.
                                            FX_EDEVICE: no counter. NULL: no device. Local */
    fx_status (*describe)(fx_exec *exec, char *text,
                          size_t size); /* device, library versions, threads: one line */
    const struct fx_flow_ops *flow;     /* what the flow solver needs */
} fx_backend;

enum { FX_DEVICE_MAX = 96 };

/* Every fx_exec of every backend begins with this. */
struct fx_exec {
    const fx_backend *backend;
    fx_exec_options options;
    fx_dtype storage;           /* of activations and of the weights that kernels read */
    char device[FX_DEVICE_MAX]; /* the rank's GPU, its name and PCI bus; "": none */
    const fx_step *step;        /* of the present run */
    void *scratch;              /* of the present entry */
    void *library; /* handles of the library behind the kernels, made by the first prepare */
    void (*close_library)(void *library); /* NULL: none was opened */
    char *engines; /* cuda, rank 0: which compute the convolutions of what was run, text; else NULL */
};

/* "cpu", "cuda", or "auto": cuda where a device answers, else cpu. libflexhpc_cuda.so is opened from
 * beside libflexhpc.so and must be of the same build. FX_EDEVICE says why one is not to be had. Local.
 */
fx_status fx_backend_find(const char *name, const fx_backend **out);

/* The one that the key `backend` asks for, the same on all ranks. Collective. */
fx_status fx_backend_configured(fx_comm *comm, const fx_config *config, const fx_backend **out);

/* Name and version of the library behind the CPU's convolutions and products. Local. */
void fx_cpu_library(char *text, size_t size);

/* Whether the processor multiplies bf16, as that library finds. Otherwise FX_PRECISION_BF16 rounds
 * operands and multiplies them in fp32, which is no faster. Local. */
bool fx_cpu_has_bf16(void);

/* Values of the host to and from a tensor that has memory, rounded where it is stored in bf16. `values`
 * is free again when they return. FX_ENOMEM, and the backend's. Local. */
fx_status fx_tensor_write(fx_exec *exec, const fx_tensor *t, const float *values);
fx_status fx_tensor_read(fx_exec *exec, const fx_tensor *t, float *values);

/* For kernels. */
static inline fx_comm *fx_group(const fx_exec *exec)
{
    return exec->options.group ? exec->options.group : exec->options.comm;
}
static inline void *fx_scratch(const fx_exec *exec)
{
    return exec->scratch;
}

#ifdef __cplusplus
}
#endif
#endif
