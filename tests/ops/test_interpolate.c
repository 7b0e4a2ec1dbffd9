/* test_interpolate.c: the low-resolution input against the golden file (spec 9) at factors 2, 4 and 8;
 * bilinear against what it must do to straight lines; a coarse image against the full one that it was
 * taken from. Values of bilinear: test_bilinear.py.
 * Run: standin
 * Planted and caught: A = -0.5; the last row of source pixels clamped one too early; the taps of
 * bilinear exchanged; its centre without the half pixel; the stride left out of the rows. */
#include "by_hand.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "flexhpc/str.h"

enum { SIDE = 64, CHANNELS = 2, PIXELS = SIDE * SIDE };

/* s(name, amplitude) of the golden files: splitmix64 of (crc32(name), index), mixed with the file's
 * tag. */
static float golden_number(const char *name, uint32_t i, uint64_t tag, double amplitude)
{
    uint64_t z = ((uint64_t)fx_crc32(name) << 32 | i) ^ tag * 0x9E3779B97F4A7C15u;
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (float)((2 * ((double)(z >> 11) * 0x1p-53) - 1) * amplitude);
}

static void read_golden(int factor, float *up, uint64_t *tag)
{
    char name[16];
    snprintf(name, sizeof name, "up/%d", factor);
    const hid_t file = H5Fopen(FX_TESTS_DIR "/golden/bicubic_a.h5", H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t data = H5Dopen2(file, name, H5P_DEFAULT), attribute = H5Aopen(file, "tag", H5P_DEFAULT);
    assert_true(file >= 0 && data >= 0 && attribute >= 0);
    assert_true(H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, up) >= 0);
    assert_true(H5Aread(attribute, H5T_NATIVE_UINT64, tag) >= 0);
    H5Aclose(attribute);
    H5Dclose(data);
    H5Fclose(file);
}

static void agrees_with_golden(void **state)
{
    (void)state;
    static float x[PIXELS * CHANNELS], want[PIXELS];
    for (int factor = 2; factor <= 8; factor *= 2) {
        uint64_t tag = 0;
        read_golden(factor, want, &tag);
        for (uint32_t i = 0; i < PIXELS; i++) {
            x[i * CHANNELS] = NAN; /* only the last channel counts */
            x[i * CHANNELS + 1] = golden_number("patch", i, tag, 1.5);
        }
        by_hand h;
        by_hand_begin(&h, FX_OP_interpolate, (fx_attrs){.interpolate = {FX_BICUBIC, factor, factor}});
        by_hand_in(&h, 0, x, 4, FX_DIMS(1, SIDE, SIDE, CHANNELS));
        assert_int_equal(by_hand_forward(&h), FX_OK);
        double error = 0, norm = 0;
        for (int i = 0; i < PIXELS; i++) {
            const double e = (double)fx_f32(h.node.out[0])[i] - (double)want[i];
            error += e * e;
            norm += (double)want[i] * (double)want[i];
        }
        by_hand_end(&h);
        assert_true(norm > 0 && sqrt(error / norm) < 1e-6);
    }
}

static void interpolate(fx_interpolate_attrs attrs, float *x, int64_t rows, int64_t columns, float *y)
{
    by_hand h;
    by_hand_begin(&h, FX_OP_interpolate, (fx_attrs){.interpolate = attrs});
    by_hand_in(&h, 0, x, 4, FX_DIMS(1, rows, columns, 1));
    assert_int_equal(by_hand_forward(&h), FX_OK);
    memcpy(y, fx_f32(h.node.out[0]), (size_t)fx_count(h.node.out[0]) * sizeof *y);
    by_hand_end(&h);
}

/* Source pixel k stands for the f pixels from k f on, so its centre is at pixel k f + (f - 1) / 2. */
static void bilinear_follows_lines(void **state)
{
    (void)state;
    enum { ROWS = 5, COLUMNS = 7, F = 4 };
    float x[ROWS * COLUMNS], y[ROWS * COLUMNS * F * F];
    for (int i = 0; i < ROWS * COLUMNS; i++)
        x[i] = (float)(3 * (i / COLUMNS) - 2 * (i % COLUMNS));
    interpolate((fx_interpolate_attrs){FX_BILINEAR, F, 1}, x, ROWS, COLUMNS, y);
    for (int i = 0; i < ROWS * F; i++)
        for (int j = 0; j < COLUMNS * F; j++) {
            const double row = fmin(fmax((i - 0.5 * (F - 1)) / F, 0), ROWS - 1),
                         column = fmin(fmax((j - 0.5 * (F - 1)) / F, 0), COLUMNS - 1);
            assert_true(fabs((double)y[i * COLUMNS * F + j] - (3 * row - 2 * column)) < 1e-5);
        }
}

/* The same bits from every stride-th pixel and from an image of these alone. */
static void coarse_is_strided(void **state)
{
    (void)state;
    enum { H = 12, W = 18, F = 6, MOST = H * W };
    float x[MOST], coarse[MOST / F / F], a[MOST], b[MOST];
    for (uint32_t i = 0; i < MOST; i++)
        x[i] = golden_number("patch", i, 7, 1.5);
    for (int i = 0; i < H / F * W / F; i++)
        coarse[i] = x[i / (W / F) * F * W + i % (W / F) * F];
    for (int kind = FX_BICUBIC; kind <= FX_BILINEAR; kind++) {
        interpolate((fx_interpolate_attrs){(fx_interpolation)kind, F, F}, x, H, W, a);
        interpolate((fx_interpolate_attrs){(fx_interpolation)kind, F, 1}, coarse, H / F, W / F, b);
        assert_memory_equal(a, b, sizeof a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_golden),
                                       cmocka_unit_test(bilinear_follows_lines),
                                       cmocka_unit_test(coarse_is_strided)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
