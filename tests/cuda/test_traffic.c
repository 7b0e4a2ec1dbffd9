/* test_traffic.c: the device memory that every own kernel of an op moves, counted from the code that
 * runs, on tensors of some MB, in bf16, and held as traffic.h says; the ideal of a pass of a node is
 * every tensor of the pass once (fx_node_bytes). The solver's: test_traffic_flow.c.
 * Values of the widest image, which has no case in the registry, are held against the CPU's.
 * Around a library's product (conv, linear) each kernel is held alone, its ideal said by its row.
 * Prints the table of benchmarks/results/kernel-traffic-*.md.
 *
 * Planted and caught: in silu.cu the next block's x read as well; in group_norm_loops.cuh a band's
 * channels counted from the first one on.
 *
 * Run: standin only
 * Run: timeout 300 */
#include "flexhpc/program.h"
#include "ops/harness.h"
#include "traffic.h"
#include "traffic_cases.h"

static const double SHOWN = 0.005, ROUNDED = 0x1p-8;

enum { HALF = 2, FULL = 4, SECTOR = 32 }; /* bytes of bf16, of fp32; what the hardware moves at least */

typedef struct row {
    fx_op_id id;
    const fx_op_case *c;
    fx_pass pass;
    double again, inside; /* see traffic_limits */
    const char *why;
    const char *kernel; /* the one that is held; NULL: all of the pass */
    double ideal;       /* 0: fx_node_bytes */
    bool fp32;          /* storage, else bf16 */
} row;

/* Values around the products of the cases above. */
static const double PIXELS = 2 * 64 * 64, DEEP_W = 256 * 256 * 9, FOLDED = 128 * 128,
                    SHORT = 2 * 32 * 32, PRE = 2 * 257 * 512, LATENTS = 16 * 257 * 64;

