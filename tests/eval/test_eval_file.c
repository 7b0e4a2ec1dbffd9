/* test_eval_file.c: an evaluation's file: what is written is read back, columns are found by name, and
 * which files are refused or kept from another's evaluation.
 *
 * Planted errors, each caught: the spectra of the truth written for the model's, integers read as reals
 * (round_trip), columns read by place (columns_by_name), a missing column left 0 (columns_by_name), the
 * owner not asked (one_path_two_evaluations). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

#include "flexhpc/eval_file.h"
#include "flexhpc/io.h"
#include "flexhpc/mem.h"

enum { SHELLS = 9, SIDE = 8, SAMPLES = 5, BINS = 4, MEMBERS = 2 };

static char folder[] = "/tmp/test_eval_file.XXXXXX", path[FX_PATH_MAX];
static double energy[4][SHELLS], bins[3][BINS], ranks[MEMBERS + 1];
static float field[3][SIDE * SIDE];

static fx_eval_file made(void)
{
    fx_eval_file f = {.pack = "pack-unseen",
                      .checkpoint = "run/ckpt/step-00000007.h5",
                      .step = 7,
                      .sample_steps = 2,
                      .members = 16,
                      .patches = SAMPLES,
                      .seed = (int64_t)1 << 40,
                      .rows = 2,
                      .sign = {{FX_SIGNATURE_BLUR, FX_SR, 700, 0.4, 0.5},
                               {FX_SIGNATURE_LOWRES, FX_FC, 900, 0.3, 0.1}},
                      .signs = 2};
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < SHELLS; i++)
            energy[k][i] = 1 + i + SHELLS * k;
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < SIDE * SIDE; i++)
            field[k][i] = (float)(i + SIDE * SIDE * k) / 3;
        for (int i = 0; i < BINS; i++)
            bins[k][i] = 100 + i + BINS * k;
        ranks[k] = 0.5 - 0.1 * k;
    }
    for (int i = 0; i < SAMPLES; i++) {
        const fx_sample_score s = {
            .task = i < 3 ? FX_SR : FX_FC,
            .reynolds = 700,
            .index = 10 + i,
            .block = -i,
            .rfne = 0.1 + i,
            .floor = {1 + i, i < 3 ? NAN : 0.5},
            .correlation = 0.9 - 0.1 * i,
            .loss = NAN,
            .value = {[FX_METRIC_SQUARE] = 3.0 + i, [FX_METRIC_PSNR] = 20 + i * i}};
        assert_int_equal(fx_scores_add(&f.samples, &s), FX_OK);
    }
    int rows = 0;
    fx_score scores[2];
    assert_int_equal(fx_scores_summarise(&f.samples, 1, scores, 2, &rows), FX_OK);
    f.row[0] = (fx_eval_row){.score = scores[0], .seen = true, .fine_scales = NAN};
    f.row[1] = (fx_eval_row){.score = scores[1],
                             .fine_scales = 0.75,
                             .shells = SHELLS,
                             .k = energy[0],
                             .model = energy[1],
                             .truth = energy[2],
                             .error = energy[3],
                             .bins = BINS,
                             .w = bins[0],
                             .pdf_model = bins[1],
                             .pdf_truth = bins[2],
                             .ranks = MEMBERS + 1,
                             .rank_share = ranks,
                             .side = SIDE,
                             .input = field[0],
                             .estimate = field[1],
                             .target = field[2],
                             .title = "Re 700, forecast",
                             .input_label = "last snapshot"};
    return f;
}

static void round_trip(void **state)
{
    (void)state;
    fx_eval_file f = made(), g;
    assert_int_equal(fx_eval_file_path(folder, "some/pack-unseen", "", path), FX_OK);
    assert_string_equal(strrchr(path, '/'), "/eval-pack-unseen.h5");
    assert_int_equal(fx_eval_file_write(&f, path), FX_OK);
    assert_int_equal(fx_eval_file_read(path, &g), FX_OK);
    assert_string_equal(g.pack, f.pack);
    assert_string_equal(g.name, "");
    assert_string_equal(g.checkpoint, f.checkpoint);
    assert_true(g.step == 7 && g.sample_steps == 2 && g.members == 16 && g.patches == SAMPLES);
    assert_true(g.seed == f.seed && g.rows == 2 && g.samples.count == SAMPLES);
    for (int i = 0; i < SAMPLES; i++) {
        const fx_sample_score *a = &f.samples.row[i], *b = &g.samples.row[i];
        assert_true(a->task == b->task && a->index == b->index && a->block == b->block);
        assert_true(b->reynolds == 700 && a->rfne == b->rfne && a->floor[0] == b->floor[0]);
        assert_true(a->correlation == b->correlation && isnan(b->loss));
        assert_true(i < 3 ? isnan(b->floor[1]) : b->floor[1] == 0.5);
        assert_memory_equal(a->value, b->value, sizeof a->value);
    }
    for (int k = 0; k < 2; k++) {
        const fx_score *a = &f.row[k].score, *b = &g.row[k].score;
        assert_true(a->task == b->task && a->count == b->count && a->blocks == b->blocks);
        assert_true(a->rfne == b->rfne && a->rfne_low == b->rfne_low && a->ratio_high == b->ratio_high);
        assert_true(f.row[k].seen == g.row[k].seen && a->published == b->published);
        for (int s = 0; s < FX_STATISTICS; s++) {
            assert_true(f.row[k].score.value[s] == b->value[s] || isnan(a->value[s] + b->value[s]));
            assert_true(isnan(a->value[s]) == isnan(b->value[s]));
            assert_true(isnan(a->low[s]) ? isnan(b->low[s]) : a->low[s] == b->low[s]);
            assert_true(isnan(a->high[s]) ? isnan(b->high[s]) : a->high[s] == b->high[s]);
        }
        assert_true(k == 1 || b->value[FX_STATISTIC_PSNR] != b->low[FX_STATISTIC_PSNR]);
    }
    assert_true(isnan(g.row[0].fine_scales) && g.row[1].fine_scales == 0.75);
    assert_true(g.row[0].shells == 0 && g.row[0].side == 0 && !g.row[0].input);
    assert_true(g.row[1].shells == SHELLS && g.row[1].side == SIDE);
    assert_memory_equal(g.row[1].k, energy[0], sizeof energy[0]);
    assert_memory_equal(g.row[1].model, energy[1], sizeof energy[0]);
    assert_memory_equal(g.row[1].truth, energy[2], sizeof energy[0]);
    assert_memory_equal(g.row[1].error, energy[3], sizeof energy[0]);
    assert_true(g.row[1].bins == BINS && g.row[1].ranks == MEMBERS + 1 && g.row[0].ranks == 0);
    assert_memory_equal(g.row[1].w, bins[0], sizeof bins[0]);
    assert_memory_equal(g.row[1].pdf_model, bins[1], sizeof bins[0]);
    assert_memory_equal(g.row[1].pdf_truth, bins[2], sizeof bins[0]);
    assert_memory_equal(g.row[1].rank_share, ranks, sizeof ranks);
    assert_memory_equal(g.row[1].input, field[0], sizeof field[0]);
    assert_memory_equal(g.row[1].estimate, field[1], sizeof field[0]);
    assert_memory_equal(g.row[1].target, field[2], sizeof field[0]);
    assert_int_equal(g.signs, 2);
    for (int i = 0; i < 2; i++) {
        const fx_sign *a = &f.sign[i], *b = &g.sign[i];
        assert_true(a->signature == b->signature && a->task == b->task && a->reynolds == b->reynolds);
        assert_true(a->number == b->number && a->limit == b->limit);
    }
    assert_string_equal(g.row[1].title, "Re 700, forecast");
    assert_string_equal(g.row[1].input_label, "last snapshot");
    fx_eval_file_free(&g);
    fx_scores_free(&f.samples);
}

static void one_path_two_evaluations(void **state)
{
    (void)state;
    char **names = NULL, other[FX_PATH_MAX];
    int count = 0;
    assert_int_equal(fx_eval_file_path(folder, "pack", "unseen", path), FX_ECONFIG);
    assert_non_null(strstr(fx_error_message(), "eval.name"));
    assert_int_equal(fx_eval_file_path(folder, "pack-unseen", "steps/1", path), FX_ECONFIG);
    assert_int_equal(fx_eval_file_path(folder, "packs/..", "", path), FX_ECONFIG);
    fx_error_clear();
    fx_eval_file f = made();
    strcpy(f.name, "steps-1");
    assert_int_equal(fx_eval_file_path(folder, "pack-unseen", f.name, path), FX_OK);
    assert_int_equal(fx_eval_file_write(&f, path), FX_OK);
    assert_int_equal(fx_eval_file_path(folder, "pack-unseen", f.name, path), FX_OK);
    assert_int_equal(fx_path(other, "%s/evaluation.h5", folder), FX_OK);
    assert_int_equal(fx_write_text(other, "x", 1), FX_OK);
    assert_int_equal(fx_eval_file_list(folder, &names, &count), FX_OK);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "eval-pack-unseen-steps-1.h5");
    assert_string_equal(names[1], "eval-pack-unseen.h5");
    fx_free(names);
    fx_scores_free(&f.samples);
}

static void add_table(fx_h5 *f, const char *name, const char *const *columns, int count,
                      const double *cells)
{
    assert_int_equal(fx_h5_dataset(f, name, (fx_h5_shape){2, {1, count}, FX_H5_F64}, NULL), FX_OK);
    assert_int_equal(fx_h5_write(f, name, NULL, NULL, FX_H5_F64, cells), FX_OK);
    if (columns) assert_int_equal(fx_h5_set_names(f, name, "columns", columns, count), FX_OK);
}

/* A file of another version: columns in another order, one that nobody knows, one missing; `named` off:
 * of the time before columns had names. */
