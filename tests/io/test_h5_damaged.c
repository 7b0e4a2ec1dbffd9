/* test_h5_damaged.c: HDF5 files that are damaged, or made to do harm, are refused in one line that
 * names file and dataset, before HDF5 comes to the damage; where it dies of one, one line names the
 * file.
 *
 * Planted and caught: a crash handler that takes crashes outside HDF5 for its own, or none at all, or
 * has no stack of its own; a local heap's chain that nobody looks at, or its length; a fill value's
 * size that nobody looks at, of one kind of header or of both; chunks whose length nobody looks at, or
 * the first one's alone, of which more or less than a chunk is let in, whose checksum or whose order of
 * filters nobody looks at, or whose checksum has no room before deflation, and chunks that have
 * no filters followed through them, or read by way of HDF5's cache; addresses of 4 bytes let in,
 * or looked for at byte 0 alone; numbers whose bits nobody looks at, of attributes or of datasets, or
 * their sign's, exponent's or mantissa's; chunks of any size for any file.
 *
 * Run: source tests/fuzz/mutate.c */
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <zlib.h>

#include "h5_test.h"

#include "fuzz/mutate.h"

/* A file as bytes, to be damaged. */
enum { MOST_BYTES = 1 << 16 };

static fuzz_input load(const char *path)
{
    static char bytes[MOST_BYTES];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, MOST_BYTES, file);
    fclose(file);
    return (fuzz_input){.data = bytes, .size = size, .room = MOST_BYTES};
}

static void store(const char *path, const fuzz_input *in)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(in->data, 1, in->size, file), in->size);
    fclose(file);
}

static size_t find(const fuzz_input *in, const void *what, size_t size)
{
    const char *at = memmem(in->data, in->size, what, size);
    assert_non_null(at);
    return (size_t)(at - in->data);
}

/* Damages the first local heap: its first free block follows itself, or its length is that of no file.
 */
static void damage_heap(const char *path, bool chain)
{
    enum { LENGTH = 8, FREE = 16, DATA = 24 };
    uint64_t free_block, data;
    const uint64_t length = UINT64_MAX;
    fuzz_input in = load(path);
    const size_t at = find(&in, "HEAP", 4);
    memcpy(&free_block, in.data + at + FREE, 8);
    memcpy(&data, in.data + at + DATA, 8);
    assert_true(free_block != 1 && data + free_block + 8 < in.size);
    if (chain)
        memcpy(in.data + data + free_block, &free_block, 8);
    else
        memcpy(in.data + at + LENGTH, &length, 8);
    store(path, &in);
}