static const row rows[] = {
    {.id = FX_OP_add, .c = &SUM, .pass = FX_FORWARD},
    {.id = FX_OP_add, .c = &SUM, .pass = FX_BACKWARD},
    {.id = FX_OP_drop_rows,
     .c = &DROPPED,
     .pass = FX_FORWARD,
     .again = 0.01,
     .inside = 0.34,
     .why = "the step, by every thread"},
    {.id = FX_OP_drop_rows,
     .c = &DROPPED,
     .pass = FX_BACKWARD,
     .again = 0.34,
     .inside = 0.34,
     .why = "the step, by every thread; dy for base, which a model's tape passes on"},
    {.id = FX_OP_silu, .c = &VECTORS, .pass = FX_FORWARD},
    {.id = FX_OP_silu, .c = &VECTORS, .pass = FX_BACKWARD},
    {.id = FX_OP_pool, .c = &IMAGES, .pass = FX_FORWARD},
    {.id = FX_OP_pool, .c = &IMAGES, .pass = FX_BACKWARD},
    {.id = FX_OP_layer_norm,
     .c = &LAYER,
     .pass = FX_FORWARD,
     .again = 0.13,
     .inside = 0.87,
     .why = "gamma and beta, by every block of 8 tokens"},
    {.id = FX_OP_layer_norm,
     .c = &LAYER,
     .pass = FX_BACKWARD,
     .again = 0.11,
     .inside = 0.31,
     .why = "gamma by every block; the blocks' sums, 1/26 of the tokens here"},
    {.id = FX_OP_group_norm,
     .c = &ONE,
     .pass = FX_FORWARD,
     .again = 0.55,
     .inside = 0.31,
     .why = "x by the second pass; sums of chunks; coefficients"},
    {.id = FX_OP_group_norm,
     .c = &ONE,
     .pass = FX_BACKWARD,
     .again = 0.72,
     .inside = 0.45,
     .why = "x, dy by the second pass; sums of chunks; coefficients"},
    {.id = FX_OP_group_norm,
     .c = &POOLED,
     .pass = FX_FORWARD,
     .again = 0.89,
     .inside = 0.36,
     .why = "the same"},
    {.id = FX_OP_group_norm,
     .c = &POOLED,
     .pass = FX_BACKWARD,
     .again = 0.62,
     .inside = 0.44,
     .why = "the same"},
    {.id = FX_OP_group_norm,
     .c = &LEVEL0,
     .pass = FX_FORWARD,
     .again = 0.56,
     .inside = 0.25,
     .why = "the same, half of the channels at a time"},
    {.id = FX_OP_group_norm,
     .c = &LEVEL0,
     .pass = FX_BACKWARD,
     .again = 0.72,
     .inside = 0.36,
     .why = "the same, half of the channels at a time"},
    {.id = FX_OP_group_norm,
     .c = &WIDEST,
     .pass = FX_FORWARD,
     .again = 0.55,
     .inside = 0.25,
     .why = "the same, a quarter of the channels at a time"},
    {.id = FX_OP_group_norm,
     .c = &WIDEST,
     .pass = FX_BACKWARD,
     .again = 0.71,
     .inside = 0.37,
     .why = "the same, a quarter of the channels at a time"},
    {.id = FX_OP_attention,
     .c = &HEADS,
     .pass = FX_FORWARD,
     .again = 1.0,
     .why = "keys and values, by the 3 blocks of a head"},
    {.id = FX_OP_attention,
     .c = &HEADS,
     .pass = FX_BACKWARD,
     .again = 1.53,
     .inside = 1.08,
     .why = "q, k, v, dy by both kernels and their 3 blocks of a head"},
    {.id = FX_OP_attention,
     .c = &HEADS,
     .pass = FX_FORWARD,
     .again = 15.95,
     .why = "keys and values by every block; not for speed",
     .fp32 = true},
    {.id = FX_OP_attention,
     .c = &HEADS,
     .pass = FX_BACKWARD,
     .again = 16.61,
     .inside = 0.96,
     .why = "all by every block; not for speed",
     .fp32 = true},
    {.id = FX_OP_tokens,
     .c = &TOKENS,
     .pass = FX_FORWARD,
     .again = 0.46,
     .why = "positions, by every image"},
    {.id = FX_OP_tokens, .c = &TOKENS, .pass = FX_BACKWARD},
    {.id = FX_OP_add_token, .c = &TOKEN, .pass = FX_FORWARD},
    {.id = FX_OP_add_token, .c = &TOKEN, .pass = FX_BACKWARD},
    {.id = FX_OP_untoken, .c = &UNTOKEN, .pass = FX_FORWARD},
    {.id = FX_OP_untoken, .c = &UNTOKEN, .pass = FX_BACKWARD},
    {.id = FX_OP_patch, .c = &PATCH, .pass = FX_FORWARD},
    {.id = FX_OP_patch, .c = &PATCH, .pass = FX_BACKWARD},
    {.id = FX_OP_interpolate,
     .c = &BICUBIC,
     .pass = FX_FORWARD,
     .again = 3.23,
     .inside = 10.9,
     .why = "16 source pixels a pixel, for the neighbours too",
     .ideal = 4 * 16 * 16 * SECTOR + 4 * 128 * 128 * FULL},
    {.id = FX_OP_draw,
     .c = &DRAW,
     .pass = FX_FORWARD,
     .inside = 1.0,
     .why = "the step, by every thread"},
    {.id = FX_OP_diffuse, .c = &DIFFUSE, .pass = FX_FORWARD},
    {.id = FX_OP_ddim, .c = &DDIM, .pass = FX_FORWARD},
    {.id = FX_OP_loss, .c = &L1, .pass = FX_FORWARD},
    {.id = FX_OP_loss,
     .c = &L1,
     .pass = FX_BACKWARD,
     .inside = 0.13,
     .why = "dloss and weights, by every thread"},
    {.id = FX_OP_loss,
     .c = &EPS,
     .pass = FX_FORWARD,
     .inside = 0.05,
     .why = "the levels, by every thread"},
    {.id = FX_OP_loss,
     .c = &EPS,
     .pass = FX_BACKWARD,
     .inside = 0.17,
     .why = "dloss and weights, by every thread"},
    {.id = FX_OP_contrast,
     .c = &CONTRAST,
     .pass = FX_FORWARD,
     .again = 1.07,
     .inside = 0.01,
     .why = "the latents by both kernels",
     .ideal = LATENTS * HALF},
    {.id = FX_OP_contrast,
     .c = &CONTRAST,
     .pass = FX_BACKWARD,
     .again = 0.56,
     .inside = 0.05,
     .why = "the latents, by the blocks of either task; factors",
     .ideal = 2 * LATENTS * HALF},
    {.id = FX_OP_clip, .c = &CLIP, .pass = FX_FORWARD},
    {.id = FX_OP_update,
     .c = &LION,
     .pass = FX_FORWARD,
     .inside = 0.02,
     .why = "the norm and the step, by every thread"},
    {.id = FX_OP_update,
     .c = &ADAMW,
     .pass = FX_FORWARD,
     .inside = 0.02,
     .why = "the norm and the step, by every thread"},
    {.id = FX_OP_fill, .c = &FILL, .pass = FX_FORWARD},
    {.id = FX_OP_fourier,
     .c = &FOURIER,
     .pass = FX_FORWARD,
     .again = 3.76,
     .inside = 1.83,
     .why = "frequencies and phases, by every sample: 8 bytes for 2 written"},
    {.id = FX_OP_tree_sum, .c = &ROWS, .pass = FX_FORWARD, .ideal = 9 * (1 << 17) * FULL},
    {.id = FX_OP_all_reduce,
     .c = &BUCKET,
     .pass = FX_FORWARD,
     .kernel = "narrow",
     .ideal = (1 << 20) * (FULL + HALF)},
    {.id = FX_OP_widen, .c = &WIDEN, .pass = FX_FORWARD},
    {.id = FX_OP_gather, .c = &GATHER, .pass = FX_FORWARD, .ideal = 2 * LATENTS * HALF},
    {.id = FX_OP_exchange,
     .c = &DEAL,
     .pass = FX_FORWARD,
     .again = 0.34,
     .why = "the latents: one rank alone packs them twice",
     .ideal = 3 * LATENTS * HALF},
    {.id = FX_OP_exchange, .c = &DEAL, .pass = FX_BACKWARD, .ideal = 2 * LATENTS * HALF},
    {.id = FX_OP_arrive, .c = &DEALT, .pass = FX_FORWARD, .ideal = 2 * LATENTS * HALF},
    {.id = FX_OP_arrive, .c = &DEALT, .pass = FX_BACKWARD, .ideal = 2 * LATENTS * HALF},
    {.id = FX_OP_dots,
     .c = &DOTS,
     .pass = FX_FORWARD,
     .again = 1.1,
     .inside = 0.01,
     .why = "the latents by both kernels",
     .ideal = LATENTS * HALF},
    {.id = FX_OP_dots,
     .c = &DOTS,
     .pass = FX_BACKWARD,
     .again = 0.64,
     .inside = 0.25,
     .why = "the latents, by the blocks of either task and at their end",
     .ideal = 2 * LATENTS * HALF},
    {.id = FX_OP_contrast_dots,
     .c = &PAIRS,
     .pass = FX_FORWARD,
     .again = 1.99,
     .inside = 8.8,
     .why = "norms, with every product; products, by the largest, the sum and the gradient of rows and "
            "of columns"},
    {.id = FX_OP_contrast_dots,
     .c = &PAIRS,
     .pass = FX_BACKWARD,
     .again = 0.02,
     .inside = 0.5,
     .why = "dloss"},
    {.id = FX_OP_linear,
     .c = &MLP,
     .pass = FX_FORWARD,
     .again = 0.01,
     .inside = 0.53,
     .why = "the step, by every thread",
     .kernel = "finish",
     .ideal = 2 * PRE * HALF},
    {.id = FX_OP_linear,
     .c = &MLP,
     .pass = FX_BACKWARD,
     .again = 0.01,
     .inside = 0.35,
     .why = "the step, by every thread",
     .kernel = "unbend",
     .ideal = 3 * PRE * HALF},
    {.id = FX_OP_linear,
     .c = &MLP,
     .pass = FX_BACKWARD,
     .again = 0.04,
     .why = "sums of pieces",
     .kernel = "fx_column_kernel",
     .ideal = PRE * HALF},
    {.id = FX_OP_conv,
     .c = &FIRST,
     .pass = FX_FORWARD,
     .kernel = "widen",
     .ideal = PIXELS * (1 + 8) * HALF},
    {.id = FX_OP_conv,
     .c = &FIRST,
     .pass = FX_BACKWARD,
     .kernel = "narrow",
     .ideal = PIXELS * (8 + 1) * HALF},
    {.id = FX_OP_conv,
     .c = &FINAL,
     .pass = FX_FORWARD,
     .kernel = "narrow",
     .ideal = PIXELS * (8 + 1) * HALF},
    {.id = FX_OP_conv,
     .c = &FINAL,
     .pass = FX_BACKWARD,
     .kernel = "widen",
     .ideal = PIXELS * (1 + 8) * HALF},
    {.id = FX_OP_conv,
     .c = &FINAL,
     .pass = FX_BACKWARD,
     .again = 0.25,
     .why = "sums of pieces, of one channel",
     .kernel = "fx_column_kernel",
     .ideal = PIXELS * HALF},
    {.id = FX_OP_conv, .c = &DEEP, .pass = FX_FORWARD, .kernel = "pack", .ideal = 2 * DEEP_W * HALF},
    {.id = FX_OP_conv,
     .c = &DEEP,
     .pass = FX_BACKWARD,
     .kernel = "unpack",
     .ideal = DEEP_W * (HALF + FULL)},
    {.id = FX_OP_conv,
     .c = &DOUBLED,
     .pass = FX_FORWARD,
     .again = 0.23,
     .inside = 1.18,
     .why = "residual, by the next line and pixel; bias",
     .kernel = "prefill",
     .ideal = 64 * (SHORT + PIXELS) * HALF},
    {.id = FX_OP_conv,
     .c = &DOUBLED,
     .pass = FX_BACKWARD,
     .kernel = "residual_gradient",
     .ideal = 64 * (SHORT + PIXELS) * HALF},
    {.id = FX_OP_conv,
     .c = &UPSAMPLE,
     .pass = FX_FORWARD,
     .again = 0.28,
     .why = "sectors shared by runs of 9 values, of neighbours",
     .kernel = "fold",
     .ideal = FOLDED * (9 + 16) * HALF},
    {.id = FX_OP_conv,
     .c = &UPSAMPLE,
     .pass = FX_BACKWARD,
     .again = 0.18,
     .why = "sectors shared by runs of 9 values, of neighbours",
     .kernel = "unfold",
     .ideal = FOLDED * (16 * HALF + 9 * FULL)},
};

