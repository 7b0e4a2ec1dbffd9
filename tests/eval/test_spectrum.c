/* test_spectrum.c: spectra of fields whose spectrum is known: single modes, Parseval, windowed modes
 * between the shells, and the band's numbers.
 *
 * Planted errors, each caught: interior columns counted once (parseval), the column n/2 counted twice
 * (parseval), |k| of the shell instead of the mode in E (single_mode), the window not normalised
 * (window_keeps_energy), the mean left in (constant patch in window_keeps_energy), k of negative rows
 * not folded (single_mode). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "flexhpc/eval.h"
#include "flexhpc/mem.h"
#include "flexhpc/rng.h"

enum { N = 32, SHELLS = 24 }; /* round(sqrt(2) 16) + 1 */
static const double TWO_PI = 6.283185307179586;

static void mode(float *w, double amplitude, double kx, double ky, double phase)
{
    for (int y = 0; y < N; y++)
        for (int x = 0; x < N; x++)
            w[y * N + x] = (float)(amplitude * cos(TWO_PI * (kx * x + ky * y) / N + phase));
}

static void noise(float *w, uint32_t stream)
{
    fx_fill_normal(5, 0, stream, 0, w, N * N);
}

static fx_spectrum *spectrum_of(const float *w, double length, fx_window window)
{
    fx_spectrum *s = NULL;
    assert_int_equal(fx_spectrum_create(&s, N, length, window), FX_OK);
    assert_int_equal(fx_spectrum_shells(s), SHELLS);
    if (w) assert_int_equal(fx_spectrum_add(s, w, NULL), FX_OK);
    return s;
}

/* a cos(k x + phase) has enstrophy a^2 / 4 and energy a^2 / (4 |k|^2), all in the shell of |k|. */
static void single_mode(void **state)
{
    (void)state;
    const double modes[][2] = {{3, 0}, {0, 5}, {3, -4}, {7, 7}, {-6, 2}};
    float w[N * N];
    double k[SHELLS], e[SHELLS], z[SHELLS];
    for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++)
        for (int wide = 0; wide < 2; wide++) { /* the same pixels on a domain half as long: dk = 2 */
            const double kx = modes[m][0], ky = modes[m][1], k2 = kx * kx + ky * ky, dk = 1 + wide;
            const int shell = (int)lround(sqrt(k2));
            mode(w, 3, kx, ky, 0.4);
            fx_spectrum *s = spectrum_of(w, TWO_PI / dk, FX_PERIODIC);
            fx_spectrum_read(s, k, e, z);
            fx_spectrum_free(&s);
            for (int j = 0; j < SHELLS; j++) {
                assert_true(fabs(k[j] - j * dk) < 1e-12);
                assert_true(fabs(z[j] - (j == shell ? 9.0 / 4 / dk : 0)) < 1e-6);
                assert_true(fabs(e[j] - (j == shell ? 9.0 / 4 / k2 / dk / dk / dk : 0)) < 1e-6);
            }
        }
}

/* The sum over shells is half the mean square, for white noise (every mode, Nyquist and corners too),
 * to rounding. */
static void parseval(void **state)
{
    (void)state;
    float w[N * N], v[N * N];
    double z[SHELLS], sum = 0, square = 0;
    noise(w, 1);
    noise(v, 2);
    fx_spectrum *s = spectrum_of(w, 1.7, FX_PERIODIC);
    assert_int_equal(fx_spectrum_add(s, w, v), FX_OK); /* of w - v: the mean of two fields */
    assert_int_equal(fx_spectrum_count(s), 2);
    fx_spectrum_read(s, NULL, NULL, z);
    for (int j = 0; j < SHELLS; j++)
        sum += z[j] * TWO_PI / 1.7;
    for (int i = 0; i < N * N; i++)
        square += (double)w[i] * w[i] + ((double)w[i] - v[i]) * ((double)w[i] - v[i]);
    assert_true(fabs(sum / (0.5 * square / 2 / N / N) - 1) < 1e-12);
    fx_spectrum_free(&s);
}

/* A mode between two shells: its windowed energy is that of the mode whatever its phase, on average,
 * and lies within 3 shells; without a window it reaches all of them. A constant patch has no spectrum.
 */
static void window_keeps_energy(void **state)
{
    (void)state;
    float w[N * N];
    double z[SHELLS], raw[SHELLS], sum = 0;
    fx_spectrum *hann = spectrum_of(NULL, TWO_PI, FX_HANN),
                *none = spectrum_of(NULL, TWO_PI, FX_PERIODIC);
    for (int p = 0; p < 16; p++) {
        mode(w, 2, 6.5, 0.5, TWO_PI * p / 16);
        for (int i = 0; i < N * N; i++)
            w[i] += 10; /* a patch has a mean, the domain has none */
        assert_int_equal(fx_spectrum_add(hann, w, NULL), FX_OK);
        assert_int_equal(fx_spectrum_add(none, w, NULL), FX_OK);
    }
    fx_spectrum_read(hann, NULL, NULL, z);
    fx_spectrum_read(none, NULL, NULL, raw);
    for (int j = 0; j < SHELLS; j++) {
        sum += z[j];
        if (j < 4 || j > 9) assert_true(z[j] < 2e-3);
    }
    assert_true(fabs(sum - 1) < 1e-3);
    assert_true(raw[14] > 10 * z[14] && raw[0] > 40);
    fx_spectrum_free(&hann);
    fx_spectrum_free(&none);
}

