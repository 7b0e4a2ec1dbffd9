/* test_cudnn_plans.c: cuDNN, planning for an H100 by its properties alone, finds a deterministic,
 * precompiled engine within the workspace budget for every convolution of a training step of the preset
 * `small` of FLEX and of both baselines, and for the registry's cases, in bf16, TF32 and strict fp32,
 * and makes each again from the choice alone; and it refuses graphs that are wrong. The convolutions
 * are read off the model's tape. Any other case is a command, whose table goes to standard output:
 * test_cudnn_plans DEVICE.json MODEL bf16|tf32|fp32        e.g. tests/cuda/devices/b200.json flex-big
 * bf16 with exit code 1 if a product has no plan; tests/cuda/plans_all.sh runs it for all of them.
 *
 * Run: cudnn
 * Planted and caught: bias before z in fx_product_graph; the residual's tensor in fp32; channels not
 * padded; strict fp32 on tensor cores; a knob of a choice left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <cudnn.h>

#include "../../cuda/conv_products.h"
#include "flexhpc/diffusion.h"
#include "flexhpc/mem.h"

enum { BATCH = 8, MOST = 4096 };
typedef enum mode { BF16, TF32, STRICT } mode;

typedef struct products {
    fx_product product[MOST];
    int count, nodes;
} products;

static void collect(products *p, const fx_product *product)
{
    for (int i = 0; i < p->count; i++)
        if (fx_same_product(&p->product[i], product)) return;
    assert_true(p->count < MOST);
    p->product[p->count++] = *product;
}

static void collect_node(products *p, const fx_entry *entry)
{
    const fx_node *n = entry->node;
    const fx_conv_view v = fx_conv_view_of(n);
    p->nodes++;
    for (int s = 0; s < v.sources; s++) {
        const fx_product forward = fx_conv_forward(n, &v, s), weights = fx_conv_weights(&v, s);
        collect(p, entry->pass == FX_FORWARD ? &forward : &weights);
        if (entry->pass == FX_FORWARD || !fx_conv_source_gradient(n, s)) continue;
        const fx_product data = fx_conv_data(n, &v, s);
        collect(p, &data);
    }
}

/* The training step's network, forward and backward; name: "unet-small". */
static void collect_step(products *p, const char *name, fx_dtype dtype)
{
    char arch[64], size[64];
    const char *dash = strchr(name, '-');
    assert_non_null(dash);
    fx_config config;
    fx_model model;
    fx_params *params = NULL;
    fx_builder *g = NULL;
    snprintf(arch, sizeof arch, "model.arch=%.*s", (int)(dash - name), name);
    snprintf(size, sizeof size, "model.preset=%s", dash + 1);
    if (fx_config_parse(&config, "settings", "", 0, (const char *[]){arch, size, NULL}) != FX_OK ||
        fx_model_from_config(&config, &model) != FX_OK || fx_params_create(&params) != FX_OK ||
        fx_params_store_as(params, dtype) != FX_OK || fx_builder_create(params, &g) != FX_OK)
        fail_msg("%s", fx_error_message());
    const int64_t side = model.image;
    const fx_batch batch = {.lowres = fx_input(g, "lowres", 4, FX_DIMS(BATCH, side, side, 1)),
                            .snapshots = fx_input(g, "past", 4, FX_DIMS(BATCH, side, side, model.cond)),
                            .future = fx_input(g, "future", 4, FX_DIMS(BATCH, side, side, 1)),
                            .re = fx_input_stored(g, "re", 2, FX_DIMS(BATCH, 1)),
                            .t = fx_input(g, "t", 1, FX_DIMS(BATCH)),
                            .eps = fx_input(g, "eps", 4, FX_DIMS(BATCH, side, side, 1))};
    const fx_objective_options objective = {.schedule = {.shift = 1},
                                            .target = {.scale = {1, 1}},
                                            .global_samples = BATCH,
                                            .stride = BATCH,
                                            .contrast_ranks = 1};
    fx_objective_nodes nodes = {0};
    fx_builder_rows(g, (fx_rows){.samples = BATCH});
    fx_record_objective(g, &model, &objective, &batch, &nodes);
    fx_autodiff(g, FX_RECOMPUTE_NONE);
    if (fx_builder_status(g) != FX_OK) fail_msg("%s", fx_error_message());
    const fx_entry *entries = NULL;
    const int count = fx_builder_entries(g, &entries);
    for (int e = 0; e < count; e++)
        if (entries[e].node->id == FX_OP_conv) collect_node(p, &entries[e]);
    fx_builder_free(&g);
    fx_params_free(&params);
}

