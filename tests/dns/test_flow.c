/* test_flow.c: the flow solver on the CUDA backend against the CPU: fields and measures after 50 steps,
 * starts, the same bits every time, what is refused, what is not finite; and files of `generate` on
 * either, dealt out to the ranks.
 *
 * Run: standin only
 * Run: ranks 1 2
 * Planted and caught, one at a time. In flow.cu: kx ky B left out of N(W), no e on the third slope, b
 * of the fourth stage, h/6 for h/3, modes beyond the 2/3 rule kept by combine, w and next not
 * exchanged, decay read one row off or made in the first step alone, every second point left out of the
 * speed, its last rows left out, the host not waiting for it, the mean kept, kx = 0 counted twice,
 * palinstrophy without k^2, the cut and the plan of the output grid those of the solver's, rows of m +
 * 2 read as m, a peak of w for |w|, the three refusals of grids, ranks let share a flow, the start not
 * transposed, a flow closed without waiting. In flow_slots.c: no order between the kernel that fills a
 * slot and its copy (the stand-in's happens-before check), the host not waiting for the copy. In
 * snapshots.c: slots of two snapshots the same, the last snapshot not passed on, the one before not
 * waited for, all written to the first's place. In flow_view.cuh: NaN lost, the mean flow of u given to
 * v, the sign of v, a row of modes and a warp left out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "flexhpc/dns.h"
#include "flexhpc/io.h"
#include "flexhpc/launch.h"
#include "flexhpc/mem.h"

enum { STEPS = 50, FIELDS = 3, CPU = 1, CUDA = 2 /* values of the key backend */ };

static const double pi = 3.14159265358979323846;
static fx_comm *world;
static fx_exec *cuda;

static void ok(fx_status status)
{
    if (status != FX_OK) fail_msg("rank %d: %s", world->rank, fx_error_message());
}

static int open_cuda(void **state)
{
    (void)state;
    const fx_backend *backend = NULL;
    ok(fx_backend_find("cuda", &backend));
    ok(backend->open(&(fx_exec_options){.comm = world}, &cuda));
    return 0;
}

static int close_cuda(void **state)
{
    (void)state;
    cuda->backend->close(&cuda);
    return 0;
}

static fx_dns *make(fx_exec *exec, int64_t n, int64_t output)
{
    const fx_dns_options options = {.grid = n,
                                    .output_grid = output,
                                    .viscosity = 1e-3,
                                    .courant = 0.6,
                                    .mean_flow = {0.25, -0.5},
                                    .exec = exec};
    fx_dns *dns = NULL;
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    return dns;
}

/* u, v and w of the flow now; the caller frees them. */
static double *fields_of(fx_dns *dns, int64_t n)
{
    double *all = NULL;
    ok(FX_ALLOC(all, FIELDS * n * n));
    for (int i = 0; i < FIELDS; i++)
        ok(fx_dns_sample(dns, (fx_dns_field)i, all + i * n * n));
    return all;
}

static void same_fields(fx_dns *a, fx_dns *b, int64_t n, double limit)
{
    double *x = fields_of(a, n), *y = fields_of(b, n);
    for (int f = 0; f < FIELDS; f++) {
        double difference = 0, largest = 0;
        for (int64_t i = f * n * n; i < (f + 1) * n * n; i++) {
            difference = fmax(difference, fabs(x[i] - y[i]));
            largest = fmax(largest, fabs(y[i]));
            assert_true(isfinite(x[i]));
        }
        if (!(difference <= limit * largest))
            fail_msg("grid %d, field %d: off by %g of %g", (int)n, f, difference, largest);
    }
    fx_free(x);
    fx_free(y);
}

static void same_measures(fx_dns *a, fx_dns *b, double limit)
{
    fx_dns_state x, y;
    ok(fx_dns_measure(a, &x));
    ok(fx_dns_measure(b, &y));
    const double of_x[] = {x.time, x.energy, x.enstrophy, x.palinstrophy, x.peak, x.rms, x.kurtosis},
                 of_y[] = {y.time, y.energy, y.enstrophy, y.palinstrophy, y.peak, y.rms, y.kurtosis};
    for (int i = 0; i < 7; i++)
        if (!(fabs(of_x[i] - of_y[i]) <= limit * fabs(of_y[i])))
            fail_msg("measure %d: %.17g, not %.17g", i, of_x[i], of_y[i]);
    assert_true(fabs(x.resolution / y.resolution - 1) <= limit);
}

