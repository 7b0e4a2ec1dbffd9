/* by_hand.h: one node with tensors over arrays of the test, run outside any tape: for the ops that the
 * registry-driven tests can't judge. */
#ifndef FX_TEST_BY_HAND_H
#define FX_TEST_BY_HAND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "flexhpc/backend.h"
#include "flexhpc/mem.h"

enum { BY_HAND_TENSORS = 2 * FX_MAX_IN + 2 * FX_MAX_OUT + FX_MAX_SAVED };

typedef struct by_hand {
    fx_exec exec;
    fx_step step;
    fx_node node;
    fx_tensor tensor[BY_HAND_TENSORS];
    int tensors;
    fx_dtype storage; /* FX_F32, or set to FX_BF16: of the tape that the backend's copies are of */
} by_hand;

/* A node of the op over inputs that the caller adds with by_hand_in. */
static inline void by_hand_begin(by_hand *h, fx_op_id id, fx_attrs attrs)
{
    *h = (by_hand){.node = {.op = fx_ops[id], .id = id, .name = fx_ops[id]->name, .attrs = attrs},
                   .step = {.seed = 7, .step = 3, .update = 1, .gradient_scale = 1}};
    h->exec.options.comm = fx_comm_self();
    h->exec.step = &h->step;
}

static inline void by_hand_in(by_hand *h, int i, float *data, int rank, const int64_t *dim)
{
    fx_tensor *t = h->node.in[i] = &h->tensor[h->tensors++];
    assert_int_equal(fx_set_shape(t, rank, dim), FX_OK);
    t->data = data;
}

static inline fx_tensor *by_hand_empty(by_hand *h)
{
    return &h->tensor[h->tensors++];
}

static inline void by_hand_room(fx_tensor **t)
{
    if ((*t)->rank == 0)
        *t = NULL;
    else
        assert_non_null((*t)->data = fx_calloc(fx_tensor_bytes(*t), 1));
}

/* One pass on the backend that FX_TEST_BACKEND names, without it the CPU's. There the node stands over
 * copies of its tensors, which come back when the pass is done, and joined where it communicates. */
typedef struct by_hand_copy {
    fx_exec *exec;
    fx_node node;
    fx_tensor tensor[BY_HAND_TENSORS];
    fx_tensor *original[BY_HAND_TENSORS];
    int tensors;
    fx_dtype storage;
} by_hand_copy;

/* first: the bit of slots[0] in the op's masks. */
static inline fx_status by_hand_there(by_hand_copy *c, fx_tensor **slots, int count, unsigned first,
                                      bool gradients)
{
    for (int i = 0; i < count; i++) {
        if (!slots[i]) continue;
        fx_tensor *t = &c->tensor[c->tensors];
        *t = *slots[i];
        t->data = NULL;
        t->dtype = gradients ? fx_gradient_type_of(c->node.op, first << i, c->storage)
                             : fx_type_of(c->node.op, first << i, c->storage);
        c->original[c->tensors++] = slots[i];
        slots[i] = t;
        FX_TRY(c->exec->backend->allocate(c->exec, fx_tensor_bytes(t), &t->data));
        FX_TRY(fx_tensor_write(c->exec, t, fx_f32(c->original[c->tensors - 1])));
    }
    return FX_OK;
}

static inline fx_status by_hand_back(by_hand_copy *c, fx_status status)
{
    for (int i = 0; i < c->tensors; i++) {
        const size_t bytes = fx_tensor_bytes(&c->tensor[i]);
        if (status == FX_OK) status = fx_tensor_read(c->exec, &c->tensor[i], fx_f32(c->original[i]));
        c->exec->backend->release(c->exec, c->tensor[i].data, bytes);
    }
    return status;
}

static inline fx_status by_hand_pass(by_hand_copy *c, const fx_step *step, bool backward)
{
    const fx_backend *backend = c->exec->backend;
    const fx_kernel *kernel = backend->kernels[c->node.id];
    size_t bytes = 0;
    void *scratch = NULL;
    FX_TRY(by_hand_there(c, c->node.in, FX_MAX_IN, FX_IN(0), false));
    FX_TRY(by_hand_there(c, c->node.out, FX_MAX_OUT, FX_OUT(0), false));
    FX_TRY(by_hand_there(c, c->node.saved, FX_MAX_SAVED, FX_SAVED(0), false));
    FX_TRY(by_hand_there(c, c->node.din, FX_MAX_IN, FX_IN(0), true));
    FX_TRY(by_hand_there(c, c->node.dout, FX_MAX_OUT, FX_OUT(0), true));
    if (kernel->prepare) FX_TRY(kernel->prepare(c->exec, &c->node, backward, &bytes));
    if (bytes == 0) bytes = 1;
    FX_TRY(backend->allocate(c->exec, bytes, &scratch));
    fx_node join = {.op = fx_ops[FX_OP_join], .id = FX_OP_join, .name = "join"};
    const fx_entry entries[] = {
        {.node = &c->node, .pass = backward ? FX_BACKWARD : FX_FORWARD, .scratch_bytes = bytes},
        {.node = &join, .pass = FX_FORWARD}};
    const int count = c->node.op->communicates ? 2 : 1;
    fx_status status = backend->run(c->exec, entries, count, step, scratch, NULL);
    if (status == FX_OK) status = backend->wait(c->exec);
    backend->forget(c->exec, entries);
    backend->release(c->exec, scratch, bytes);
    return status;
}

static inline fx_status by_hand_run(by_hand *h, bool backward)
{
    const fx_backend *backend = NULL;
    const char *name = getenv("FX_TEST_BACKEND");
    by_hand_copy c = {.node = h->node, .storage = h->storage};
    FX_TRY(fx_backend_find(name ? name : "cpu", &backend));
    FX_TRY(backend->open(&h->exec.options, &c.exec));
    const fx_status status = by_hand_back(&c, by_hand_pass(&c, &h->step, backward));
    backend->close(&c.exec);
    return status;
}

/* Shape rule, room for outputs and saved tensors, scratch, and one forward pass; its status. */
static inline fx_status by_hand_forward(by_hand *h)
{
    for (int i = 0; i < FX_MAX_OUT; i++)
        h->node.out[i] = by_hand_empty(h);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        h->node.saved[i] = by_hand_empty(h);
    FX_TRY(h->node.op->shape(&h->node));
    for (int i = 0; i < FX_MAX_OUT; i++)
        by_hand_room(&h->node.out[i]);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        by_hand_room(&h->node.saved[i]);
    return by_hand_run(h, false);
}

/* After by_hand_forward: the gradient of in[i], `d` values, from that of out[0]. */
static inline fx_status by_hand_backward(by_hand *h, int i, float *d_out, float *d_in)
{
    fx_tensor d[2] = {*h->node.out[0], *h->node.in[i]};
    d[0].data = d_out;
    d[1].data = d_in;
    h->node.dout[0] = &d[0];
    h->node.din[i] = &d[1];
    const fx_status status = by_hand_run(h, true);
    h->node.dout[0] = h->node.din[i] = NULL;
    return status;
}

/* Frees what by_hand_forward made. */
static inline void by_hand_end(by_hand *h)
{
    for (int i = 0; i < FX_MAX_OUT; i++)
        if (h->node.out[i]) fx_free(h->node.out[i]->data);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        if (h->node.saved[i]) fx_free(h->node.saved[i]->data);
}

#endif