static fx_status plan(const fx_cudnn_device *device, const fx_product *product, mode m,
                      fx_cudnn_plan *out)
{
    const fx_graph graph = fx_product_graph(product);
    const fx_cudnn_policy policy = fx_conv_policy(product, m == STRICT);
    return fx_cudnn_plan_make(device, &graph, &policy, 0, out);
}

/* Whether the choice alone makes the plan again. */
static bool comes_back(const fx_cudnn_device *device, const fx_product *product, mode m,
                       const fx_cudnn_plan *found)
{
    fx_cudnn_plan again;
    const fx_graph graph = fx_product_graph(product);
    const fx_cudnn_policy policy = fx_conv_policy(product, m == STRICT);
    if (fx_cudnn_plan_restore(device, &graph, &policy, &found->choice, &again) != FX_OK) return false;
    const bool same = again.workspace == found->workspace && again.tensor_core == found->tensor_core &&
                      memcmp(&again.choice, &found->choice, sizeof again.choice) == 0;
    fx_cudnn_plan_close(&again);
    return same;
}

/* One line a product; returns how many have no plan. */
static int table(const char *file, mode m, const products *p)
{
    fx_cudnn_device device;
    int missing = 0;
    if (fx_cudnn_device_read(file, &device) != FX_OK) fail_msg("%s", fx_error_message());
    for (int i = 0; i < p->count; i++) {
        char text[160];
        fx_cudnn_plan found;
        assert_int_equal(fx_product_text(&p->product[i], text, sizeof text), FX_OK);
        if (plan(&device, &p->product[i], m, &found) != FX_OK) {
            printf("%-72s NONE: %s\n", text, fx_error_message());
            missing++;
            continue;
        }
        printf("%-72s engine %3lld  %8.2f MiB  %2d of %2d%s\n", text, (long long)found.choice.engine,
               (double)found.workspace / 1048576, found.deterministic, found.considered,
               found.tensor_core ? "  tensor cores" : "");
        assert_true(m != STRICT || !found.tensor_core);
        assert_true(comes_back(&device, &p->product[i], m, &found));
        fx_cudnn_plan_close(&found);
    }
    fx_cudnn_device_close(&device);
    return missing;
}

/* Products of one of the registry's cases. */
static void collect_case(products *p, const fx_op_case *c, fx_dtype dtype)
{
    fx_tensor tensor[FX_MAX_IN + 1] = {{0}}, gradient[FX_MAX_IN] = {{0}};
    fx_node n = {.op = fx_ops[FX_OP_conv], .id = FX_OP_conv, .name = c->name, .attrs = c->attrs};
    for (int i = 0; i < FX_MAX_IN; i++) {
        int rank = 0;
        while (rank < FX_MAX_RANK && c->dim[i][rank] > 0)
            rank++;
        if (rank == 0) continue;
        assert_int_equal(fx_set_shape(&tensor[i], rank, c->dim[i]), FX_OK);
        tensor[i].dtype = dtype;
        gradient[i] = tensor[i];
        gradient[i].dtype = fx_gradient_type_of(n.op, FX_IN(i), dtype);
        n.in[i] = &tensor[i];
        n.din[i] = &gradient[i];
    }
    n.out[0] = &tensor[FX_MAX_IN];
    n.out[0]->dtype = dtype;
    if (n.op->shape(&n) != FX_OK) fail_msg("%s", fx_error_message());
    collect_node(p, &(fx_entry){.node = &n, .pass = FX_FORWARD});
    collect_node(p, &(fx_entry){.node = &n, .pass = FX_BACKWARD});
}

static void every_product_has_a_plan(void **state)
{
    (void)state;
    for (int m = BF16; m <= STRICT; m++) {
        products *p = calloc(1, sizeof *p);
        assert_non_null(p);
        const fx_dtype dtype = m == BF16 ? FX_BF16 : FX_F32;
        for (const fx_op_case *c = fx_ops[FX_OP_conv]->cases; c->name; c++)
            collect_case(p, c, dtype);
        static const char *const models[] = {"flex-small", "unet-small", "uvit-small"};
        for (int i = 0; i < 3; i++) {
            const int before = p->count;
            collect_step(p, models[i], dtype);
            assert_true(p->count > before);
        }
        assert_true(p->nodes > 300 && p->count > 200);
        assert_int_equal(table(FX_TESTS_DIR "/cuda/devices/h100.json", (mode)m, p), 0);
        free(p);
    }
}

/* (16,256,256,64) to 64 as the preset has them, with z and bias. */
static const fx_product SOUND = {.pass = FX_GRAPH_FORWARD,
                                 .dtype = FX_BF16,
                                 .z = true,
                                 .bias = true,
                                 .B = 16,
                                 .H = 256,
                                 .W = 256,
                                 .Ci = 64,
                                 .Co = 64,
                                 .k = 3,
                                 .stride = 1,
                                 .pad = 1};

