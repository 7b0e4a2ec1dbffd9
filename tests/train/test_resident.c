/* test_resident.c: what a plan says is what a training step takes: the largest resident set of a real
 * step, less what was resident before planning, against arena + kept tensors + parameter slabs, for
 * each recompute option; and another step takes nothing more. Each option has a process of its own,
 * because a peak can't be undone.
 *
 * Planted and caught: the EMA left out of what is planned; a second arena; a block of 6 MiB taken by
 * each step and not given back.
 *
 * Run: label full
 *
 * Run: timeout 300
 *
 * Run: cost 18
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../tape/small_flex.h"

static const double MIB = 1048576, SHARE = 0.02, LEAST_MIB = 64, GROWTH_MIB = 2;

static const char *const SETTINGS[] = {"model.preset=custom",
                                       "data.patch=64",
                                       "model.channels=32,64,320",
                                       "model.blocks=1,1,1",
                                       "model.depth=3",
                                       "model.heads=8",
                                       "data.factor=4",
                                       "train.global_batch=2",
                                       "model.mlp_ratio=2",
                                       NULL};

typedef struct bytes {
    double planned, resident, growth;
} bytes;

/* A line of /proc/self/status, in bytes; 0 where there is none. */
static double status_bytes(const char *format)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, format, &kib) == 1) break;
    if (f) fclose(f);
    return 1024.0 * (double)kib;
}

static fx_status steps(fx_trainee *t, bytes *out)
{
    fx_step_report report;
    FX_TRY(fx_params_initialize(t->params, t->exec, 11));
    FX_TRY(small_step(t, true, &report));
    FX_REQUIRE(report.finite, FX_EVALUE, "the step is not finite");
    out->planned = (double)fx_trainee_bytes(t);
    const double before = status_bytes("VmRSS: %llu");
    FX_TRY(small_step(t, true, &report));
    out->growth = status_bytes("VmRSS: %llu") - before;
    return FX_OK;
}

static fx_status measure(fx_recompute recompute, bytes *out)
{
    fx_exec *exec = NULL;
    fx_trainee *t = NULL;
    fx_step_options options;
    fx_status status = FX_OK;
    FX_TRY(small_options(SETTINGS, &options));
    options.recompute = recompute;
    const double before = status_bytes("VmRSS: %llu");
    FX_TRY_DONE(small_exec(&exec));
    FX_TRY_DONE(fx_trainee_create(exec, &options, false, &t));
    FX_TRY_DONE(steps(t, out));
    out->resident = status_bytes("VmHWM: %llu") - before;
done:
    fx_trainee_free(&t);
    if (exec) exec->backend->close(&exec);
    return status;
}

/* In a child; its numbers come back through a pipe. */
static void check(fx_recompute recompute)
{
    int end[2];
    bytes b = {0};
    assert_int_equal(pipe(end), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const fx_status status = measure(recompute, &b);
        if (status != FX_OK) fprintf(stderr, "%s\n", fx_error_message());
        _exit(status != FX_OK || write(end[1], &b, sizeof b) != sizeof b);
    }
    int exited = 1;
    close(end[1]); /* or a child that dies would be waited for */
    const ssize_t got = read(end[0], &b, sizeof b);
    assert_int_equal(waitpid(child, &exited, 0), child);
    close(end[0]);
    assert_int_equal(exited, 0);
    assert_int_equal(got, sizeof b);
    const double off = (b.resident - b.planned) / MIB, share = SHARE * b.planned / MIB;
    print_message("recompute %d: planned %.1f MiB, resident %.1f, %+.1f, %+.1f by another step\n",
                  (int)recompute, b.planned / MIB, b.resident / MIB, off, b.growth / MIB);
    assert_true(b.planned > 0);
    assert_true(b.growth <= GROWTH_MIB * MIB);
    assert_true((off < 0 ? -off : off) <= (share > LEAST_MIB ? share : LEAST_MIB));
}

static void resident_memory_is_as_planned(void **state)
{
    (void)state;
    for (int mode = FX_RECOMPUTE_NONE; mode <= FX_RECOMPUTE_ALL; mode++)
        check((fx_recompute)mode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(resident_memory_is_as_planned)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
