/* test_bf16.c: bf16 on the CPU, the processor's or rounded: what it is, element by element. Operands
 * that bf16 doesn't hold, multiplied in bf16, give what the fp32 kernels give from operands that the
 * test has rounded, to the rounding of fp32 sums. First the library's convolutions, every pass and
 * every way to put the result, then the ops that use them. A quarter of all operands are half-way
 * between two bf16 numbers: only the tie to even is right. Weights that are folded are rounded after:
 * cases of ops that fold have weights that stay exact, the convolutions that they are made of haven't.
 * What is no operand stays fp32: biases, residuals, and their gradients have fp32's bits.
 *
 * Planted and caught, in onednn.c: src, dst or weights not rounded, operands truncated, ties away from
 * zero, half of a copy rounded, the bias rounded, the weight gradient rounded; in linear.c fp32's
 * products, in all passes and for the weight gradient alone, and the library's scratch not asked for.
 */
#include "harness.h"
#include "ops/onednn.h"

static const double TOLERANCE = 2e-6; /* of the largest element: as of fp32's sums */

static float rounded(float x)
{
    return fx_float_of(fx_bf16_of(x));
}

static void round_all(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = rounded(x[i]);
}

/* Every fourth element becomes a tie. */
static void make_ties(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i += 4)
        x[i] = (fx_float_of((uint16_t)(fx_bf16_of(x[i]) + 1)) + rounded(x[i])) / 2;
}

/* Whether a is b, to `tolerance` of the largest of b. */
static bool near(const float *a, const float *b, int64_t count, double tolerance)
{
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        const double off = fabs((double)a[i] - (double)b[i]);
        largest = fmax(largest, fabs((double)b[i]));
        if (off > worst || isnan(off)) worst = off; /* a NaN stays */
    }
    return worst <= tolerance * largest && largest > 0;
}

/* ---- The library's convolutions. */

enum { SRC, WEIGHTS, DST, BIAS, OTHER, TENSORS };

typedef struct conv {
    fx_dnn_conv shape;
    int64_t count[TENSORS];
    float *x[TENSORS];
} conv;

static int result_of(fx_dnn_pass pass)
{
    return pass == FX_DNN_FORWARD ? DST : pass == FX_DNN_DATA ? SRC : WEIGHTS;
}

static conv conv_of(fx_test *t, fx_dnn_conv s)
{
    const int64_t pixels =
        fx_dnn_side(s.H, s.k, s.stride, s.pad) * fx_dnn_side(s.W, s.k, s.stride, s.pad);
    conv c = {.shape = s,
              .count = {s.B * s.H * s.W * s.Ci, s.Co * s.row, s.B * pixels * s.Co, s.Co,
                        s.B * pixels * s.Co}};
    for (int i = 0; i < TENSORS; i++) {
        c.x[i] = fx_calloc((size_t)c.count[i], sizeof(float));
        fx_test_normal(t, c.x[i], c.count[i], 1.0f);
        make_ties(c.x[i], c.count[i]);
    }
    return c;
}

/* From the tensors of c; returns a result of its own. */
static float *run(fx_test *t, const conv *c)
{
    const int result = result_of(c->shape.pass);
    size_t bytes = 1;
    void *scratch = NULL;
    float *out = fx_calloc((size_t)c->count[result], sizeof *out);
    memcpy(out, c->x[result], (size_t)c->count[result] * sizeof *out);
    const fx_dnn_data data = {.src = c->x[SRC],
                              .other = c->x[OTHER],
                              .out = out,
                              .dst = c->x[DST],
                              .weights = c->x[WEIGHTS],
                              .bias = c->x[BIAS],
                              .dweights = out};
    const fx_backend *backend = t->exec->backend;
    if (fx_dnn_conv_prepare(t->exec, &c->shape, &bytes) != FX_OK ||
        backend->allocate(t->exec, bytes, &scratch) != FX_OK ||
        fx_dnn_conv_run(t->exec, &c->shape, &data, scratch) != FX_OK) {
        printf("FATAL %s\n", fx_error_message());
        exit(1);
    }
    backend->release(t->exec, scratch, bytes);
    return out;
}

static void check_conv(fx_test *bf16, fx_test *fp32, fx_dnn_conv shape)
{
    conv c = conv_of(bf16, shape);
    const int result = result_of(shape.pass);
    float *got = run(bf16, &c), *exact = run(fp32, &c);
    for (int i = SRC; i <= DST; i++)
        if (i != result) round_all(c.x[i], c.count[i]);
    float *want = run(fp32, &c);
    const bool agrees = near(got, want, c.count[result], TOLERANCE),
               rounds = !near(got, exact, c.count[result], 100 * TOLERANCE);
    bf16->checks++;
    if (!agrees || !rounds) {
        bf16->bad++;
        printf(
            "BAD convolution, kernel %lld, stride %lld, %lld to %lld channels, pass %d, put %d: %s\n",
            (long long)shape.k, (long long)shape.stride, (long long)shape.Ci, (long long)shape.Co,
            (int)shape.pass, (int)shape.put,
            rounds ? "not that of rounded operands" : "that of operands as they are");
    }
    for (int i = 0; i < TENSORS; i++)
        fx_free(c.x[i]);
    fx_free(got);
    fx_free(exact);
    fx_free(want);
}

