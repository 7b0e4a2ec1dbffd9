/* harness.h: runs one case of one op on a backend, outside any tape. Registry-driven tests walk all ops
 * with it. The test works on fp32 tensors in host memory (`node`); every pass copies all of them to the
 * backend's memory (`device`), in the types that a tape of the test's storage gives them, runs there as
 * a list of one entry, and copies all of them back. */
#ifndef FX_TEST_HARNESS_H
#define FX_TEST_HARNESS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flexhpc/backend.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

typedef struct fx_test {
    fx_exec *exec;
    fx_dtype storage; /* the tape's that the device's tensors are of; FX_F32 at first */
    fx_dtype values;  /* FX_BF16: inputs and weights of the loss are such as a tape of bf16 holds */
    int checks, bad;
    uint32_t draws;
} fx_test;

enum { FX_TEST_TENSORS = 2 * FX_MAX_IN + 2 * FX_MAX_OUT + FX_MAX_SAVED };

typedef struct fx_op_run {
    const fx_op_case *test_case;
    fx_exec *exec;
    fx_dtype storage;
    fx_node node, device;
    fx_tensor tensor[FX_TEST_TENSORS], device_tensor[FX_TEST_TENSORS];
    int tensors;
    float *input[FX_MAX_IN]; /* what in[i] holds, for restoring after poison */
    float *weight;           /* of out[0] in the test's loss */
    double weight_norm;
    void *scratch;                       /* of the backend */
    size_t scratch_bytes, pass_bytes[2]; /* what there is; what each pass asked for */
} fx_op_run;

static inline void fx_test_fatal(const fx_op_run *r, const char *what)
{
    printf("FATAL %s [%s] %s: %s\n", r->node.op->name, r->test_case->name, what, fx_error_message());
    exit(1);
}

static const fx_step FX_TEST_STEP = {.seed = 7,
                                     .step = 3,
                                     .gradient_scale = 2,
                                     .learning_rate = 0.125f,
                                     .ema_decay = 0.75f,
                                     .update = 2,
                                     .dropout = true};

static inline fx_test fx_test_begin_in(const char *backend_name, fx_precision precision)
{
    fx_test t = {0};
    const fx_backend *backend = NULL;
    const fx_exec_options options = {.comm = fx_comm_self(), .precision = precision, .threads = 1};
    if (fx_backend_find(backend_name, &backend) != FX_OK || backend->open(&options, &t.exec) != FX_OK) {
        printf("FATAL %s\n", fx_error_message());
        exit(1);
    }
    t.exec->step = &FX_TEST_STEP;
    return t;
}

static inline fx_test fx_test_begin(const char *backend_name)
{
    return fx_test_begin_in(backend_name, FX_PRECISION_FP32);
}

/* The backend that FX_TEST_BACKEND names; without it the CPU's. */
static inline const char *fx_test_backend(void)
{
    const char *name = getenv("FX_TEST_BACKEND");
    return name ? name : "cpu";
}

/* Whether the backend has the op. */
static inline bool fx_test_has(const fx_test *t, fx_op_id id)
{
    return t->exec->backend->kernels[id] != NULL;
}

/* Fails when nothing was checked. */
static inline int fx_test_end(fx_test *t)
{
    t->exec->backend->close(&t->exec);
    printf("%d checks, %d bad\n", t->checks, t->bad);
    return t->bad > 0 || t->checks == 0;
}

static inline void fx_test_check(fx_test *t, bool holds, const fx_op_run *r, const char *what)
{
    t->checks++;
    if (holds) return;
    t->bad++;
    printf("BAD %s [%s]%s: %s\n", r->node.op->name, r->test_case->name,
           r->storage == FX_BF16 ? " bf16" : "", what);
}

static inline void fx_test_normal(fx_test *t, float *x, int64_t count, float scale)
{
    fx_fill_normal(11, 0, t->draws++, 0, x, count);
    for (int64_t i = 0; i < count; i++)
        x[i] *= scale;
}

static inline void fx_test_round(const fx_test *t, const fx_op_run *r, unsigned bit, float *x,
                                 int64_t count)
{
    for (int64_t i = 0; fx_type_of(r->node.op, bit, t->values) == FX_BF16 && i < count; i++)
        x[i] = fx_float_of(fx_bf16_of(x[i]));
}

static inline fx_tensor *fx_test_tensor(fx_op_run *r, const fx_tensor *like)
{
    fx_tensor *t = &r->tensor[r->tensors++];
    if (!like) return t;
    *t = *like;
    t->data = NULL;
    return t;
}

/* Room for a tensor, full of NaN: what an op forgets to write is seen. */
static inline void fx_test_allocate(fx_tensor *t)
{
    const int64_t count = fx_count(t);
    t->data = fx_calloc((size_t)count, sizeof(float));
    for (int64_t i = 0; i < count; i++)
        fx_f32(t)[i] = NAN;
}

