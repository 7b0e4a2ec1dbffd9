/* test_host_memory.c: batches in host memory of the CUDA backend go to the device in one copy, without
 * the staging blocks; memory of the heap goes through them; both may be written again as soon as the
 * call returns, and what is read on the device is what was there. The loader's batches are such memory.
 * The stand-in refuses copies out of memory that isn't pinned.
 * Planted in the code, caught here, removed: an upload that does not wait; pinned memory that is not
 * known again, or from its start alone; memory not zeroed; a release that forgets another's; a loader
 * whose batches are the heap's.
 *
 * Run: standin only */
#include "../data/data_test.h"

#include "../../cuda/exec.h"
#include "flexhpc/log.h"

enum { VALUES = 3 << 20 /* three staging blocks */ };
extern uint64_t fake_started; /* tests/fakecuda/fake.h, which is C++ */

static fx_exec *exec;

static int set_up(void **state)
{
    (void)state;
    const fx_backend *backend = NULL;
    OK(fx_backend_find("cuda", &backend));
    OK(backend->open(&(fx_exec_options){.comm = fx_comm_self(), .threads = 1}, &exec));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    exec->backend->close(&exec);
    return 0;
}

/* Uploads `count` of `values`, writes over them, and compares what the device has; how many pieces of
 * work the upload put into streams. */
static uint64_t round_trip(float *values, int64_t count, float first, fx_tensor *device)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = first + (float)i;
    const uint64_t before = fake_started;
    OK(exec->backend->upload(exec, device->data, values, (size_t)count * sizeof *values));
    const uint64_t started = fake_started - before;
    memset(values, 0xff, (size_t)count * sizeof *values);
    float *back = fx_calloc((size_t)count, sizeof *back);
    OK(exec->backend->download(exec, back, device->data, (size_t)count * sizeof *back));
    for (int64_t i = 0; i < count; i++)
        assert_true(back[i] == first + (float)i);
    fx_free(back);
    return started;
}

static void uploads_are_one_copy(void **state)
{
    (void)state;
    fx_tensor device = {.dtype = FX_F32, .rank = 1, .dim = {VALUES}};
    void *pinned[3] = {NULL};
    float *heap = fx_calloc(VALUES, sizeof *heap);
    OK(exec->backend->allocate(exec, VALUES * sizeof(float), &device.data));
    for (int i = 0; i < 3; i++) {
        OK(exec->backend->allocate_host(exec, VALUES * sizeof(float), &pinned[i]));
        for (int k = 0; k < VALUES; k += 1000)
            assert_true(((float *)pinned[i])[k] == 0);
    }
    exec->backend->release_host(exec, pinned[1]);
    exec->backend->release_host(exec, NULL);
    const uint64_t straight = round_trip(pinned[2], VALUES, 1, &device),
                   part = round_trip((float *)pinned[0] + 5, VALUES - 5, 2, &device),
                   staged = round_trip(heap, VALUES, 3, &device);
    assert_int_equal(straight, part);
    assert_int_equal(staged, 3 * straight); /* a copy and a mark each */
    exec->backend->release_host(exec, pinned[0]);
    exec->backend->release_host(exec, pinned[2]);
    exec->backend->release(exec, device.data, VALUES * sizeof(float));
    fx_free(heap);
}

/* Several batches, with those read ahead of them. */
static void batches_are_pinned(void **state)
{
    (void)state;
    enum { SIDE = 512, BATCH = 4, SAMPLE = 2 * SIDE * SIDE };
    char folder[FX_PATH_MAX], path[FX_PATH_MAX];
    fx_config c = test_config();
    fx_loader *loader = NULL;
    fx_loader_batch batch;
    void *device = NULL;
    make_scratch(folder, "pinned");
    c.pack_patch = c.data_patch = SIDE;
    c.pack_strata = BATCH;
    pack_within(&c, folder);
    OK(fx_path(path, "%s/1000_512_512_seed_1.h5", folder));
    write_source(path, 1000, 6, SIDE, SIDE, (source_kind){0});
    OK(fx_pack(fx_comm_self(), &c));
    OK(exec->backend->allocate(exec, BATCH * SAMPLE * sizeof(float), &device));
    float *back = fx_calloc(BATCH * SAMPLE, sizeof *back);
    OK(fx_loader_create(fx_comm_self(), &c, exec, &loader));
    for (int64_t step = 0; step < 4; step++) {
        OK(fx_loader_next(loader, step, 0, &batch));
        const uint64_t before = fake_started;
        OK(exec->backend->upload(exec, device, batch.snapshots, BATCH * SAMPLE * sizeof *back));
        const uint64_t large = fake_started - before;
        OK(exec->backend->upload(exec, (char *)device + 64, batch.re, BATCH * sizeof *back));
        assert_int_equal(fake_started - before, 2 * large);
        OK(exec->backend->upload(exec, device, batch.snapshots, BATCH * SAMPLE * sizeof *back));
        OK(exec->backend->download(exec, back, device, BATCH * SAMPLE * sizeof *back));
        assert_memory_equal(back, batch.snapshots, BATCH * SAMPLE * sizeof *back);
    }
    fx_loader_free(&loader);
    exec->backend->release(exec, device, BATCH * SAMPLE * sizeof(float));
    fx_free(back);
    remove_scratch(folder);
}

int main(void)
{
    fx_io_setup();
    fx_log_setup(0, 1, FX_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uploads_are_one_copy),
        cmocka_unit_test(batches_are_pinned),
    };
    return cmocka_run_group_tests_name("host memory", tests, set_up, tear_down);
}
