/* test_device_dropout.cpp: the masks of cuda/dropout.cuh are those of src/ops/dropout.c bit for bit:
 * rows of both tasks and of later slots, long rows, seeds and steps of full width, several p; and off
 * where p is 0 or the step has no dropout.
 *
 * Run: standin only
 * Planted and caught: in rng.cuh a round left out, the key's words exchanged; in dropout.cuh slots
 * counted by one instead of two, rows not wrapped at the samples, the task of the row left out, the
 * threshold rounded down, an element at the threshold dropped, the step's flag not read. */
#include "dies.h"

#include "../../cuda/dropout.cuh"
#include "../../cuda/launch.cuh"

extern "C" {
#include "ops/dropout.h"
}

enum { ROWS = 7, BLOCKS = 33, ELEMENTS = 4 * BLOCKS, THREADS = 64 };
static const uint32_t STREAM = 0xdeadbeef;

FX_KERNEL void draw(fx_masked m, const fx_step *step, float *factor)
{
    const int64_t i = fx_index();
    if (i >= ROWS * BLOCKS) return;
    fx_mask_factors(fx_mask_of(m, step), i / BLOCKS, i % BLOCKS, factor + 4 * i);
}

static fx_status start(fx_cuda *exec, const fx_node *n, float p, const fx_step *step, float *factor)
{
    FX_LAUNCH(&exec->base, n, draw, fx_grid(ROWS * BLOCKS, THREADS), THREADS, 0, fx_masked_of(n, p),
              step, factor);
    return FX_OK;
}

/* The step is in the last elements of the rig's memory. */
static void same(rig &r, const fx_rows &rows, const fx_step &step, float p, bool on)
{
    float want[ELEMENTS];
    fx_cuda exec = {};
    fx_node node = {};
    const size_t place = rig::COUNT - sizeof step / sizeof(float);
    exec.stream = r.a;
    exec.base.step = &step;
    node.name = "node";
    node.stream = STREAM;
    node.rows = rows;
    memcpy(r.pinned + place, &step, sizeof step);
    r.up(r.a);
    holds(start(&exec, &node, p, (const fx_step *)(r.device + place), r.device) == FX_OK, "launch");
    r.down(r.a);
    cudaStreamSynchronize(r.a);
    const fx_dropout d = fx_dropout_of(&exec.base, &node, p);
    const fx_masked m = fx_masked_of(&node, p);
    holds(!on || (m.threshold == d.threshold && m.scale == d.scale), "threshold and scale");
    int dropped = 0;
    for (int b = 0; b < ROWS; b++) {
        fx_dropout_factors(&d, b, 0, ELEMENTS, want);
        holds(memcmp(want, r.pinned + b * ELEMENTS, sizeof want) == 0, "factors of a row");
        for (float f : want)
            dropped += f == 0.0f;
    }
    holds((dropped > 0) == on, "on or off");
}

int main(void)
{
    rig r;
    fx_step step = {};
    step.seed = 0x123456789abcdef1;
    step.step = 0xfedcba98;
    step.slot0 = 40;
    step.dropout = true;
    for (float p : {0.1f, 0.3f, 0.9f})
        for (const fx_rows &rows :
             {fx_rows{4, 0, 0, 0}, fx_rows{3, 5, 1, 0}, fx_rows{0, 2, 0, 0}, fx_rows{ROWS, 0, 1, 1}})
            same(r, rows, step, p, true);
    float drawn = 0; /* an element's own number is not below it */
    fx_fill_uniform(step.seed, 2 * step.slot0, STREAM, step.step, &drawn, 1);
    same(r, {4, 0, 0, 0}, step, drawn, true);
    same(r, {4, 0, 0, 0}, step, 0.0f, false);
    step.dropout = false;
    same(r, {4, 0, 0, 0}, step, 0.5f, false);
    return end_of_checks();
}
