/* test_pack_add.c: a source that is added to a pack. Planted in the code, caught here, removed: the old
 * manifest gone before the new one comes; new shards numbered from 0; the scale of all values; no lock;
 * values not compared; no look at the source's age; shards of a broken-off addition left. */
#include "data_test.h"

#include "flexhpc/log.h"

static char folder[FX_PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    make_scratch(folder, "add");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_scratch(folder);
    return 0;
}

/* Another file of the same name, in a folder of its own and older than any shard. */
static void write_namesake(char path[FX_PATH_MAX], double values)
{
    const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    OK(fx_path(path, "%s/other", folder));
    assert_true(mkdir(path, 0777) == 0 || errno == EEXIST);
    OK(fx_path(path, "%s/other/1000_8_8_seed_1.h5", folder));
    write_source(path, values, 4, 8, 8, (source_kind){0});
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
}

/* What a shard's name and age don't tell, its values do. */
static void a_namesake_is_not_taken_for_it(void **state)
{
    (void)state;
    char path[FX_PATH_MAX], other[FX_PATH_MAX];
    float x[64];
    fx_config c = test_config();
    fx_pack_reader *pack = NULL;
    fx_comm *self = fx_comm_self();
    OK(fx_print(c.pack_path, sizeof c.pack_path, "%s/namesake", folder));
    OK(fx_path(path, "%s/1000_8_8_seed_1.h5", folder));
    write_source(path, 1000, 4, 8, 8, (source_kind){0});
    const char *const first[] = {path}, *const second[] = {other};
    OK(fx_pack_files(self, &c, first, 1));
    write_namesake(other, 1000);
    OK(fx_pack_files(self, &c, second, 1)); /* the same in another place */
    c.pack_add = true;
    OK(fx_pack_files(self, &c, second, 1));
    write_namesake(other, 3000);
    REFUSES(FX_ECONFIG, "other/1000_8_8_seed_1.h5 is in the pack already, older or with other values",
            fx_pack_files(self, &c, second, 1));
    c.pack_add = false;
    OK(fx_pack_files(self, &c, second, 1));
    OK(fx_pack_open(c.pack_path, &pack));
    OK(fx_pack_read(pack, 0, 3, 1, x));
    assert_true(x[13] == value_at(3000, 3, 1, 5));
    fx_pack_close(&pack);
}

/* Re 500 comes before the Re 1000 that is there; its shards are new, the old one stays as it is. */
static void a_source_is_added(void **state)
{
    (void)state;
    char path[FX_PATH_MAX], old[FX_PATH_MAX], both[2][FX_PATH_MAX];
    struct stat before, after;
    float x[64];
    fx_config c = test_config();
    fx_pack_reader *pack = NULL;
    fx_comm *self = fx_comm_self();
    c.pack_shard_patches = 2;
    OK(fx_print(c.pack_path, sizeof c.pack_path, "%s/added", folder));
    OK(fx_path(both[0], "%s/1000_8_8_seed_1.h5", folder));
    OK(fx_path(both[1], "%s/500_24_19_seed_2.h5", folder));
    write_source(both[0], 1000, 4, 8, 8, (source_kind){0});
    const char *const first[] = {both[0]}, *const second[] = {both[1]};
    c.pack_add = true;
    REFUSES(FX_EIO, "pack.add", fx_pack_files(self, &c, first, 1));
    c.pack_add = false;
    OK(fx_pack_files(self, &c, first, 1));
    fx_manifest alone;
    OK(fx_manifest_read(c.pack_path, &alone));
    OK(fx_path(old, "%s/shard-0000.h5", c.pack_path));
    assert_int_equal(stat(old, &before), 0);
    c.pack_add = true;
    c.pack_strata = 4;
    OK(fx_pack_files(self, &c, first, 1)); /* it is there already: what a start after a kill finds */
    assert_int_equal(stat(old, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    fx_lock *lock = NULL;
    OK(fx_lock_take(c.pack_path, &lock));
    REFUSES(FX_EIO, "in use by pid", fx_pack_files(self, &c, second, 1));
    fx_lock_release(&lock);
    c.pack_patch = 16;
    REFUSES(FX_ECONFIG, "pack.patch", fx_pack_files(self, &c, second, 1));
    c.pack_patch = 8;
    write_source(both[1], 500, 5, 24, 19, (source_kind){.attributes = true, .nan_t = 5});
    REFUSES(FX_EVALUE, "w[4, 2, 3]", fx_pack_files(self, &c, second, 1));
    OK(verify_pack(fx_comm_self(), c.pack_path)); /* what was there is still a pack */
    write_source(both[1], 500, 5, 24, 19, (source_kind){.attributes = true});
    OK(fx_path(path, "%s/shard-0007.h5", c.pack_path)); /* of an addition that was broken off */
    fclose(fopen(path, "w"));
    OK(fx_pack_files(self, &c, second, 1));
    assert_true(access(path, F_OK) != 0);
    OK(verify_pack(fx_comm_self(), c.pack_path));
    assert_int_equal(stat(old, &after), 0);
    assert_true(before.st_ino == after.st_ino && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    OK(fx_pack_open(c.pack_path, &pack));
    const fx_manifest *m = fx_pack_manifest(pack);
    assert_true(m->patches == 7 && m->sources == 2 && m->strata == 16 && m->scale == alone.scale);
    assert_true(m->reynolds_count == 2 && m->reynolds[0].reynolds == 500 && m->reynolds[1].first == 6 &&
                m->reynolds[1].stats.mean == alone.reynolds[0].stats.mean);
    for (int64_t i = 0; i < m->patches; i++) {
        const fx_patch p = fx_manifest_patch(m, i);
        OK(fx_pack_read(pack, i, 3, 1, x));
        assert_true(p.reynolds == (i < 6 ? 500 : 1000));
        assert_true(x[13] == value_at(p.reynolds, 3, p.row + 1, p.column + 5));
    }
    fx_pack_close(&pack);
    fx_manifest_free(&alone);
    OK(fx_path(path, "%s/shard-0001.h5.sum", c.pack_path));
    assert_true(access(path, F_OK) != 0);
    /* The same name is another source: longer, or written since. */
    write_source(both[1], 500, 6, 24, 19, (source_kind){.attributes = true});
    REFUSES(FX_ECONFIG, "500_24_19_seed_2.h5 is in the pack already, with another",
            fx_pack_files(self, &c, second, 1));
    write_source(both[1], 500, 5, 24, 19, (source_kind){.attributes = true});
    REFUSES(FX_ECONFIG, "500_24_19_seed_2.h5 is in the pack already, older",
            fx_pack_files(self, &c, second, 1));
    OK(verify_pack(fx_comm_self(), c.pack_path));
}

int main(void)
{
    fx_io_setup();
    fx_log_setup(0, 1, FX_WARN);
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_source_is_added),
                                       cmocka_unit_test(a_namesake_is_not_taken_for_it)};
    return cmocka_run_group_tests_name("pack add", tests, set_up, tear_down);
}
