/* test_layer_rules.c: what conv, linear and attention refuse, and the FLOPs and bytes that nodes count.
 *
 * Planted and caught: in conv.c the check of the second source's size left out; in flops.c taps not
 * counted, backward counted once for any number of gradients, what is added to counted once, the
 * optimizer's copies read, all inputs read in backward. */
#include "by_hand.h"

#include "flexhpc/error.h"
#include "flexhpc/program.h"

enum { LIST = FX_MAX_IN };

/* A node over tensors without memory, dims as in a case; its shape rule's status. */
static fx_status shape_of(by_hand *h, fx_op_id id, fx_attrs attrs, const int64_t dim[LIST][FX_MAX_RANK])
{
    by_hand_begin(h, id, attrs);
    for (int i = 0; i < LIST; i++) {
        int rank = 0;
        while (rank < FX_MAX_RANK && dim[i][rank] > 0)
            rank++;
        if (rank > 0) by_hand_in(h, i, NULL, rank, dim[i]);
    }
    for (int i = 0; i < FX_MAX_OUT; i++)
        h->node.out[i] = by_hand_empty(h);
    for (int i = 0; i < FX_MAX_SAVED; i++)
        h->node.saved[i] = by_hand_empty(h);
    return h->node.op->shape(&h->node);
}

typedef struct refusal {
    fx_op_id id;
    fx_attrs attrs;
    int64_t dim[LIST][FX_MAX_RANK];
    const char *says;
} refusal;

static const refusal refusals[] = {
    {FX_OP_conv, {.conv = {1, 1, false, false}}, {{1, 4, 4, 8}, {8, 7, 3, 3}}, "do not fit 8 channels"},
    {FX_OP_conv, {.conv = {1, 1, false, false}}, {{1, 4, 4, 8}, {8, 8, 3, 1}}, "square kernel"},
    {FX_OP_conv, {.conv = {0, 1, false, false}}, {{1, 4, 4, 8}, {8, 8, 3, 3}}, "stride 0"},
    {FX_OP_conv, {.conv = {2, 1, true, false}}, {{1, 4, 4, 8}, {8, 8, 3, 3}}, "upsampling goes with"},
    {FX_OP_conv,
     {.conv = {1, 0, false, false}},
     {{1, 2, 2, 8}, {8, 8, 3, 3}},
     "larger than the padded image"},
    {FX_OP_conv, {.conv = {1, 1, false, false}}, {{1, 4, 4, 8}, {8, 8, 3, 3}, {7}}, "bias is not (8)"},
    {FX_OP_conv,
     {.conv = {1, 1, false, true}},
     {{1, 4, 4, 8}, {8, 8, 3, 3}, {8}, {1, 4, 4, 8}},
     "residual (1, 4, 4, 8) does not fit"},
    {FX_OP_conv,
     {.conv = {1, 1, false, false}},
     {{1, 4, 4, 8}, {8, 16, 3, 3}, {8}, {0}, {1, 4, 2, 8}},
     "differ in more than channels"},
    {FX_OP_linear, {.linear = {FX_LINEAR, 0.0f}}, {{2, 3, 8}, {5, 7}}, "do not fit 8 features"},
    {FX_OP_linear, {.linear = {FX_LINEAR, 1.0f}}, {{2, 3, 8}, {5, 8}}, "dropout 1"},
    {FX_OP_linear, {.linear = {FX_LINEAR, 0.0f}}, {{2, 8}, {5, 8}, {4}}, "bias is not (5)"},
    {FX_OP_linear, {.linear = {FX_LINEAR, 0.0f}}, {{2, 8}, {5, 8}, {5}, {3, 5}}, "residual (3, 5)"},
    {FX_OP_linear, {.linear = {FX_LINEAR, 0.0f}}, {{2, 8}, {5, 9}, {5}, {0}, {3, 1}}, "different rows"},
    {FX_OP_attention, {.attention = {3}}, {{2, 5, 48}}, "into 3 heads"},
    {FX_OP_attention, {.attention = {4}}, {{2, 5, 48}}, "a head of 4"},
    {FX_OP_attention, {.attention = {1}}, {{2, 5, 3 * 264}}, "a head of 264"},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        by_hand h;
        assert_int_equal(shape_of(&h, refusals[i].id, refusals[i].attrs, refusals[i].dim), FX_EARG);
        if (!strstr(fx_error_message(), refusals[i].says))
            fail_msg("'%s' does not say '%s'", fx_error_message(), refusals[i].says);
    }
}

