/* onednn.c: oneDNN 2 or 3 behind onednn.h (onednn_version.h is what they differ in). Activations are
 * NHWC in our memory and weights as published; both are packed for each run where the library is faster
 * with a format of its own (tag `any`): weights always, activations as blocked_activations() says. A
 * result in such a format is put in place by the reorder that brings it back. All formats are functions
 * of shape and processor, scratchpads are the caller's. In bf16 the operands are packed as bf16 where
 * the processor multiplies such and the library has the shape; elsewhere their packed copies are
 * rounded to bf16 and multiplied in fp32: the same products, which fp32 holds exactly, and the same
 * fp32 sums but for their order. */
#include "onednn.h"

#include <stdio.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "onednn_version.h"
#include "ops.h"

#define DNN_TRY(call)                                                                                  \
    do {                                                                                               \
        const dnnl_status_t dnn_try_ = (call);                                                         \
        if (dnn_try_ != dnnl_success) return refused(dnn_try_, #call);                                 \
    } while (0)

enum { SRC, WEIGHTS, DST, BIAS, OTHER, SCRATCH, OPERANDS };

/* One tensor of a primitive: our memory, and what the library sees. They are one object where the
 * formats agree, else a reorder stands between them. */
typedef struct operand {
    dnnl_memory_t ours, theirs;
    dnnl_primitive_t reorder; /* NULL: none needed */
    size_t packed;            /* bytes of `theirs` in scratch */
    bool rounded;             /* to bf16, after the reorder */
} operand;

typedef struct primitive {
    fx_dnn_conv shape; /* the key */
    dnnl_primitive_t run;
    bool rounds; /* bf16 by rounding: the library sees fp32 */
    operand operand[OPERANDS];
    dnnl_exec_arg_t argument[OPERANDS];
    int arguments;
    size_t scratch_bytes;
} primitive;

typedef struct library {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    bool bf16;
    primitive **primitives;
    size_t count, capacity;
} library;

static fx_status refused(dnnl_status_t status, const char *call)
{
    const fx_status code = status == dnnl_out_of_memory ? FX_ENOMEM : FX_EDEVICE;
    return fx_fail(code, "oneDNN refuses with status %d: %.*s", (int)status, (int)strcspn(call, "("),
                   call);
}

static void free_primitive(primitive *p)
{
    for (int i = 0; i < OPERANDS; i++) {
        operand *o = &p->operand[i];
        dnnl_primitive_destroy(o->reorder);
        if (o->theirs != o->ours) dnnl_memory_destroy(o->theirs);
        dnnl_memory_destroy(o->ours);
    }
    dnnl_primitive_destroy(p->run);
    fx_free(p);
}

static void close_library(void *memory)
{
    library *l = memory;
    for (size_t i = 0; i < l->count; i++)
        free_primitive(l->primitives[i]);
    fx_free(l->primitives);
    dnnl_stream_destroy(l->stream);
    dnnl_engine_destroy(l->engine);
    fx_free(l);
}

static fx_status open_library(fx_exec *exec)
{
    if (exec->library) return FX_OK;
    library *l = NULL;
    FX_TRY(FX_ALLOC(l, 1));
    exec->library = l;
    exec->close_library = close_library;
    l->bf16 = exec->options.precision == FX_PRECISION_BF16;
    DNN_TRY(dnnl_engine_create(&l->engine, dnnl_cpu, 0));
    DNN_TRY(dnnl_stream_create(&l->stream, l->engine, dnnl_stream_default_flags));
    return FX_OK;
}

static bool same(const fx_dnn_conv *a, const fx_dnn_conv *b)
{
    return a->pass == b->pass && a->put == b->put && a->bias == b->bias &&
           a->dst_first == b->dst_first && a->B == b->B && a->H == b->H && a->W == b->W &&
           a->Ci == b->Ci && a->Co == b->Co && a->k == b->k && a->stride == b->stride &&
           a->pad == b->pad && a->row == b->row;
}

static primitive *find(const library *l, const fx_dnn_conv *shape)
{
    for (size_t i = 0; l && i < l->count; i++)
        if (same(&l->primitives[i]->shape, shape)) return l->primitives[i];
    return NULL;
}

/* Whether the library may choose the format of the activations. Measured, reorders included (2.6.3):
 * without AVX-512 its blocked formats are 1.3 to 1.8 times faster than NHWC for kernels above 1x1, with
 * it they win for the weight gradient alone; 1x1 kernels like NHWC everywhere. */
static bool blocked_activations(const fx_dnn_conv *s)
{
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa(),
                   wide = (unsigned)dnnl_cpu_isa_avx512_core;
    return s->k > 1 && (s->pass == FX_DNN_WEIGHTS || (isa & wide) != wide);
}

/* The operand that a pass writes. */
static int result_of(fx_dnn_pass pass)
{
    return pass == FX_DNN_FORWARD ? DST : pass == FX_DNN_DATA ? SRC : WEIGHTS;
}

/* Whether the result's reorder, not the primitive, adds to what is there. */
static bool puts_late(const fx_dnn_conv *s)
{
    return s->pass != FX_DNN_FORWARD || blocked_activations(s);
}

bool fx_cpu_has_bf16(void)
{
    const unsigned bf16 = (unsigned)dnnl_cpu_isa_avx512_core_bf16;
    return ((unsigned)dnnl_get_effective_cpu_isa() & bf16) == bf16;
}

/* type: of the operands. */
static fx_status describe(const fx_dnn_conv *s, dnnl_data_type_t type, descriptors *d)
{
    dnnl_data_type_t seen[] = {[SRC] = type, [WEIGHTS] = type, [DST] = type};
    seen[result_of(s->pass)] = dnnl_f32;
    const int64_t Ho = fx_dnn_side(s->H, s->k, s->stride, s->pad),
                  Wo = fx_dnn_side(s->W, s->k, s->stride, s->pad);
    const dnnl_dims_t src = {s->B, s->Ci, s->H, s->W}, dst = {s->B, s->Co, Ho, Wo}, bias = {s->Co};
    const dnnl_dims_t weights = {s->Co, s->Ci, s->k, s->k}, row = {s->row, s->k * s->k, s->k, 1};
    d->strides[0] = d->strides[1] = s->stride;
    d->pads[0] = d->pads[1] = s->pad;
    DNN_TRY(describe_by_tag(d, D_SRC, 4, src, dnnl_f32, dnnl_nhwc));
    DNN_TRY(describe_by_tag(d, D_DST, 4, dst, dnnl_f32, dnnl_nhwc));
    DNN_TRY(describe_by_tag(d, D_BIAS, 1, bias, dnnl_f32, dnnl_x));
    DNN_TRY(describe_by_strides(d, D_WEIGHTS, 4, weights, row));
    DNN_TRY(describe_by_tag(d, D_SEEN_WEIGHTS, 4, weights, seen[WEIGHTS], dnnl_format_tag_any));
    const dnnl_format_tag_t activations = blocked_activations(s) ? dnnl_format_tag_any : dnnl_nhwc;
    DNN_TRY(describe_by_tag(d, D_SEEN_SRC, 4, src, seen[SRC], activations));
    DNN_TRY(describe_by_tag(d, D_SEEN_DST, 4, dst, seen[DST], activations));
    return FX_OK;
}

/* User scratchpad; what happens to the stored value. */
static fx_status make_attributes(format other, fx_dnn_put put, dnnl_primitive_attr_t *out)
{
    dnnl_post_ops_t after = NULL;
    DNN_TRY(dnnl_primitive_attr_create(out));
    DNN_TRY(dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user));
    if (put == FX_DNN_STORE) return FX_OK;
    DNN_TRY(dnnl_post_ops_create(&after));
    dnnl_status_t status = put == FX_DNN_ADD
                               ? append_sum(after)
                               : dnnl_post_ops_append_binary(after, dnnl_binary_add, other);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*out, after);
    dnnl_post_ops_destroy(after);
    return status == dnnl_success ? FX_OK : refused(status, "dnnl_post_ops");
}