static void write_other(bool named)
{
    static const char *const columns[] = {"rfne", "later", "index", "task"};
    static const double cells[] = {0.25, 9, 3, 1};
    static const char *const texts[] = {"pack", "name", "checkpoint"};
    static const char *const numbers[] = {"step", "sample_steps", "members", "patches", "seed"};
    fx_h5 *f = NULL;
    assert_int_equal(fx_path(path, "%s/eval-other.h5", folder), FX_OK);
    assert_int_equal(fx_h5_create(NULL, path, &f), FX_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fx_h5_set_text(f, "/", texts[i], "other"), FX_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(fx_h5_set_int(f, "/", numbers[i], i), FX_OK);
    add_table(f, "scores", columns, 4, cells);
    add_table(f, "samples", named ? columns : NULL, 4, cells);
    assert_int_equal(fx_h5_close(&f), FX_OK);
}

static void columns_by_name(void **state)
{
    (void)state;
    fx_eval_file g;
    write_other(true);
    assert_int_equal(fx_eval_file_read(path, &g), FX_OK);
    assert_true(g.samples.count == 1 && g.samples.row[0].rfne == 0.25 && g.samples.row[0].index == 3);
    assert_true(g.samples.row[0].task == FX_FC && isnan(g.samples.row[0].correlation));
    assert_true(isnan(g.samples.row[0].value[0]) && isnan(g.row[0].score.ratio_low));
    fx_eval_file_free(&g);
    write_other(false);
    assert_int_equal(fx_eval_file_read(path, &g), FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "eval-other.h5: samples: its columns have no names"));
    fx_eval_file_free(&g);
    assert_int_equal(fx_path(path, "%s/evaluation.h5", folder), FX_OK);
    assert_int_equal(fx_eval_file_read(path, &g), FX_EIO);
    fx_eval_file_free(&g);
    fx_error_clear();
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char **names = NULL;
    int count = 0;
    (void)state;
    if (fx_list_dir(folder, ".h5", &names, &count) != FX_OK) return -1;
    for (int i = 0; i < count; i++)
        if (fx_path(path, "%s/%s", folder, names[i]) == FX_OK) unlink(path);
    fx_free(names);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(one_path_two_evaluations),
        cmocka_unit_test(columns_by_name),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