static void a_damaged_heap_takes_no_memory(void **state)
{
    (void)state;
    const char *path = path_of("heap.h5");
    struct rusage before, after;
    for (int chain = 0; chain < 2; chain++) {
        fx_h5 *f = NULL;
        const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                    group = H5Gcreate2(file, "old", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Gclose(group);
        H5Fclose(file);
        assert_int_equal(fx_h5_open(path, FX_H5_FOREIGN, &f), FX_OK);
        assert_true(fx_h5_exists(f, "old"));
        fx_h5_abandon(&f);
        damage_heap(path, chain);
        getrusage(RUSAGE_SELF, &before);
        if (fx_h5_open(path, FX_H5_FOREIGN, &f) == FX_OK) assert_false(fx_h5_exists(f, "old"));
        fx_h5_abandon(&f);
        getrusage(RUSAGE_SELF, &after);
        assert_true(after.ru_maxrss - before.ru_maxrss < 64 << 10); /* KiB */
    }
}

static void narrow_addresses_are_refused(void **state)
{
    (void)state;
    fx_h5 *f = NULL;
    const hid_t list = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_sizes(list, 4, 4);
    H5Pset_userblock(list, 1024); /* the superblock lies behind it */
    assert_true(H5Fclose(H5Fcreate(path_of("narrow.h5"), H5F_ACC_TRUNC, list, H5P_DEFAULT)) >= 0);
    H5Pclose(list);
    assert_int_equal(fx_h5_open(path_of("narrow.h5"), FX_H5_FOREIGN, &f), FX_EIO);
    expect_message("narrow.h5", "addresses or lengths have not 8 bytes");
}

/* An attribute a and a dataset w (2) of floats. */
static void write_floats(const char *path)
{
    const float values[] = {0.5f, 1};
    const hsize_t two = 2;
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                scalar = H5Screate(H5S_SCALAR), space = H5Screate_simple(1, &two, NULL),
                a = H5Acreate2(file, "a", H5T_IEEE_F32LE, scalar, H5P_DEFAULT, H5P_DEFAULT),
                d = H5Dcreate2(file, "w", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(a, H5T_NATIVE_FLOAT, values) >= 0);
    assert_true(H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(d);
    H5Aclose(a);
    H5Sclose(space);
    H5Sclose(scalar);
    assert_true(H5Fclose(file) >= 0);
}

/* HDF5 lets nobody make such types, so the file's are changed. */
static void numbers_lie_in_their_bytes(void **state)
{
    (void)state;
    /* offset, precision, where exponent and mantissa begin and how many bits each has, bias */
    static const unsigned char float_type[] = {0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0};
    const struct {
        int at;
        char value;
    } damages[] = {{0, 0}, {-6, 32}, {0, 1}, {2, 33}, {4, 25}, {5, 10}, {6, 10}, {7, 33}};
    for (int i = 0; i < 8; i++) {
        fx_h5 *f = NULL;
        double a = 0;
        float w[2];
        int changed = 0;
        const fx_status wanted = i == 0 ? FX_OK : FX_EIO; /* the first is no damage */
        write_floats(path_of("float.h5"));
        fuzz_input in = load(path_of("float.h5"));
        for (size_t at = 8; at + sizeof float_type <= in.size; at++)
            if (memcmp(in.data + at, float_type, sizeof float_type) == 0) {
                in.data[(ptrdiff_t)at + damages[i].at] = damages[i].value;
                changed++;
            }
        assert_int_equal(changed, 2);
        store(path_of("float.h5"), &in);
        assert_int_equal(fx_h5_open(path_of("float.h5"), FX_H5_FOREIGN, &f), FX_OK);
        assert_int_equal(fx_h5_get_real(f, "/", "a", &a), wanted);
        if (i > 0) expect_message("float.h5: a", "bits lie outside them");
        assert_int_equal(fx_h5_read(f, "w", NULL, NULL, FX_H5_F32, w), wanted);
        if (i > 0) expect_message("float.h5: w", "bits lie outside them");
        fx_h5_abandon(&f);
    }
}

/* A dataset w (4) whose fill value claims `size` bytes; its message is of the newest kind in an object
 * header of the newer or, as nobody writes it, of the older kind. */
static void write_fill(const char *path, uint32_t size, bool older)
{
    const float value = 3.25f;
    const hsize_t four = 4;
    const H5F_libver_t version = older ? H5F_LIBVER_EARLIEST : H5F_LIBVER_V110;
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS), list = H5Pcreate(H5P_DATASET_CREATE),
                space = H5Screate_simple(1, &four, NULL);
    H5Pset_libver_bounds(access, version, H5F_LIBVER_V110);
    H5Pset_fill_value(list, H5T_NATIVE_FLOAT, &value);
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access),
                d = H5Dcreate2(file, "w", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, (const float[]){1, 2, 3, 4});
    H5Dclose(d);
    H5Sclose(space);
    H5Pclose(list);
    assert_true(H5Fclose(file) >= 0);
    H5Pclose(access);
    fuzz_input in = load(path);
    char message[8] = {4}; /* its size, then its value */
    memcpy(message + 4, &value, sizeof value);
    char *at = in.data + find(&in, message, sizeof message);
    if (older) {
        enum { VERSION = 3, FLAGS = 0x2a };
        at -= 4;
        assert_int_equal(at[0], 2);
        at[0] = VERSION;
        at[1] = FLAGS;
        at += 2;
        memcpy(at + 4, &value, sizeof value);
    }
    memcpy(at, &size, sizeof size);
    fuzz_seal_hdf5(&in);
    store(path, &in);
}

