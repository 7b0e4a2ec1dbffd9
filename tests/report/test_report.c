/* test_report.c: what the report refuses, and that no allocation is taken for granted. With a folder as
 * argument it writes pages there instead (full, failed, hostile, odd), which test_report_page.py reads.
 *
 * Planted error, caught: an old report truncated by a failed one (refusals). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/mem.h"
#include "flexhpc/report.h"
#include "flexhpc/rng.h"
#include "flexhpc/str.h"
#include "compared.h"

enum { SIDE = 64, FACTOR = 4, LOW = SIDE / FACTOR, STEPS = 256, MODES = 400 };

static float truth[SIDE * SIDE], model[SIDE * SIDE], last[SIDE * SIDE], forecast[SIDE * SIDE],
    lowres[LOW * LOW];
static double step[STEPS], loss[STEPS], validation[STEPS], rate[STEPS];
static double k[SIDE], spectrum[3][SIDE];

/* A field of random modes, |w_k| ~ 1/k as in decaying turbulence; `drift` moves the phases of the small
 * ones more, `keep` damps modes above the low resolution's. */
static void make_field(float *w, double drift, double keep)
{
    float random[4];
    memset(w, 0, sizeof truth);
    for (uint32_t m = 0; m < MODES; m++) {
        fx_fill_uniform(3, m, 1, 0, random, 4);
        const double size = 1.5 * exp(random[0] * log(20.0)), angle = 6.2831853 * random[1];
        const double kx = round(size * cos(angle)), ky = round(size * sin(angle));
        const double length = fmax(sqrt(kx * kx + ky * ky), 1), damp = length > LOW / 2.0 ? keep : 1;
        const double phase = 6.2831853 * random[2] + drift * length * (random[3] - 0.5);
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                w[y * SIDE + x] +=
                    (float)(damp / length * cos(6.2831853 * (kx * x + ky * y) / SIDE + phase));
    }
}

static void make_curves(void)
{
    for (int i = 0; i < STEPS; i++) {
        float random[4];
        fx_fill_normal(9, (uint32_t)i, 0, 0, random, 4);
        step[i] = i + 1;
        loss[i] = 0.18 + 0.7 * exp(-i / 18.0) + (0.03 + 0.2 * exp(-i / 20.0)) * 0.4 * random[0];
        validation[i] = i % 16 == 0 || (i > 90 && i < 140) ? 0.19 + 0.72 * exp(-i / 20.0) : NAN;
        rate[i] = i < 50 ? 1e-3 * (i + 1) / 50 : 5e-4 * (1 + cos(3.14159 * (i - 50) / (STEPS - 50)));
    }
    for (int j = 0; j < SIDE; j++) {
        k[j] = j;
        spectrum[0][j] = 0.4 * pow(j, -3.0) * exp(-j / 20.0);
        spectrum[1][j] = spectrum[0][j] * (j < 12 ? 1 : exp(-(j - 12) / 8.0));
        spectrum[2][j] = spectrum[0][j] * (j < 8 ? 1 : exp(-(j - 8) / 2.0));
    }
}

static void make_fields(void)
{
    make_field(truth, 0, 1);
    make_field(model, 0.10, 0.55);
    make_field(last, 0.22, 1);
    make_field(forecast, 0.07, 0.8);
    for (int y = 0; y < LOW; y++)
        for (int x = 0; x < LOW; x++)
            lowres[y * LOW + x] = truth[FACTOR * (y * SIDE + x)];
}

static fx_report_score row(fx_task task, double reynolds, bool seen, double rfne, double floor,
                           double second, double fine)
{
    fx_report_score r = {
        .score = {.task = task,
                  .reynolds = reynolds,
                  .count = 48,
                  .blocks = 8,
                  .rfne = rfne,
                  .rfne_error = 0.02 * rfne,
                  .rfne_low = 0.95 * rfne,
                  .rfne_high = 1.06 * rfne,
                  .floor = {floor, second},
                  .ratio = rfne / floor,
                  .ratio_low = 0.93 * rfne / floor,
                  .ratio_high = 1.07 * rfne / floor,
                  .correlation = 1 - rfne * rfne / 2},
        .seen = seen,
        .fine_scales = fine,
    };
    for (int i = 0; i < FX_STATISTICS; i++)
        r.score.value[i] = r.score.low[i] = r.score.high[i] = NAN;
    r.score.value[FX_STATISTIC_SSIM] = 1 - rfne;
    if (task == FX_FC) {
        r.score.value[FX_STATISTIC_PULL] = -0.5;
        r.score.low[FX_STATISTIC_PULL] = -0.75;
        r.score.high[FX_STATISTIC_PULL] = -rfne;
    }
    return r;
}