static void steps_are_the_cpus(void **state)
{
    (void)state;
    static const int64_t grids[][2] = {{48, 48}, {54, 20}}; /* the second: K odd, a truncated output */
    for (int g = 0; g < 2; g++) {
        const int64_t n = grids[g][0], out = grids[g][1];
        fx_dns *here = make(cuda, n, out), *there = make(NULL, n, out);
        ok(fx_dns_start_random(here, 5));
        ok(fx_dns_start_random(there, 5));
        same_fields(here, there, out, 1e-14);
        same_measures(here, there, 1e-14);
        for (int i = 0; i < STEPS; i++) {
            ok(fx_dns_step(here, 10));
            ok(fx_dns_step(there, 10));
            if (i % 20 == 0) same_fields(here, there, out, 1e-13); /* between steps it may be read */
        }
        same_fields(here, there, out, 1e-13);
        same_measures(here, there, 1e-13);
        fx_dns_free(&here);
        fx_dns_free(&there);
    }
}

/* From rows with a mean, and a wave that the 2/3 rule leaves out. */
static void a_start_from_rows_is_the_cpus(void **state)
{
    (void)state;
    enum { N = 32 };
    double *w = NULL;
    ok(FX_ALLOC(w, N * N));
    for (int i = 0; i < N * N; i++) {
        const double y = 2 * pi * (i / N) / N, x = 2 * pi * (i % N) / N;
        w[i] = 3 + cos(2 * x + 3 * y) - 0.5 * sin(9 * x - 7 * y) + cos(14 * x + y) + sin(13 * y);
    }
    fx_dns *here = make(cuda, N, 0), *there = make(NULL, N, 0);
    ok(fx_dns_start(here, w));
    ok(fx_dns_start(there, w));
    same_fields(here, there, N, 1e-14);
    ok(fx_dns_sample(here, FX_DNS_W, w));
    for (int i = 0; i < N * N; i++) {
        const double y = 2 * pi * (i / N) / N, x = 2 * pi * (i % N) / N;
        assert_true(fabs(w[i] - cos(2 * x + 3 * y) + 0.5 * sin(9 * x - 7 * y)) < 1e-13);
    }
    ok(fx_dns_step(here, 0.01));
    ok(fx_dns_step(there, 0.01));
    same_fields(here, there, N, 1e-13);
    fx_free(w);
    fx_dns_free(&here);
    fx_dns_free(&there);
}

/* A flow that is moved takes the same steps and has the same peak: the fastest point and the peak come
 * to every warp of the reductions, across a row (32 or 64 points each) and over the rows. */
static void a_moved_flow_is_the_same(void **state)
{
    (void)state;
    enum { N = 256, BY = 32 };
    fx_dns *dns = make(cuda, N, 0);
    double *w = NULL, *moved = NULL, time = 0, peak = 0;
    ok(FX_ALLOC(w, N * N));
    ok(FX_ALLOC(moved, N * N));
    ok(fx_dns_start_random(dns, 3));
    ok(fx_dns_sample(dns, FX_DNS_W, w));
    for (int shift = 0; shift < N; shift += BY) {
        fx_dns_state s;
        for (int i = 0; i < N * N; i++)
            moved[(i / N + shift) % N * N + (i + shift) % N] = w[i];
        ok(fx_dns_start(dns, moved));
        ok(fx_dns_measure(dns, &s));
        ok(fx_dns_step(dns, 10));
        if (shift == 0) {
            time = fx_dns_time(dns);
            peak = s.peak;
        }
        if (!(fabs(fx_dns_time(dns) / time - 1) < 1e-13 && fabs(s.peak / peak - 1) < 1e-13))
            fail_msg("moved by %d: t %.17g and peak %.17g, not %.17g and %.17g", shift,
                     fx_dns_time(dns), s.peak, time, peak);
    }
    fx_free(w);
    fx_free(moved);
    fx_dns_free(&dns);
}

