/* test_data_nskt.c: the reader of published turbulence files. Planted in the code, caught here,
 * removed:
 *   the first channel taken for the last               ranks and types
 *   a NaN's row counted over snapshots                 wrong files are refused
 *   snapshots compared without their start             wrong files are refused
 *   1.2.3 taken for a Reynolds number                  names
 *   an attribute Re of any value                       wrong files are refused
 *   the attribute periodic not read, its axes exchanged, 2 taken for an axis
 *                                                      walls */
#include "data_test.h"

static char folder[FX_PATH_MAX];
static fx_config config;

static int set_up(void **state)
{
    (void)state;
    make_scratch(folder, "nskt");
    config = test_config();
    config.source_format = 1; /* nskt */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_scratch(folder);
    return 0;
}

static void names(void **state)
{
    (void)state;
    double re = 0;
    int64_t seed = 0;
    assert_true(fx_nskt_parse_name("a/b.c/16000_2048_2048_seed_3407_w.h5", &re, &seed));
    assert_true(re == 16000 && seed == 3407);
    assert_true(fx_nskt_parse_name("2000_512_512_seed_0.h5", &re, &seed));
    assert_true(re == 2000 && seed == 0);
    const char *const wrong[] = {"",
                                 "w.h5",
                                 "2000_512_seed_1.h5",
                                 "2000_512_512_seed_1.hdf5",
                                 "2000_512_512_seed_1.h5.part",
                                 "2000_512_512_seed_.h5",
                                 "0_512_512_seed_1.h5",
                                 "1.2.3_512_512_seed_1.h5",
                                 "x2000_512_512_seed_1.h5",
                                 "2000_512_512_seed_1_v.h5"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (fx_nskt_parse_name(wrong[i], &re, &seed)) fail_msg("%s is taken", wrong[i]);
}

/* Reads rows [3, 9) of snapshots 1 and 2 and compares, `error` relative. */
static void read_back(const char *name, source_kind kind, double error)
{
    char path[FX_PATH_MAX];
    float rows[2 * 6 * 10];
    fx_source *file = NULL;
    OK(fx_path(path, "%s/%s", folder, name));
    write_source(path, 500, 4, 12, 10, kind);
    OK(fx_source_open(path, &config, &file));
    const fx_source_info *info = fx_source_describe(file);
    const fx_source_run run = fx_source_run_of(file, 0);
    assert_string_equal(info->name, name);
    assert_true(run.condition == 500 && info->seed == 7);
    assert_true(info->snapshots == 4 && info->height == 12 && info->width == 10);
    assert_true(run.start == (kind.attributes ? 2.5 : 0) &&
                run.interval == (kind.attributes ? 0.25 : 0));
    OK(fx_source_read_finite(file, &(fx_source_box){0, 1, 2, 3, 6, 0, 10}, rows));
    for (int64_t i = 0; i < 120; i++) {
        const double want = value_at(500, 1 + i / 60, 3 + i % 60 / 10, i % 10);
        if (!(fabs(rows[i] - want) <= error * fabs(want)))
            fail_msg("%s: %g, not %g", name, rows[i], want);
    }
    fx_source_close(&file);
    assert_null(file);
}

static void ranks_and_types(void **state)
{
    (void)state;
    read_back("500_12_10_seed_7.h5", (source_kind){0}, 0);
    read_back("500_12_10_seed_7.h5", (source_kind){.attributes = true}, 0);
    read_back("500_12_10_seed_7_w.h5", (source_kind){.channels = 1}, 0);
    read_back("500_12_10_seed_7.h5", (source_kind){.channels = 3}, 0);
    read_back("500_12_10_seed_7.h5", (source_kind){.type = H5T_IEEE_F64BE}, 0);
    read_back("500_12_10_seed_7.h5", (source_kind){.type = H5T_IEEE_F32BE, .channels = 3}, 0);
    const hid_t half = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(half, 15, 10, 5, 0, 10);
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    read_back("500_12_10_seed_7.h5", (source_kind){.type = half}, 0x1p-11);
    H5Tclose(half);
}

static void refuses(const char *name, int64_t T, int64_t H, source_kind kind, fx_status code,
                    const char *words)
{
    char path[FX_PATH_MAX];
    fx_source *file = NULL;
    OK(fx_path(path, "%s/%s", folder, name));
    write_source(path, 500, T, H, 10, kind);
    REFUSES(code, words, fx_source_open(path, &config, &file));
    assert_non_null(strstr(fx_error_message(), name));
    assert_null(file);
}

static void wrong_files_are_refused(void **state)
{
    (void)state;
    char path[FX_PATH_MAX];
    fx_source *file = NULL;
    const char *name = "500_12_10_seed_8.h5";
    refuses(name, 4, 12, (source_kind){.dataset = "vorticity"}, FX_EIO, "w: no such dataset");
    refuses(name, 4, 12, (source_kind){.channels = 2}, FX_EVALUE, "(4, 2, 12, 10)");
    refuses(name, 4, 0, (source_kind){0}, FX_EVALUE, "(4, 0, 10)");
    refuses(name, 4, 12, (source_kind){.type = H5T_STD_I32LE}, FX_EVALUE, "float");
    refuses("600_12_10_seed_8.h5", 4, 12, (source_kind){.attributes = true}, FX_EVALUE, "attribute Re");
    refuses("turbulence.h5", 4, 12, (source_kind){0}, FX_EARG, "name");

    OK(fx_path(path, "%s/%s", folder, "500_12_10_seed_9.h5"));
    REFUSES(FX_EIO, "500_12_10_seed_9.h5", fx_source_open(path, &config, &file));
    write_source(path, 500, 4, 12, 10, (source_kind){.nan_t = 3});
    float rows[4 * 12 * 10];
    OK(fx_source_open(path, &config, &file));
    OK(fx_source_read_finite(file, &(fx_source_box){0, 0, 2, 0, 12, 0, 10}, rows));
    REFUSES(FX_EVALUE, "w[2, 2, 3]",
            fx_source_read_finite(file, &(fx_source_box){0, 1, 3, 1, 2, 0, 10}, rows));
    REFUSES(FX_EARG, "4 snapshots",
            fx_source_read_finite(file, &(fx_source_box){0, 3, 2, 0, 12, 0, 10}, rows));
    REFUSES(FX_EARG, "12 rows",
            fx_source_read_finite(file, &(fx_source_box){0, 0, 1, 5, 8, 0, 10}, rows));
    fx_source_close(&file);
    assert_true(truncate(path, 1000) == 0);
    REFUSES(FX_EIO, "500_12_10_seed_9.h5", fx_source_open(path, &config, &file));
}

/* The attribute `periodic`, {0, 0} as our solver writes it between walls. */
static void walls(void **state)
{
    (void)state;
    static const struct {
        int64_t axes[3];
        int count;
        bool taken;
    } cases[] = {{{0, 0}, 2, true},  {{0, 1}, 2, true}, {{1, 1}, 2, true},
                 {{0, 2}, 2, false}, {{0}, 1, false},   {{0, 0, 0}, 3, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[FX_PATH_MAX];
        fx_source *source = NULL;
        fx_h5 *made = NULL;
        const fx_h5_shape shape = {.rank = 3, .dim = {2, 12, 10}, .type = FX_H5_F32};
        OK(fx_path(path, "%s/500_12_10_seed_6.h5", folder));
        OK(fx_h5_create(NULL, path, &made));
        OK(fx_h5_dataset(made, "w", shape, NULL));
        OK(fx_h5_set_ints(made, "/", "periodic", cases[i].axes, cases[i].count));
        OK(fx_h5_close(&made));
        if (!cases[i].taken) {
            assert_int_not_equal(fx_source_open(path, &config, &source), FX_OK);
            assert_non_null(strstr(fx_error_message(), "periodic"));
            continue;
        }
        OK(fx_source_open(path, &config, &source));
        for (int axis = 0; axis < 2; axis++)
            assert_int_equal(fx_source_describe(source)->periodic[axis], cases[i].axes[axis]);
        fx_source_close(&source);
    }
}

int main(void)
{
    fx_io_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(ranks_and_types),
        cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(walls),
    };
    return cmocka_run_group_tests_name("data nskt", tests, set_up, tear_down);
}
