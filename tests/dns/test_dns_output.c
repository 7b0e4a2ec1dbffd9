/* test_dns_output.c: the solver's files: what is in them, that a second run reuses or refuses them, and
 * that a failure leaves nothing half made; files dealt out to ranks, and one solve shared by ranks.
 * Given a folder, the program writes one file of each kind there, for test_nskt_file.py.
 *
 * Run: ranks 1 2 4
 *
 * Planted in the code, caught here, removed:
 *   every rank writes from row 0                   contents
 *   time before generate.start skipped             contents
 *   cfl left out of the settings                   refusals
 *   the .part file not removed after a failure     blow-up
 *   the folder not locked                          refusals */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "flexhpc/dns.h"
#include "flexhpc/io.h"
#include "flexhpc/launch.h"
#include "flexhpc/mem.h"

enum { GRID = 64, OUT = 32, COARSE = 48, SNAPSHOTS = 3 };

static fx_comm *world;
static char folder[FX_PATH_MAX];

static void ok(fx_status status)
{
    if (status != FX_OK) fail_msg("rank %d: %s", world->rank, fx_error_message());
}

static fx_config settings(void)
{
    fx_config c;
    memset(&c, 0, sizeof c);
    snprintf(c.generate_path, sizeof c.generate_path, "%s", folder);
    c.generate_reynolds = (fx_list){.count = 3, .value = {100, 250.5, 400}};
    c.generate_grid = GRID;
    c.generate_output_grid = OUT;
    c.generate_seed = 4;
    c.generate_start = 0.1;
    c.generate_interval = 0.05;
    c.generate_snapshots = SNAPSHOTS;
    c.generate_cfl = 0.6;
    return c;
}

static void path_of(char *out, double re, int n, const char *suffix)
{
    ok(fx_path(out, "%s/%.12g_%d_%d_seed_4.h5%s", folder, re, n, n, suffix));
}

/* A file's contents against a solve by hand: the snapshots, integral measures and attributes. */
static void check_file(const fx_config *c, double re)
{
    char path[FX_PATH_MAX];
    path_of(path, re, OUT, "");
    fx_h5 *file = NULL;
    fx_h5_shape shape;
    ok(fx_h5_open(path, FX_H5_OURS, &file));
    ok(fx_h5_describe(file, "w", &shape));
    const int channels = c->generate_velocity ? 3 : 1;
    assert_int_equal(shape.rank, channels == 3 ? 4 : 3);
    assert_int_equal(shape.type, FX_H5_F32);
    assert_int_equal(shape.dim[0], SNAPSHOTS);
    assert_int_equal(shape.dim[shape.rank - 3], channels == 3 ? 3 : SNAPSHOTS);
    float *w = NULL;
    double *expected = NULL, series[4][SNAPSHOTS], value = 0;
    ok(FX_ALLOC(w, SNAPSHOTS * channels * OUT * OUT));
    ok(FX_ALLOC(expected, OUT * OUT));
    ok(fx_h5_read(file, "w", NULL, NULL, FX_H5_F32, w));
    static const char *const names[] = {"time", "energy", "enstrophy", "palinstrophy"};
    for (int i = 0; i < 4; i++)
        ok(fx_h5_read(file, names[i], NULL, NULL, FX_H5_F64, series[i]));

    const fx_dns_options options = {.grid = GRID,
                                    .output_grid = OUT,
                                    .viscosity = 1 / re,
                                    .courant = 0.6,
                                    .walls = c->generate_walls};
    fx_dns *dns = NULL;
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    ok(fx_dns_start_random(dns, 4));
    for (int i = 0; i < SNAPSHOTS; i++) {
        fx_dns_state s;
        if (i == 0) ok(fx_dns_advance(dns, 0.05, NULL));
        ok(fx_dns_advance(dns, 0.1 + 0.05 * i, &s));
        assert_true(series[0][i] == 0.1 + 0.05 * i);
        assert_true(fabs(series[1][i] / s.energy - 1) < 1e-12);
        assert_true(fabs(series[2][i] / s.enstrophy - 1) < 1e-12);
        assert_true(fabs(series[3][i] / s.palinstrophy - 1) < 1e-12);
        for (int channel = 0; channel < channels; channel++) {
            const fx_dns_field field = channels == 3 ? (fx_dns_field)channel : FX_DNS_W;
            ok(fx_dns_sample(dns, field, expected));
            for (int k = 0; k < OUT * OUT; k++)
                if (!(fabs(w[(i * channels + channel) * OUT * OUT + k] - expected[k]) <= 5e-6))
                    fail_msg("%s: snapshot %d, channel %d, point %d", path, i, channel, k);
        }
    }
    ok(fx_h5_get_real(file, "/", "steps", &value));
    assert_true(value == (double)fx_dns_steps(dns));
    ok(fx_h5_get_real(file, "/", "Re", &value));
    assert_true(value == re);
    ok(fx_h5_get_real(file, "/", "nu", &value));
    assert_true(fabs(value * re - 1) < 1e-15);
    assert_int_equal(fx_h5_has_attribute(file, "/", "periodic"), c->generate_walls);
    if (c->generate_walls) {
        double axes[2] = {1, 1};
        int count = 0;
        ok(fx_h5_get_reals(file, "/", "periodic", axes, 2, &count));
        assert_true(count == 2 && axes[0] == 0 && axes[1] == 0);
    }
    fx_dns_free(&dns);
    fx_free(w);
    fx_free(expected);
    ok(fx_h5_close(&file));
    path_of(path, re, OUT, ".part");
    assert_false(fx_file_exists(path));
}