static void check_convs(fx_test *bf16, fx_test *fp32)
{
    static const fx_dnn_conv shapes[] = {
        {.B = 2, .H = 6, .W = 5, .Ci = 16, .Co = 24, .k = 3, .stride = 1, .pad = 1},
        {.B = 2, .H = 6, .W = 5, .Ci = 5, .Co = 7, .k = 3, .stride = 1, .pad = 1},
        {.B = 3, .H = 16, .W = 16, .Ci = 1, .Co = 32, .k = 3, .stride = 1, .pad = 1},
        {.B = 3, .H = 16, .W = 16, .Ci = 32, .Co = 1, .k = 3, .stride = 1, .pad = 1},
        {.B = 2, .H = 8, .W = 6, .Ci = 16, .Co = 8, .k = 3, .stride = 2, .pad = 1},
        {.B = 2, .H = 8, .W = 6, .Ci = 16, .Co = 8, .k = 4, .stride = 2, .pad = 1}, /* folded */
        {.B = 1, .H = 8, .W = 8, .Ci = 3, .Co = 16, .k = 2, .stride = 2},           /* patches */
        {.B = 2, .H = 4, .W = 5, .Ci = 32, .Co = 16, .k = 1, .stride = 1},
        {.B = 1, .H = 1, .W = 70, .Ci = 13, .Co = 40, .k = 1, .stride = 1}, /* linear */
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (fx_dnn_pass pass = FX_DNN_FORWARD; pass <= FX_DNN_WEIGHTS; pass++)
            for (fx_dnn_put put = FX_DNN_STORE; put <= FX_DNN_STORE_SUM; put++) {
                fx_dnn_conv s = shapes[i];
                if (put == FX_DNN_STORE_SUM && pass != FX_DNN_FORWARD) continue;
                s.pass = pass;
                s.put = put;
                s.bias = pass == FX_DNN_FORWARD && put != FX_DNN_ADD;
                s.dst_first = pass == FX_DNN_WEIGHTS;
                s.row = (s.Ci + 2) * s.k * s.k; /* a slice */
                check_conv(bf16, fp32, s);
            }
}

/* ---- Ops: conv and linear name their inputs alike. */

enum { IN_X, IN_W, IN_BIAS, IN_RESIDUAL, IN_X2 };
static const int OPERANDS[] = {IN_X, IN_W, IN_X2}, OTHERS[] = {IN_BIAS, IN_RESIDUAL};
enum {
    OPERAND_COUNT = sizeof OPERANDS / sizeof *OPERANDS,
    OTHER_COUNT = sizeof OTHERS / sizeof *OTHERS
};

/* Few bits, which folding doesn't exceed. */
static void coarsen(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = nearbyintf(fmaxf(-31.0f, fminf(31.0f, 32 * x[i]))) / 32;
}

static void make_operands(fx_op_run *r)
{
    const bool folds = r->node.id == FX_OP_conv && r->node.attrs.conv.upsample;
    for (int k = 0; k < OPERAND_COUNT; k++) {
        fx_tensor *t = r->node.in[OPERANDS[k]];
        if (t) make_ties(fx_f32(t), fx_count(t));
        if (t && OPERANDS[k] == IN_W && folds) coarsen(fx_f32(t), fx_count(t));
    }
    make_ties(r->weight, fx_count(r->node.dout[0]));
}

static void round_operands(fx_op_run *r)
{
    for (int k = 0; k < OPERAND_COUNT; k++) {
        fx_tensor *t = r->node.in[OPERANDS[k]];
        if (t) round_all(fx_f32(t), fx_count(t));
    }
    round_all(r->weight, fx_count(r->node.dout[0]));
}

static void compare(fx_test *t, const fx_op_run *r, const fx_tensor *got, const fx_tensor *want,
                    double tolerance, const char *what)
{
    if (got) fx_test_check(t, near(fx_f32(got), fx_f32(want), fx_count(got), tolerance), r, what);
}

/* Whether what is multiplied in backward is another than dout. */
static bool bends(const fx_op_run *r)
{
    const fx_attrs *a = &r->node.attrs;
    return r->node.id == FX_OP_linear && (a->linear.act != FX_LINEAR || a->linear.dropout > 0.0f);
}

static void check_op(fx_test *bf16, fx_test *fp32, fx_op_id id, const fx_op_case *c)
{
    fp32->draws = bf16->draws; /* the same inputs */
    fx_op_run *a = fx_test_open(bf16, id, c), *b = fx_test_open(fp32, id, c);
    fx_tensor *pre = a->node.saved[0];
    make_operands(a);
    make_operands(b);
    fx_test_forward(bf16, a);
    fx_test_backward(bf16, a, 0);
    if (pre) memcpy(b->node.saved[0]->data, pre->data, fx_tensor_bytes(pre));
    fx_test_backward(fp32, b, 0);
    for (int k = 0; k < OTHER_COUNT; k++)
        compare(bf16, a, a->node.din[OTHERS[k]], b->node.din[OTHERS[k]], 0,
                "the gradient of what is no operand is not fp32's");
    round_operands(b);
    fx_test_forward(fp32, b);
    compare(bf16, a, a->node.out[0], b->node.out[0], TOLERANCE, "not that of rounded operands");
    fx_test_backward(fp32, b, 0);
    for (int k = 0; k < OPERAND_COUNT && !bends(a); k++)
        compare(bf16, a, a->node.din[OPERANDS[k]], b->node.din[OPERANDS[k]], TOLERANCE,
                "the gradient is not that of rounded operands");
    fx_test_close(a);
    fx_test_close(b);
}

int main(void)
{
    fx_test bf16 = fx_test_begin_in("cpu", FX_PRECISION_BF16), fp32 = fx_test_begin("cpu");
    static const fx_op_id ops[] = {FX_OP_conv, FX_OP_linear};
    check_convs(&bf16, &fp32);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        for (const fx_op_case *c = fx_ops[ops[i]]->cases; c->name; c++)
            check_op(&bf16, &fp32, ops[i], c);
    fp32.exec->backend->close(&fp32.exec);
    return fx_test_end(&bf16);
}
