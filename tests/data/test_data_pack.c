/* test_data_pack.c: packing on one rank, reading the pack, and every way in which a pack can be wrong.
 * Planted in the code, caught here, removed:
 *   a slab cut as if its snapshots were dense          patches are the sources' tiles
 *   windows that all begin in column 0                 any memory gives the same pack
 *   the rest of the rows left out                      any memory gives the same pack
 *   checksums not compared, or of a quarter            a flipped byte is reported
 *   shards kept that are older than their source       a changed source is packed anew
 *   shards kept whatever their note says               an interrupted pack is finished
 *   the tile left out of a shard's identity            missing, short, foreign shards
 *   a shorter file taken                               missing, short, foreign shards
 *   statistics a shard, not a Reynolds number          statistics are those of the tiles
 *   no look at the free space                          a disk too small (time-out)
 *   HDF5's reason quoted with its line break           a failed write
 *   an allocation not looked at                        a failed allocation (crash) */
#include "data_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "flexhpc/log.h"

static char folder[FX_PATH_MAX], pack_path[FX_PATH_MAX];
static fx_config config;

/* Re 500: 5 snapshots of 3 x 2 tiles and a rest; Re 1000: 4 snapshots of one tile. 2 patches a shard.
 */
static int set_up(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    make_scratch(folder, "pack");
    OK(fx_path(path, "%s/source", folder));
    assert_int_equal(mkdir(path, 0777), 0);
    config = test_config();
    config.pack_shard_patches = 2;
    OK(fx_print(config.pack_source, sizeof config.pack_source, "%s/source", folder));
    OK(fx_path(path, "%s/source/1000_8_8_seed_1.h5", folder));
    write_source(path, 1000, 4, 8, 8, (source_kind){0});
    OK(fx_path(path, "%s/source/500_24_19_seed_2.h5", folder));
    write_source(path, 500, 5, 24, 19, (source_kind){.attributes = true});
    OK(fx_path(path, "%s/source/notes.txt", folder)); /* other files in the folder are left alone */
    fclose(fopen(path, "w"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_scratch(folder);
    return 0;
}

/* A pack of its own in the scratch folder, also config.pack_path and data_path. */
static void pack_as(const char *name)
{
    OK(fx_path(pack_path, "%s/%s", folder, name));
    OK(fx_print(config.pack_path, sizeof config.pack_path, "%s", pack_path));
    OK(fx_print(config.data_path, sizeof config.data_path, "%s", pack_path));
    OK(fx_pack(fx_comm_self(), &config));
}

static void file_of_pack(char path[FX_PATH_MAX], const char *name)
{
    OK(fx_path(path, "%s/%s", pack_path, name));
}

static void patches_are_the_sources_tiles(void **state)
{
    (void)state;
    fx_pack_reader *pack = NULL;
    float x[5 * 64];
    pack_as("plain");
    OK(verify_pack(fx_comm_self(), pack_path));
    OK(fx_pack_open(pack_path, &pack));
    const fx_manifest *m = fx_pack_manifest(pack);
    assert_true(m->patches == 7 && m->shards == 4 && m->sources == 2 && m->reynolds_count == 2);
    assert_true(m->patch == 8 && m->strata == 16);
    for (int i = 0; i < 2; i++)
        assert_true(m->source[i].periodic[0] && m->source[i].periodic[1] && m->source[i].run == 0 &&
                    strcmp(m->source[i].field, "w") == 0);
    for (int64_t i = 0; i < m->patches; i++) {
        const fx_patch p = fx_manifest_patch(m, i);
        assert_true(p.reynolds == (i < 6 ? 500 : 1000) && p.seed == (i < 6 ? 2 : 1));
        assert_true(p.snapshots == (i < 6 ? 5 : 4) && p.interval == (i < 6 ? 0.25 : 0));
        assert_true(p.row == (i < 6 ? i / 2 * 8 : 0) && p.column == (i < 6 ? i % 2 * 8 : 0));
        for (int64_t t = 0; t < p.snapshots; t++)
            for (int64_t count = 1; count <= p.snapshots - t; count++) {
                OK(fx_pack_read(pack, i, t, count, x));
                for (int64_t k = 0; k < count * 64; k++)
                    assert_true(x[k] ==
                                value_at(p.reynolds, t + k / 64, p.row + k % 64 / 8, p.column + k % 8));
            }
        REFUSES(FX_EARG, "snapshots", fx_pack_read(pack, i, p.snapshots - 1, 2, x));
    }
    REFUSES(FX_EARG, "no patch 7 of 7", fx_pack_read(pack, 7, 0, 1, x));
    fx_pack_close(&pack);
}

static void same_bytes(const char *a, const char *b, const char *name)
{
    char path[2][FX_PATH_MAX];
    OK(fx_path(path[0], "%s/%s", folder, a));
    OK(fx_path(path[1], "%s/%s", folder, b));
    assert_true(same_file(path[0], path[1], name));
}

/* Tiles of 256 bytes, 2 across, 3 down, 5 snapshots: a slab of one tile, of a row, of two rows, of all
 * rows of two snapshots. */
static void any_memory_gives_the_same_pack(void **state)
{
    (void)state;
    const double tiles[] = {1, 2, 4, 13};
    pack_as("reference");
    for (int i = 0; i < 4; i++) {
        config.pack_memory = tiles[i] * 256 / 0x1p20;
        pack_as("little");
        for (int k = 0; k < 4; k++) {
            char name[32];
            snprintf(name, sizeof name, "shard-%04d.h5", k);
            same_bytes("reference", "little", name);
        }
        remove_scratch(pack_path);
    }
    config.pack_memory = 64;
}

static void statistics_are_those_of_the_tiles(void **state)
{
    (void)state;
    fx_manifest m;
    pack_as("plain");
    OK(fx_manifest_read(pack_path, &m));
    double square_of_all = 0;
    for (int r = 0; r < 2; r++) {
        const double re = r ? 1000 : 500;
        const int64_t T = r ? 4 : 5, H = r ? 8 : 24, W = r ? 8 : 16, n = T * H * W;
        double sum = 0, square = 0, least = INFINITY, largest = -INFINITY;
        for (int64_t i = 0; i < n; i++) {
            const double v = value_at(re, i / (H * W), i / W % H, i % W);
            sum += v;
            square += v * v;
            least = fmin(least, v);
            largest = fmax(largest, v);
        }
        const fx_stats *s = &m.reynolds[r].stats;
        square_of_all += square;
        assert_true(m.reynolds[r].reynolds == re && s->count == n && s->least == least &&
                    s->largest == largest);
        assert_true(fabs(s->mean - sum / (double)n) < 1e-9 * fabs(s->mean));
        assert_true(fabs(fx_stats_rms(s) - sqrt(square / (double)n)) < 1e-9 * fx_stats_rms(s));
    }
    assert_true(fabs(m.scale - sqrt(square_of_all / (5 * 24 * 16 + 4 * 64))) < 1e-9 * m.scale);
    assert_true(m.reynolds[1].first == 6 && m.reynolds[1].patches == 1);
    fx_manifest_free(&m);
}

/* A pack that broke off in the second source: no manifest, and of its shards one is missing, one
 * half-written, one broken since. */
static void an_interrupted_pack_is_finished(void **state)
{
    (void)state;
    char path[FX_PATH_MAX], part[FX_PATH_MAX], source[FX_PATH_MAX];
    struct stat before, after;
    pack_as("reference");
    OK(fx_path(source, "%s/source/1000_8_8_seed_1.h5", folder));
    write_source(source, 1000, 4, 8, 8, (source_kind){.nan_t = 3});
    OK(fx_print(config.pack_path, sizeof config.pack_path, "%s/again", folder));
    REFUSES(FX_EVALUE, "1000_8_8_seed_1.h5: w[2, 2, 3]", fx_pack(fx_comm_self(), &config));
    OK(fx_path(pack_path, "%s", config.pack_path));
    file_of_pack(path, "manifest.json");
    assert_true(access(path, F_OK) != 0);
    write_source(source, 1000, 4, 8, 8, (source_kind){0});
    file_of_pack(path, "shard-0001.h5");
    file_of_pack(part, "shard-0001.h5.part");
    assert_int_equal(rename(path, part), 0);
    assert_int_equal(truncate(part, 3000), 0);
    file_of_pack(path, "shard-0002.h5");
    assert_int_equal(stat(path, &before), 0);
    flip(path, before.st_size / 2);
    file_of_pack(path, "shard-0004.h5"); /* of an older, larger pack */
    fclose(fopen(path, "w"));
    file_of_pack(path, "shard-0000.h5");
    assert_int_equal(stat(path, &before), 0);
    pack_as("again");
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino); /* kept */
    assert_true(access(part, F_OK) != 0);
    file_of_pack(path, "shard-0004.h5");
    assert_true(access(path, F_OK) != 0);
    file_of_pack(path, "shard-0000.h5.sum");
    assert_true(access(path, F_OK) != 0);
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "shard-%04d.h5", i);
        same_bytes("reference", "again", name);
    }
    same_bytes("reference", "again", "manifest.json");
    file_of_pack(path, "shard-0000.h5");
    pack_as("again"); /* whole: all is kept, but what was damaged */
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    flip(path, after.st_size / 2);
    pack_as("again");
    same_bytes("reference", "again", "shard-0000.h5");
}

