/* test_shape_rules.c: what the shape rules refuse, and that the message says why. The shapes that they
 * accept are the cases of the registry-driven tests.
 * Planted and caught: in tokens.c the check of the positions left out; in group_norm.c M need not
 * divide B; in patch.c the width is not looked at; in all_reduce.c the offset is not counted; in
 * update.c V is not needed. */
#include "by_hand.h"

typedef struct refusal {
    fx_op_id id;
    fx_attrs attrs;
    int64_t dim[FX_MAX_IN][FX_MAX_RANK]; /* none: the input is absent */
    const char *message;                 /* a part of it */
} refusal;

static const refusal refusals[] = {
    {FX_OP_group_norm,
     {.group_norm = {32, 1e-5f}},
     {{2, 4, 4, 48}, {48}, {48}},
     "48 channels do not divide into 32"},
    {FX_OP_group_norm, {.group_norm = {2, 1e-5f}}, {{2, 4, 4, 8}, {6}, {8}}, "weight (6) and bias (8)"},
    {FX_OP_group_norm,
     {.group_norm = {2, 1e-5f}},
     {{3, 4, 4, 8}, {8}, {8}, {2, 16}},
     "modulation (2, 16)"},
    {FX_OP_group_norm,
     {.group_norm = {2, 1e-5f}},
     {{2, 4, 4, 6}, {8}, {8}, {0}, {2, 4, 2, 2}},
     "second source"},
    {FX_OP_group_norm,
     {.group_norm = {2, 1e-5f, .pool = true}},
     {{2, 3, 4, 8}, {8}, {8}},
     "even sides"},
    {FX_OP_group_norm,
     {.group_norm = {2, 1e-5f, .dropout = 1.0f}},
     {{2, 4, 4, 8}, {8}, {8}},
     "dropout 1"},
    {FX_OP_layer_norm, {.layer_norm = {1e-5f}}, {{2, 3, 8}, {8}, {6}}, "bias (6)"},
    {FX_OP_pool, {.patch = {0}}, {{2, 4, 5, 8}}, "even sides"},
    {FX_OP_fourier, {.patch = {0}}, {{2}, {8}, {7}}, "phases (7)"},
    {FX_OP_tokens, {.patch = {0}}, {{2, 2, 2, 8}, {2, 8}, {1, 6, 8}}, "positions (1, 6, 8)"},
    {FX_OP_tokens, {.patch = {0}}, {{3, 2, 2, 8}, {2, 8}, {1, 5, 8}}, "embedding (2, 8)"},
    {FX_OP_add_token, {.patch = {0}}, {{2, 5, 8}, {2, 7}}, "embedding (2, 7)"},
    {FX_OP_untoken, {.untoken = {3}}, {{2, 9, 8}}, "3 high"},
    {FX_OP_drop_rows, {.drop_rows = {0.1f}}, {{2, 8}, {2, 7}}, "rows (2, 8)"},
    {FX_OP_drop_rows, {.drop_rows = {1.0f}}, {{2, 8}, {2, 8}}, "probability 1"},
    {FX_OP_linear, {.linear = {FX_LINEAR}}, {{2, 8}, {4, 8, 3}, {4}}, "2 dimensions above 1"},
    {FX_OP_attention, {.attention = {2}}, {{2, 48}}, "or an image"},
    {FX_OP_patch, {.patch = {2, false}}, {{2, 4, 5, 1}}, "does not divide"},
    {FX_OP_patch, {.patch = {2, true}}, {{2, 4, 4, 6}}, "no patches of 2 x 2"},
    {FX_OP_interpolate, {.interpolate = {FX_BICUBIC, 8, 8}}, {{2, 12, 16, 1}}, "factor 8"},
    {FX_OP_diffuse,
     {.diffuse = {{FX_PREDICT_V, 1, false, 0}, {false, {1, 1}}}},
     {{2}, {2, 4, 4, 1}, {0}, {2, 4, 4, 2}},
     "no task"},
    {FX_OP_diffuse,
     {.diffuse = {{FX_PREDICT_V, 1, false, 0}, {false, {1, 0}}}},
     {{2}, {2, 4, 4, 1}, {2, 4, 4, 1}, {2, 4, 4, 2}},
     "not above 0"},
    {FX_OP_loss,
     {.loss = {FX_L1, FX_PREDICT_EPS}},
     {{2, 4, 4, 1}, {2, 4, 4, 1}, {0}, {2, 4}},
     "for eps, z"},
    {FX_OP_loss,
     {.loss = {FX_L1, FX_PREDICT_V}},
     {{3, 4, 4, 1}, {3, 4, 4, 1}, {0}, {2, 4}},
     "schedule (2, 4)"},
    {FX_OP_contrast, {.contrast = {0.01f, 1, 0}}, {{4, 2, 8}, {2, 2, 2, 8}}, "2 samples at 0"},
    {FX_OP_gather, {.gather = {2, 1, 1}}, {{4, 2, 8}}, "2 samples at 1"},
    {FX_OP_gather, {.gather = {2, 0, 1}}, {{3, 2, 8}}, "two tasks"},
    {FX_OP_exchange, {.gather = {.ranks = 2}}, {{3, 2, 8}}, "two tasks"},
    {FX_OP_exchange, {.gather = {.ranks = 0}}, {{4, 2, 8}}, "0 ranks"},
    {FX_OP_arrive, {.gather = {2, 0, 2}}, {{3, 2, 2, 8}, {3, 2, 2, 8}}, "exchange of 2 ranks"},
    {FX_OP_arrive, {.gather = {2, 0, 3}}, {{3, 2, 2, 8}, {3, 2, 2, 16}}, "exchange of 3 ranks"},
    {FX_OP_arrive, {.gather = {2, 1, 3}}, {{3, 2, 2, 8}, {3, 2, 2, 8}}, "2 samples at 1"},
    {FX_OP_dots, {.contrast = {0}}, {{4, 3, 8}}, "features of two tasks"},
    {FX_OP_contrast_dots, {.contrast = {0.01f}}, {{5, 4}}, "inner products"},
    {FX_OP_contrast_dots, {.contrast = {0}}, {{6, 4}}, "temperature 0"},
    {FX_OP_all_reduce, {.reduce = {6, 5}}, {{10}}, "not all in (10)"},
    {FX_OP_update,
     {.update = {FX_ADAMW, 0.9, 0.999, 1e-8, 0}},
     {{5}, {5}, {5}, {0}, {5}, {4}},
     "input 3"},
    {FX_OP_update, {.update = {FX_LION, 0.9, 0.98, 0, 0}}, {{5}, {4}, {5}, {0}, {5}, {4}}, "input 1"},
    {FX_OP_ddim, {.ddim = {FX_PREDICT_V, 1, 1, 0}}, {{2, 4, 4, 1}, {2, 4, 2, 1}}, "differ"},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof refusals / sizeof *refusals; k++) {
        const refusal *r = &refusals[k];
        by_hand h;
        by_hand_begin(&h, r->id, r->attrs);
        for (int i = 0; i < FX_MAX_IN; i++) {
            int rank = 0;
            while (rank < FX_MAX_RANK && r->dim[i][rank] > 0)
                rank++;
            if (rank > 0) by_hand_in(&h, i, NULL, rank, r->dim[i]);
        }
        for (int i = 0; i < FX_MAX_OUT; i++)
            h.node.out[i] = by_hand_empty(&h);
        for (int i = 0; i < FX_MAX_SAVED; i++)
            h.node.saved[i] = by_hand_empty(&h);
        const fx_status status = h.node.op->shape(&h.node);
        if (status != FX_EARG || !strstr(fx_error_message(), r->message))
            fail_msg("%s, row %zu: status %d, \"%s\" without \"%s\"", h.node.op->name, k, status,
                     fx_error_message(), r->message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
