/* test_safetensors.c: what the reader takes, and each way to break the format with its own line; half
 * precision value by value; that a file is whole or not there.
 *
 * Planted errors, each caught: overlaps let through, fewer bytes than the shape needs let through, an
 * escaped quote taken for the end of a name (each_fault_has_its_line); half floats of twice the size
 * (narrow_floats_are_exact); a header without padding, tensors in the caller's order
 * (what_is_written_reads_back); the temporary file opened through a link
 * (a_file_is_whole_or_not_there). Run: label quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/safetensors.h"

static char folder[] = "/tmp/fx_safetensors_XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[FX_PATH_MAX];
    assert_int_equal(fx_path(path, "%s/%s", folder, name), FX_OK);
    return path;
}

static fx_status parse(const char *header, int64_t values, fx_safetensors **out)
{
    const size_t size = strlen(header);
    return fx_safetensors_parse("f", header, size, 8 + (int64_t)size + values, out);
}

static void refused(const char *header, int64_t values, const char *words)
{
    fx_safetensors *f = NULL;
    assert_int_equal(parse(header, values, &f), FX_EVALUE);
    assert_null(f);
    if (!strstr(fx_error_message(), words)) fail_msg("%s, not %s", fx_error_message(), words);
    assert_null(strchr(fx_error_message(), '\n'));
}

#define F4           "\"dtype\":\"F32\",\"shape\":[1],"
#define AT(from, to) "\"data_offsets\":[" #from "," #to "]}"
#define ONE          "\"a\":{" F4 AT(0, 4)

static void each_fault_has_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int64_t values;
        const char *words;
    } cases[] = {
        {"", 0, "does not begin with '{'"},
        {" {}", 0, "does not begin with '{'"},
        {"[]", 0, "does not begin with '{'"},
        {"{", 0, "f:1: "},
        {"{} x", 0, "end of file expected"},
        {"{\"a\":[[[[]]]]}", 0, "nested deeper than 3"},
        {"{\"[[[[\\\"[[[[\":1}", 0, "not an object"}, /* brackets in a name nest nothing */
        {"{" ONE "," ONE "}", 8, "duplicate object key"},
        {"{\"a\":{" F4 AT(0, 4) ",\"\\u0061\":{" F4 AT(4, 8) "}", 8, "duplicate object key"},
        {"{\"a\xff\":{" F4 AT(0, 4) "}", 4, "unable to decode byte 0xff"},
        {"{\"a\\u0000\":{" F4 AT(0, 4) "}", 4, "NUL byte in object key"},
        {"{\"a\":7}", 0, "a: not an object"},
        {"{\"a\":{\"shape\":[1]," AT(0, 4) "}", 4, "a: dtype: missing"},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1]," AT(0, 4) "}", 4, "a: dtype: F31 is not known"},
        {"{\"a\":{\"dtype\":\"F32\"," AT(0, 4) "}", 4, "a: shape: missing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1]," AT(0, 4) "}", 4, "a: shape: not whole numbers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0]," AT(0, 4) "}", 4, "a: shape: not whole numbers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1]," AT(0, 4) "}", 4,
         "a: shape: more than 8 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296]," AT(0, 0) "}", 0,
         "a: shape: more values than can be counted"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904]," AT(0, 0) "}", 0,
         "a: shape: more bytes than can be counted"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551616]," AT(0, 0) "}", 0,
         "too big integer"},
        {"{\"a\":{" F4 "\"data_offsets\":[0]}}", 4, "a: data_offsets: missing, or not two"},
        {"{\"a\":{" F4 "\"data_offsets\":[0,4,8]}}", 4, "a: data_offsets: missing, or not two"},
        {"{\"a\":{" F4 "\"data_offsets\":[0,4.0]}}", 4, "a: data_offsets: missing, or not two"},
        {"{\"a\":{" F4 AT(4, 0) "}", 4, "a: data_offsets: end before they begin"},
        {"{\"a\":{" F4 AT(-4, 0) "}", 4, "a: data_offsets: end before they begin"},
        {"{\"a\":{" F4 "\"x\":1," AT(0, 4) "}", 4, "a: more keys than"},
        {"{\"a\":{" F4 AT(0, 8) "}", 8, "a: data_offsets: 8 bytes, shape and dtype need 4"},
        {"{" ONE "}", 3, "a: data_offsets: end behind the file"},
        {"{" ONE "}", 5, "f: 5 bytes of values, the tensors have 4"},
        {"{}", 1, "f: 1 bytes of values, the tensors have 0"},
        {"{" ONE ",\"b\":{" F4 AT(5, 9) "}", 9, "b: data_offsets: leave a hole"},
        {"{" ONE ",\"b\":{" F4 AT(3, 7) "}", 7, "b: data_offsets: overlap"},
        {"{" ONE ",\"b\":{" F4 AT(0, 4) "}", 4, "data_offsets: overlap"},
        {"{\"b\":{\"dtype\":\"F32\",\"shape\":[2]," AT(
             0, 8) ",\"c\":{\"dtype\":\"F32\",\"shape\":[0]," AT(4, 4) "}",
         8, "c: data_offsets: overlap"}, /* an empty tensor inside another */
        {"{\"a\":{" F4 AT(4, 8) "}", 8, "a: data_offsets: leave a hole"},
        {"{\"__metadata__\":[]}", 0, "__metadata__: not an object"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "__metadata__: k: not a text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].header, cases[i].values, cases[i].words);
}