static void a_changed_source_is_packed_anew(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    float x[64];
    fx_pack_reader *pack = NULL;
    pack_as("changed");
    OK(fx_path(path, "%s/source/1000_8_8_seed_1.h5", folder));
    write_source(path, 9000, 4, 8, 8, (source_kind){0});
    pack_as("changed");
    OK(fx_pack_open(pack_path, &pack));
    OK(fx_pack_read(pack, 6, 1, 1, x));
    assert_true(x[5] == value_at(9000, 1, 0, 5));
    fx_pack_close(&pack);
    write_source(path, 1000, 4, 8, 8, (source_kind){0});
}

/* Every byte of a shard's fields is guarded: the first, one inside, the last of each snapshot. */
static void a_flipped_byte_is_reported_when_read(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    fx_pack_reader *pack = NULL;
    size_t size;
    float x[5 * 64];
    pack_as("flipped");
    file_of_pack(path, "shard-0001.h5");
    unsigned char *bytes = slurp(path, &size);
    const float want =
        value_at(500, 3, 8, 8); /* patch 3 (second of shard 1), snapshot 3, first pixel */
    size_t at = 0;
    while (at + sizeof want < size && memcmp(bytes + at, &want, sizeof want) != 0)
        at++;
    assert_true(at + sizeof want < size);
    fx_free(bytes);
    OK(fx_pack_open(pack_path, &pack));
    for (size_t k = 0; k < 256; k += 51) {
        flip(path, (int64_t)(at + k));
        OK(fx_pack_read(pack, 3, 0, 3, x));
        OK(fx_pack_read(pack, 3, 4, 1, x));
        OK(fx_pack_read(pack, 2, 0, 5, x));
        REFUSES(FX_EVALUE, "shard-0001.h5: w[1, 3]", fx_pack_read(pack, 3, 2, 2, x));
        REFUSES(FX_EVALUE, "shard-0001.h5", verify_pack(fx_comm_self(), pack_path));
        flip(path, (int64_t)(at + k));
    }
    OK(fx_pack_read(pack, 3, 0, 5, x));
    OK(verify_pack(fx_comm_self(), pack_path));
    fx_pack_close(&pack);
}

