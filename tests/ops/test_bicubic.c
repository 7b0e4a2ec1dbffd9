/* test_bicubic.c: the low-resolution input against the golden file (spec 9) at factors 2, 4 and 8.
 * Run: standin
 * Planted and caught (bicubic.c): A = -0.5; the last row of source pixels clamped one too early. */
#include "by_hand.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
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
        by_hand_begin(&h, FX_OP_bicubic, (fx_attrs){.bicubic = {factor}});
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_golden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