static void a_fill_value_lies_in_its_message(void **state)
{
    (void)state;
    const uint32_t sizes[] = {4, 11, 60000000, UINT32_MAX};
    float w[4] = {0};
    for (int i = 0; i < 8; i++) {
        fx_h5 *f = NULL;
        w[3] = 0;
        write_fill(path_of("fill.h5"), sizes[i % 4], i >= 4);
        assert_int_equal(fx_h5_open(path_of("fill.h5"), FX_H5_FOREIGN, &f), FX_OK);
        const fx_status status = fx_h5_read(f, "w", NULL, NULL, FX_H5_F32, w);
        assert_int_equal(status, i % 4 == 0 ? FX_OK : FX_EIO);
        if (i % 4 > 0) expect_message("fill.h5: w", "a fill value is longer than its message");
        assert_true(i % 4 > 0 || w[3] == 4);
        fx_h5_abandon(&f);
    }
}

/* w (16) in one chunk: deflated, or deflated with a Fletcher checksum before or behind, of a stream
 * that makes `makes` bytes. */
static void write_deflated(const char *path, const char *filters, size_t makes)
{
    static unsigned char zeros[1 << 20], stream[1 << 12];
    const hsize_t size = 16, first = 0;
    uLongf bytes = sizeof stream;
    assert_int_equal(compress(stream, &bytes, zeros, makes), Z_OK);
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &size, NULL),
                file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Pset_chunk(list, 1, &size);
    for (const char *c = filters; *c; c++)
        *c == 'd' ? H5Pset_deflate(list, 1) : H5Pset_fletcher32(list);
    const hid_t d = H5Dcreate2(file, "w", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(H5Dwrite_chunk(d, H5P_DEFAULT, 0, &first, bytes, stream) >= 0);
    H5Dclose(d);
    H5Sclose(space);
    H5Pclose(list);
    assert_true(H5Fclose(file) >= 0);
}

