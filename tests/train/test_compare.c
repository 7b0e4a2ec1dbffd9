/* test_compare.c: the comparison of runs, on folders made by hand: who is better where, ties, runs that
 * can't be paired, what differs in their configurations, whose curve is whose, names, and what is
 * refused.
 *
 * Planted and caught: the ratio turned over, a pairing of samples with other floors, of fewer samples,
 * a tie called better, a value of one run where the first has its own, evaluations of one name taken
 * for those of another, or for those without, in rows, pairs and ratios, names alike, a page of one
 * run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/config.h"
#include "flexhpc/eval_file.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"
#include "flexhpc/train.h"

enum { SAMPLES = 24, BLOCKS = 8 };

static char place[FX_PATH_MAX];

static const char *in_place(const char *name)
{
    static char path[16][FX_PATH_MAX];
    static int at;
    at = (at + 1) % 16;
    assert_int_equal(fx_path(path[at], "%s/%s", place, name), FX_OK);
    return path[at];
}

/* A run folder with a configuration and `steps` steps on record. */
static void make_run(const char *name, const char *set, int steps, double loss)
{
    const char *overrides[] = {set, NULL};
    char path[FX_PATH_MAX];
    fx_config config;
    assert_int_equal(fx_make_dirs(in_place(name)), FX_OK);
    assert_int_equal(fx_config_load(&config, NULL, set ? overrides : NULL), FX_OK);
    assert_int_equal(fx_path(path, "%s/%s/config.yaml", place, name), FX_OK);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fx_config_print(&config, file), FX_OK);
    fclose(file);
    if (steps == 0) return;
    assert_int_equal(fx_path(path, "%s/%s/metrics.jsonl", place, name), FX_OK);
    file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 1; i <= steps; i++)
        fprintf(file, "{\"schema\": 1, \"step\": %d, \"loss_sr\": %g, \"seconds\": 0.5}\n", i,
                loss / i);
    fputs("{\"schema\": 1, \"st", file); /* being written */
    fclose(file);
}

/* Errors of SR at Re 100: 0.2 (1 + factor of the block's and the sample's own), floors 0.4 a sample. */
static void evaluate(const char *run, const char *pack, const char *name, double factor, double noise,
                     double floor, int samples)
{
    fx_eval_file *file = NULL;
    fx_score score[FX_EVALUATION_ROWS];
    char path[FX_PATH_MAX];
    assert_int_equal(FX_ALLOC(file, 1), FX_OK);
    snprintf(file->pack, sizeof file->pack, "%s", pack);
    snprintf(file->name, sizeof file->name, "%s", name);
    file->step = 7;
    file->sample_steps = 2;
    file->members = 1;
    file->patches = samples;
    file->seed = 1;
    for (int i = 0; i < samples; i++) {
        const double hard = 1 + 0.5 * sin(i), own = noise * cos(2.7 * i);
        const fx_sample_score sample = {.index = i,
                                        .block = i * BLOCKS / SAMPLES,
                                        .reynolds = 100,
                                        .rfne = 0.2 * hard * factor * (1 + own),
                                        .floor = {floor * hard, NAN},
                                        .correlation = NAN,
                                        .loss = NAN,
                                        .task = FX_SR};
        assert_int_equal(fx_scores_add(&file->samples, &sample), FX_OK);
    }
    assert_int_equal(fx_scores_merge(&file->samples, fx_comm_self()), FX_OK);
    assert_int_equal(fx_scores_summarise(&file->samples, 1, score, FX_EVALUATION_ROWS, &file->rows),
                     FX_OK);
    for (int k = 0; k < file->rows; k++)
        file->row[k] = (fx_eval_row){.score = score[k], .seen = true, .fine_scales = NAN};
    char folder[FX_PATH_MAX];
    assert_int_equal(fx_path(folder, "%s/%s", place, run), FX_OK);
    assert_int_equal(fx_eval_file_path(folder, pack, name, path), FX_OK);
    assert_int_equal(fx_eval_file_write(file, path), FX_OK);
    fx_eval_file_free(file);
    fx_free(file);
}

static char *compare(const char *const *folders, int count)
{
    char *text = NULL;
    size_t size = 0;
    const fx_status status = fx_run_compare(folders, count, in_place("page.html"));
    if (status != FX_OK) fail_msg("%s", fx_error_message());
    assert_int_equal(fx_read_text(in_place("page.html"), 1 << 24, &text, &size), FX_OK);
    return text;
}

static void has(const char *text, const char *wanted)
{
    if (!strstr(text, wanted)) fail_msg("not in the page: %s", wanted);
}

static void has_not(const char *text, const char *wanted)
{
    if (strstr(text, wanted)) fail_msg("in the page: %s", wanted);
}

