/* test_data_spans.c: spans of a pack, read together, are what each is alone, whatever the layout of the
 * shard; neighbours come out of one read. Planted in the code, caught here, removed:
 *   the place of a chunk taken for that of the next
 *   snapshots beyond a chunk's end read out of what lies behind it
 *   a chunk of several patches read at its own place
 *   values of another byte order taken as they are
 *   a run of spans that ends with its last one's snapshots, not with the largest
 *   spans that don't touch read as if they did, or none together
 *   the snapshot of a failed read taken for the first of its part */
#include "data_test.h"

#include "flexhpc/log.h"
#include "flexhpc/rng.h"

enum { S = 8, PIXELS = S * S, T = 11, PATCHES = 6, SPANS = 24 };

static char folder[FX_PATH_MAX], shard_path[FX_PATH_MAX];
static fx_config config;

/* One source of 3 x 2 tiles in one shard. */
static int set_up(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    make_scratch(folder, "spans");
    config = test_config();
    OK(fx_print(config.pack_source, sizeof config.pack_source, "%s", folder));
    OK(fx_print(config.pack_path, sizeof config.pack_path, "%s/pack", folder));
    OK(fx_path(path, "%s/500_24_16_seed_2.h5", folder));
    write_source(path, 500, T, 24, 16, (source_kind){0});
    OK(fx_pack(fx_comm_self(), &config));
    OK(fx_path(shard_path, "%s/shard-0000.h5", config.pack_path));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_scratch(folder);
    return 0;
}

/* Writes the shard's fields anew with other chunks (chunk[0] 0: contiguous), type and filter. */
static void lay_out(const hsize_t chunk[4], hid_t type, bool deflate)
{
    static float w[PATCHES * T * PIXELS];
    const hsize_t dims[] = {PATCHES, T, S, S};
    fx_manifest m;
    const hid_t file = H5Fopen(shard_path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t data = H5Dopen2(file, "w", H5P_DEFAULT);
    assert_true(H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, w) >= 0);
    H5Dclose(data);
    assert_true(H5Ldelete(file, "w", H5P_DEFAULT) >= 0);
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(4, dims, NULL);
    if (chunk[0]) H5Pset_chunk(list, 4, chunk);
    if (deflate) H5Pset_deflate(list, 1);
    data = H5Dcreate2(file, "w", type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(data >= 0 && H5Dwrite(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, w) >= 0);
    H5Dclose(data);
    H5Sclose(space);
    H5Pclose(list);
    assert_true(H5Fclose(file) >= 0);
    OK(fx_manifest_read(config.pack_path, &m));
    OK(fx_file_size(shard_path, &m.shard[0].bytes));
    OK(fx_manifest_write(config.pack_path, &m));
    fx_manifest_free(&m);
}

typedef struct taken {
    const fx_manifest *manifest;
    int seen[SPANS], reads;
    const float *base; /* where the present read's patch would have its snapshot 0 */
    int64_t patch;
} taken;

static void check_values(const fx_manifest *m, int64_t patch, int64_t t, int64_t count, const float *w)
{
    const fx_patch p = fx_manifest_patch(m, patch);
    for (int64_t i = 0; i < count * PIXELS; i++)
        assert_true(w[i] == value_at(500, t + i / PIXELS, p.row + i % PIXELS / S, p.column + i % S));
}

/* Also tells reads apart: spans of one share its memory. */
static fx_status take(void *self, const fx_span *span, const float *w)
{
    taken *k = self;
    assert_in_range(span->row, 0, SPANS - 1);
    assert_int_equal(span->plane, span->row % 3);
    k->seen[span->row]++;
    check_values(k->manifest, span->patch, span->t, span->count, w);
    if (k->reads == 0 || span->patch != k->patch || w - span->t * PIXELS != k->base) k->reads++;
    k->base = w - span->t * PIXELS;
    k->patch = span->patch;
    return FX_OK;
}

static int read_spans(fx_pack_reader *pack, fx_span *spans, int count)
{
    taken k = {.manifest = fx_pack_manifest(pack)};
    OK(fx_pack_read_spans(pack, spans, count, take, &k));
    for (int i = 0; i < count; i++)
        assert_int_equal(k.seen[i], 1);
    return k.reads;
}

static void read_everything(void)
{
    fx_pack_reader *pack = NULL;
    static float w[T * PIXELS];
    OK(fx_pack_open(config.pack_path, &pack));
    for (int64_t patch = 0; patch < PATCHES; patch++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t count = 1; count <= T - t; count++) {
                OK(fx_pack_read(pack, patch, t, count, w));
                check_values(fx_pack_manifest(pack), patch, t, count, w);
            }
    for (uint32_t round = 0; round < 40; round++) {
        fx_span spans[SPANS];
        for (uint32_t i = 0; i < SPANS; i++) {
            const fx_philox r = fx_philox4x32(5, (const uint32_t[4]){i, round, 0, 0});
            const int64_t t = r.word[0] % T;
            spans[i] = (fx_span){r.word[1] % PATCHES, t, 1 + r.word[2] % (T - t), i, i % 3};
        }
        (void)read_spans(pack, spans, SPANS);
    }
    fx_pack_close(&pack);
}

static void any_layout_gives_the_same_values(void **state)
{
    (void)state;
    static const hsize_t chunks[][4] = {{1, T, S, S}, {1, 2, S, S}, {1, 5, S, S},
                                        {2, 3, S, S}, {1, 4, S, 4}, {0}};
    read_everything();
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        lay_out(chunks[i], H5T_IEEE_F32LE, false);
        read_everything();
    }
    lay_out(chunks[1], H5T_IEEE_F32BE, false);
    read_everything();
    lay_out(chunks[1], H5T_IEEE_F32LE, true);
    read_everything();
    lay_out(chunks[1], H5T_IEEE_F32LE, false);
}