static void counts_flops(void **state)
{
    (void)state;
    by_hand h;
    fx_tensor gradient = {0};
    const int64_t conv[LIST][FX_MAX_RANK] = {{2, 6, 5, 8}, {16, 12, 3, 3}, {16}, {0}, {2, 6, 5, 4}};
    assert_int_equal(shape_of(&h, FX_OP_conv, (fx_attrs){.conv = {1, 1, true, false}}, conv), FX_OK);
    const double all = 2.0 * (2 * 12 * 10) * 16 * 12 * 9;
    assert_float_equal(fx_node_flops(&h.node, FX_FORWARD), all, 0);
    h.node.din[1] = &gradient;
    assert_float_equal(fx_node_flops(&h.node, FX_BACKWARD), all, 0);
    h.node.din[4] = &gradient; /* X2's 4 of 12 channels */
    assert_float_equal(fx_node_flops(&h.node, FX_BACKWARD), all + all / 3, 0);

    const int64_t linear[LIST][FX_MAX_RANK] = {{2, 3, 8}, {5, 8}};
    assert_int_equal(shape_of(&h, FX_OP_linear, (fx_attrs){.linear = {FX_SILU, 0.0f}}, linear), FX_OK);
    h.node.din[0] = h.node.din[1] = &gradient;
    assert_float_equal(fx_node_flops(&h.node, FX_FORWARD), 2 * 6 * 8 * 5, 0);
    assert_float_equal(fx_node_flops(&h.node, FX_BACKWARD), 2 * 2 * 6 * 8 * 5, 0);

    const int64_t attention[LIST][FX_MAX_RANK] = {{2, 5, 48}};
    assert_int_equal(shape_of(&h, FX_OP_attention, (fx_attrs){.attention = {2}}, attention), FX_OK);
    assert_float_equal(fx_node_flops(&h.node, FX_FORWARD), 2 * 2 * 2 * 5 * 5 * 16, 0);
    assert_float_equal(fx_node_flops(&h.node, FX_BACKWARD), 2 * 4 * 2 * 5 * 5 * 16, 0);
}

static void counts_bytes(void **state)
{
    (void)state;
    by_hand h;
    const int64_t norm[LIST][FX_MAX_RANK] = {
        {2, 3, 8}, {8}, {8}}; /* saves 2 numbers for each of 6 rows */
    assert_int_equal(shape_of(&h, FX_OP_layer_norm, (fx_attrs){.layer_norm = {1e-5f}}, norm), FX_OK);
    h.node.out[1] = h.node.out[2] = h.node.saved[2] = NULL; /* which the shape rule left alone */
    assert_float_equal(fx_node_bytes(&h.node, FX_FORWARD), 4 * (48 + 8 + 8 + 48 + 12), 0);
    h.node.dout[0] = h.node.out[0];
    for (int i = 0; i < 3; i++)
        h.node.din[i] = h.node.in[i];
    assert_float_equal(fx_node_bytes(&h.node, FX_BACKWARD), 4 * (48 + 8 + 12 + 48 + 64), 0);
    h.node.accumulate = FX_IN(0);
    assert_float_equal(fx_node_bytes(&h.node, FX_BACKWARD), 4 * (48 + 8 + 12 + 48 + 64 + 48), 0);

    /* AdamW with EMA and bf16 copies: reads 5 slabs and writes 4, and the copies of two */
    const int64_t update[LIST][FX_MAX_RANK] = {{10}, {10}, {10}, {10}, {10}, {4}};
    assert_int_equal(shape_of(&h, FX_OP_update, (fx_attrs){.update = {.optimizer = FX_ADAMW}}, update),
                     FX_OK);
    h.node.out[0] = NULL;
    fx_tensor copies = {.dtype = FX_BF16, .rank = 2, .dim = {2, 10}};
    h.node.in[6] = &copies;
    assert_float_equal(fx_node_bytes(&h.node, FX_FORWARD), 4 * (5 * 10 + 4 + 4 * 10) + 2 * 20, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses), cmocka_unit_test(counts_flops),
                                       cmocka_unit_test(counts_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