/* Less than a chunk would be read beyond its end, more would fill memory. */
static void a_chunk_is_what_its_stream_makes(void **state)
{
    (void)state;
    static const struct {
        const char *filters;
        size_t makes;
        const char *why; /* NULL: sound */
    } cases[] = {{"d", 64, NULL},
                 {"d", 63, "another length than its chunks"},
                 {"d", 65, "another length than its chunks"},
                 {"d", 1 << 20, "another length than its chunks"},
                 {"fd", 2, "a chunk too short for its checksum"},
                 {"fd", 64, "another length than its chunks"},
                 {"fd", 68, NULL}, /* the checksum of zeros is 0 */
                 {"dd", 64, "filters in an order"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fx_h5 *f = NULL;
        float w[16];
        write_deflated(path_of("stream.h5"), cases[i].filters, cases[i].makes);
        assert_int_equal(fx_h5_open(path_of("stream.h5"), FX_H5_FOREIGN, &f), FX_OK);
        for (int64_t row = 0; row < 2; row++)
            assert_int_equal(fx_h5_read(f, "w", &row, (const int64_t[]){1}, FX_H5_F32, w),
                             cases[i].why ? FX_EIO : FX_OK);
        if (cases[i].why) expect_message("stream.h5: w", cases[i].why);
        fx_h5_abandon(&f);
    }
}

/* No damage: chunks that reach over the end may have been written without their filters. */
static void a_part_of_a_chunk_has_no_filters(void **state)
{
    (void)state;
    const hsize_t six = 6, four = 4;
    const float values[6] = {0, 1, 2, 3, 4, 5};
    float w[6];
    fx_h5 *f = NULL;
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &six, NULL),
                access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    H5Pset_chunk(list, 1, &four);
    H5Pset_deflate(list, 1);
    H5Pset_chunk_opts(list, H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS);
    const hid_t file = H5Fcreate(path_of("part.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, access),
                d = H5Dcreate2(file, "w", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(d);
    H5Sclose(space);
    H5Pclose(list);
    assert_true(H5Fclose(file) >= 0);
    H5Pclose(access);
    assert_int_equal(fx_h5_open(path_of("part.h5"), FX_H5_FOREIGN, &f), FX_OK);
    assert_int_equal(fx_h5_read(f, "w", NULL, NULL, FX_H5_F32, w), FX_OK);
    assert_memory_equal(w, values, sizeof w);
    fx_h5_abandon(&f);
}

/* w (4) in one chunk without filters, that the index says has 2 bytes: all is read from the file. */
static void a_short_chunk_without_filters_is_read(void **state)
{
    (void)state;
    enum { KEY = 24 }; /* of the first chunk in a node of the index; its length comes first */
    const float values[4] = {1, 2, 3, 4};
    const hsize_t four = 4;
    const uint32_t length = sizeof values, two = 2;
    float w[4];
    fx_h5 *f = NULL;
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &four, NULL),
                file = H5Fcreate(path_of("two.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Pset_chunk(list, 1, &four);
    const hid_t d = H5Dcreate2(file, "w", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(d);
    H5Sclose(space);
    H5Pclose(list);
    assert_true(H5Fclose(file) >= 0);
    fuzz_input in = load(path_of("two.h5"));
    char *key = in.data + find(&in, "TREE\1", 5) + KEY;
    assert_memory_equal(key, &length, sizeof length);
    memcpy(key, &two, sizeof two);
    store(path_of("two.h5"), &in);
    assert_int_equal(fx_h5_open(path_of("two.h5"), FX_H5_FOREIGN, &f), FX_OK);
    assert_int_equal(fx_h5_read(f, "w", NULL, NULL, FX_H5_F32, w), FX_OK);
    assert_memory_equal(w, values, sizeof w);
    fx_h5_abandon(&f);
}

/* w (8) in chunks of 4 with Fletcher's checksum, of which the second is stored in two bytes. */
static void a_chunk_has_its_checksum(void **state)
{
    (void)state;
    const hsize_t eight = 8, four = 4;
    const float values[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    float w[8];
    fx_h5 *f = NULL;
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &eight, NULL);
    H5Pset_chunk(list, 1, &four);
    H5Pset_fletcher32(list);
    const hid_t file = H5Fcreate(path_of("short.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                d = H5Dcreate2(file, "w", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    assert_true(H5Dwrite_chunk(d, H5P_DEFAULT, 0, &four, 2, values) >= 0);
    H5Dclose(d);
    H5Sclose(space);
    H5Pclose(list);
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(fx_h5_open(path_of("short.h5"), FX_H5_FOREIGN, &f), FX_OK);
    assert_int_equal(fx_h5_read(f, "w", (const int64_t[]){1}, (const int64_t[]){3}, FX_H5_F32, w),
                     FX_OK);
    assert_true(w[0] == 1 && w[2] == 3);
    assert_int_equal(fx_h5_read(f, "w", (const int64_t[]){3}, (const int64_t[]){2}, FX_H5_F32, w),
                     FX_EIO);
    expect_message("short.h5", "a chunk too short for its checksum");
    fx_h5_abandon(&f);
    assert_int_equal(fx_h5_open(path_of("short.h5"), FX_H5_FOREIGN, &f), FX_OK);
    assert_int_equal(fx_h5_read(f, "w", NULL, NULL, FX_H5_F32, w), FX_EIO);
    fx_h5_abandon(&f);
}

/* A chunk that is not there would be made, of its whole size. */
static void a_chunk_fits_its_file(void **state)
{
    (void)state;
    fx_h5 *f = NULL;
    float w[1];
    for (int large = 0; large < 2; large++) {
        const hsize_t size = large ? 1 << 25 : 1 << 24; /* 128 MiB, 64 MiB */
        const hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &size, NULL),
                    file = H5Fcreate(path_of("large.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        H5Pset_chunk(list, 1, &size);
        H5Dclose(H5Dcreate2(file, "w", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT));
        H5Sclose(space);
        H5Pclose(list);
        assert_true(H5Fclose(file) >= 0);
        assert_int_equal(fx_h5_open(path_of("large.h5"), FX_H5_FOREIGN, &f), FX_OK);
        assert_int_equal(fx_h5_read(f, "w", (const int64_t[]){7}, (const int64_t[]){1}, FX_H5_F32, w),
                         large ? FX_EIO : FX_OK);
        if (large) expect_message("large.h5: w", "chunks larger than its file can hold");
        fx_h5_abandon(&f);
    }
}

static fx_status crash(void *self, fx_h5 *f, const char *name)
{
    (void)self, (void)f, (void)name;
    raise(SIGSEGV);
    return FX_OK;
}

static fx_status fill_the_stack(void *self, fx_h5 *f, const char *name)
{
    volatile char page[4096];
    if (!name) return FX_OK; /* never */
    page[0] = name[0];
    const fx_status status = fill_the_stack(self, f, name);
    return page[0] == name[0] ? status : FX_EIO;
}

typedef fx_status visitor(void *self, fx_h5 *f, const char *name);

/* What a process says and how it ends that crashes while HDF5 is at work on crash.h5, or, where that is
 * NULL, after it. */
static int crashed(visitor *inside, char *said, size_t room)
{
    int pipes[2], end = 0;
    assert_int_equal(pipe(pipes), 0);
    const pid_t child = fork();
    if (child == 0) {
        fx_h5 *f = NULL;
        dup2(pipes[1], STDERR_FILENO);
        signal(SIGSEGV, SIG_DFL); /* not cmocka's */
        fx_h5_name_crashes();
        if (fx_h5_open(path_of("crash.h5"), FX_H5_OURS, &f) != FX_OK) _exit(2);
        if (inside) (void)fx_h5_walk(f, inside, NULL);
        (void)crash(NULL, NULL, "");
        _exit(3);
    }
    close(pipes[1]);
    const ssize_t n = read(pipes[0], said, room - 1);
    said[n > 0 ? n : 0] = '\0';
    close(pipes[0]);
    assert_int_equal(waitpid(child, &end, 0), child);
    return end;
}

static void a_crash_inside_names_the_file(void **state)
{
    (void)state;
    char said[FX_PATH_MAX + 200], begin[FX_PATH_MAX];
    write_example(path_of("crash.h5"));
    assert_int_equal(fx_path(begin, "flexhpc: %s: HDF5 crashed", path_of("crash.h5")), FX_OK);
    for (int i = 0; i < 2; i++) {
        const int inside = crashed(i ? fill_the_stack : crash, said, sizeof said);
        assert_true(WIFEXITED(inside) && WEXITSTATUS(inside) == 1);
        assert_ptr_equal(strstr(said, begin), said);
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
    }
    const int outside = crashed(NULL, said, sizeof said);
    assert_true(WIFSIGNALED(outside) && WTERMSIG(outside) == SIGSEGV);
    assert_string_equal(said, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_heap_takes_no_memory),
        cmocka_unit_test(narrow_addresses_are_refused),
        cmocka_unit_test(numbers_lie_in_their_bytes),
        cmocka_unit_test(a_fill_value_lies_in_its_message),
        cmocka_unit_test(a_chunk_is_what_its_stream_makes),
        cmocka_unit_test(a_part_of_a_chunk_has_no_filters),
        cmocka_unit_test(a_short_chunk_without_filters_is_read),
        cmocka_unit_test(a_chunk_has_its_checksum),
        cmocka_unit_test(a_chunk_fits_its_file),
        cmocka_unit_test(a_crash_inside_names_the_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
