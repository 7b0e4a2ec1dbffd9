/* test_json.c: what fx_json accepts and what it refuses, with the exact messages; that written files
 * read back the same and are the same bytes; that no random or damaged text crashes or leaks.
 *
 * Planted errors, each caught: duplicate keys accepted (bad_files), `value >= least` left out of
 * fx_json_int (bad_members), a real accepted as a whole number (bad_members), the place of a nested
 * value left out (bad_members), 6 instead of 17 digits (written_files_read_back), keys in the order of
 * insertion (equal_values_are_equal_bytes). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/json.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

static char folder[] = "/tmp/fx_json_XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[FX_PATH_MAX];
    assert_int_equal(fx_path(path, "%s/%s", folder, name), FX_OK);
    return path;
}

static void expect_parse_error(const char *text, const char *message)
{
    fx_json root;
    assert_int_equal(fx_json_parse("f.json", text, strlen(text), &root), FX_EVALUE);
    assert_null(root.value);
    assert_non_null(strstr(fx_error_message(), message));
    assert_int_equal(strncmp(fx_error_message(), "f.json:", 7), 0);
}

static void bad_files(void **state)
{
    (void)state;
    expect_parse_error("", "f.json:1: '[' or '{' expected near end of file");
    expect_parse_error("{\"a\": 1,\n \"a\": 2}", "f.json:2: duplicate object key near '\"a\"'");
    expect_parse_error("{\n\n\"a\": }", "f.json:3: unexpected token near '}'");
    expect_parse_error("{\"a\": 1", "f.json:1: '}' expected near end of file");
    expect_parse_error("[1]", "f.json: not a JSON object");
    expect_parse_error("{\"a\": 1e999}", "real number overflow");
    expect_parse_error("{\"a\": 99999999999999999999}", "too big integer");
    expect_parse_error("{\"a\": NaN}", "f.json:1: ");
    expect_parse_error("{\"a\\u0000\": 1}", "f.json:1: ");
    expect_parse_error("{} x", "end of file expected");

    expect_parse_error("{\"a\033[31m\": 1}", "f.json:1: ");
    assert_null(strchr(fx_error_message(), '\033'));

    static char deep[20001];
    memset(deep, '[', sizeof deep - 1);
    expect_parse_error(deep, "maximum parsing depth reached");

    fx_json root;
    assert_int_equal(fx_json_load(in_folder("none.json"), 100, &root), FX_EIO);
    assert_non_null(strstr(fx_error_message(), "none.json: open: No such file"));
    assert_null(root.value);
    assert_int_equal(fx_write_text(in_folder("long.json"), "{\"a\": 12345}", 12), FX_OK);
    assert_int_equal(fx_json_load(in_folder("long.json"), 11, &root), FX_EIO);
    assert_int_equal(fx_json_load(in_folder("long.json"), 12, &root), FX_OK);
    fx_json_free(&root);
    fx_json_free(&root); /* twice is once */
}

static const char sample[] =
    "{\"n\": 7, \"x\": 2.5, \"on\": true, \"off\": false, \"name\": \"abc\", \"none\": null,\n"
    " \"inner\": {\"n\": -3, \"list\": [{\"k\": 1}, 5]}, \"empty\": []}";

#define EXPECT_WRONG(call, message)                                                                    \
    do {                                                                                               \
        assert_int_equal(call, FX_EVALUE);                                                             \
        assert_string_equal(fx_error_message(), message);                                              \
    } while (0)

static void members(void **state)
{
    (void)state;
    fx_json root, inner, list, entry;
    int64_t n = 0;
    double x = 0;
    bool on = false, off = true;
    char name[4];
    int count = -1;
    assert_int_equal(fx_json_parse("f.json", sample, strlen(sample), &root), FX_OK);
    assert_int_equal(fx_json_int(&root, "n", 7, 7, &n), FX_OK);
    assert_int_equal(n, 7);
    assert_int_equal(fx_json_real(&root, "x", 2.5, 2.5, &x), FX_OK);
    assert_true(x == 2.5);
    assert_int_equal(fx_json_real(&root, "n", 0, 10, &x), FX_OK); /* a whole number is a number */
    assert_true(x == 7);
    assert_int_equal(fx_json_bool(&root, "on", &on), FX_OK);
    assert_int_equal(fx_json_bool(&root, "off", &off), FX_OK);
    assert_true(on && !off);
    assert_int_equal(fx_json_text(&root, "name", name, sizeof name), FX_OK);
    assert_string_equal(name, "abc");
    assert_true(fx_json_has(&root, "none") && !fx_json_has(&root, "nothing"));
    assert_int_equal(fx_json_array(&root, "empty", 0, 5, &list, &count), FX_OK);
    assert_int_equal(count, 0);
    assert_int_equal(fx_json_object(&root, "inner", &inner), FX_OK);
    assert_int_equal(fx_json_array(&inner, "list", 2, 2, &list, &count), FX_OK);
    assert_int_equal(count, 2);
    assert_int_equal(fx_json_entry(&list, 0, &entry), FX_OK);
    assert_int_equal(fx_json_int(&entry, "k", 0, 5, &n), FX_OK);
    assert_int_equal(n, 1);
    assert_string_equal(entry.place, "inner.list[0]");
    fx_json_free(&root);
}