static fx_status make_reorder(const library *l, format from, format to, fx_dnn_put put,
                              dnnl_primitive_t *out)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t descriptor = NULL;
    FX_TRY(make_attributes(NULL, put, &attributes));
    dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&descriptor, from, l->engine, to, l->engine, attributes);
    if (status == dnnl_success) status = dnnl_primitive_create(out, descriptor);
    dnnl_primitive_desc_destroy(descriptor);
    dnnl_primitive_attr_destroy(attributes);
    return status == dnnl_success ? FX_OK : refused(status, "dnnl_reorder_primitive_desc_create");
}

/* Operand `i`: our format, and the one that the primitive's descriptor asks for (`wanted`). */
static fx_status add_operand(library *l, primitive *p, int i, int argument, format ours, format wanted)
{
    operand *o = &p->operand[i];
    const bool written = i == result_of(p->shape.pass);
    const bool adds = written && puts_late(&p->shape) && p->shape.put != FX_DNN_STORE;
    o->rounded = p->rounds && i <= DST && !written;
    DNN_TRY(dnnl_memory_create(&o->ours, ours, l->engine, DNNL_MEMORY_NONE));
    if (dnnl_memory_desc_equal(ours, wanted) && !adds && !o->rounded) {
        o->theirs = o->ours;
    } else {
        DNN_TRY(dnnl_memory_create(&o->theirs, wanted, l->engine, DNNL_MEMORY_NONE));
        o->packed = fx_aligned(dnnl_memory_desc_get_size(wanted));
        FX_TRY(make_reorder(l, written ? wanted : ours, written ? ours : wanted,
                            adds ? FX_DNN_ADD : FX_DNN_STORE, &o->reorder));
    }
    p->argument[p->arguments++] = (dnnl_exec_arg_t){argument, o->theirs};
    p->scratch_bytes += o->packed;
    return FX_OK;
}

