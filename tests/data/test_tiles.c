/* test_tiles.c: tiles over fields of many sizes, periodic or between walls: they cover every point, lie
 * on the unit, share what was asked for and never reach over a wall; their weights are smooth and sum
 * to 1; tiles cut out of a field and blended are the field, each row handed over once, two fields one
 * after the other.
 *
 * Planted and caught: a tile too few along a periodic axis; the last tile over the wall; weights that
 * are not divided by their sum; rows of the first tiles handed over before the last ones came; the band
 * not cleared behind a tile row; columns that do not wrap; overlap not rounded to the unit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/tiles.h"

static const fx_tiles_options CASES[] = {
    {.height = 16, .width = 16, .side = 16, .unit = 1, .overlap = 0.25},
    {.height = 16, .width = 16, .side = 16, .unit = 1, .overlap = 0, .periodic = {true, true}},
    {.height = 16, .width = 16, .side = 16, .unit = 4, .overlap = 0.5, .periodic = {true, true}},
    {.height = 64, .width = 48, .side = 16, .unit = 4, .overlap = 0.25, .periodic = {true, true}},
    {.height = 64, .width = 48, .side = 16, .unit = 4, .overlap = 0, .periodic = {true, true}},
    {.height = 40, .width = 100, .side = 16, .unit = 4, .overlap = 0.3, .periodic = {false, true}},
    {.height = 40, .width = 100, .side = 16, .unit = 2, .overlap = 0.5, .periodic = {true, false}},
    {.height = 17, .width = 31, .side = 16, .unit = 1, .overlap = 0.25, .periodic = {false, false}},
    {.height = 17, .width = 18, .side = 16, .unit = 1, .overlap = 0.5, .periodic = {true, true}},
};

static double value(int64_t row, int64_t column)
{
    return sin(0.3 * (double)row) + cos(0.7 * (double)column) + 0.01 * (double)(row * column);
}

static void check_axis(const fx_tile_axis *a, const fx_tiles_options *o)
{
    double *sum = NULL;
    assert_int_equal(FX_ALLOC(sum, a->length), FX_OK);
    assert_true(fabs((double)a->overlap - o->overlap * (double)a->side) <= (double)o->unit);
    for (int64_t i = 0; i < a->count; i++) {
        assert_int_equal(a->first[i] % o->unit, 0);
        assert_true(a->first[i] >= 0 && a->first[i] < a->length);
        if (!a->periodic) assert_true(a->first[i] + a->side <= a->length);
        if (i > 0) assert_true(a->first[i - 1] + a->side - a->first[i] >= a->overlap);
        for (int64_t k = 0; k < a->side; k++) {
            const float *w = &a->weight[i * a->side + k];
            assert_true(*w > 0 && *w <= 1);
            if (k > 0 && a->overlap > 4) assert_true(fabsf(w[0] - w[-1]) < 4.0f / (float)a->overlap);
            sum[(a->first[i] + k) % a->length] += (double)*w;
        }
    }
    if (a->periodic)
        assert_true(a->first[a->count - 1] + a->side - a->length >= a->overlap);
    else
        assert_int_equal(a->first[a->count - 1] + a->side, a->length);
    for (int64_t x = 0; x < a->length; x++)
        assert_true(fabs(sum[x] - 1) < 1e-6);
    fx_free(sum);
}

static void tiles_cover_and_weigh(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        fx_tiles t;
        assert_int_equal(fx_tiles_create(&CASES[k], &t), FX_OK);
        check_axis(&t.y, &CASES[k]);
        check_axis(&t.x, &CASES[k]);
        fx_tiles_free(&t);
    }
}

typedef struct field {
    int64_t width, height, rows;
    float *value;
    int *seen;
} field;

static fx_status take(void *self, int64_t row, int64_t rows, const float *values)
{
    field *f = self;
    assert_true(row >= 0 && rows > 0 && row + rows <= f->height);
    memcpy(f->value + row * f->width, values, (size_t)(rows * f->width) * sizeof *values);
    for (int64_t r = row; r < row + rows; r++)
        f->seen[r]++;
    f->rows += rows;
    return FX_OK;
}

static void check_blend(const fx_tiles *t, const fx_tiles_options *o)
{
    field f = {o->width, o->height, 0, NULL, NULL};
    fx_blend *blend = NULL;
    float *tile = NULL;
    assert_int_equal(FX_ALLOC(f.value, o->width * o->height), FX_OK);
    assert_int_equal(FX_ALLOC(f.seen, o->height), FX_OK);
    assert_int_equal(FX_ALLOC(tile, o->side * o->side), FX_OK);
    assert_int_equal(fx_blend_create(t, &blend), FX_OK);
    for (int again = 1; again <= 2; again++) {
        for (int64_t k = 0; k < fx_tiles_count(t); k++) {
            for (int64_t i = 0; i < o->side * o->side; i++)
                tile[i] = (float)value((t->y.first[k / t->x.count] + i / o->side) % o->height,
                                       (t->x.first[k % t->x.count] + i % o->side) % o->width);
            assert_int_equal(fx_blend_add(blend, tile, 0.5f * (float)again, (fx_rows_sink){take, &f}),
                             FX_OK);
        }
        for (int64_t r = 0; r < o->height; r++)
            assert_int_equal(f.seen[r], again);
        for (int64_t i = 0; i < o->width * o->height; i++) {
            const double want = 0.5 * again * value(i / o->width, i % o->width);
            assert_true(fabs((double)f.value[i] - want) < 2e-6 * (1 + fabs(want)));
        }
    }
    fx_blend_free(&blend);
    fx_free(f.value);
    fx_free(f.seen);
    fx_free(tile);
}

static void blended_tiles_are_the_field(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof CASES / sizeof *CASES; k++) {
        fx_tiles t;
        assert_int_equal(fx_tiles_create(&CASES[k], &t), FX_OK);
        check_blend(&t, &CASES[k]);
        fx_tiles_free(&t);
    }
}

static fx_status refuse(void *self, int64_t row, int64_t rows, const float *values)
{
    (void)self, (void)row, (void)rows, (void)values;
    return fx_fail(FX_EIO, "no more");
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const struct {
        fx_tiles_options options;
        const char *says;
    } rows[] = {{{.height = 15, .width = 64, .side = 16, .unit = 1}, "smaller than the model's patch"},
                {{.height = 64, .width = 8, .side = 16, .unit = 1}, "64 x 8"},
                {{.height = 66, .width = 64, .side = 16, .unit = 4}, "multiples of the factor 4"},
                {{.height = 64, .width = 66, .side = 16, .unit = 4}, "64 x 66"}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        fx_tiles t;
        assert_int_equal(fx_tiles_create(&rows[k].options, &t), FX_ECONFIG);
        assert_non_null(strstr(fx_error_message(), rows[k].says));
        fx_tiles_free(&t);
    }
    fx_tiles t;
    fx_blend *blend = NULL;
    float tile[256] = {0};
    assert_int_equal(fx_tiles_create(&CASES[0], &t), FX_OK);
    assert_int_equal(fx_blend_create(&t, &blend), FX_OK);
    assert_int_equal(fx_blend_add(blend, tile, 1, (fx_rows_sink){refuse, NULL}), FX_EIO);
    fx_blend_free(&blend);
    fx_tiles_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tiles_cover_and_weigh),
                                       cmocka_unit_test(blended_tiles_are_the_field),
                                       cmocka_unit_test(what_cannot_be_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