static const char *const hostile =
    "</title><script>alert(1)</script>\"'&<img src=x onerror=y>\x01\xff\xc2\x9d\xed\xa0\x80"
    "http://example.org/\xc3\xa9\xe2\x82\xac";

static fx_report_score scores[10];
static fx_sign signs[3];
static fx_curve losses[2], rates[1], spectra[3];
static fx_curve ranked[2];
static fx_chart charts[5];
static fx_panel panels[2];
static fx_report_rank ranks[20];

static fx_report full_report(void)
{
    static const fx_fact facts[] = {
        {"model", "FLEX custom, 2.78 M parameters, multi-task"},
        {"data", "solver, 256\xc2\xb2, Re 250, 500, 1000, 2000, seed 1, t = 2 to 8 every 0.1"},
        {"patches", "32\xc2\xb2, super-resolution \xc3\x97"
                    "4, forecast 1 snapshot ahead"},
        {"training", "256 steps of 16 samples, AdamW 10\xe2\x81\xbb\xc2\xb3, EMA 0.995"},
        {"objective", "v, L1, no contrast"},
        {"evaluated", "seed 2, EMA weights, DDIM 2 steps, 1 member"},
        {"machine", "2 ranks on 1 host, CPU, 2 cores"},
        {"time", "4 min 12 s, 16.2 samples/s, data wait 1.3 %"},
        {"checkpoint", "ckpt/step-00000256.h5"},
        {"version", "flexhpc 0.1.0"},
    };
    static const fx_finding findings[] = {
        {FX_MARK_GOOD, "Training finished: 256 of 256 steps, no step skipped, loss 0.193 at the end."},
        {FX_MARK_NOTE, "One training seed: differences between models below about 5 % are noise."},
    };
    static const char *const paragraphs[] = {
        "Four minutes on two cores buy a model that beats interpolation and persistence clearly. It "
        "shows that the program "
        "works from end to end, at a Reynolds number it never saw, and how far it is from its floors.",
        "It cannot show what the paper claims: patches are 32 pixels, training saw 4,096 samples of "
        "one solver seed, and one "
        "snapshot in time says nothing about long forecasts. Two DDIM steps estimate a conditional "
        "mean, so the finest "
        "scales are smoother than the truth's.",
    };
    make_fields();
    make_curves();
    for (int i = 0; i < 20; i++) /* rank 7 first */
        ranks[i] = (fx_report_rank){(i + 7) % 20, i == 0 ? "n03" : "n01", 0.25 * (i == 0 ? 1.5 : 1),
                                    0.5, i == 0 ? 0.95 : 0};
    const fx_report_score all[] = {
        row(FX_SR, 250, true, 0.121, 0.214, NAN, 0.86),
        row(FX_SR, 500, true, 0.162, 0.301, NAN, 0.81),
        row(FX_SR, 700, false, 0.184, 0.356, NAN, 0.78),
        row(FX_SR, 1000, true, 0.225, 0.383, NAN, 0.71),
        row(FX_SR, 2000, true, 0.301, 0.402, NAN, 0.46),
        row(FX_FC, 250, true, 0.093, 0.121, 0.088, 0.93),
        row(FX_FC, 500, true, 0.102, 0.185, 0.140, 0.9),
        row(FX_FC, 700, false, 0.122, 0.227, 0.190, 0.88),
        row(FX_FC, 1000, true, 0.158, 0.292, 0.26, 0.85),
        row(FX_FC, 2000, true, 0.241, 0.388, 0.41, 0.8),
    };
    memcpy(scores, all, sizeof all);
    signs[0] = (fx_sign){FX_SIGNATURE_BLUR, FX_SR, false, 1000, 0.48, 0.5};
    signs[1] = (fx_sign){FX_SIGNATURE_BLUR, FX_SR, false, 2000, 0.46, 0.5};
    signs[2] = (fx_sign){FX_SIGNATURE_SPECTRUM, FX_FC, false, 250, 3, 2};
    losses[0] = (fx_curve){"training", step, loss, STEPS};
    losses[1] = (fx_curve){"validation", step, validation, STEPS};
    rates[0] = (fx_curve){"rate", step, rate, STEPS};
    static const char *const names[] = {"truth", "model", "bicubic"};
    for (int i = 0; i < 3; i++)
        spectra[i] = (fx_curve){names[i], k + 1, spectrum[i] + 1, SIDE - 1};
    charts[0] = (fx_chart){.title = "Training loss",
                           .x_label = "step",
                           .y_label = "loss",
                           .log_y = true,
                           .smooth = 15,
                           .curve = losses,
                           .curves = 1};
    charts[1] = (fx_chart){.title = "Learning rate",
                           .x_label = "step",
                           .y_label = "learning rate",
                           .curve = rates,
                           .curves = 1};
    charts[2] = (fx_chart){
        .title = "Energy spectrum at Re 700 (unseen), super-resolution",
        .x_label = "wave number k",
        .y_label = "E(k)",
        .log_x = true,
        .log_y = true,
        .curve = spectra,
        .curves = 3,
        .note = "The input resolves k up to 32; beyond, the model invents what training taught it."};
    static double places[] = {0, 1, 2, 3}, shares[] = {0.5, 0.2, 0.1, 0.2},
                  flat[] = {0.25, 0.25, 0.25, 0.25};
    ranked[0] = (fx_curve){"pixels", places, shares, 4};
    ranked[1] = (fx_curve){"calibrated", places, flat, 4};
    charts[4] = (fx_chart){.title = "Rank histogram",
                           .x_label = "members below the truth",
                           .y_label = "share",
                           .bars = true,
                           .curve = ranked,
                           .curves = 2};
    charts[3] = charts[0];
    charts[3].title = "Loss by set";
    charts[3].smooth = 0;
    charts[3].log_y = false;
    charts[3].curves = 2;
    panels[0] = (fx_panel){.title = "Super-resolution, Re 700 (unseen), t = 5.0",
                           .input_label = "input, every 4th pixel",
                           .input = lowres,
                           .model = model,
                           .truth = truth,
                           .input_side = LOW,
                           .side = SIDE,
                           .zoom_x = 20,
                           .zoom_y = 30,
                           .zoom_side = 20};
    panels[1] = (fx_panel){.title = "Forecast, Re 700 (unseen), t = 5.0",
                           .input_label = "last snapshot, t = 4.9",
                           .input = last,
                           .model = forecast,
                           .truth = truth,
                           .input_side = SIDE,
                           .side = SIDE,
                           .zoom_x = 20,
                           .zoom_y = 30,
                           .zoom_side = 20};
    return (fx_report){
        .title = "Demo: FLEX on decaying turbulence",
        .summary = "A FLEX model of 2.78 million parameters, trained for 256 steps on our "
                   "solver\xe2\x80\x99s turbulence at Re "
                   "250 to 2000, tested on another seed and at Re 700, which it never saw.",
        .fact = facts,
        .facts = sizeof facts / sizeof facts[0],
        .finding = findings,
        .findings = sizeof findings / sizeof findings[0],
        .goal = 0.7,
        .score = scores,
        .scores = 10,
        .sign = signs,
        .signs = 3,
        .panel = panels,
        .panels = 2,
        .chart = charts,
        .charts = 5,
        .rank = ranks,
        .ranks = 20,
        .rank_median = 0.25,
        .rank_steps = 254,
        .paragraph = paragraphs,
        .paragraphs = 2,
        .lead = 1,
        .environment = "flexhpc 0.1.0, backend cpu\nrank 0/2 on n01, local rank 0\n",
        .commands = "2026-01-31T23:59:59+0000  2 ranks  in /data  flexhpc train demo.yaml\n",
        .config = "seed: 1\nbackend: cpu\nmodel:\n  preset: custom\n  channels: [32, 32, 64, 64]\n",
    };
}