static inline void fx_test_input(fx_test *t, fx_op_run *r, int i)
{
    const int64_t *dim = r->test_case->dim[i];
    int rank = 0;
    while (rank < FX_MAX_RANK && dim[rank] > 0)
        rank++;
    if (rank == 0) return;
    fx_tensor *in = r->node.in[i] = fx_test_tensor(r, NULL);
    if (fx_set_shape(in, rank, dim) != FX_OK) fx_test_fatal(r, "input");
    fx_test_allocate(in);
    const int64_t count = fx_count(in);
    const float scale = rank >= 3 && r->test_case->scale > 0 ? r->test_case->scale : 1.0f;
    fx_test_normal(t, fx_f32(in), count, scale);
    if (r->node.op->make_input && r->node.op->make_input(r->test_case, i, fx_f32(in), count) != FX_OK)
        fx_test_fatal(r, "make_input");
    fx_test_round(t, r, FX_IN(i), fx_f32(in), count);
    r->input[i] = fx_calloc((size_t)count, sizeof(float));
    memcpy(r->input[i], in->data, fx_tensor_bytes(in));
}

static inline const fx_kernel *fx_test_kernel(const fx_test *t, const fx_op_run *r)
{
    return t->exec->backend->kernels[r->node.id];
}

/* The twin in the backend's memory, of the given type, of a tensor of r->tensor; made at its first use.
 */
static inline fx_tensor *fx_test_twin(fx_op_run *r, const fx_tensor *t, fx_dtype dtype)
{
    if (!t) return NULL;
    fx_tensor *twin = &r->device_tensor[t - r->tensor];
    void *memory = twin->data;
    *twin = *t;
    twin->data = memory;
    twin->dtype = dtype;
    if (!memory && r->exec->backend->allocate(r->exec, fx_tensor_bytes(twin), &twin->data) != FX_OK)
        fx_test_fatal(r, "allocate");
    return twin;
}

static inline fx_dtype fx_test_type(const fx_op_run *r, unsigned bit)
{
    return fx_type_of(r->node.op, bit, r->storage);
}

/* r->device: r->node, with tensors in the backend's memory. */
static inline void fx_test_mirror(fx_op_run *r)
{
    const fx_node *n = &r->node;
    r->device = r->node;
    for (int i = 0; i < FX_MAX_IN; i++) {
        r->device.in[i] = fx_test_twin(r, n->in[i], fx_test_type(r, FX_IN(i)));
        r->device.din[i] = fx_test_twin(r, n->din[i], fx_gradient_type_of(n->op, FX_IN(i), r->storage));
    }
    for (int i = 0; i < FX_MAX_OUT; i++) {
        r->device.out[i] = fx_test_twin(r, n->out[i], fx_test_type(r, FX_OUT(i)));
        r->device.dout[i] = fx_test_twin(r, n->dout[i], fx_test_type(r, FX_OUT(i)));
    }
    for (int i = 0; i < FX_MAX_SAVED; i++)
        r->device.saved[i] = fx_test_twin(r, n->saved[i], fx_test_type(r, FX_SAVED(i)));
}

/* Prepares both passes; scratch for either, which starts as NaN: it may hold anything. A pass gets the
 * end of it, so that it meets the end of the memory where it uses more than it asked for. */
static inline void fx_test_prepare(fx_test *t, fx_op_run *r)
{
    const fx_backend *backend = t->exec->backend;
    const fx_kernel *kernel = fx_test_kernel(t, r);
    size_t most = 1;
    fx_test_mirror(r);
    for (int backward = 0; kernel->prepare && backward <= (kernel->backward != NULL); backward++) {
        size_t bytes = 0;
        if (kernel->prepare(t->exec, &r->device, backward, &bytes) != FX_OK)
            fx_test_fatal(r, "prepare");
        if (bytes > most) most = bytes;
        r->pass_bytes[backward] = bytes;
    }
    if (r->scratch) backend->release(t->exec, r->scratch, r->scratch_bytes);
    r->scratch_bytes = most;
    if (backend->allocate(t->exec, most, &r->scratch) != FX_OK) fx_test_fatal(r, "allocate");
    void *poison = fx_calloc(most, 1);
    memset(poison, 0xff, most);
    if (backend->upload(t->exec, r->scratch, poison, most) != FX_OK) fx_test_fatal(r, "upload");
    fx_free(poison);
}