static fx_status band_of(const fx_spectrum *m, const fx_spectrum *t, const fx_spectrum *e, double low,
                         double high, fx_band *out)
{
    double model[SHELLS], truth[SHELLS], error[SHELLS];
    fx_spectrum_read(m, NULL, model, NULL);
    fx_spectrum_read(t, NULL, truth, NULL);
    if (e) fx_spectrum_read(e, NULL, error, NULL);
    return fx_band_of(model, truth, e ? error : NULL, fx_spectrum_whole_shells(t), 1, low, high, out);
}

/* truth: shells 2, 6 and 12 filled; the model has them times 1, 0.5 and 0.1 in amplitude. */
static void band(void **state)
{
    (void)state;
    float truth[N * N], model[N * N], part[N * N];
    fx_spectrum *t = NULL, *m = NULL, *e = NULL;
    fx_band b;
    noise(truth, 3); /* some energy in every shell */
    for (int i = 0; i < N * N; i++)
        truth[i] *= 1e-3f, model[i] = truth[i];
    const double k[] = {2, 6, 12}, kept[] = {1, 0.5, 0.1};
    for (int j = 0; j < 3; j++) {
        mode(part, 1, k[j], 0, 0.3);
        for (int i = 0; i < N * N; i++)
            truth[i] += part[i], model[i] += (float)kept[j] * part[i];
    }
    t = spectrum_of(truth, TWO_PI, FX_PERIODIC);
    m = spectrum_of(model, TWO_PI, FX_PERIODIC);
    e = spectrum_of(NULL, TWO_PI, FX_PERIODIC);
    assert_int_equal(fx_spectrum_add(e, model, truth), FX_OK);

    assert_int_equal(band_of(m, t, e, 4, 16, &b), FX_OK);
    const double whole = 1.0 / 36 + 1.0 / 144; /* energies of the modes, but for a common factor */
    assert_true(fabs(b.energy - (0.25 / 36 + 0.01 / 144) / whole) < 1e-3);
    assert_true(fabs(b.error - (0.25 / 36 + 0.81 / 144) / whole) < 1e-3);
    assert_true(b.cutoff == 5); /* the three shells around 5 hold the mode of 6 */
    const double db = sqrt((pow(10 * log10(0.25), 2) + pow(10 * log10(0.01), 2)) / 16);
    assert_true(fabs(b.decibel - db) < 0.05);

    assert_int_equal(band_of(t, t, NULL, 4, 16, &b), FX_OK);
    assert_true(b.energy == 1 && b.decibel == 0 && isnan(b.error) && isnan(b.cutoff));
    assert_int_equal(band_of(m, t, e, 12, 16, &b), FX_OK); /* low itself is not in the band */
    assert_true(fabs(b.energy - 1) < 1e-3);

    assert_int_equal(band_of(m, t, e, 16, 20, &b), FX_EARG);
    fx_spectrum *empty = spectrum_of(NULL, TWO_PI, FX_PERIODIC);
    assert_int_equal(band_of(m, empty, e, 4, 16, &b), FX_EVALUE);
    fx_spectrum_free(&empty);
    fx_spectrum_clear(e);
    assert_int_equal(fx_spectrum_count(e), 0);
    assert_int_equal(fx_spectrum_add(e, truth, NULL), FX_OK);
    assert_int_equal(band_of(e, t, NULL, 4, 16, &b), FX_OK);
    assert_true(b.energy == 1 && b.decibel == 0);
    fx_spectrum_free(&t);
    fx_spectrum_free(&m);
    fx_spectrum_free(&e);
}

static void refusals(void **state)
{
    (void)state;
    fx_spectrum *s = NULL;
    float w[N * N];
    assert_int_equal(fx_spectrum_create(&s, 31, 1, FX_HANN), FX_EARG);
    assert_int_equal(fx_spectrum_create(&s, 32, 0, FX_HANN), FX_EARG);
    assert_null(s);
    uint64_t n = 0;
    do { /* whichever allocation fails */
        fx_mem_fail_after(++n);
        const fx_status status = fx_spectrum_create(&s, N, 1, FX_HANN);
        fx_mem_fail_after(0);
        assert_true(status == (s ? FX_OK : FX_ENOMEM));
    } while (!s);
    assert_true(n > 4);
    fx_spectrum_free(&s);
    noise(w, 4);
    w[N + 2] = INFINITY;
    s = spectrum_of(NULL, 1, FX_HANN);
    assert_int_equal(fx_spectrum_add(s, w, NULL), FX_EVALUE);
    assert_string_equal(fx_error_message(), "spectrum: pixel (1, 2) is inf");
    assert_int_equal(fx_spectrum_count(s), 0);
    fx_spectrum_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_mode),
        cmocka_unit_test(parseval),
        cmocka_unit_test(window_keeps_energy),
        cmocka_unit_test(band),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
