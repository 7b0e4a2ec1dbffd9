/* test_data_spans.c: spans of a pack, read together, are what each is alone, whatever the layout of the
 * shard; neighbours come out of one read. Planted in the code, caught here, removed:
 *   the place of a chunk taken for that of the next
 *   snapshots beyond a chunk's end read out of what lies behind it
 *   a chunk of several patches read at its own place
 *   values of another byte order taken as they are
 *   a run of spans that ends with its last one's snapshots, not with the largest
 *   spans that don't touch read as if they did, or none together
 *   the snapshot of a failed read taken for the first of its part
 *   readers that share one room; none but the first; their error lost, or the last one's
 *   the spans of a read counted from the start of its group
 *   a shard without "hash" taken for one of XXH3; an unknown "hash" taken for it; XXH3 of half a
 * snapshot */
#include "data_test.h"

#include <sched.h>
#include <xxhash.h>

#include "flexhpc/log.h"
#include "flexhpc/rng.h"

enum { S = 8, PIXELS = S * S, T = 11, PATCHES = 6, SPANS = 36 };

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

/* For several threads: each span has its own place, and the asserts are the main thread's. */
static fx_status keep(void *self, const fx_span *span, const float *w)
{
    float(*kept)[T * PIXELS] = self;
    memcpy(kept[span->row], w, (size_t)(span->count * PIXELS) * sizeof *w);
    return FX_OK;
}