static void print(const char *what, const row *w, double ideal, const fake_traffic *k)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", what, w->fp32 ? ", fp32" : "");
    traffic_print(full, w->c->name, ideal, k, ideal > 0 ? w->why : NULL);
}

/* Result or gradients against the CPU's, of the same draws. */
static void compare(fx_test *t, const row *w, fx_op_run *r, uint32_t draws)
{
    fx_test cpu = fx_test_begin("cpu");
    cpu.draws = draws, cpu.values = FX_BF16;
    fx_op_run *c = fx_test_open(&cpu, w->id, w->c);
    fx_test_forward(&cpu, c);
    if (w->pass == FX_BACKWARD) fx_test_backward(&cpu, c, 0);
    for (int i = 0; i < (w->pass == FX_FORWARD ? 1 : FX_MAX_IN); i++) {
        fx_tensor *const got = w->pass == FX_FORWARD ? r->node.out[0] : r->node.din[i],
                         *const want = w->pass == FX_FORWARD ? c->node.out[0] : c->node.din[i];
        double worst = 0, largest = 0;
        for (int64_t k = 0; got && k < fx_count(got); k++) {
            const double off = fabs((double)fx_f32(got)[k] - (double)fx_f32(want)[k]);
            if (off > worst || isnan(off)) worst = off;
            largest = fmax(largest, fabs((double)fx_f32(want)[k]));
        }
        fx_test_check(t, worst <= ROUNDED * largest, r, "differs from the CPU's");
    }
    fx_test_close(c);
    cpu.exec->backend->close(&cpu.exec);
}