/* More parts than any model has names: refused before they are parsed. */
static void many_parts_are_refused_first(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    char *text = NULL;
    fx_safetensors *f = NULL;
    assert_int_equal(FX_ALLOC(text, SIZE + 1), FX_OK);
    memset(text, ',', SIZE);
    text[0] = '{';
    assert_int_equal(fx_safetensors_parse("f", text, SIZE, 8 + SIZE, &f), FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "more than 1048576 parts"));
    fx_free(text);
}

static void sound_files_are_taken(void **state)
{
    (void)state;
    fx_safetensors *f = NULL;
    assert_int_equal(parse("{}", 0, &f), FX_OK);
    assert_int_equal(fx_safetensors_count(f), 0);
    fx_safetensors_close(&f);
    assert_int_equal(parse("{\"__metadata__\":{\"k\":\"v\"},\"z\":{\"dtype\":\"BOOL\",\"shape\":[0,7]"
                           "," AT(4, 4) ",\"m\":{\"dtype\":\"U8\",\"shape\":[2,2]," AT(
                               0, 4) ",\"s\":{\"dtype\":\"F64\",\"shape\":[]," AT(4, 12) "}   ",
                           12, &f),
                     FX_OK);
    assert_int_equal(fx_safetensors_count(f), 3);
    assert_string_equal(fx_safetensors_at(f, 0)->name, "m");
    assert_string_equal(fx_safetensors_at(f, 2)->name, "z");
    assert_string_equal(fx_safetensors_metadata(f, "k"), "v");
    assert_null(fx_safetensors_metadata(f, "l"));
    assert_null(fx_safetensors_find(f, "k"));
    const fx_safetensor *s = fx_safetensors_find(f, "s");
    assert_true(s && s->rank == 0 && s->count == 1 && s->begin == 4 && s->bytes == 8);
    assert_int_equal(fx_safetensors_find(f, "z")->count, 0);
    fx_safetensors_close(&f);
    fx_safetensors_close(&f); /* twice is once */
}

