/* test_core.c: error record, memory and its failure hook, pools, random numbers, strings, shapes. The
 * Philox vectors are the known answers of Random123, confirmed by a program of its own.
 *
 * Planted errors, each caught: nine rounds of Philox; sine and cosine of Box-Muller both scaled by u
 * instead of the radius of -2 log u; fx_context that keeps the old message only; the failure hook one
 * call late; a limit of 2^40 elements that is not checked; hours of HH:MM:SS taken for days as well.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "flexhpc/mem.h"
#include "flexhpc/rng.h"
#include "flexhpc/str.h"
#include "flexhpc/tensor.h"

static fx_status fails(void)
{
    return fx_fail(FX_EIO, "file %s, line %d", "a.h5", 7);
}

static fx_status passes_on(void)
{
    FX_TRY_CTX(fails(), "reading weights");
    return FX_OK;
}

static void errors_say_what_was_being_done(void **state)
{
    (void)state;
    assert_int_equal(passes_on(), FX_EIO);
    assert_string_equal(fx_error_message(), "reading weights: file a.h5, line 7");
    assert_int_equal(fx_context(FX_EPEER, "rank %d", 3), FX_EPEER);
    assert_string_equal(fx_error_message(), "rank 3: reading weights: file a.h5, line 7");
    assert_int_equal(fx_fail(FX_EARG, "again: %s", fx_error_message()), FX_EARG);
    assert_string_equal(fx_error_message(), "again: rank 3: reading weights: file a.h5, line 7");
    fx_error_clear();
    assert_string_equal(fx_error_message(), "");
}

static void long_errors_are_cut(void **state)
{
    (void)state;
    char text[4000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    fx_fail(FX_EARG, "%s", text);
    const size_t length = strlen(fx_error_message());
    assert_true(length >= 500 && length < sizeof text - 1);
    fx_context(FX_EARG, "front");
    assert_memory_equal(fx_error_message(), "front: xxx", 10);
    assert_true(strlen(fx_error_message()) <= length);
    fx_context(FX_EARG, "%s", text);
    assert_int_equal(strlen(fx_error_message()), length);
}

static void memory_is_zero_aligned_and_bounded(void **state)
{
    (void)state;
    for (size_t n = 0; n < 300; n += 7) {
        unsigned char *p = fx_calloc(n, 1);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n); /* the next one must not see it */
        fx_free(p);
    }
    fx_error_clear();
    assert_null(fx_calloc(SIZE_MAX / 2, 3));
    assert_non_null(strstr(fx_error_message(), "address space"));
    assert_null(fx_calloc(SIZE_MAX - 3, 1));
    fx_free(NULL);
    fx_unmap(NULL, 5);
    char *pages = fx_map(100);
    assert_non_null(pages);
    assert_int_equal(pages[99], 0);
    fx_unmap(pages, 100);
}

static void the_named_allocation_fails(void **state)
{
    (void)state;
    fx_mem_fail_after(3);
    for (int i = 1; i <= 5; i++) {
        void *p = i == 4 ? fx_calloc(8, 1) : fx_calloc(1, 1);
        if (i == 3)
            assert_null(p);
        else
            assert_non_null(p);
        fx_free(p);
    }
    assert_non_null(strstr(fx_error_message(), "out of memory: 1 bytes"));
    assert_int_equal(fx_mem_fail_after(1), 5);
    assert_null(fx_map(10));
    assert_int_equal(fx_mem_fail_after(0), 1);
    void *p = fx_calloc(1, 1);
    assert_non_null(p);
    fx_free(p);
}

static void arrays_grow_and_survive_a_failure(void **state)
{
    (void)state;
    int *a = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(fx_grow((void **)&a, &capacity, (size_t)i, sizeof *a), FX_OK);
        a[i] = i;
    }
    const size_t before = capacity;
    fx_mem_fail_after(1);
    assert_int_equal(fx_grow((void **)&a, &capacity, 1000, sizeof *a), FX_ENOMEM);
    fx_mem_fail_after(0);
    assert_int_equal(capacity, before);
    assert_int_equal(fx_grow((void **)&a, &capacity, 1000, sizeof *a), FX_OK);
    assert_true(capacity > 1000);
    a[1000] = 5;
    for (int i = 0; i < 100; i++)
        assert_int_equal(a[i], i);
    fx_free(a);
}