static void read_one(int64_t patch, fx_status code, const char *words)
{
    float x[64];
    fx_pack_reader *pack = NULL;
    OK(fx_pack_open(pack_path, &pack));
    REFUSES(code, words, fx_pack_read(pack, patch, 0, 1, x));
    fx_pack_close(&pack);
}

static void missing_short_and_foreign_shards_are_refused(void **state)
{
    (void)state;
    char path[FX_PATH_MAX], other[FX_PATH_MAX];
    struct stat s;
    pack_as("shards");
    file_of_pack(path, "shard-0000.h5");
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(truncate(path, s.st_size - 1), 0);
    read_one(0, FX_EIO, "shard-0000.h5");
    REFUSES(FX_EVALUE, "the manifest says", verify_pack(fx_comm_self(), pack_path));
    file_of_pack(other, "shard-0001.h5"); /* right size, other tiles */
    assert_int_equal(rename(other, path), 0);
    read_one(0, FX_EVALUE, "shard-0000.h5");
    read_one(2, FX_EIO, "shard-0001.h5");
    REFUSES(FX_EVALUE, "holds tile 2", verify_pack(fx_comm_self(), pack_path));
    memset(&s, 0, sizeof s);
    assert_int_equal(stat(path, &s), 0);
    write_source(path, 500, 5, 8, 8, (source_kind){.dataset = "v"});
    assert_int_equal(truncate(path, s.st_size), 0);
    read_one(0, FX_EIO, "shard-0000.h5");
}