static void bits_are_the_same_every_time(void **state)
{
    (void)state;
    enum { N = 32 };
    double *first = NULL;
    fx_dns_state measures[2];
    for (int round = 0; round < 2; round++) { /* the stand-in runs the blocks in another order */
        fx_dns *dns = make(cuda, N, 0);
        ok(fx_dns_start_random(dns, 2));
        ok(fx_dns_advance(dns, 0.05, &measures[round]));
        double *fields = fields_of(dns, N);
        if (round == 0) {
            first = fields;
        } else {
            assert_memory_equal(fields, first, FIELDS * N * N * sizeof *fields);
            fx_free(fields);
        }
        fx_dns_free(&dns);
    }
    assert_memory_equal(&measures[0], &measures[1], sizeof measures[0]);
    fx_free(first);
}

static void refuse(fx_comm *comm, int64_t n, int64_t output, const char *word)
{
    fx_dns *dns = NULL;
    const fx_dns_options options = {
        .grid = n, .output_grid = output, .viscosity = 1, .courant = 1, .exec = cuda};
    assert_int_equal(fx_dns_create(&dns, comm, &options), FX_EARG);
    assert_null(dns);
    if (!strstr(fx_error_message(), word)) fail_msg("no '%s' in: %s", word, fx_error_message());
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    refuse(fx_comm_self(), 33, 0, "a grid of 33 points");
    refuse(fx_comm_self(), 32, 17, "a grid of 17 points");
    refuse(fx_comm_self(), 65536, 32, "a grid of 65536 points");
    if (world->size > 1) refuse(world, 32, 0, "2 ranks cannot share one flow on backend cuda");
}

static void what_is_not_finite_is_seen(void **state)
{
    (void)state;
    enum { N = 32 };
    double *w = NULL;
    ok(FX_ALLOC(w, N * N));
    fx_dns *dns = make(cuda, N, 0);
    static const double bad[] = {INFINITY, NAN};
    for (int i = 0; i < 4; i++) { /* by the look before the steps, and by the step */
        w[100] = bad[i % 2];
        ok(fx_dns_start(dns, w));
        assert_int_equal(i / 2 ? fx_dns_step(dns, 1) : fx_dns_advance(dns, 1, NULL), FX_EVALUE);
        assert_non_null(
            strstr(fx_error_message(), i / 2 ? "velocity is not finite" : "flow is not finite"));
    }
    fx_free(w);
    fx_dns_free(&dns); /* with a transform still under way */
}

enum { GRID = 32, OUT = 16, SNAPSHOTS = 5, FILES = 2 };

static fx_config settings(const char *folder, int backend)
{
    fx_config c;
    memset(&c, 0, sizeof c);
    ok(fx_path(c.generate_path, "%s/%d", folder, backend));
    c.backend = backend;
    c.generate_reynolds = (fx_list){.count = FILES, .value = {40, 100}};
    c.generate_grid = GRID;
    c.generate_output_grid = OUT;
    c.generate_seed = 4;
    c.generate_interval = 0.02;
    c.generate_snapshots = SNAPSHOTS;
    c.generate_cfl = 0.6;
    c.generate_velocity = true;
    return c;
}

static void read_fields(const fx_config *c, double re, float *w)
{
    char path[FX_PATH_MAX];
    fx_h5 *file = NULL;
    ok(fx_path(path, "%s/%.12g_%d_%d_seed_4.h5", c->generate_path, re, OUT, OUT));
    ok(fx_h5_open(path, FX_H5_OURS, &file));
    ok(fx_h5_read(file, "w", NULL, NULL, FX_H5_F32, w));
    ok(fx_h5_close(&file));
}

enum { COUNT = SNAPSHOTS * FIELDS * OUT * OUT };

/* Snapshots travel and are written while the flow goes on: each is the flow of its own time, to the
 * bit.
 */
static void require_snapshots(const fx_config *c, double re, const float *w)
{
    fx_dns *dns = NULL;
    const fx_dns_options options = {
        .grid = GRID, .output_grid = OUT, .viscosity = 1 / re, .courant = 0.6, .exec = cuda};
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    ok(fx_dns_start_random(dns, 4));
    for (int i = 0; i < SNAPSHOTS; i++) {
        ok(fx_dns_advance(dns, i * c->generate_interval, NULL));
        double *fields = fields_of(dns, OUT);
        for (int k = 0; k < FIELDS * OUT * OUT; k++, w++)
            if (*w != (float)fields[k])
                fail_msg("Re %g, snapshot %d, value %d: %.9g, not %.9g", re, i, k, (double)*w,
                         fields[k]);
        fx_free(fields);
    }
    fx_dns_free(&dns);
}

