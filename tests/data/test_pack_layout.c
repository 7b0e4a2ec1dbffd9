/* test_pack_layout.c: pack.window and pack.compress: the chunks and filters that they ask for, the same
 * values whatever they are, and bytes that depend neither on pack.memory nor on what memory held
 * before. Planted in the code, caught here, removed: a slab's later snapshots written from its first
 * ones; chunks written patch by patch; slabs that end inside a chunk; shards of another window, or
 * another level, kept; the size of a chunk not looked at. */
#include "data_test.h"

#include <malloc.h>

#include "flexhpc/log.h"

static char folder[FX_PATH_MAX];
static fx_config config;

/* Re 500: 5 snapshots of 3 x 2 tiles, 4 a shard. */
static int set_up(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    make_scratch(folder, "layout");
    config = test_config();
    config.pack_shard_patches = 4;
    OK(fx_path(path, "%s/500_24_19_seed_2.h5", folder));
    write_source(path, 500, 5, 24, 19, (source_kind){.attributes = true});
    OK(fx_print(config.pack_source, sizeof config.pack_source, "%s", path));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_scratch(folder);
    return 0;
}

static void pack_as(const char *name, int64_t window, int64_t compress)
{
    OK(fx_print(config.pack_path, sizeof config.pack_path, "%s/%s", folder, name));
    config.pack_window = window;
    config.pack_compress = compress;
    OK(fx_pack(fx_comm_self(), &config));
}

/* Every box of snapshots of every patch, and how they lie. */
static void holds(const char *name, int64_t window, int compress)
{
    char path[FX_PATH_MAX];
    float x[5 * 64];
    fx_pack_reader *pack = NULL;
    OK(fx_path(path, "%s/%s", folder, name));
    OK(verify_pack(fx_comm_self(), path));
    OK(fx_pack_open(path, &pack));
    const fx_manifest *m = fx_pack_manifest(pack);
    assert_true(m->patches == 6 && m->shards == 2);
    for (int i = 0; i < m->shards; i++) {
        fx_pack_storage s;
        OK(fx_pack_storage_of(pack, i, &s));
        assert_true(s.window == window && s.compress == compress && s.bytes > 0);
    }
    for (int64_t i = 0; i < m->patches; i++)
        for (int64_t t = 0; t < 5; t++)
            for (int64_t count = 1; count <= 5 - t; count++) {
                OK(fx_pack_read(pack, i, t, count, x));
                for (int64_t k = 0; k < count * 64; k++)
                    assert_true(x[k] ==
                                value_at(500, t + k / 64, i / 2 * 8 + k % 64 / 8, i % 2 * 8 + k % 8));
            }
    fx_pack_close(&pack);
}

static bool same_bytes(const char *a, const char *b, const char *name)
{
    char path[2][FX_PATH_MAX];
    OK(fx_path(path[0], "%s/%s", folder, a));
    OK(fx_path(path[1], "%s/%s", folder, b));
    return same_file(path[0], path[1], name);
}

/* A chunk never has more than the 5 snapshots that there are. */
static void chunks_are_as_asked_for(void **state)
{
    (void)state;
    pack_as("plain", 0, 0);
    holds("plain", 5, 0);
    pack_as("windowed", 2, 0);
    holds("windowed", 2, 0);
    pack_as("deflated", 0, 6);
    holds("deflated", 1, 6);
    pack_as("long", 100, 1);
    holds("long", 5, 1);
    assert_false(same_bytes("plain", "windowed", "shard-0000.h5"));
    char path[FX_PATH_MAX];
    fx_config c = config;
    c.pack_window = 10000000;
    c.pack_patch = 16;
    const hsize_t dims[] = {4194305, 16, 16}; /* HDF5 allocates them when they are written */
    OK(fx_path(path, "%s/500_16_16_seed_9.h5", folder));
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                space = H5Screate_simple(3, dims, NULL);
    H5Dclose(H5Dcreate2(file, "w", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    H5Fclose(file);
    OK(fx_print(c.pack_source, sizeof c.pack_source, "%s", path));
    OK(fx_print(c.pack_path, sizeof c.pack_path, "%s/large", folder));
    REFUSES(FX_ECONFIG, "pack.window: a chunk of 4194305 snapshots", fx_pack(fx_comm_self(), &c));
}

/* Tiles of 256 bytes: a slab of a chunk of one tile, of a row, of all rows, of two chunks and more. The
 * last chunk in time is not full; what it is filled up with must not be what memory held. */
static void any_memory_gives_the_same_bytes(void **state)
{
    (void)state;
    const double tiles[] = {1, 4, 6, 10, 21, 40};
    const int64_t levels[] = {0, 1, 9};
    for (int l = 0; l < 3; l++) {
        mallopt(M_PERTURB, 0x5a);
        pack_as("reference", 2, levels[l]);
        holds("reference", 2, (int)levels[l]);
        mallopt(M_PERTURB, 0x31);
        for (int i = 0; i < 6; i++) {
            config.pack_memory = tiles[i] * 256 / 0x1p20;
            pack_as("little", 2, levels[l]);
            assert_true(same_bytes("reference", "little", "shard-0000.h5"));
            assert_true(same_bytes("reference", "little", "shard-0001.h5"));
            assert_true(same_bytes("reference", "little", "manifest.json"));
            config.pack_memory = 64;
            remove_scratch(config.pack_path);
        }
    }
    mallopt(M_PERTURB, 0);
}

/* Shards that lie otherwise than asked for are packed again, others are kept. */
static void another_layout_is_packed_again(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    struct stat before, after;
    const struct {
        int64_t window, compress;
    } to[] = {{3, 2}, {2, 3}, {0, 2}, {2, 0}};
    for (int i = 0; i < 4; i++) {
        pack_as("changed", 2, 2);
        OK(fx_path(path, "%s/shard-0001.h5", config.pack_path));
        assert_int_equal(stat(path, &before), 0);
        pack_as("changed", 2, 2);
        assert_int_equal(stat(path, &after), 0);
        assert_true(before.st_ino == after.st_ino);
        pack_as("changed", to[i].window, to[i].compress);
        holds("changed", to[i].window ? to[i].window : 1, (int)to[i].compress);
    }
}

int main(void)
{
    fx_io_setup();
    fx_log_setup(0, 1, FX_WARN);
    const struct CMUnitTest tests[] = {cmocka_unit_test(chunks_are_as_asked_for),
                                       cmocka_unit_test(any_memory_gives_the_same_bytes),
                                       cmocka_unit_test(another_layout_is_packed_again)};
    return cmocka_run_group_tests_name("pack layout", tests, set_up, tear_down);
}