static void check(fx_test *t, const row *w)
{
    const uint32_t draws = t->draws;
    const char *const pass = w->pass == FX_FORWARD ? "forward" : "backward";
    fake_traffic all[FAKE_TRAFFIC_KERNELS];
    char name[96];
    t->storage = w->fp32 ? FX_F32 : FX_BF16;
    fx_op_run *r = fx_test_open(t, w->id, w->c);
    if (w->pass == FX_BACKWARD) fx_test_forward(t, r);
    fake_traffic_begin(w->kernel);
    if (w->pass == FX_FORWARD)
        fx_test_forward(t, r);
    else
        fx_test_backward(t, r, 0);
    const int kernels = fake_traffic_end(all);
    const double ideal = w->ideal > 0 ? w->ideal : fx_node_bytes(&r->device, w->pass);
    const traffic_limits most = {.again = w->again, .inside = w->inside};
    const char *const fault = traffic_fault(&all[0], ideal, &most);
    fx_test_check(t, !fault, r, fault);
    snprintf(name, sizeof name, "**%s%s%s, %s**", r->node.op->name, w->kernel ? ": " : "",
             w->kernel ? w->kernel : "", pass);
    print(name, w, ideal, &all[0]);
    for (int i = 1; kernels > 3 && i < kernels; i++) {
        const fake_traffic *k = &all[i];
        if (k->read + k->wrote + k->again + k->inside < SHOWN * ideal) continue;
        snprintf(name, sizeof name, "%s x %d", k->kernel, k->launches);
        print(name, w, 0, k);
    }
    if (w->c == &WIDEST) compare(t, w, r, draws);
    fx_test_close(r);
}

int main(void)
{
    fx_test t = fx_test_begin("cuda");
    t.values = FX_BF16;
    traffic_print_head();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&t, &rows[i]);
    return fx_test_end(&t);
}
