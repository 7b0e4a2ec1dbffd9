/* twins.h: runs a node of one op on the CUDA backend and on the CPU's, with tensors in fp32 or bf16 on
 * the device and in fp32 on the CPU. */
#ifndef FX_TWINS_H
#define FX_TWINS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cuda/exec.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

typedef struct twin_pair { /* a tensor on both sides */
    fx_tensor cpu, device;
} twin_pair;

typedef struct twins {
    fx_exec *cpu, *device;
    int checks, bad;
    uint32_t draws;
} twins;

static inline void must(fx_status status)
{
    if (status == FX_OK) return;
    printf("FATAL %s\n", fx_error_message());
    exit(1);
}

static inline float *get(twins *t, const fx_tensor *from)
{
    float *values = fx_calloc((size_t)fx_count(from), sizeof *values);
    must(fx_tensor_read(t->device, from, values));
    return values;
}

/* Memory for both sides, with `scale` times normal numbers (such as bf16 can hold, if `half`), or
 * with `value` where scale is 0. */
static inline void fill(twins *t, twin_pair *p, const fx_tensor *like, fx_dtype dtype, bool half,
                        float scale, float value)
{
    p->cpu = p->device = *like;
    p->cpu.dtype = FX_F32;
    p->device.dtype = dtype;
    const int64_t count = fx_count(like);
    float *v = fx_calloc((size_t)count, sizeof *v);
    if (scale > 0) fx_fill_normal(21, 0, t->draws++, 0, v, count);
    for (int64_t i = 0; i < count; i++)
        v[i] = scale > 0 ? (half ? fx_float_of(fx_bf16_of(scale * v[i])) : scale * v[i]) : value;
    must(t->device->backend->allocate(t->device, fx_tensor_bytes(&p->device), &p->device.data));
    must(fx_tensor_write(t->device, &p->device, v));
    p->cpu.data = v;
}

static inline void drop(twins *t, twin_pair *p)
{
    if (!p->cpu.data) return;
    fx_free(p->cpu.data);
    t->device->backend->release(t->device, p->device.data, fx_tensor_bytes(&p->device));
}

/* Prepares one pass on one side and runs it `times`: the second time it is captured, then replayed. */
static inline void pass(fx_exec *exec, fx_node *n, fx_pass which, int times)
{
    const fx_step step = {.update = 1};
    const fx_entry entry = {.node = n, .pass = which};
    size_t bytes = 0;
    void *poison = NULL, *scratch = NULL;
    must(exec->backend->kernels[n->id]->prepare(exec, n, which == FX_BACKWARD, &bytes));
    must(exec->backend->allocate(exec, bytes, &scratch));
    poison = fx_calloc(bytes + 1, 1);
    memset(poison, 0xff, bytes);
    must(exec->backend->upload(exec, scratch, poison, bytes));
    for (int i = 0; i < times; i++)
        must(exec->backend->run(exec, &entry, 1, &step, scratch, NULL));
    must(exec->backend->wait(exec));
    exec->backend->forget(exec, &entry);
    exec->backend->release(exec, scratch, bytes);
    fx_free(poison);
}

static inline fx_exec *open_backend(const char *name)
{
    const fx_backend *backend = NULL;
    fx_exec *exec = NULL;
    must(fx_backend_find(name, &backend));
    must(backend->open(&(fx_exec_options){.comm = fx_comm_self(), .threads = 1}, &exec));
    return exec;
}

#endif