/* Two fields under way, the flow going on before either is received. */
static void what_is_sent_is_the_flow_then(void **state)
{
    (void)state;
    enum { N = 32, SLOTS = 2 };
    fx_dns *dns = NULL;
    double *then[SLOTS];
    const float *rows;
    const fx_dns_options options = {
        .grid = N, .viscosity = 1e-3, .courant = 0.6, .slots = SLOTS, .exec = cuda};
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    assert_true(fx_dns_sends_aside(dns));
    ok(fx_dns_start_random(dns, 7));
    for (int slot = 0; slot < SLOTS; slot++) {
        then[slot] = fields_of(dns, N);
        ok(fx_dns_send(dns, slot == 0 ? FX_DNS_W : FX_DNS_V, slot));
        ok(fx_dns_step(dns, 10));
    }
    for (int slot = 0; slot < SLOTS; slot++) {
        const double *field = then[slot] + (slot == 0 ? FX_DNS_W : FX_DNS_V) * N * N;
        ok(fx_dns_receive(dns, slot, &rows));
        for (int k = 0; k < N * N; k++)
            assert_true(rows[k] == (float)field[k]);
        fx_free(then[slot]);
    }
    assert_int_equal(fx_dns_send(dns, FX_DNS_W, SLOTS), FX_EARG);
    assert_non_null(strstr(fx_error_message(), "slot 2 of 2"));
    ok(fx_dns_send(dns, FX_DNS_U, 0));
    fx_dns_free(&dns); /* with a copy still under way */
}

static void files_are_the_cpus(void **state)
{
    (void)state;
    char folder[FX_PATH_MAX];
    snprintf(folder, sizeof folder, "%s/flow-XXXXXX", FX_BINARY_DIR);
    if (world->rank == 0) assert_non_null(mkdtemp(folder));
    ok(world->ops->broadcast(world, folder, sizeof folder, 0));
    fx_config here = settings(folder, CUDA), there = settings(folder, CPU);
    ok(fx_dns_generate_all(world, &here));
    ok(fx_dns_generate_all(world, &there));
    float *a = NULL, *b = NULL;
    ok(FX_ALLOC(a, COUNT));
    ok(FX_ALLOC(b, COUNT));
    for (int i = 0; i < FILES; i++) {
        read_fields(&here, here.generate_reynolds.value[i], a);
        require_snapshots(&here, here.generate_reynolds.value[i], a);
        read_fields(&there, here.generate_reynolds.value[i], b);
        for (int k = 0; k < COUNT; k++)
            if (!(fabsf(a[k] - b[k]) <= 0x1p-23f * fabsf(b[k]) + 1e-10f))
                fail_msg("file %d, value %d: %.9g, not %.9g", i, k, (double)a[k], (double)b[k]);
    }
    fx_free(a);
    fx_free(b);

    here.generate_reynolds.count = 1;
    here.generate_seed = 5;
    if (world->size == 1) {
        ok(fx_dns_generate_all(world, &here));
    } else {
        assert_int_equal(fx_dns_generate_all(world, &here), FX_ECONFIG);
        assert_non_null(strstr(fx_error_message(), "1 files for 2 ranks: on backend cuda"));
    }
    ok(world->ops->barrier(world));
    char command[FX_PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (world->rank == 0) assert_int_equal(system(command), 0);
}

int main(int argc, char **argv)
{
    fx_io_setup();
    fx_status status = fx_comm_start(&argc, &argv, &world);
    if (status != FX_OK) return fx_comm_finish(&world, status);
    const struct CMUnitTest shared[] = {
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(files_are_the_cpus),
    };
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(steps_are_the_cpus),         cmocka_unit_test(a_start_from_rows_is_the_cpus),
        cmocka_unit_test(a_moved_flow_is_the_same),   cmocka_unit_test(bits_are_the_same_every_time),
        cmocka_unit_test(what_is_not_finite_is_seen), cmocka_unit_test(what_is_sent_is_the_flow_then),
    };
    int failed = cmocka_run_group_tests_name("flow, ranks", shared, open_cuda, close_cuda);
    if (world->size == 1) failed += cmocka_run_group_tests_name("flow", alone, open_cuda, close_cuda);
    if (failed) status = fx_fail(FX_EVALUE, "%d tests failed", failed);
    return fx_comm_finish(&world, status);
}
