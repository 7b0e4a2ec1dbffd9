/* test_data_ranks.c: a pack by several ranks is, byte for byte, the pack by one, and one rank's failure
 * is the same one line everywhere. Planted in the code, caught here, removed:
 *   results taken from another rank than the owner     the bytes (4 ranks)
 *   a source missing on one rank                       the bytes (4 ranks)
 *   shards written without agreement after a round     a failure is the same
 *   a loader made without agreement                    a failure is the same
 *
 * Run: ranks 1 2 4
 * Run: timeout 60 */
#include "data_test.h"

#include "flexhpc/launch.h"
#include "flexhpc/log.h"

static fx_comm *comm;
static char folder[FX_PATH_MAX]; /* the same on all ranks */
static fx_config config;

/* Re 500: 2 x 3 tiles, one a shard; Re 1000: 3 x 3 tiles; 15 shards in all. */
static int set_up(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    if (comm->rank == 0) make_scratch(folder, "ranks");
    OK(comm->ops->broadcast(comm, folder, sizeof folder, 0));
    config = test_config();
    config.pack_shard_patches = 1;
    OK(fx_print(config.pack_source, sizeof config.pack_source, "%s", folder));
    OK(fx_print(config.pack_path, sizeof config.pack_path, "%s/all", folder));
    OK(fx_print(config.data_path, sizeof config.data_path, "%s/all", folder));
    if (comm->rank > 0) return 0;
    OK(fx_path(path, "%s/500_16_24_seed_1.h5", folder));
    write_source(path, 500, 5, 16, 24, (source_kind){.channels = 3});
    OK(fx_path(path, "%s/1000_24_24_seed_2.h5", folder));
    write_source(path, 1000, 4, 24, 24, (source_kind){.attributes = true});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    comm->ops->barrier(comm);
    if (comm->rank == 0) remove_scratch(folder);
    return 0;
}

static void the_bytes_do_not_depend_on_ranks(void **state)
{
    (void)state;
    for (int patches = 1; patches <= 4; patches += 3) { /* 15 shards, then 2 + 3 */
        config.pack_shard_patches = patches;
        OK(fx_pack(comm, &config));
        if (comm->rank == 0) {
            char **names[2];
            int count[2];
            fx_config alone = config;
            OK(fx_print(alone.pack_path, sizeof alone.pack_path, "%s/one", folder));
            OK(fx_pack(fx_comm_self(), &alone));
            OK(fx_list_dir(alone.pack_path, "", &names[0], &count[0]));
            OK(fx_list_dir(config.pack_path, "", &names[1], &count[1]));
            assert_int_equal(count[0], count[1]);
            assert_int_equal(count[0], 4 + (patches == 1 ? 15 : 5)); /* ".", "..", manifest, lock */
            for (int i = 0; i < count[0]; i++)
                if (names[0][i][0] != '.' && strcmp(names[0][i], "run.lock") != 0)
                    assert_true(same_file(alone.pack_path, config.pack_path, names[0][i]));
            fx_free(names[0]);
            fx_free(names[1]);
        }
        OK(verify_pack(comm, config.pack_path));
        comm->ops->barrier(comm);
    }
}

/* Every rank reads its own part of the batch at the same time. */
static void ranks_read_their_slots(void **state)
{
    (void)state;
    fx_loader *loader = NULL;
    fx_loader_batch batch;
    fx_manifest m;
    fx_order *order = NULL;
    OK(fx_loader_create(comm, &config, NULL, &loader));
    OK(fx_manifest_read(config.data_path, &m));
    const fx_order_options options = {
        (uint64_t)config.seed, config.train_global_batch, 2, 1, NULL, NULL};
    OK(fx_order_create(&m, &options, &order));
    for (int64_t step = 3; step < 9; step++) {
        OK(fx_loader_next(loader, step, 0, &batch));
        for (int64_t i = 0; i < batch.samples; i++) {
            const fx_sample s = fx_order_sample(order, step, comm->rank * batch.samples + i);
            const fx_patch p = fx_manifest_patch(&m, s.patch);
            const float want = value_at(p.reynolds, s.snapshot + 1, p.row, p.column) / (float)m.scale;
            assert_true(batch.future[i * 64] == want);
        }
    }
    fx_order_free(&order);
    fx_manifest_free(&m);
    fx_loader_free(&loader);
    comm->ops->barrier(comm);
}

static void a_failure_is_the_same_everywhere(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    fx_loader *loader = NULL;
    fx_config bad = config;
    if (comm->rank == comm->size - 1) bad.data_patch = 16; /* one rank alone */
    REFUSES(FX_ECONFIG, "data.patch: 16", fx_loader_create(comm, &bad, NULL, &loader));
    assert_null(loader);
    OK(fx_path(path, "%s/1000_24_24_seed_2.h5", folder)); /* the last rank's source */
    comm->ops->barrier(comm);
    if (comm->rank == 0) write_source(path, 1000, 4, 24, 24, (source_kind){.nan_t = 4});
    comm->ops->barrier(comm);
    REFUSES(FX_EVALUE, "1000_24_24_seed_2.h5: w[3, 2, 3] is", fx_pack(comm, &config));
    OK(fx_path(path, "%s/manifest.json", config.pack_path));
    assert_false(fx_file_exists(path));
    bad.pack_patch = 512;
    REFUSES(FX_ECONFIG, "pack.patch", fx_pack(comm, &bad));
}

int main(int argc, char **argv)
{
    fx_io_setup();
    setenv("FLEXHPC_MPI", "1", 0);
    fx_status status = fx_comm_start(&argc, &argv, &comm);
    if (status != FX_OK) return fx_comm_finish(&comm, status);
    fx_log_setup(comm->rank, comm->size, FX_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_do_not_depend_on_ranks),
        cmocka_unit_test(ranks_read_their_slots),
        cmocka_unit_test(a_failure_is_the_same_everywhere),
    };
    const int failed = cmocka_run_group_tests_name("data on ranks", tests, set_up, tear_down);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    return fx_comm_finish(&comm, status);
}