static fx_status make_operands(library *l, primitive *p, const descriptors *d,
                               const_dnnl_primitive_desc_t from)
{
    const fx_dnn_pass pass = p->shape.pass;
    const format src = dnnl_primitive_desc_query_md(
        from, pass == FX_DNN_DATA ? dnnl_query_diff_src_md : dnnl_query_src_md, 0);
    const format weights = dnnl_primitive_desc_query_md(
        from, pass == FX_DNN_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    const format dst = dnnl_primitive_desc_query_md(
        from, pass == FX_DNN_FORWARD ? dnnl_query_dst_md : dnnl_query_diff_dst_md, 0);
    const format scratch = dnnl_primitive_desc_query_md(from, dnnl_query_scratchpad_md, 0);

    FX_TRY(add_operand(l, p, SRC, pass == FX_DNN_DATA ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC,
                       format_of(d, D_SRC), src));
    FX_TRY(add_operand(l, p, WEIGHTS, pass == FX_DNN_WEIGHTS ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS,
                       format_of(d, D_WEIGHTS), weights));
    FX_TRY(add_operand(l, p, DST, pass == FX_DNN_FORWARD ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST,
                       format_of(d, D_DST), dst));
    FX_TRY(add_operand(l, p, SCRATCH, DNNL_ARG_SCRATCHPAD, scratch, scratch));
    p->scratch_bytes += fx_aligned(dnnl_memory_desc_get_size(scratch));
    if (p->shape.bias)
        FX_TRY(add_operand(l, p, BIAS, DNNL_ARG_BIAS, format_of(d, D_BIAS), format_of(d, D_BIAS)));
    if (!puts_late(&p->shape) && p->shape.put == FX_DNN_STORE_SUM)
        FX_TRY(add_operand(l, p, OTHER, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1,
                           format_of(d, D_DST), format_of(d, D_DST)));
    return FX_OK;
}

static fx_status make_primitive(library *l, const fx_dnn_conv *shape, primitive *p)
{
    descriptors d = {0};
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t descriptor = NULL;
    fx_status status = FX_OK;
    p->shape = *shape;
    p->rounds = l->bf16 && !fx_cpu_has_bf16();
    FX_TRY_DONE(describe(shape, l->bf16 && !p->rounds ? dnnl_bf16 : dnnl_f32, &d));
    FX_TRY_DONE(make_attributes(format_of(&d, D_DST), puts_late(shape) ? FX_DNN_STORE : shape->put,
                                &attributes));
    dnnl_status_t made = describe_convolution(l->engine, shape, &d, attributes, &descriptor);
    if (made == dnnl_unimplemented && l->bf16 && !p->rounds) {
        p->rounds = true;
        free_descriptors(&d);
        FX_TRY_DONE(describe(shape, dnnl_f32, &d));
        made = describe_convolution(l->engine, shape, &d, attributes, &descriptor);
    }
    if (made == dnnl_success) made = dnnl_primitive_create(&p->run, descriptor);
    status = made == dnnl_success ? make_operands(l, p, &d, descriptor)
                                  : refused(made, "dnnl_primitive_create");
done:
    dnnl_primitive_desc_destroy(descriptor);
    dnnl_primitive_attr_destroy(attributes);
    free_descriptors(&d);
    return status;
}

fx_status fx_dnn_conv_prepare(fx_exec *exec, const fx_dnn_conv *shape, size_t *scratch_bytes)
{
    FX_TRY(open_library(exec));
    library *l = exec->library;
    primitive *p = find(l, shape);
    if (!p) {
        FX_TRY(fx_grow((void **)&l->primitives, &l->capacity, l->count, sizeof *l->primitives));
        FX_TRY(FX_ALLOC(p, 1));
        const fx_status status = make_primitive(l, shape, p);
        if (status != FX_OK) {
            free_primitive(p);
            return fx_context(status,
                              "convolution of (%lld,%lld,%lld,%lld) to %lld channels, kernel %lld",
                              (long long)shape->B, (long long)shape->H, (long long)shape->W,
                              (long long)shape->Ci, (long long)shape->Co, (long long)shape->k);
        }
        l->primitives[l->count++] = p;
    }
    if (*scratch_bytes < p->scratch_bytes) *scratch_bytes = p->scratch_bytes;
    return FX_OK;
}

static fx_status reorder(const library *l, const operand *o, dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_exec_arg_t argument[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    DNN_TRY(dnnl_primitive_execute(o->reorder, l->stream, 2, argument));
    return FX_OK;
}

static void round_to_bf16(float *x, size_t count)
{
#pragma omp parallel for
    for (size_t i = 0; i < count; i++)
        x[i] = fx_float_of(fx_bf16_of(x[i]));
}

static void copy(const float *from, float *to, int64_t count)
{
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++)
        to[i] = from[i];
}

/* Operands in the order of their places in scratch. */
static int operand_at(const fx_dnn_conv *s, int place)
{
    return s->dst_first && (place == SRC || place == DST) ? SRC + DST - place : place;
}

/* Whether the packed copy that comes first in scratch is what `before` left there. */
static bool packed_already(const primitive *p, const primitive *before)
{
    if (!before) return false;
    const operand *o = &p->operand[operand_at(&p->shape, 0)],
                  *b = &before->operand[operand_at(&before->shape, 0)];
    format wanted = NULL, left = NULL;
    return o->reorder && b->reorder &&
           dnnl_memory_get_memory_desc(o->theirs, &wanted) == dnnl_success &&
           dnnl_memory_get_memory_desc(b->theirs, &left) == dnnl_success &&
           dnnl_memory_desc_equal(wanted, left);
}

fx_status fx_dnn_conv_run(fx_exec *exec, const fx_dnn_conv *shape, const fx_dnn_data *data,
                          void *scratch)
{
    const library *l = exec->library;
    const primitive *p = find(l, shape);
    FX_REQUIRE(p, FX_EARG, "this convolution was not prepared");
    const bool weights = shape->pass == FX_DNN_WEIGHTS;
    const void *memory[OPERANDS] = {
        [SRC] = shape->pass == FX_DNN_DATA ? data->out : data->src,
        [WEIGHTS] = weights ? data->dweights : data->weights,
        [BIAS] = data->bias,
        [DST] = shape->pass == FX_DNN_FORWARD ? data->out : data->dst,
        [OTHER] = data->other,
    };
    const int result = result_of(shape->pass);
    const bool packed = packed_already(p, data->after ? find(l, data->after) : NULL);
    char *at = scratch;
    for (int place = 0; place < OPERANDS; place++) {
        const int i = operand_at(shape, place);
        const operand *o = &p->operand[i];
        if (!o->ours) continue;
        void *ours = (void *)(uintptr_t)memory[i]; /* the library has no const */
        if (o->reorder) DNN_TRY(dnnl_memory_set_data_handle(o->theirs, at));
        DNN_TRY(
            dnnl_memory_set_data_handle(o->ours, i == SCRATCH ? at : ours)); /* SCRATCH is the last */
        if (o->reorder && i != result && !(place == 0 && packed)) {
            FX_TRY(reorder(l, o, o->ours, o->theirs));
            if (o->rounded) round_to_bf16((float *)(void *)at, o->packed / sizeof(float));
        }
        at += o->packed;
    }
    DNN_TRY(dnnl_primitive_execute(p->run, l->stream, p->arguments, p->argument));
    const operand *r = &p->operand[result];
    const int64_t count = shape->B * fx_dnn_side(shape->H, shape->k, shape->stride, shape->pad) *
                          fx_dnn_side(shape->W, shape->k, shape->stride, shape->pad) * shape->Co;
    if (puts_late(shape) && shape->put == FX_DNN_STORE_SUM) copy(data->other, data->out, count);
    if (r->reorder) FX_TRY(reorder(l, r, r->theirs, r->ours));
    DNN_TRY(dnnl_stream_wait(l->stream));
    return FX_OK;
}

fx_status fx_dnn_sgemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *A,
                       int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    DNN_TRY(dnnl_sgemm(ta, tb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc));
    return FX_OK;
}

void fx_cpu_library(char *text, size_t size)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}