/* Replaces text in manifest.json; the pack must be refused with the words. */
static void manifest_with(const char *from, const char *to, const char *words)
{
    char path[FX_PATH_MAX];
    size_t size;
    fx_pack_reader *pack = NULL;
    pack_as("manifest");
    file_of_pack(path, "manifest.json");
    char *text = (char *)slurp(path, &size), *all = fx_calloc(size + 1, 1);
    memcpy(all, text, size);
    char *at = strstr(all, from);
    if (!at) fail_msg("no %s in the manifest", from);
    FILE *f = fopen(path, "wb");
    fwrite(all, 1, (size_t)(at - all), f);
    fputs(to, f);
    fputs(at + strlen(from), f);
    fclose(f);
    fx_free(text);
    fx_free(all);
    fx_status status = fx_pack_open(pack_path, &pack);
    if (status == FX_OK || !strstr(fx_error_message(), words) ||
        !strstr(fx_error_message(), "manifest.json"))
        fail_msg("status %d, \"%s\": not \"%s\"", status, status ? fx_error_message() : "", words);
    assert_null(pack);
}

static void bad_manifests_are_refused(void **state)
{
    (void)state;
    fx_pack_reader *pack = NULL;
    manifest_with("flexhpc-pack", "something", "not the manifest of a pack");
    manifest_with("\"version\": 1", "\"version\": 2", "version 2");
    manifest_with("shard-0001.h5", "../shard.h5", "shards[1].name");
    manifest_with("\"patch\": 8", "\"patch\": 9999999", "pack.patch");
    manifest_with("\"patches\": 2", "\"patches\": 7", "shards[0].patches");
    manifest_with("\"source\": 1", "\"source\": 2", "shards[3].source");
    manifest_with("\"xxh64\": \"", "\"xxh64\": \"g", "shards[0].xxh64");
    manifest_with("\"xxh64\": \"", "\"xxh64\": \"+000000000000000\", \"was\": \"", "shards[0].xxh64");
    manifest_with("\"xxh64\": \"", "\"xxh64\": \"  00000000000000\", \"was\": \"", "shards[0].xxh64");
    manifest_with("\"reynolds\": 1000", "\"reynolds\": 500", "reynolds[1].reynolds: out of order");
    manifest_with("\"snapshots\": 5", "\"snapshots\": -5", "sources[0].snapshots");
    manifest_with("\"strata\": 16", "\"strata\": \"16\"", "pack.strata");
    manifest_with("\"shards\": [", "\"shards\": [[[", "line");
    REFUSES(FX_EIO, "manifest.json", fx_pack_open(folder, &pack));
}

static void bad_sources_are_refused(void **state)
{
    (void)state;
    char path[FX_PATH_MAX], twice[FX_PATH_MAX];
    fx_config c = config;
    fx_comm *self = fx_comm_self();
    OK(fx_print(c.pack_path, sizeof c.pack_path, "%s/bad", folder));
    c.pack_patch = 32;
    REFUSES(FX_ECONFIG, "pack.patch", fx_pack(self, &c));
    c.pack_patch = 8;
    c.pack_reynolds = (fx_list){1, {77}};
    REFUSES(FX_ECONFIG, "pack.reynolds", fx_pack(self, &c));
    c.pack_reynolds.count = 0;
    OK(fx_print(c.pack_source, sizeof c.pack_source, "%s/nowhere", folder));
    REFUSES(FX_EIO, "nowhere", fx_pack(self, &c));
    OK(fx_print(c.pack_source, sizeof c.pack_source, "%s/500_8_8_seed_3.h5", folder));
    OK(fx_path(path, "%s", c.pack_source));
    write_source(path, 500, 4, 8, 8, (source_kind){.nan_t = 2});
    REFUSES(FX_EVALUE, "500_8_8_seed_3.h5: w[1, 2, 3]", fx_pack(self, &c));
    OK(fx_path(twice, "%s/bad/manifest.json", folder));
    assert_true(access(twice, F_OK) != 0); /* a failed pack is no pack */
    REFUSES(FX_EARG, "second file", fx_pack_files(self, &c, (const char *const[]){path, path}, 2));
    write_source(path, 500, 4, 8, 8, (source_kind){0});
    OK(fx_pack(self, &c)); /* one file instead of a folder */
    c.pack_path[0] = '\0';
    REFUSES(FX_ECONFIG, "pack.path", fx_pack(self, &c));
}

/* A source that claims 32 TiB and holds nothing: HDF5 allocates a contiguous dataset when it is first
 * written. */