static bool planned(const fx_graph *graph)
{
    fx_cudnn_device device;
    fx_cudnn_plan found;
    const fx_cudnn_policy policy = fx_conv_policy(&SOUND, false);
    if (fx_cudnn_device_read(FX_TESTS_DIR "/cuda/devices/h100.json", &device) != FX_OK)
        fail_msg("%s", fx_error_message());
    const fx_status status = fx_cudnn_plan_make(&device, graph, &policy, 0, &found);
    if (status == FX_OK)
        fx_cudnn_plan_close(&found);
    else
        printf("refused: %s\n", fx_error_message());
    fx_cudnn_device_close(&device);
    return status == FX_OK;
}

/* Each graph is sound but for one thing. */
static void wrong_graphs_are_refused(void **state)
{
    (void)state;
    const fx_graph sound = fx_product_graph(&SOUND);
    assert_true(planned(&sound));
    fx_graph g = sound; /* strides: pixels that overlap, images that overlap, pixels apart in z */
    for (int i = 0; i < 4; i++)
        if (i != 1) g.tensor[FX_GRAPH_SRC].stride[i] /= 2;
    assert_false(planned(&g));
    g = sound;
    g.tensor[FX_GRAPH_DST].stride[0] /= 2;
    assert_false(planned(&g));
    g = sound;
    g.tensor[FX_GRAPH_Z].stride[3] *= 2;
    assert_false(planned(&g));
    g = sound; /* shapes: a result too high for its source */
    g.tensor[FX_GRAPH_DST].dim[2]++;
    assert_false(planned(&g));
    g = sound; /* types: z, bias, an inner tensor */
    g.tensor[FX_GRAPH_Z].dtype = FX_F32;
    assert_false(planned(&g));
    g = sound;
    g.tensor[FX_GRAPH_BIAS].dtype = FX_F32;
    assert_false(planned(&g));
    g = sound;
    g.tensor[FX_GRAPH_INNER].dtype = FX_BF16;
    assert_false(planned(&g));
    g = sound; /* order: bias before z */
    g.op[1].tensor[1] = FX_GRAPH_BIAS;
    g.op[2].tensor[1] = FX_GRAPH_Z;
    assert_false(planned(&g));
    g = sound; /* order: a sum of what is computed after it */
    g.op[2] = sound.op[1];
    g.op[1] = sound.op[2];
    g.op[0].tensor[2] = FX_GRAPH_DST;
    assert_false(planned(&g));
}

/* What cuDNN would serve by copying whole images does not fit the budget of workspace. */
static void copies_are_refused(void **state)
{
    (void)state;
    fx_product product = SOUND;
    product.z = product.bias = false;
    for (int pass = FX_GRAPH_FORWARD; pass <= FX_GRAPH_WEIGHTS; pass++) {
        product.pass = (fx_graph_kind)pass;
        const fx_graph sound = fx_product_graph(&product);
        assert_true(planned(&sound));
        fx_graph g = sound; /* 64 of 128 channels */
        for (int i = 0; i < 4; i++)
            if (i != 1) g.tensor[FX_GRAPH_SRC].stride[i] *= 2;
        assert_false(planned(&g));
        fx_product narrow = product;
        narrow.Ci = 60;
        g = fx_product_graph(&narrow);
        assert_false(planned(&g));
        g = sound; /* a weight gradient in fp32; weights in fp32 */
        g.tensor[FX_GRAPH_WEIGHT].dtype = FX_F32;
        assert_false(planned(&g));
    }
}

static int command(int argc, char **argv)
{
    static const char *const modes[] = {"bf16", "tf32", "fp32"};
    for (int m = 0; m < 3 && argc >= 4; m++) {
        if (strcmp(argv[3], modes[m]) != 0) continue;
        products *p = calloc(1, sizeof *p);
        assert_non_null(p);
        collect_step(p, argv[2], m == BF16 ? FX_BF16 : FX_F32);
        const int missing = table(argv[1], (mode)m, p);
        printf("%s, %s, %s: cuDNN %zu, %d convolutions, %d distinct products, %d without a plan\n",
               argv[1], argv[2], argv[3], cudnnGetVersion(), p->nodes, p->count, missing);
        free(p);
        return missing > 0;
    }
    fprintf(stderr, "usage: %s [DEVICE.json MODEL bf16|tf32|fp32]\n", argv[0]);
    return 2;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_product_has_a_plan),
        cmocka_unit_test(wrong_graphs_are_refused),
        cmocka_unit_test(copies_are_refused),
    };
    return argc > 1 ? command(argc, argv) : cmocka_run_group_tests(tests, NULL, NULL);
}