static void neighbours_share_a_read(void **state)
{
    (void)state;
    fx_pack_reader *pack = NULL;
    OK(fx_pack_open(config.pack_path, &pack));
    fx_span touching[] = {{2, 6, 2, 0, 0}, {2, 0, 6, 1, 1}, {2, 1, 2, 2, 2}, {2, 8, 3, 3, 0}};
    assert_int_equal(read_spans(pack, touching, 4), 1);
    fx_span apart[] = {{2, 7, 2, 0, 0}, {2, 0, 6, 1, 1}, {1, 6, 1, 2, 2}, {2, 1, 2, 3, 0}};
    assert_int_equal(read_spans(pack, apart, 4), 3);
    fx_span wrong[] = {{0, 0, 2, 0, 0}, {0, 1, T, 1, 1}};
    taken k = {.manifest = fx_pack_manifest(pack)};
    REFUSES(FX_EARG, "patch 0 has 11 snapshots", fx_pack_read_spans(pack, wrong, 2, take, &k));
    wrong[1].patch = PATCHES;
    wrong[1].t = 0;
    REFUSES(FX_EARG, "no patch 6", fx_pack_read_spans(pack, wrong, 2, take, &k));
    fx_pack_close(&pack);
}

/* A byte that changed on disk, and a file that was cut while it was open. */
static void damage_is_named(void **state)
{
    (void)state;
    fx_pack_reader *pack = NULL;
    int64_t at = -1;
    size_t size;
    const float want = value_at(500, 3, 8, 8);
    OK(fx_remove(shard_path)); /* what lay_out left there has the values twice */
    OK(fx_pack(fx_comm_self(), &config));
    unsigned char *bytes = slurp(shard_path, &size);
    for (size_t i = 0; i + sizeof want <= size && at < 0; i++)
        if (memcmp(bytes + i, &want, sizeof want) == 0) at = (int64_t)i;
    fx_free(bytes);
    assert_true(at > 0);
    flip(shard_path, at);
    OK(fx_pack_open(config.pack_path, &pack));
    fx_span spans[] = {{3, 1, 2, 0, 0}, {3, 2, 2, 1, 1}, {0, 0, 1, 2, 2}};
    taken k = {.manifest = fx_pack_manifest(pack)};
    REFUSES(FX_EVALUE, "shard-0000.h5: w[3, 3]: the checksum",
            fx_pack_read_spans(pack, spans, 3, take, &k));
    assert_int_equal(k.seen[2], 1); /* what lay before it */
    assert_int_equal(truncate(shard_path, at), 0);
    REFUSES(FX_EIO, "shard-0000.h5: w[3, 3]", fx_pack_read_spans(pack, spans, 3, take, &k));
    fx_pack_close(&pack);
}

int main(void)
{
    fx_io_setup();
    fx_log_setup(0, 1, FX_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_layout_gives_the_same_values),
        cmocka_unit_test(neighbours_share_a_read),
        cmocka_unit_test(damage_is_named),
    };
    return cmocka_run_group_tests_name("data spans", tests, set_up, tear_down);
}
