/* test_data_loader.c: the loader gives the order's samples, scaled, whatever the depth of prefetch, the
 * number of ranks and the place it starts from. Ranks are played one after the other: the loader only
 * looks at rank and size. Planted in the code, caught here, removed:
 *   a batch kept that a seek made void                 any step can be asked for
 *   the ring filled over the caller's batch            batches are the order's
 *   every micro-batch the first                        batches are the order's
 *   every rank the first                               ranks share the global batch
 *   noise of the row instead of the slot               ranks share the low resolution
 *   a batch awaited after an error stopped the thread  errors of the thread (hangs)
 *   the target always one step ahead                   batches are the order's
 *   a buffer of one sample taken for each batch        reading takes no memory
 *   the ring's places kept while it grows              the depth follows the times
 *   the caller's buffer put where the thread goes next the depth follows the times
 *   a depth chosen before anybody follows              the depth follows the times
 *   times kept from before that, or before a seek      the depth follows the times
 *   one buffer more than fits                          the depth follows the times */
#include "data_test.h"

#include "flexhpc/log.h"
#include "flexhpc/mem.h"

enum { RANKS = 4, S = 8, PIXELS = S * S };

static char folder[FX_PATH_MAX];
static fx_config config;

/* Re 500: 6 tiles of 7 snapshots; Re 1000: 1 tile of 12. */
static int set_up(void **state)
{
    (void)state;
    make_scratch(folder, "loader");
    config = test_config();
    pack_two_sources(&config, folder, 12, 8);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_scratch(folder);
    return 0;
}

static fx_loader *make(const fx_config *c)
{
    fx_loader *loader = NULL;
    OK(fx_loader_create(fx_comm_self(), c, NULL, &loader));
    return loader;
}

/* The batch of (step, micro) that `rank` of `size` should see, from the order and the formula of the
 * sources. */
static void check(const fx_config *c, const fx_loader_batch *batch, int rank, int size, int64_t step,
                  int64_t micro)
{
    fx_manifest m;
    fx_order *order = NULL;
    OK(fx_manifest_read(c->data_path, &m));
    const fx_order_options options = {
        (uint64_t)c->seed, c->train_global_batch, c->model_cond, c->data_forecast_step, NULL, NULL};
    OK(fx_order_create(&m, &options, &order));
    const int64_t b = c->train_global_batch / (size * c->train_accumulate), cond = c->model_cond;
    const float scale = (float)(c->data_scale > 0 ? c->data_scale : m.scale);
    assert_int_equal(batch->samples, b);
    for (int64_t i = 0; i < b; i++) {
        const fx_sample s =
            fx_order_sample(order, step, rank * (c->train_global_batch / size) + micro * b + i);
        const fx_patch p = fx_manifest_patch(&m, s.patch);
        assert_true(batch->re[i] == (float)(p.reynolds / 1000));
        for (int64_t k = 0; k < PIXELS; k++) {
            const int64_t y = p.row + k / S, x = p.column + k % S;
            for (int64_t n = 0; n < cond; n++)
                assert_true(batch->snapshots[(i * PIXELS + k) * cond + n] ==
                            value_at(p.reynolds, s.snapshot - cond + 1 + n, y, x) / scale);
            assert_true(batch->future[i * PIXELS + k] ==
                        value_at(p.reynolds, s.snapshot + c->data_forecast_step, y, x) / scale);
        }
    }
    fx_order_free(&order);
    fx_manifest_free(&m);
}

static void batches_are_the_orders(void **state)
{
    (void)state;
    fx_loader_batch batch;
    for (int depth = 0; depth <= 8; depth += depth ? 7 : 1) /* none, 1, 8 */
        for (int cond = 1; cond <= 3; cond++)
            for (int ahead = 1; ahead <= 2; ahead++) {
                fx_config c = config;
                c.data_prefetch = depth ? depth : -1;
                c.data_readers = cond;
                c.model_cond = cond;
                c.data_forecast_step = ahead;
                c.data_scale = cond == 2 ? 2.5 : 0;
                c.train_accumulate = ahead;
                fx_loader *loader = make(&c);
                assert_true(cond != 2 || fx_loader_scale(loader) == 2.5);
                for (int64_t step = 0; step < 6; step++)
                    for (int64_t micro = 0; micro < ahead; micro++) {
                        OK(fx_loader_next(loader, step, micro, &batch));
                        check(&c, &batch, 0, 1, step, micro);
                    }
                assert_true(fx_loader_wait(loader) >= 0);
                fx_loader_free(&loader);
                assert_null(loader);
            }
}

static void any_step_can_be_asked_for(void **state)
{
    (void)state;
    static const int64_t steps[] = {1000, 1001, 7, 7, 8, 9, 8, 0, 1, 2, 123456789, 3};
    fx_loader_batch batch;
    for (int depth = 0; depth <= 3; depth++) {
        fx_config c = config;
        c.data_prefetch = depth ? depth : -1;
        fx_loader *loader = make(&c);
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
            OK(fx_loader_next(loader, steps[i], 0, &batch));
            check(&c, &batch, 0, 1, steps[i], 0);
        }
        REFUSES(FX_EARG, "no micro-batch 1", fx_loader_next(loader, 0, 1, &batch));
        fx_loader_free(&loader);
    }
}