/* length 0: the header's. */
static void put(const char *name, const char *header, uint64_t length, const void *values, size_t size)
{
    FILE *file = fopen(in_folder(name), "wb");
    if (length == 0) length = strlen(header);
    assert_non_null(file);
    assert_int_equal(fwrite(&length, 1, 8, file), 8);
    assert_int_equal(fwrite(header, 1, strlen(header), file), strlen(header));
    assert_int_equal(fwrite(values, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void refuses_file(const char *name, fx_status code, const char *words)
{
    fx_safetensors *f = NULL;
    assert_int_equal(fx_safetensors_open(in_folder(name), &f), code);
    if (!strstr(fx_error_message(), words)) fail_msg("%s, not %s", fx_error_message(), words);
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    FILE *file = fopen(in_folder("short"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite("{}", 1, 2, file), 2);
    assert_int_equal(fclose(file), 0);
    refuses_file("short", FX_EVALUE, "2 bytes are no safetensors file");
    refuses_file("none", FX_EIO, "none: open: No such file");
    put("long", "{}", 3, "", 0);
    refuses_file("long", FX_EVALUE, "header: longer than the file");
    put("huge", "{}", 100000001, "", 0);
    refuses_file("huge", FX_EVALUE, "header: 100000001 bytes, at most 100000000");
    put("most", "{}", UINT64_MAX, "", 0);
    refuses_file("most", FX_EVALUE, "header: 18446744073709551615 bytes");
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    refuses_file("fifo", FX_EIO, "is no regular file");
}

/* Every half float by the definition of its bits; bf16 as the upper half of a float. */
static void narrow_floats_are_exact(void **state)
{
    (void)state;
    enum { ALL = 1 << 16 };
    static uint16_t half[ALL], brain[ALL];
    static float got[ALL];
    char header[256];
    fx_safetensors *f = NULL;
    int halves = 0, brains = 0;
    for (unsigned bits = 0; bits < ALL; bits++) {
        if ((bits >> 10 & 31) != 31) half[halves++] = (uint16_t)bits;
        if ((bits >> 7 & 255) != 255) brain[brains++] = (uint16_t)bits;
    }
    snprintf(header, sizeof header,
             "{\"h\":{\"dtype\":\"F16\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", halves, 2 * halves);
    put("half", header, 0, half, 2 * (size_t)halves);
    assert_int_equal(fx_safetensors_open(in_folder("half"), &f), FX_OK);
    assert_int_equal(fx_safetensors_read(f, fx_safetensors_find(f, "h"), got), FX_OK);
    for (int i = 0; i < halves; i++) {
        const int e = half[i] >> 10 & 31, m = half[i] & 1023;
        const double size = e ? (1 + m / 1024.0) * pow(2, e - 15) : m / 1024.0 * pow(2, -14);
        assert_true((double)got[i] == (half[i] >> 15 ? -size : size));
        assert_int_equal(signbit(got[i]) != 0, half[i] >> 15);
    }
    fx_safetensors_close(&f);
    snprintf(header, sizeof header,
             "{\"b\":{\"dtype\":\"BF16\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", brains, 2 * brains);
    put("brain", header, 0, brain, 2 * (size_t)brains);
    assert_int_equal(fx_safetensors_open(in_folder("brain"), &f), FX_OK);
    assert_int_equal(fx_safetensors_read(f, fx_safetensors_find(f, "b"), got), FX_OK);
    for (int i = 0; i < brains; i++) {
        uint32_t bits;
        memcpy(&bits, &got[i], sizeof bits);
        assert_int_equal(bits, (uint32_t)brain[i] << 16);
    }
    fx_safetensors_close(&f);
}

static void values_that_are_no_floats_are_refused(void **state)
{
    (void)state;
    fx_safetensors *f = NULL;
    const double wide[3] = {0.1, -1e300, 2}; /* the second has no float */
    float x[3];
    put("wide", "{\"w\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[0,24]}}", 0, wide,
        sizeof wide);
    assert_int_equal(fx_safetensors_open(in_folder("wide"), &f), FX_OK);
    assert_int_equal(fx_safetensors_read(f, fx_safetensors_find(f, "w"), x), FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "wide: w: value 1 is -inf"));
    assert_true(x[0] == 0.1f);
    fx_safetensors_close(&f);
    put("whole", "{\"w\":{\"dtype\":\"I64\",\"shape\":[3],\"data_offsets\":[0,24]}}", 0, wide,
        sizeof wide);
    assert_int_equal(fx_safetensors_open(in_folder("whole"), &f), FX_OK);
    assert_int_equal(fx_safetensors_read(f, fx_safetensors_find(f, "w"), x), FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "w: dtype: I64 is none of F32, F64, F16, BF16"));
    fx_safetensors_close(&f);
    assert_int_equal(fx_safetensors_open(in_folder("half"), &f), FX_OK);
    assert_int_equal(truncate(in_folder("half"), 70), 0);
    assert_int_equal(fx_safetensors_read(f, fx_safetensors_at(f, 0), (float[1 << 16]){0}), FX_EIO);
    assert_non_null(strstr(fx_error_message(), "half: got shorter while it was read"));
    fx_safetensors_close(&f);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    const fx_safetensor tensors[] = {{.name = "b", .rank = 2, .dim = {2, 2}},
                                     {.name = "\xc3\xa4", .rank = 0},
                                     {.name = "a.1", .rank = 1, .dim = {0}},
                                     {.name = "a.0", .rank = 1, .dim = {3}}};
    const float b[4] = {1, -2, 3, 4e-41f}, one[1] = {7}, a[3] = {0.5f, 0, -0.0f};
    const float *const values[] = {b, one, one, a};
    fx_safetensors_writer *w = NULL;
    fx_safetensors *f = NULL;
    float x[4];
    char *text = NULL;
    size_t size;
    assert_int_equal(
        fx_safetensors_create(in_folder("w"), tensors, 4, (const char *[]){"k", "a \"b\"\n", NULL}, &w),
        FX_OK);
    for (int i = 3; i >= 0; i--)
        assert_int_equal(fx_safetensors_write(w, i, values[i]), FX_OK);
    assert_false(fx_file_exists(in_folder("w"))); /* not before it is whole */
    assert_int_equal(fx_safetensors_finish(&w), FX_OK);
    assert_null(w);
    assert_false(fx_file_exists(in_folder("w.part")));
    assert_int_equal(fx_safetensors_open(in_folder("w"), &f), FX_OK);
    assert_int_equal(fx_safetensors_count(f), 4);
    for (int i = 0; i < 4; i++) {
        const fx_safetensor *t = fx_safetensors_find(f, tensors[i].name);
        assert_true(t && t->rank == tensors[i].rank);
        assert_int_equal(fx_safetensors_read(f, t, x), FX_OK);
        assert_memory_equal(x, values[i], (size_t)t->bytes);
    }
    assert_string_equal(fx_safetensors_metadata(f, "k"), "a \"b\"\n");
    fx_safetensors_close(&f);
    assert_int_equal(fx_read_text(in_folder("w"), 4096, &text, &size), FX_OK);
    static const char wanted[] =
        "{\"__metadata__\":{\"k\":\"a \\\"b\\\"\\n\"},\"a.0\":{\"dtype\":\"F32\",\"shape\":[3],"
        "\"data_offsets\":[0,12]},\"a.1\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[12,12]},"
        "\"b\":{"
        "\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[12,28]},\"\xc3\xa4\":{\"dtype\":\"F32\","
        "\"shape\":[],"
        "\"data_offsets\":[28,32]}}";
    assert_memory_equal(text + 8, wanted, sizeof wanted - 1);
    assert_int_equal((unsigned char)text[0] + 256 * (unsigned char)text[1],
                     (sizeof wanted - 1 + 7) / 8 * 8);
    assert_int_equal(size, 8 + (sizeof wanted - 1 + 7) / 8 * 8 + 32);
    fx_free(text);
}

static void a_file_is_whole_or_not_there(void **state)
{
    (void)state;
    const fx_safetensor tensor = {.name = "a", .rank = 1, .dim = {3}},
                        huge = {.name = "a", .rank = 1, .dim = {1ll << 50}};
    const char *const none[] = {NULL};
    fx_safetensors_writer *w = NULL;
    assert_int_equal(fx_safetensors_create(in_folder("half-done"), &tensor, 1, none, &w), FX_OK);
    assert_int_equal(fx_safetensors_finish(&w), FX_EARG); /* nothing was written */
    assert_null(w);
    assert_false(fx_file_exists(in_folder("half-done")));
    assert_false(fx_file_exists(in_folder("half-done.part")));
    assert_int_equal(fx_safetensors_create(in_folder("no/folder"), &tensor, 1, none, &w), FX_EIO);
    assert_non_null(strstr(fx_error_message(), "no/folder.part: open: No such file"));
    assert_int_equal(fx_safetensors_create(in_folder("too-much"), &huge, 1, none, &w), FX_EIO);
    assert_non_null(strstr(fx_error_message(), "MiB are free"));
    assert_false(fx_file_exists(in_folder("too-much.part")));
    /* A link where the temporary file goes: what it leads to stays, and so does the link. */
    char target[FX_PATH_MAX];
    struct stat s;
    assert_int_equal(fx_write_text(in_folder("precious"), "keep", 4), FX_OK);
    strcpy(target, in_folder("precious"));
    assert_int_equal(symlink(target, in_folder("linked.part")), 0);
    assert_int_equal(fx_safetensors_create(in_folder("linked"), &tensor, 1, none, &w), FX_EIO);
    assert_non_null(strstr(fx_error_message(), "linked.part: open: Too many levels of symbolic links"));
    assert_int_equal(lstat(in_folder("linked.part"), &s), 0);
    assert_int_equal(stat(target, &s), 0);
    assert_int_equal(s.st_size, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_has_its_line),
        cmocka_unit_test(many_parts_are_refused_first),
        cmocka_unit_test(sound_files_are_taken),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(narrow_floats_are_exact),
        cmocka_unit_test(values_that_are_no_floats_are_refused),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(a_file_is_whole_or_not_there),
    };
    char command[FX_PATH_MAX];
    if (!mkdtemp(folder)) return 1;
    const int failures = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? failures : 1;
}