static void in_a_new_folder(fx_config *c, const char *name)
{
    const size_t length = strlen(folder);
    snprintf(c->generate_path, sizeof c->generate_path, "%s/%s", folder, name);
    snprintf(folder + length, sizeof folder - length, "/%s", name);
}

static void out_of_the_folder(void)
{
    ok(world->ops->barrier(world));
    *strrchr(folder, '/') = '\0';
}

static void many_files_are_dealt_out(void **state)
{
    (void)state;
    fx_config c = settings();
    in_a_new_folder(&c, "dealt");
    ok(fx_dns_generate_all(world, &c));
    for (int i = 0; i < c.generate_reynolds.count; i++)
        check_file(&c, c.generate_reynolds.value[i]);

    /* again: nothing is touched */
    char path[FX_PATH_MAX];
    struct stat before, after;
    path_of(path, 400, OUT, "");
    assert_int_equal(stat(path, &before), 0);
    ok(fx_dns_generate_all(world, &c));
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);

    /* other settings: refused, and untouched */
    c.generate_cfl = 0.7;
    assert_int_equal(fx_dns_generate_all(world, &c), FX_ECONFIG);
    assert_non_null(strstr(fx_error_message(), "cfl 0.6"));
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    out_of_the_folder();
}

static void one_file_is_shared(void **state)
{
    (void)state;
    fx_config c = settings();
    in_a_new_folder(&c, "shared");
    fx_dns_made made;
    ok(fx_dns_generate(world, NULL, &c, 300, &made));
    assert_false(made.reused);
    assert_true(made.last.time == 0.1 + 0.05 * (SNAPSHOTS - 1));
    assert_true(made.resolution > 0 && made.resolution <= made.last.resolution);
    check_file(&c, 300);
    const fx_dns_made first = made;
    ok(fx_dns_generate(world, NULL, &c, 300, &made));
    assert_true(made.reused);
    assert_true(made.steps == first.steps && made.resolution == first.resolution);
    assert_true(made.last.energy == first.last.energy && made.last.enstrophy == first.last.enstrophy);

    c.generate_velocity = true;
    assert_int_equal(fx_dns_generate(world, NULL, &c, 300, &made), FX_ECONFIG);
    assert_non_null(strstr(fx_error_message(), "velocity"));
    ok(fx_dns_generate(world, NULL, &c, 200, &made));
    check_file(&c, 200);
    out_of_the_folder();
}

static void refuse(const fx_config *c, fx_status code, const char *word)
{
    assert_int_equal(fx_dns_generate_all(world, c), code);
    if (!strstr(fx_error_message(), word)) fail_msg("no '%s' in: %s", word, fx_error_message());
    ok(world->ops->barrier(world));
}

/* Files of flows between walls: what is in them, that they are not taken for periodic ones nor those
 * for them, and that neither ranks nor a GPU share one. */
static void files_with_walls(void **state)
{
    (void)state;
    enum { CUDA = 2 };
    fx_config c = settings();
    in_a_new_folder(&c, "walls");
    c.generate_walls = true;
    if (world->size > c.generate_reynolds.count) {
        refuse(&c, FX_ECONFIG, "between walls each file is one rank's");
        c.generate_reynolds = (fx_list){.count = 4, .value = {100, 250.5, 400, 50}};
    }
    ok(fx_dns_generate_all(world, &c));
    for (int i = 0; i < c.generate_reynolds.count; i++)
        check_file(&c, c.generate_reynolds.value[i]);
    ok(fx_dns_generate_all(world, &c)); /* reused */
    c.generate_walls = false;
    refuse(&c, FX_ECONFIG, "there already with walls");
    in_a_new_folder(&c, "none");
    ok(fx_dns_generate_all(world, &c));
    c.generate_walls = true;
    refuse(&c, FX_ECONFIG, "there already without walls");
    out_of_the_folder();

    in_a_new_folder(&c, "odd");
    c.generate_output_grid = COARSE; /* of 64 */
    refuse(&c, FX_ECONFIG, "48 does not divide generate.grid, 64");
    c.generate_output_grid = OUT;
    c.backend = CUDA;
    refuse(&c, FX_ECONFIG, "backend cuda has no solver between walls");
    out_of_the_folder();
    out_of_the_folder();
}