/* data.prefetch 0. Steps that take no time ask for all that the memory allows; a step always needs the
 * batches of its own and of the one after it. What is read ahead while the ring grows is not lost. */
static void the_depth_follows_the_times(void **state)
{
    (void)state;
    for (int64_t accumulate = 1; accumulate <= 4; accumulate *= 2)
        for (int64_t most = 1; most <= 21; most += 5)
            for (int run = 0; run < 8; run++) {
                fx_config c = config;
                fx_loader_batch batch;
                c.data_prefetch = 0;
                c.train_accumulate = accumulate;
                const int64_t samples = c.train_global_batch / accumulate,
                              bytes = 4 * samples * (3 * PIXELS + 1);
                c.data_prefetch_memory = (double)(bytes * (most + 1) + 3) / 0x1p20;
                fx_loader *loader = make(&c);
                const int64_t first = fx_loader_depth(loader);
                assert_int_equal(first, most < 2 ? most : 2);
                for (int64_t step = 0; step < 8; step++) /* nobody's steps */
                    OK(fx_loader_next(loader, step * (1 + run % 3), 0, &batch));
                assert_int_equal(fx_loader_depth(loader), first);
                fx_loader_follow(loader);
                for (int64_t step = 8; step < 11; step++) { /* too few, before these and after */
                    OK(fx_loader_next(loader, step * (1 + run % 3), 0, &batch));
                    assert_int_equal(fx_loader_depth(loader), first);
                }
                for (int64_t step = 100; step < 112; step++)
                    for (int64_t micro = 0; micro < accumulate; micro++) {
                        OK(fx_loader_next(loader, step, micro, &batch));
                        check(&c, &batch, 0, 1, step, micro);
                        if (step < 104) assert_int_equal(fx_loader_depth(loader), first);
                        if (run % 2) usleep(50);
                    }
                const int64_t depth = fx_loader_depth(loader);
                assert_in_range(depth, 2 * accumulate < most ? 2 * accumulate : most, most);
                OK(fx_loader_next(loader, 7, 0, &batch)); /* measured anew */
                check(&c, &batch, 0, 1, 7, 0);
                assert_int_equal(fx_loader_depth(loader), depth);
                fx_loader_free(&loader);
            }
}

/* The depth is chosen at the fifth step. */
static void without_memory_the_depth_stays(void **state)
{
    (void)state;
    for (uint64_t failing = 1; failing <= 5; failing++) {
        fx_config c = config;
        fx_loader_batch batch;
        c.data_prefetch = 0;
        c.data_reynolds = (fx_list){1, {500}}; /* one shard, which is open by then */
        fx_loader *loader = make(&c);
        fx_loader_follow(loader);
        for (int64_t step = 0; step < 10; step++) {
            if (step == 4) (void)fx_mem_fail_after(failing);
            OK(fx_loader_next(loader, step, 0, &batch));
            if (step == 4) (void)fx_mem_fail_after(0);
            for (int64_t i = 0; i < batch.samples; i++)
                assert_true(batch.re[i] == 0.5f);
        }
        assert_int_equal(fx_loader_depth(loader), 2);
        fx_loader_free(&loader);
    }
}

/* Once every shard has been opened. */
static void reading_takes_no_memory(void **state)
{
    (void)state;
    enum { WARM = 30, STEPS = 90 };
    fx_loader_batch batch;
    for (int depth = 0; depth <= 3; depth += 3) {
        fx_config c = config;
        c.data_prefetch = depth ? depth : -1;
        fx_loader *loader = make(&c);
        for (int64_t step = 0; step < STEPS; step++) {
            OK(fx_loader_next(loader, step, 0, &batch));
            if (step == WARM) (void)fx_mem_fail_after(0); /* begins to count */
        }
        assert_int_equal(fx_mem_fail_after(0), 0);
        fx_loader_free(&loader);
    }
}

/* A loader waits for nobody once it is made, so one process plays each rank in turn; set-up agrees over
 * one rank. */
static fx_status agreed(fx_comm *comm, const void *mine, size_t bytes, void *all)
{
    for (int r = 0; r < comm->size; r++)
        memcpy((char *)all + (size_t)r * bytes, mine, bytes);
    return FX_OK;
}

static void ranks_share_the_global_batch(void **state)
{
    (void)state;
    const fx_comm_ops ops = {.all_gather = agreed};
    for (int size = 1; size <= RANKS; size *= 2)
        for (int rank = 0; rank < size; rank++) {
            fx_comm comm = {.ops = &ops, .rank = rank, .size = size};
            fx_config c = config;
            fx_loader *loader = NULL;
            fx_loader_batch batch;
            c.train_global_batch = 8;
            c.train_accumulate = 2;
            OK(fx_loader_create(&comm, &c, NULL, &loader));
            for (int64_t step = 0; step < 4; step++)
                for (int64_t micro = 0; micro < 2; micro++) {
                    OK(fx_loader_next(loader, step, micro, &batch));
                    check(&c, &batch, rank, size, step, micro);
                }
            fx_loader_free(&loader);
        }
}