static inline fx_op_run *fx_test_open(fx_test *t, fx_op_id id, const fx_op_case *c)
{
    fx_op_run *r = fx_calloc(1, sizeof *r);
    r->test_case = c;
    r->exec = t->exec;
    r->storage = t->storage;
    r->node = (fx_node){.op = fx_ops[id], .id = id, .name = c->name, .stream = 99, .attrs = c->attrs};
    for (int i = 0; i < FX_MAX_IN; i++)
        fx_test_input(t, r, i);
    r->node.rows = c->rows;
    if (r->node.rows.samples == 0) r->node.rows.samples = r->node.in[0] ? r->node.in[0]->dim[0] : 1;
    for (int i = 0; i < FX_MAX_OUT; i++)
        r->node.out[i] = fx_test_tensor(r, NULL);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        r->node.saved[i] = fx_test_tensor(r, NULL);
    if (r->node.op->shape(&r->node) != FX_OK) fx_test_fatal(r, "shape");
    for (int i = 0; i < FX_MAX_OUT; i++)
        if (r->node.out[i]->rank == 0)
            r->node.out[i] = NULL;
        else
            fx_test_allocate(r->node.out[i]);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        if (r->node.saved[i]->rank == 0)
            r->node.saved[i] = NULL;
        else
            fx_test_allocate(r->node.saved[i]);
    if (r->node.op->gradients != 0 && r->node.out[0]) {
        fx_tensor *dout = r->node.dout[0] = fx_test_tensor(r, r->node.out[0]);
        fx_test_allocate(dout);
        r->weight = fx_f32(dout);
        fx_test_normal(t, r->weight, fx_count(dout), 1.0f);
        fx_test_round(t, r, FX_OUT(0), r->weight, fx_count(dout));
        for (int64_t i = 0; i < fx_count(dout); i++)
            r->weight_norm += (double)r->weight[i] * (double)r->weight[i];
        r->weight_norm = sqrt(r->weight_norm);
    }
    for (int i = 0; i < FX_MAX_IN; i++)
        if (r->node.in[i] && (r->node.op->gradients & FX_IN(i))) {
            r->node.din[i] = fx_test_tensor(r, r->node.in[i]);
            fx_test_allocate(r->node.din[i]);
        }
    fx_test_prepare(t, r);
    return r;
}

static inline void fx_test_close(fx_op_run *r)
{
    for (int i = 0; i < r->tensors; i++) {
        fx_tensor *twin = &r->device_tensor[i];
        if (twin->data) r->exec->backend->release(r->exec, twin->data, fx_tensor_bytes(twin));
        fx_free(r->tensor[i].data);
    }
    for (int i = 0; i < FX_MAX_IN; i++)
        fx_free(r->input[i]);
    r->exec->backend->release(r->exec, r->scratch, r->scratch_bytes);
    fx_free(r);
}

static inline void fx_test_restore(fx_op_run *r)
{
    for (int i = 0; i < FX_MAX_IN; i++)
        if (r->node.in[i]) memcpy(r->node.in[i]->data, r->input[i], fx_tensor_bytes(r->node.in[i]));
}

static inline void fx_test_run(fx_test *t, fx_op_run *r, fx_pass pass)
{
    const fx_backend *backend = t->exec->backend;
    fx_status status = FX_OK;
    fx_test_mirror(r);
    for (int i = 0; i < r->tensors && status == FX_OK; i++)
        if (r->device_tensor[i].data)
            status = fx_tensor_write(t->exec, &r->device_tensor[i], fx_f32(&r->tensor[i]));
    const size_t bytes = r->pass_bytes[pass == FX_BACKWARD], aligned = 64;
    const fx_entry entry = {.node = &r->device,
                            .pass = pass,
                            .scratch_bytes = bytes,
                            .scratch_offset = (r->scratch_bytes - bytes) / aligned * aligned};
    if (status == FX_OK) status = backend->run(t->exec, &entry, 1, &FX_TEST_STEP, r->scratch, NULL);
    backend->forget(t->exec, &entry);
    for (int i = 0; i < r->tensors && status == FX_OK; i++)
        if (r->device_tensor[i].data)
            status = fx_tensor_read(t->exec, &r->device_tensor[i], fx_f32(&r->tensor[i]));
    if (status != FX_OK) fx_test_fatal(r, pass == FX_FORWARD ? "forward" : "backward");
}

static inline void fx_test_forward(fx_test *t, fx_op_run *r)
{
    fx_test_run(t, r, FX_FORWARD);
}

static inline void fx_test_backward(fx_test *t, fx_op_run *r, unsigned accumulate)
{
    r->node.accumulate = accumulate;
    fx_test_prepare(t, r);
    fx_test_run(t, r, FX_BACKWARD);
}

static inline void fx_test_fill(fx_tensor *t, float value)
{
    for (int64_t i = 0; t && i < fx_count(t); i++)
        fx_f32(t)[i] = value;
}

/* NaN in all that the op does not declare in backward_reads. */
static inline void fx_test_poison_unread(fx_op_run *r)
{
    const unsigned reads = r->node.op->backward_reads;
    for (int i = 0; i < FX_MAX_IN; i++)
        if (!(reads & FX_IN(i))) fx_test_fill(r->node.in[i], NAN);
    for (int i = 0; i < FX_MAX_OUT; i++)
        if (!(reads & FX_OUT(i))) fx_test_fill(r->node.out[i], NAN);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        if (!(reads & FX_SAVED(i))) fx_test_fill(r->node.saved[i], NAN);
}

static inline double fx_dot(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

#endif