static void bad_members(void **state)
{
    (void)state;
    fx_json root, inner, list, entry;
    int64_t n = 42;
    double x = 42;
    bool on = true;
    char name[3] = "";
    int count = 0;
    assert_int_equal(fx_json_parse("f.json", sample, strlen(sample), &root), FX_OK);
    EXPECT_WRONG(fx_json_int(&root, "m", 0, 9, &n), "f.json: m: missing, a whole number");
    EXPECT_WRONG(fx_json_int(&root, "x", 0, 9, &n), "f.json: x: not a whole number");
    EXPECT_WRONG(fx_json_int(&root, "n", 8, 9, &n), "f.json: n: 7 is not from 8 to 9");
    EXPECT_WRONG(fx_json_int(&root, "n", 0, 6, &n), "f.json: n: 7 is not from 0 to 6");
    assert_int_equal(n, 42); /* a refused value is not stored */
    EXPECT_WRONG(fx_json_real(&root, "name", 0, 9, &x), "f.json: name: not a number");
    EXPECT_WRONG(fx_json_real(&root, "x", 3, 9, &x), "f.json: x: 2.5 is not from 3 to 9");
    EXPECT_WRONG(fx_json_real(&root, "x", 0, 2, &x), "f.json: x: 2.5 is not from 0 to 2");
    assert_true(x == 42);
    EXPECT_WRONG(fx_json_bool(&root, "n", &on), "f.json: n: not true or false");
    EXPECT_WRONG(fx_json_text(&root, "none", name, sizeof name), "f.json: none: not a text");
    EXPECT_WRONG(fx_json_text(&root, "name", name, sizeof name),
                 "f.json: name: 3 bytes of text, at most 2");
    EXPECT_WRONG(fx_json_object(&root, "n", &inner), "f.json: n: not an object");
    EXPECT_WRONG(fx_json_array(&root, "inner", 0, 9, &list, &count), "f.json: inner: not a list");
    EXPECT_WRONG(fx_json_array(&root, "empty", 1, 9, &list, &count),
                 "f.json: empty: a list of 0 entries, not of 1 to 9");
    assert_int_equal(fx_json_object(&root, "inner", &inner), FX_OK);
    EXPECT_WRONG(fx_json_int(&inner, "n", 0, 9, &n), "f.json: inner.n: -3 is not from 0 to 9");
    EXPECT_WRONG(fx_json_array(&inner, "list", 0, 1, &list, &count),
                 "f.json: inner.list: a list of 2 entries, not of 0 to 1");
    assert_int_equal(fx_json_array(&inner, "list", 0, 2, &list, &count), FX_OK);
    EXPECT_WRONG(fx_json_entry(&list, 1, &entry), "f.json: inner.list[1]: not an object");
    EXPECT_WRONG(fx_json_entry(&list, 2, &entry), "f.json: inner.list[2]: missing, an object");
    fx_json_free(&root);
}