static void a_disk_too_small_is_refused_at_once(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    fx_config c = config;
    const hsize_t dims[] = {8388608, 1024, 1024};
    OK(fx_path(path, "%s/500_1024_1024_seed_9.h5", folder));
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                space = H5Screate_simple(3, dims, NULL);
    H5Dclose(H5Dcreate2(file, "w", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    H5Fclose(file);
    c.pack_patch = 256;
    OK(fx_print(c.pack_source, sizeof c.pack_source, "%s", path));
    OK(fx_print(c.pack_path, sizeof c.pack_path, "%s/huge", folder));
    REFUSES(FX_EIO, "33554432.0 MiB needed", fx_pack(fx_comm_self(), &c));
}

/* In a process whose files may have `limit` bytes: 0 when the pack fails with one line that names a
 * file of it. */
static int pack_limited(rlim_t limit)
{
    struct rlimit small = {limit, limit};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &small) != 0) return 1;
    const fx_status status = fx_pack(fx_comm_self(), &config);
    const char *message = fx_error_message();
    return status == FX_EIO && strstr(message, "limited/") && !strchr(message, '\n') ? 0 : 2;
}

/* The file system refuses a write in the middle: no manifest, and the pack can be finished later. */
static void a_failed_write_loses_nothing(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    OK(fx_print(config.pack_path, sizeof config.pack_path, "%s/limited", folder));
    OK(fx_path(path, "%s/limited/manifest.json", folder));
    for (rlim_t limit = 100; limit <= 6000; limit *= 3) {
        int result = 0;
        const pid_t child = fork();
        if (child == 0) _exit(pack_limited(limit));
        assert_true(child > 0 && waitpid(child, &result, 0) == child);
        assert_int_equal(result, 0);
        assert_true(access(path, F_OK) != 0);
    }
    pack_as("limited");
    OK(verify_pack(fx_comm_self(), pack_path));
}

static fx_status open_read_close(void)
{
    float x[64];
    fx_pack_reader *pack = NULL;
    fx_status status = fx_pack_open(pack_path, &pack);
    if (status == FX_OK) status = fx_pack_read(pack, 6, 0, 1, x);
    fx_pack_close(&pack);
    return status;
}

static fx_status pack_again(void)
{
    return fx_pack(fx_comm_self(), &config);
}

static fx_status load(void)
{
    fx_loader *loader = NULL;
    fx_loader_batch batch;
    fx_status status = fx_loader_create(fx_comm_self(), &config, NULL, &loader);
    if (status == FX_OK) status = fx_loader_next(loader, 0, 0, &batch);
    fx_loader_free(&loader);
    return status;
}

/* The n-th allocation fails, for every n until the call gets through. Leaks show under
 * AddressSanitizer. */
static void a_failed_allocation_is_an_error(void **state)
{
    (void)state;
    fx_status (*const calls[])(void) = {open_read_close, pack_again, load};
    pack_as("memory");
    config.data_prefetch = -1; /* the count of allocations is of the process: no thread beside */
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        fx_status status = FX_ENOMEM;
        int failures = 0;
        while (status != FX_OK) {
            fx_mem_fail_after((uint64_t)failures + 1);
            status = calls[i]();
            fx_mem_fail_after(0);
            if (status != FX_OK) assert_int_equal(status, FX_ENOMEM);
            assert_in_range(++failures, 1, 200);
        }
        assert_true(failures > 5);
    }
    config.data_prefetch = 2;
    OK(verify_pack(fx_comm_self(), pack_path));
}

/* With a folder as argument only leaves a pack there, for test_python_reads.py. */
int main(int argc, char **argv)
{
    fx_io_setup();
    fx_log_setup(0, 1, FX_WARN);
    if (argc > 1) {
        set_up(NULL);
        OK(fx_print(config.pack_path, sizeof config.pack_path, "%s/pack", argv[1]));
        OK(fx_pack(fx_comm_self(), &config));
        return tear_down(NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_are_the_sources_tiles),
        cmocka_unit_test(any_memory_gives_the_same_pack),
        cmocka_unit_test(statistics_are_those_of_the_tiles),
        cmocka_unit_test(an_interrupted_pack_is_finished),
        cmocka_unit_test(a_changed_source_is_packed_anew),
        cmocka_unit_test(a_flipped_byte_is_reported_when_read),
        cmocka_unit_test(missing_short_and_foreign_shards_are_refused),
        cmocka_unit_test(bad_manifests_are_refused),
        cmocka_unit_test(bad_sources_are_refused),
        cmocka_unit_test(a_disk_too_small_is_refused_at_once),
        cmocka_unit_test(a_failed_write_loses_nothing),
        cmocka_unit_test(a_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests_name("data pack", tests, set_up, tear_down);
}