/* Everything that can be a name is hostile, and the model is bad. */
static fx_report hostile_report(void)
{
    static fx_fact facts[1];
    static fx_finding findings[1];
    static const char *paragraphs[1];
    fx_report r = full_report();
    facts[0] = (fx_fact){hostile, hostile};
    scores[0] = row(FX_SR, 250, true, 0.24, 0.20, NAN, 2.5);
    scores[1] = row(FX_SR, 500, true, 0.196, 0.20, NAN, 1);
    scores[2] = row(FX_SR, 3000, false, 0.26, 0.20, NAN, NAN);
    scores[2].score.blocks = 3;
    scores[3] = row(FX_FC, 500, true, 0.05, 0.20, NAN, NAN);
    scores[4] = row(FX_FC, 700, false, 0.10, 0.20, NAN, NAN);
    scores[5] = row(FX_FC, 1000, true, 0.06, 0.20, NAN, NAN);
    r.scores = 6;
    signs[0] = (fx_sign){FX_SIGNATURE_NOISE, FX_SR, false, 250, 2.5, 2};
    r.signs = 1;
    findings[0] = (fx_finding){FX_MARK_BAD, hostile};
    paragraphs[0] = hostile;
    losses[0].name = losses[1].name = hostile;
    charts[3].title = charts[3].x_label = charts[3].y_label = charts[3].note = hostile;
    panels[0].title = panels[0].input_label = hostile;
    r.title = r.summary = r.config = r.environment = r.commands = hostile;
    ranks[0].host = hostile;
    r.fact = facts, r.facts = 1;
    r.finding = findings, r.findings = 1;
    r.paragraph = paragraphs, r.paragraphs = 1;
    return r;
}