static void written_files_read_back(void **state)
{
    (void)state;
    static const double hard[] = {
        0.1, -0.0, 1.0 / 3, DBL_MAX, DBL_MIN, 4.9406564584124654e-324, 1e22, 3, 9007199254740993.0};
    enum { COUNT = sizeof hard / sizeof *hard };
    json_t *object = json_object();
    char key[8];
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(json_object_set_new(object, key, json_real(hard[i])), 0);
    }
    assert_int_equal(json_object_set_new(object, "most", json_integer(INT64_MAX)), 0);
    assert_int_equal(json_object_set_new(object, "text", json_string("a\"b\\c\n\xc3\xa9")), 0);
    assert_int_equal(fx_json_write(in_folder("back.json"), object), FX_OK);
    json_decref(object);

    fx_json root;
    int64_t most = 0;
    char text[32];
    assert_int_equal(fx_json_load(in_folder("back.json"), 4096, &root), FX_OK);
    for (int i = 0; i < COUNT; i++) {
        double back = 42;
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(fx_json_real(&root, key, -INFINITY, INFINITY, &back), FX_OK);
        assert_memory_equal(&back, &hard[i], sizeof back);
    }
    assert_int_equal(fx_json_int(&root, "most", 0, INT64_MAX, &most), FX_OK);
    assert_true(most == INT64_MAX);
    assert_int_equal(fx_json_text(&root, "text", text, sizeof text), FX_OK);
    assert_string_equal(text, "a\"b\\c\n\xc3\xa9");
    fx_json_free(&root);

    /* json_real refuses NaN, so json_pack gives NULL */
    assert_int_equal(fx_json_write(in_folder("nan.json"), json_pack("{sf}", "x", (double)NAN)),
                     FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "nan.json: not written"));
    assert_false(fx_file_exists(in_folder("nan.json")));
    json_t *fine = json_pack("{si}", "x", 1);
    assert_int_equal(fx_json_write(in_folder("no/such/folder.json"), fine), FX_EIO);
    json_decref(fine);
}

static void equal_values_are_equal_bytes(void **state)
{
    (void)state;
    json_t *a = json_pack("{si sf}", "b", 1, "a", 0.5), *b = json_pack("{sf si}", "a", 0.5, "b", 1);
    uint64_t ha = 0, hb = 1;
    assert_int_equal(fx_json_write(in_folder("a.json"), a), FX_OK);
    assert_int_equal(fx_json_write(in_folder("b.json"), b), FX_OK);
    assert_int_equal(fx_file_xxh64(in_folder("a.json"), &ha), FX_OK);
    assert_int_equal(fx_file_xxh64(in_folder("b.json"), &hb), FX_OK);
    assert_true(ha == hb);
    json_decref(a);
    json_decref(b);
}

/* Bytes of the sample changed at random, and cut: parsed or refused, and every getter survives what
 * came out. */
static void damaged_text(void **state)
{
    (void)state;
    enum { ROUNDS = 20000 };
    static const char letters[] = "{}[]\",:0123456789.eE+-truefalsn\\u \n\t\x80\xff";
    int parsed = 0, refused = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        char text[sizeof sample];
        memcpy(text, sample, sizeof sample);
        const fx_philox r = fx_philox4x32(1, (const uint32_t[4]){round, 0, 0, 0});
        const size_t size = r.word[0] % 4 ? sizeof sample - 1 : r.word[1] % sizeof sample;
        for (uint32_t i = 0; i < r.word[2] % 4; i++) {
            const fx_philox s = fx_philox4x32(1, (const uint32_t[4]){round, 1, i, 0});
            text[s.word[0] % (sizeof sample - 1)] =
                s.word[1] % 4 ? letters[s.word[2] % (sizeof letters - 1)] : (char)(s.word[2] & 255);
        }
        fx_json root, other, entry;
        int64_t n;
        double x;
        bool on;
        char name[4];
        int count = 0;
        if (fx_json_parse("f.json", text, size, &root) != FX_OK) {
            refused++;
            assert_null(root.value);
            continue;
        }
        parsed++;
        (void)fx_json_int(&root, "n", 0, 9, &n);
        (void)fx_json_real(&root, "x", 0, 9, &x);
        (void)fx_json_bool(&root, "on", &on);
        (void)fx_json_text(&root, "name", name, sizeof name);
        if (fx_json_object(&root, "inner", &other) == FX_OK &&
            fx_json_array(&other, "list", 0, 9, &other, &count) == FX_OK)
            for (int i = 0; i < count; i++)
                (void)fx_json_entry(&other, i, &entry);
        fx_json_free(&root);
    }
    assert_true(parsed > ROUNDS / 20 && refused > ROUNDS / 20); /* both ways were taken often */
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char **names = NULL;
    int count = 0;
    if (fx_list_dir(folder, ".json", &names, &count) != FX_OK) return -1;
    for (int i = 0; i < count; i++)
        (void)fx_remove(in_folder(names[i]));
    fx_free(names);
    return rmdir(folder); /* fails when a .part file was left behind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files),
        cmocka_unit_test(members),
        cmocka_unit_test(bad_members),
        cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(equal_values_are_equal_bytes),
        cmocka_unit_test(damaged_text),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