static void a_blow_up_leaves_nothing(void **state)
{
    (void)state;
    fx_config c = settings();
    in_a_new_folder(&c, "blown");
    c.generate_reynolds = (fx_list){.count = 3, .value = {300, 1e6, 200}};
    c.generate_grid = COARSE; /* too coarse for Re 1e6 */
    c.generate_output_grid = 0;
    c.generate_start = 1;
    assert_int_equal(fx_dns_generate_all(world, &c), FX_EVALUE);
    assert_non_null(strstr(fx_error_message(), "Re 1e+06: max |w|"));
    ok(world->ops->barrier(world)); /* rank 0 tidies up */
    char path[FX_PATH_MAX];
    path_of(path, 300, COARSE, "");
    assert_true(fx_file_exists(path));
    path_of(path, 1e6, COARSE, "");
    assert_false(fx_file_exists(path));
    path_of(path, 1e6, COARSE, ".part");
    assert_false(fx_file_exists(path));
    out_of_the_folder();
}

static void what_cannot_be_made_is_refused(void **state)
{
    (void)state;
    fx_config c = settings();
    in_a_new_folder(&c, "refused");
    const fx_config good = c;
    c.generate_path[0] = '\0';
    refuse(&c, FX_ECONFIG, "generate.path");
    c = good;
    c.generate_output_grid = 2 * GRID;
    refuse(&c, FX_ECONFIG, "generate.output_grid");
    c = good;
    c.generate_grid = GRID + 1;
    refuse(&c, FX_ECONFIG, "even");
    c = good;
    c.generate_reynolds.value[2] = 100;
    refuse(&c, FX_ECONFIG, "twice");
    c = good;
    c.generate_snapshots = 10000000;
    c.generate_output_grid = GRID;
    refuse(&c, FX_EIO, "GB left");
    if (66 % world->size != 0) { /* one file for all ranks */
        c = good;
        c.generate_reynolds.count = 1;
        c.generate_grid = 66;
        refuse(&c, FX_ECONFIG, "do not divide");
    }
    fx_lock *lock = NULL;
    if (world->rank == 0) ok(fx_lock_take(folder, &lock));
    ok(world->ops->barrier(world));
    refuse(&good, FX_EIO, "");
    fx_lock_release(&lock);
    out_of_the_folder();
}

static int write_samples(const char *into)
{
    snprintf(folder, sizeof folder, "%s", into);
    fx_config c = settings();
    fx_status status = fx_dns_generate_all(fx_comm_self(), &c);
    c.generate_velocity = true;
    c.generate_reynolds = (fx_list){.count = 1, .value = {50}};
    if (status == FX_OK) status = fx_dns_generate_all(fx_comm_self(), &c);
    c.generate_walls = true;
    c.generate_reynolds.value[0] = 60;
    if (status == FX_OK) status = fx_dns_generate_all(fx_comm_self(), &c);
    if (status != FX_OK) fprintf(stderr, "%s\n", fx_error_message());
    return status != FX_OK;
}

int main(int argc, char **argv)
{
    if (argc > 1) return write_samples(argv[1]);
    fx_io_setup();
    fx_status status = fx_comm_start(&argc, &argv, &world);
    if (status != FX_OK) return fx_comm_finish(&world, status);
    snprintf(folder, sizeof folder, "%s/dns-XXXXXX", FX_BINARY_DIR);
    if (world->rank == 0 && !mkdtemp(folder)) return 1;
    status = world->ops->broadcast(world, folder, sizeof folder, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_files_are_dealt_out),
        cmocka_unit_test(one_file_is_shared),
        cmocka_unit_test(files_with_walls),
        cmocka_unit_test(a_blow_up_leaves_nothing),
        cmocka_unit_test(what_cannot_be_made_is_refused),
    };
    const int failed = cmocka_run_group_tests_name("dns output", tests, NULL, NULL);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    char command[FX_PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (world->rank == 0 && !failed && system(command) != 0)
        status = fx_fail(FX_EIO, "%s is left behind", folder);
    return fx_comm_finish(&world, status);
}