/* What a run that failed before its first step leaves; charts without a point, with one, with a spike
 * and a gap; and a picture from -1 at the left to 1 at the right, whose model is 0. */
static fx_report odd_report(void)
{
    static double x[5000], y[5000];
    static float ramp[9 * 9], zero[9 * 9];
    static fx_curve curves[3];
    for (int i = 0; i < 81; i++)
        ramp[i] = (float)(i % 9 - 4) / 4;
    panels[0] = (fx_panel){.title = "ramp",
                           .input_label = "ramp",
                           .input = ramp,
                           .model = zero,
                           .truth = ramp,
                           .input_side = 9,
                           .side = 9};
    for (int i = 0; i < 5000; i++)
        x[i] = i, y[i] = i == 3333 ? 1e6 : i > 4000 && i < 4100 ? NAN : 1 + 1e-3 * (i % 7);
    curves[0] = (fx_curve){"none", x, y, 0};
    curves[1] = (fx_curve){"one", x, y, 1};
    curves[2] = (fx_curve){"spike", x, y, 5000};
    for (int i = 0; i < 3; i++)
        charts[i] = (fx_chart){.title = curves[i].name,
                               .x_label = "x",
                               .y_label = "y",
                               .log_y = i == 2,
                               .curve = &curves[i],
                               .curves = 1};
    return (fx_report){
        .title = "odd", .chart = charts, .charts = 3, .panel = panels, .panels = 1, .lead = -1};
}

static void refusals(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    fx_report r = full_report();
    assert_int_equal(fx_path(path, "%s/tests/refused-%d.html", FX_BINARY_DIR, (int)getpid()), FX_OK);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("older", file);
    fclose(file);

    panels[1].zoom_x = SIDE - 10;
    assert_int_equal(fx_report_write(&r, path), FX_EARG);
    assert_non_null(
        strstr(fx_error_message(), "the zoom of 20 at (54, 30) leaves a picture of 64^2 pixels"));

    char old[16] = {0};
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(old, sizeof old, file));
    fclose(file);
    assert_string_equal(old, "older");
    unlink(path);

    r.panels = 0;
    assert_int_equal(fx_report_write(&r, "/nowhere/at/all/report.html"), FX_EIO);
    assert_non_null(strstr(fx_error_message(), "/nowhere/at/all/report.html"));
}

/* Whichever allocation fails: FX_ENOMEM, no leak, and no file, not even a part of one. */
static void every_allocation(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    const fx_report r = full_report();
    assert_int_equal(fx_path(path, "%s/tests/memory-%d.html", FX_BINARY_DIR, (int)getpid()), FX_OK);
    uint64_t n = 1;
    for (;; n++) {
        fx_mem_fail_after(n);
        const fx_status status = fx_report_write(&r, path);
        fx_mem_fail_after(0);
        if (status == FX_OK) break;
        assert_int_equal(status, FX_ENOMEM);
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_true(n > 20);
    assert_int_equal(unlink(path), 0);
}

static int write_pages(const char *folder)
{
    char path[FX_PATH_MAX];
    const fx_report full = full_report();
    const fx_comparison compared = comparison(&full, step, loss, rate, hostile);
    if (fx_path(path, "%s/compared.html", folder) != FX_OK ||
        fx_comparison_write(&compared, path) != FX_OK) {
        fprintf(stderr, "%s\n", fx_error_message());
        return 1;
    }
    fx_report (*const make[])(void) = {full_report, hostile_report, odd_report};
    const char *const names[] = {"full", "hostile", "odd"};
    for (int i = 0; i < 3; i++) {
        const fx_report r = make[i]();
        if (fx_path(path, "%s/%s.html", folder, names[i]) != FX_OK ||
            fx_report_write(&r, path) != FX_OK) {
            fprintf(stderr, "%s\n", fx_error_message());
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(every_allocation),
    };
    return argc == 2 ? write_pages(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