static void verdicts(void **state)
{
    (void)state;
    make_run("runs/a", NULL, 3, 1);
    make_run("runs/b", "seed=2", 0, 1);
    make_run("runs/c", "seed=2", 5, 0.5);
    make_run("runs/d", "train.steps=7", 2, 1);
    evaluate("runs/a", "pack", "", 1, 0, 0.4, SAMPLES);
    evaluate("runs/b", "pack", "", 0.9, 0.02, 0.4, SAMPLES);
    evaluate("runs/c", "pack", "", 0.98, 0.2, 0.4, SAMPLES); /* better, and yet a tie */
    evaluate("runs/d", "pack", "", 1.1, 0.02, 0.4, SAMPLES);
    /* Another sampling, held against the first run's of the same name; one that the first has not. */
    evaluate("runs/a", "pack", "more", 0.5, 0, 0.4, SAMPLES);
    evaluate("runs/d", "pack", "more", 0.4, 0.02, 0.4, SAMPLES);
    evaluate("runs/a", "pack", "copy", 2, 0, 0.4, SAMPLES); /* d's has its errors of above */
    evaluate("runs/d", "pack", "copy", 1.1, 0.02, 0.4, SAMPLES);
    evaluate("runs/d", "pack", "other", 0.1, 0, 0.4, SAMPLES);
    const char *all[] = {in_place("runs/a"), in_place("runs/b"), in_place("runs/c"),
                         in_place("runs/d")};
    char *text = compare(all, 4);
    has(text, "3 runs against runs/a");
    has(text, "2 keys of their configurations differ.");
    has(text, "runs/b, super-resolution, against runs/a: better at Re 100 (0.90).");
    has(text, "runs/c, super-resolution, against runs/a: a tie at Re 100 (0.9");
    has(text, "runs/d, super-resolution, against runs/a: worse at Re 100 (1.10).");
    has(text,
        "runs/d, super-resolution in the evaluation more, against runs/a: better at Re 100 (0.80).");
    has(text,
        "runs/d, super-resolution in the evaluation other, against runs/a: not scored on the same");
    has(text,
        "runs/d, super-resolution in the evaluation copy, against runs/a: better at Re 100 (0.55).");
    has_not(text, "runs/b, super-resolution in the evaluation");
    has(text, "<small>more</small></th><td><b>0.1");
    has(text, "<small>other</small></th><td>\xe2\x80\x93</td>");
    has(text, "<b class=\"good\">better</b> 0.90 <small>0.");
    has(text, "<b class=\"bad\">worse</b> 1.10 <small>1.");
    has(text, "<tr><th scope=\"row\">seed</th><td>1</td><td>2</td><td>2</td><td>1</td></tr>");
    has(text, "<tr><th scope=\"row\">train.steps</th>");
    has(text, "not measured"); /* the facts are there */
    /* b has no losses: its place stays empty and c's curve is the third, whose colour is s2. */
    const char *loss = strstr(text, "Loss of super-resolution</figcaption>");
    assert_non_null(loss);
    has(loss, "<path class=\"line s1 pale\" d=\"\"/>");
    has(loss, "<path class=\"line s2 pale\" d=\"M");
    has_not(text, "Loss of the forecast</figcaption>");
    fx_free(text);
}

static void what_is_not_paired(void **state)
{
    (void)state;
    make_run("runs/x", NULL, 1, 1);
    make_run("runs/y", NULL, 1, 1);
    make_run("runs/z", NULL, 1, 1);
    evaluate("runs/x", "pack", "", 0.5, 0, 0.41, SAMPLES);    /* other floors: other patches */
    evaluate("runs/y", "pack", "", 0.5, 0, 0.4, SAMPLES - 3); /* fewer of them */
    evaluate("runs/z", "other", "", 0.5, 0, 0.4, SAMPLES);    /* another pack */
    const char *all[] = {in_place("runs/a"), in_place("runs/x"), in_place("runs/y"),
                         in_place("runs/z")};
    char *text = compare(all, 4);
    const char *const names[] = {"runs/x", "runs/y", "runs/z"};
    for (int i = 0; i < 3; i++) {
        char wanted[128];
        snprintf(wanted, sizeof wanted,
                 "%s, super-resolution, against runs/a: not scored on the same samples", names[i]);
        has(text, wanted);
    }
    has_not(text, ">better<");
    has(text, "0 keys");
    fx_free(text);
    /* None evaluated at all. */
    make_run("runs/none", NULL, 0, 1);
    make_run("runs/none2", NULL, 0, 1);
    const char *none[] = {in_place("runs/none"), in_place("runs/none2")};
    text = compare(none, 2);
    has(text, "Not evaluated: how good these models are, nobody has measured.");
    has_not(text, "<figure");
    fx_free(text);
}

static void names(void **state)
{
    (void)state;
    make_run("1/t/<i>\x01&run", NULL, 1, 1);
    make_run("2/t/<i>\x01&run", NULL, 1, 1);
    const char *alike[] = {in_place("1/t/<i>\x01&run"), in_place("2/t/<i>\x01&run")};
    char *text = compare(alike, 2);
    has(text, "/1/t/&lt;i&gt;\xef\xbf\xbd&amp;run</th>");
    has(text, "/2/t/&lt;i&gt;\xef\xbf\xbd&amp;run</th>");
    has_not(text, "<i>");
    fx_free(text);
}

static void refusals(void **state)
{
    (void)state;
    const char *many[7];
    for (int i = 0; i < 7; i++)
        many[i] = in_place("runs/a");
    assert_int_equal(fx_run_compare(many, 1, in_place("page.html")), FX_ECONFIG);
    assert_int_equal(fx_run_compare(many, 7, in_place("page.html")), FX_ECONFIG);
    assert_non_null(strstr(fx_error_message(), "7 runs, not of 2 to 6"));
    many[1] = in_place("runs/nowhere");
    assert_int_equal(fx_run_compare(many, 2, in_place("kept.html")), FX_EIO);
    assert_non_null(strstr(fx_error_message(), "runs/nowhere"));
    assert_false(fx_file_exists(in_place("kept.html")));
    many[1] = in_place("runs/b");
    assert_int_equal(fx_run_compare(many, 2, in_place("no/such/page.html")), FX_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts),
        cmocka_unit_test(what_is_not_paired),
        cmocka_unit_test(names),
        cmocka_unit_test(refusals),
    };
    char template[] = "/tmp/flexhpc-compare-XXXXXX", command[FX_PATH_MAX];
    if (!mkdtemp(template)) return 1;
    snprintf(place, sizeof place, "%s", template);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", template);
    return system(command) == 0 ? failed : 1;
}