static void readers_read_spans(fx_pack_reader *pack, fx_span *spans, int count)
{
    static float kept[SPANS][T * PIXELS];
    memset(kept, 0, sizeof kept);
    OK(fx_pack_read_spans(pack, spans, count, keep, kept));
    for (int i = 0; i < count; i++)
        check_values(fx_pack_manifest(pack), spans[i].patch, spans[i].t, spans[i].count,
                     kept[spans[i].row]);
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
        fx_pack_use_readers(pack, 2 + (int)(round % 3));
        readers_read_spans(pack, spans, SPANS);
        fx_pack_use_readers(pack, 1);
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

/* More reads than a group of them has. */
static void reads_come_in_groups(void **state)
{
    (void)state;
    fx_pack_reader *pack = NULL;
    fx_span spans[SPANS];
    OK(fx_pack_open(config.pack_path, &pack));
    for (int readers = 1; readers <= 3; readers++) {
        for (int64_t i = 0; i < SPANS; i++)
            spans[i] = (fx_span){i % PATCHES, i / PATCHES * 2, 1, i, i % 3};
        fx_pack_use_readers(pack, readers);
        if (readers == 1)
            assert_int_equal(read_spans(pack, spans, SPANS), SPANS);
        else
            readers_read_spans(pack, spans, SPANS);
    }
    fx_pack_close(&pack);
}

typedef struct meeting {
    _Atomic int inside;
    _Atomic bool met;
    double begin;
} meeting;

/* Waits, for 20 s in all, until another thread is here as well. */
static fx_status meet(void *self, const fx_span *span, const float *w)
{
    meeting *m = self;
    (void)span;
    (void)w;
    if (++m->inside > 1) m->met = true;
    while (!m->met && fx_now() < m->begin + 20)
        sched_yield();
    m->inside--;
    return FX_OK;
}

static void readers_read_at_once(void **state)
{
    (void)state;
    fx_pack_reader *pack = NULL;
    fx_span spans[PATCHES];
    meeting m = {.begin = fx_now()};
    for (int64_t i = 0; i < PATCHES; i++)
        spans[i] = (fx_span){i, i, 1, i, 0};
    OK(fx_pack_open(config.pack_path, &pack));
    fx_pack_use_readers(pack, 3);
    OK(fx_pack_read_spans(pack, spans, PATCHES, meet, &m));
    assert_true(m.met);
    fx_pack_close(&pack);
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

/* Where a value lies in the shard. */
static int64_t find_value(float want)
{
    size_t size;
    int64_t at = -1;
    unsigned char *bytes = slurp(shard_path, &size);
    for (size_t i = 0; i + sizeof want <= size && at < 0; i++)
        if (memcmp(bytes + i, &want, sizeof want) == 0) at = (int64_t)i;
    fx_free(bytes);
    assert_true(at > 0);
    return at;
}

/* Gives the shard's snapshots other checksums, by the library's own function, and says `name` of them.
 */
static void hash_again(uint64_t (*hash)(const float *snapshot), const char *name)
{
    static float w[PATCHES * T * PIXELS];
    static uint64_t sums[PATCHES * T];
    const hid_t file = H5Fopen(shard_path, H5F_ACC_RDWR, H5P_DEFAULT),
                fields = H5Dopen2(file, "w", H5P_DEFAULT),
                data = H5Dopen2(file, "checksum", H5P_DEFAULT), type = H5Tcopy(H5T_C_S1),
                scalar = H5Screate(H5S_SCALAR);
    assert_true(H5Dread(fields, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, w) >= 0);
    for (int i = 0; i < PATCHES * T; i++)
        sums[i] = hash(w + i * PIXELS);
    assert_true(H5Dwrite(data, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, sums) >= 0);
    assert_true(H5Adelete(file, "hash") >= 0);
    if (name) {
        H5Tset_size(type, strlen(name));
        const hid_t a = H5Acreate2(file, "hash", type, scalar, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(a >= 0 && H5Awrite(a, type, name) >= 0);
        H5Aclose(a);
    }
    H5Sclose(scalar);
    H5Tclose(type);
    H5Dclose(data);
    H5Dclose(fields);
    assert_true(H5Fclose(file) >= 0);
    fx_manifest m;
    OK(fx_manifest_read(config.pack_path, &m));
    OK(fx_file_size(shard_path, &m.shard[0].bytes));
    OK(fx_manifest_write(config.pack_path, &m));
    fx_manifest_free(&m);
}

static uint64_t xxh64(const float *snapshot)
{
    return XXH64(snapshot, PIXELS * sizeof *snapshot, 0);
}

static uint64_t xxh3(const float *snapshot)
{
    return XXH3_64bits(snapshot, PIXELS * sizeof *snapshot);
}

static fx_status read_one(fx_span span)
{
    fx_pack_reader *pack = NULL;
    FX_TRY(fx_pack_open(config.pack_path, &pack));
    taken k = {.manifest = fx_pack_manifest(pack)};
    const fx_status status = fx_pack_read_spans(pack, &span, 1, take, &k);
    fx_pack_close(&pack);
    return status;
}

static void checksums_are_of_the_shards_kind(void **state)
{
    (void)state;
    const fx_span span = {2, 0, T, 0, 0};
    OK(fx_remove(shard_path));
    OK(fx_pack(fx_comm_self(), &config));
    assert_true(XXH3_64bits("", 0) == 0x2d06800538d394c2u); /* of all versions from 0.8.0 */
    hash_again(xxh3, "XXH3");
    OK(read_one(span));
    hash_again(xxh64, "XXH3");
    REFUSES(FX_EVALUE, "shard-0000.h5: w[2, 0]: the checksum", read_one(span));
    hash_again(xxh64, "BLAKE3");
    REFUSES(FX_EVALUE, "shard-0000.h5: its checksums are BLAKE3, which is not known here",
            read_one(span));
    hash_again(xxh64, NULL); /* as before December 2026 */
    OK(read_one(span));
    flip(shard_path, find_value(value_at(500, 3, 8, 0)));
    REFUSES(FX_EVALUE, "shard-0000.h5: w[2, 3]: the checksum", read_one(span));
}

/* A byte that changed on disk, and a file that was cut while it was open. */
static void damage_is_named(void **state)
{
    (void)state;
    fx_pack_reader *pack = NULL;
    OK(fx_remove(shard_path)); /* what lay_out left there has the values twice */
    OK(fx_pack(fx_comm_self(), &config));
    const int64_t at = find_value(value_at(500, 3, 8, 8));
    flip(shard_path, at);
    OK(fx_pack_open(config.pack_path, &pack));
    fx_span spans[] = {{3, 1, 2, 0, 0}, {3, 2, 2, 1, 1}, {0, 0, 1, 2, 2}};
    taken k = {.manifest = fx_pack_manifest(pack)};
    REFUSES(FX_EVALUE, "shard-0000.h5: w[3, 3]: the checksum",
            fx_pack_read_spans(pack, spans, 3, take, &k));
    assert_int_equal(k.seen[2], 1); /* what lay before it */
    static float kept[SPANS][T * PIXELS];
    fx_pack_use_readers(pack, 3);
    for (int i = 0; i < 20; i++)
        REFUSES(FX_EVALUE, "shard-0000.h5: w[3, 3]: the checksum",
                fx_pack_read_spans(pack, spans, 3, keep, kept));
    fx_pack_use_readers(pack, 1);
    assert_int_equal(truncate(shard_path, at), 0);
    REFUSES(FX_EIO, "shard-0000.h5: w[3, 3]", fx_pack_read_spans(pack, spans, 3, take, &k));
    fx_span all[SPANS]; /* all that lies behind is lost as well */
    for (int64_t i = 0; i < SPANS; i++)
        all[i] = (fx_span){i % PATCHES, i / PATCHES * 2 + 1 < T ? i / PATCHES * 2 + 1 : 0, 1, i, 0};
    fx_pack_use_readers(pack, 3);
    for (int i = 0; i < 20; i++)
        REFUSES(FX_EIO, "shard-0000.h5: w[3, 3]", fx_pack_read_spans(pack, all, SPANS, keep, kept));
    fx_pack_close(&pack);
}

int main(void)
{
    fx_io_setup();
    fx_log_setup(0, 1, FX_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_layout_gives_the_same_values),
        cmocka_unit_test(neighbours_share_a_read),
        cmocka_unit_test(reads_come_in_groups),
        cmocka_unit_test(readers_read_at_once),
        cmocka_unit_test(checksums_are_of_the_shards_kind),
        cmocka_unit_test(damage_is_named),
    };
    return cmocka_run_group_tests_name("data spans", tests, set_up, tear_down);
}