static void pool_pieces_do_not_overlap(void **state)
{
    (void)state;
    enum { PIECES = 400 };
    fx_pool *pool = NULL;
    unsigned char *piece[PIECES];
    assert_int_equal(fx_pool_create(&pool), FX_OK);
    for (size_t i = 0; i < PIECES; i++) {
        piece[i] = fx_pool_calloc(pool, i == 77 ? 100000 : i + 1, 1);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        for (size_t k = 0; k <= i; k++)
            assert_int_equal(piece[i][k], 0);
        memset(piece[i], (int)(i % 251) + 1, i + 1);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t k = 0; k <= i; k++)
            assert_int_equal(piece[i][k], i % 251 + 1);
    assert_string_equal(fx_pool_print(pool, "%s.%d", "blocks", 12), "blocks.12");
    assert_null(fx_pool_calloc(pool, SIZE_MAX / 2, 4));
    fx_mem_fail_after(1);
    assert_null(fx_pool_calloc(pool, 1 << 20, 1));
    fx_mem_fail_after(0);
    fx_pool_free(&pool);
    assert_null(pool);
    fx_pool_free(&pool);
}

static void philox_gives_the_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint64_t key;
        uint32_t counter[4], answer[4];
    } rows[] = {
        {0, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX,
         {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822,
         {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const fx_philox r = fx_philox4x32(rows[i].key, rows[i].counter);
        assert_memory_equal(r.word, rows[i].answer, sizeof r.word);
    }
}

static void normals_have_their_moments(void **state)
{
    (void)state;
    enum { N = 400000 };
    float *x = fx_calloc(N, sizeof *x);
    double m[5] = {0}, neighbours = 0;
    fx_fill_normal(3, 0, 17, 2, x, N);
    for (int i = 0; i < N; i++) {
        double power = 1;
        for (int k = 1; k <= 4; k++)
            m[k] += (power *= (double)x[i]) / N;
        if (i > 0) neighbours += (double)x[i] * (double)x[i - 1] / N;
    }
    fx_free(x);
    const double limit = 5 / sqrt((double)N); /* five standard deviations of the sample moments */
    assert_true(fabs(m[1]) < limit);
    assert_true(fabs(m[2] - 1) < limit * sqrt(2));
    assert_true(fabs(m[3]) < limit * sqrt(15));
    assert_true(fabs(m[4] - 3) < limit * sqrt(96));
    assert_true(fabs(neighbours) < limit);
}

static void uniforms_lie_in_their_interval(void **state)
{
    (void)state;
    assert_true(fx_uniform(0) == 0.0f && fx_uniform(UINT32_MAX) < 1.0f);
    assert_true(fx_uniform(UINT32_MAX) == 1.0f - 0x1p-24f);
    float four[4];
    const fx_philox zero = {{0, 0, UINT32_MAX, UINT32_MAX}};
    fx_normal4(&zero, four);
    for (int i = 0; i < 4; i++)
        assert_true(isfinite(four[i]));
}

static void numbers_depend_on_every_word_and_not_on_the_count(void **state)
{
    (void)state;
    float a[11], b[11];
    fx_fill_uniform(1, 2, 3, 4, a, 11);
    fx_fill_uniform(1, 2, 3, 4, b, 6);
    assert_memory_equal(a, b, 6 * sizeof *a);
    static const uint32_t other[][4] = {{9, 2, 3, 4}, {1, 9, 3, 4}, {1, 2, 9, 4}, {1, 2, 3, 9}};
    for (size_t i = 0; i < 4; i++) {
        fx_fill_uniform(other[i][0], other[i][1], other[i][2], other[i][3], b, 11);
        assert_memory_not_equal(a, b, sizeof a);
    }
}

static void strings_are_bounded_and_names_plain(void **state)
{
    (void)state;
    char text[8];
    assert_int_equal(fx_print(text, sizeof text, "%d", 1234567), FX_OK);
    assert_string_equal(text, "1234567");
    assert_int_equal(fx_print(text, sizeof text, "%d", 12345678), FX_EARG);
    assert_non_null(strstr(fx_error_message(), "1234567"));
    static const char *const plain[] = {"a", "run-1_x.h5", "A.b", "0"};
    static const char *const strange[] = {"", ".hidden", "a/b", "a b", "..", "t\xc3\xa9", "a\n"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        assert_true(fx_is_plain_name(plain[i]));
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
        assert_false(fx_is_plain_name(strange[i]));
    char name[FX_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[FX_NAME_MAX] = '\0';
    assert_true(fx_is_plain_name(name));
    name[FX_NAME_MAX] = 'n';
    name[FX_NAME_MAX + 1] = '\0';
    assert_false(fx_is_plain_name(name));
    assert_int_equal(fx_crc32("123456789"), 0xcbf43926);
}

static void the_nearest_word_is_near(void **state)
{
    (void)state;
    static const char *const words[] = {"train.batch", "train.bucket", "model.size"};
    assert_string_equal(fx_nearest("train.bach", words, 3), "train.batch");
    assert_string_equal(fx_nearest("modelsize", words, 3), "model.size");
    assert_null(fx_nearest("eval", words, 3));
    assert_null(fx_nearest("x", words, 0));
    char endless[400];
    memset(endless, 'e', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    assert_null(fx_nearest(endless, words, 3));
}

static void spans_are_read_as_slurm_writes_them(void **state)
{
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"1-02:03:04", 93784}, {"12:00:00", 43200},  {"05:30", 330},  {"90:00", 5400},
                {"2-00", 172800},      {"2-06:30", 196200},  {"0:00:01", 1},  {"30", 30},
                {"0.25", 0.25},        {"36:00:00", 129600}, {"00:00:00", 0}, {"UNLIMITED", INFINITY}};
    static const char *const bad[] = {"",        "soon",   "-1",    "1-",   "1:60",
                                      "1:2:3:4", "1:",     ":30",   "1e3",  "nan",
                                      "5s",      "1.5:00", "1-2-3", "1- 2", "INVALID"};
    (void)state;
    double seconds;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(fx_parse_span(good[i].text, &seconds));
        if (seconds != good[i].seconds) fail_msg("%s: %g s", good[i].text, seconds);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (fx_parse_span(bad[i], &seconds)) fail_msg("%s: %g s", bad[i], seconds);
}

static void shapes_are_checked_and_named(void **state)
{
    (void)state;
    fx_tensor t = {.rank = 0}, u = {.rank = 0};
    assert_int_equal(fx_set_shape(&t, 4, FX_DIMS(2, 64, 32, 3)), FX_OK);
    assert_int_equal(fx_count(&t), 2 * 64 * 32 * 3);
    assert_int_equal(fx_tensor_bytes(&t), 4 * 2 * 64 * 32 * 3);
    assert_string_equal(fx_shape_text(&t), "(2, 64, 32, 3)");
    assert_string_equal(fx_shape_text(NULL), "(none)");
    assert_int_equal(fx_set_shape(&u, 3, FX_DIMS(2, 64, 32)), FX_OK);
    assert_false(fx_same_shape(&t, &u));
    assert_true(fx_has_shape(&u, 3, FX_DIMS(2, 64, 32)));
    assert_int_equal(fx_set_shape(&u, 0, FX_DIMS(1)), FX_EARG);
    assert_int_equal(fx_set_shape(&u, 5, FX_DIMS(1, 1, 1, 1, 1)), FX_EARG);
    assert_int_equal(fx_set_shape(&u, 2, FX_DIMS(3, 0)), FX_EARG);
    assert_int_equal(fx_set_shape(&u, 2, FX_DIMS(1 << 20, (1 << 20) + 1)), FX_EARG);
    assert_int_equal(fx_set_shape(&u, 2, FX_DIMS(INT64_MAX, INT64_MAX)), FX_EARG);
    assert_true(fx_has_shape(&u, 3, FX_DIMS(2, 64, 32))); /* as it was */
    assert_int_equal(fx_set_shape(&u, 2, FX_DIMS(1 << 20, 1 << 20)), FX_OK);
}

/* The noise of whole conditions is that of earlier versions. */
static void reals_are_words_and_keys(void **state)
{
    (void)state;
    const double whole[] = {0, 1, 2000, 4294967295.0};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fx_random_word(whole[i]), (uint32_t)whole[i]);
        assert_int_equal(fx_random_key(whole[i]), (uint64_t)whole[i]);
    }
    const double others[] = {0.25, 0.5, 0.75, 1.5, 2000.5, 1e-9, 4294967296.0};
    for (int i = 0; i < 7; i++)
        for (int k = 0; k < i; k++) {
            assert_int_not_equal(fx_random_word(others[i]), fx_random_word(others[k]));
            assert_int_not_equal(fx_random_key(others[i]), fx_random_key(others[k]));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_say_what_was_being_done),
        cmocka_unit_test(long_errors_are_cut),
        cmocka_unit_test(memory_is_zero_aligned_and_bounded),
        cmocka_unit_test(the_named_allocation_fails),
        cmocka_unit_test(arrays_grow_and_survive_a_failure),
        cmocka_unit_test(pool_pieces_do_not_overlap),
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(reals_are_words_and_keys),
        cmocka_unit_test(normals_have_their_moments),
        cmocka_unit_test(uniforms_lie_in_their_interval),
        cmocka_unit_test(numbers_depend_on_every_word_and_not_on_the_count),
        cmocka_unit_test(strings_are_bounded_and_names_plain),
        cmocka_unit_test(the_nearest_word_is_near),
        cmocka_unit_test(spans_are_read_as_slurm_writes_them),
        cmocka_unit_test(shapes_are_checked_and_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