/* Noise and all: row i of a rank is row slot of one rank alone. */
static void ranks_share_the_low_resolution(void **state)
{
    (void)state;
    enum { BATCH = 8, F = 2, COARSE = S / F * (S / F) };
    const fx_comm_ops ops = {.all_gather = agreed};
    float whole[BATCH * COARSE];
    for (int lowres = FX_LOWRES_STRIDED; lowres <= FX_LOWRES_ANTIALIASED; lowres++)
        for (int size = 1; size <= RANKS; size *= 2)
            for (int rank = 0; rank < size; rank++) {
                fx_comm comm = {.ops = &ops, .rank = rank, .size = size};
                fx_config c = config;
                fx_loader *loader = NULL;
                fx_loader_batch batch;
                c.train_global_batch = BATCH;
                c.train_accumulate = size > 1 ? 2 : 1;
                c.data_factor = F;
                c.data_lowres = lowres;
                c.data_lowres_noise = 0.25;
                OK(fx_loader_create(&comm, &c, NULL, &loader));
                for (int64_t micro = 0; micro < c.train_accumulate; micro++) {
                    OK(fx_loader_next(loader, 5, micro, &batch));
                    const int64_t slot = rank * (BATCH / size) + micro * batch.samples;
                    const size_t bytes = (size_t)(batch.samples * COARSE) * sizeof *whole;
                    if (size == 1) memcpy(whole, batch.coarse, bytes);
                    assert_memory_equal(batch.coarse, whole + slot * COARSE, bytes);
                }
                assert_true(whole[0] != whole[COARSE]);
                fx_loader_free(&loader);
            }
}

static void errors_of_the_thread_come_out(void **state)
{
    (void)state;
    char path[FX_PATH_MAX], away[FX_PATH_MAX];
    fx_loader_batch batch;
    OK(fx_path(path, "%s/pack/shard-0000.h5", folder));
    OK(fx_path(away, "%s/away.h5", folder));
    for (int depth = 0; depth <= 4; depth += 2) {
        fx_config c = config;
        c.data_prefetch = depth ? depth : -1;
        c.data_reynolds = (fx_list){1, {500}};
        fx_loader *loader = make(&c);
        assert_int_equal(rename(path, away), 0);
        for (int i = 0; i < 3; i++)
            REFUSES(FX_EIO, "shard-0000.h5", fx_loader_next(loader, i, 0, &batch));
        assert_int_equal(rename(away, path), 0);
        OK(fx_loader_next(loader, 1, 0, &batch)); /* it recovers */
        fx_loader_free(&loader);
        loader = make(&c);
        fx_loader_free(&loader); /* never asked */
        loader = make(&c);
        OK(fx_loader_next(loader, 5, 0, &batch));
        fx_loader_free(&loader); /* with batches read ahead */
    }
}

static void refuses(const fx_config *c, fx_status code, const char *words)
{
    fx_loader *loader = NULL;
    REFUSES(code, words, fx_loader_create(fx_comm_self(), c, NULL, &loader));
    assert_null(loader);
}

static void wrong_configurations_are_refused(void **state)
{
    (void)state;
    fx_config c = config;
    c.data_patch = 16;
    refuses(&c, FX_ECONFIG, "data.patch: 16");
    assert_non_null(strstr(fx_error_message(), "pack.patch"));
    c = config;
    c.train_accumulate = 3;
    refuses(&c, FX_ECONFIG, "train.accumulate");
    c = config;
    c.train_global_batch = 5;
    refuses(&c, FX_ECONFIG, "pack.strata");
    c = config;
    c.data_path[0] = '\0';
    refuses(&c, FX_ECONFIG, "data.path");
    OK(fx_print(c.data_path, sizeof c.data_path, "%s/nowhere", folder));
    refuses(&c, FX_EIO, "nowhere/manifest.json");
    c = config;
    c.data_reynolds = (fx_list){1, {77}};
    refuses(&c, FX_ECONFIG, "Re 77");
}

int main(void)
{
    fx_io_setup();
    fx_log_setup(0, 1, FX_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_the_orders),
        cmocka_unit_test(any_step_can_be_asked_for),
        cmocka_unit_test(the_depth_follows_the_times),
        cmocka_unit_test(without_memory_the_depth_stays),
        cmocka_unit_test(reading_takes_no_memory),
        cmocka_unit_test(ranks_share_the_global_batch),
        cmocka_unit_test(ranks_share_the_low_resolution),
        cmocka_unit_test(errors_of_the_thread_come_out),
        cmocka_unit_test(wrong_configurations_are_refused),
    };
    return cmocka_run_group_tests_name("data loader", tests, set_up, tear_down);
}
