/* test_launch.c: how jobs start and end: one line of ours and the same exit code, whoever fails and
 * wherever; the program runs itself under mpirun in the role that argv[1] names.
 *
 * Run: label full
 * Run: timeout 200
 *
 * Run: cost 12
 *
 * Planted errors, each caught: the lowest rank speaks even when it is only a peer of the one that
 * failed; "rank R/N on" put before a message that has it; a failed rank that waits for the others
 * without end; Slurm's task count not looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "flexhpc/launch.h"
#include "job.h"

static fx_status role(const char *name, fx_comm *comm)
{
    float one = 1;
    const bool last = comm->rank == comm->size - 1;
    job_hello(comm->rank);
    if (strcmp(name, "works") == 0) return FX_OK;
    if (strcmp(name, "self") == 0)
        return comm == fx_comm_self() ? FX_OK : fx_fail(FX_ECOMM, "MPI was started for one process");
    if (strcmp(name, "config") == 0) /* a phase whose outcome is agreed */
        return fx_agree(comm, last ? fx_fail(FX_ECONFIG, "train.steps: -1 is below 1") : FX_OK);
    if (strcmp(name, "all") == 0) /* every rank finds the same */
        return fx_fail(FX_ECONFIG, "configs/x.yaml:3: unknown key");
    if (strcmp(name, "peers") == 0) { /* in a step: a status word was reduced, the culprit knows why */
        comm->ops->barrier(comm);
        return comm->rank == 1 ? fx_fail(FX_EVALUE, "NaN in encoder.x")
                               : fx_fail(FX_EPEER, "a rank failed");
    }
    if (strcmp(name, "alone") == 0) { /* one leaves, the others wait for it in a collective */
        if (last) return fx_fail(FX_EVALUE, "shard 3\x1b[2J is empty");
        FX_TRY(comm->ops->start_sum(comm, &one, 1, FX_F32));
        return comm->ops->join(comm);
    }
    if (strcmp(name, "flight") == 0) { /* all fail while operations are in flight */
        static float data[200000];
        FX_TRY(comm->ops->start_sum(comm, data, 200000, FX_F32));
        return fx_fail(FX_EIO, "disk full on rank %d", comm->rank);
    }
    if (strcmp(name, "late") == 0) /* a rank that works long is no failure: the others wait for it */
        return comm->rank == 0 ? (sleep(4), FX_OK) : FX_OK;
    return fx_fail(FX_EARG, "no role %s", name);
}

static job j;
static char line[1024];

static void test_success(void **unused)
{
    (void)unused;
    job_start(&j, 3, "works");
    job_finish(&j, 20);
    assert_int_equal(j.code, 0);
    assert_null(strstr(j.text, "flexhpc: "));
    job_start(&j, 3, "late");
    job_finish(&j, 20);
    assert_int_equal(j.code, 0);
    assert_null(strstr(j.text, "flexhpc: "));
}

static void assert_one_line(int ranks, const char *name, int code, const char *start, const char *end)
{
    job_start(&j, ranks, name);
    job_finish(&j, 20);
    assert_int_equal(job_lines(&j, line, sizeof line), 1);
    assert_memory_equal(line, start, strlen(start));
    assert_true(strlen(line) >= strlen(end));
    assert_string_equal(line + strlen(line) - strlen(end), end);
    assert_int_equal(j.code, code);
    job_assert_gone(&j);
}

static void test_agreed_failure(void **unused)
{
    (void)unused;
    assert_one_line(3, "config", 2, "flexhpc: rank 2/3 on ", ": train.steps: -1 is below 1");
}

static void test_all_fail_alike(void **unused)
{
    (void)unused;
    assert_one_line(3, "all", 2, "flexhpc: rank 0/3 on ", ": configs/x.yaml:3: unknown key");
}

static void test_culprit_among_peers(void **unused)
{
    (void)unused;
    assert_one_line(3, "peers", 1, "flexhpc: rank 1/3 on ", ": NaN in encoder.x");
}

static void test_failure_of_one_alone(void **unused)
{
    (void)unused;
    assert_one_line(3, "alone", 1, "flexhpc: rank 2/3 on ", ": shard 3?[2J is empty");
    assert_true(j.seconds < 12);
}

static void test_failure_in_flight(void **unused)
{
    (void)unused;
    assert_one_line(2, "flight", 1, "flexhpc: rank 0/2 on ", ": disk full on rank 0");
}

/* Without mpirun: MPI is not started, which takes longer than many commands; the same outcomes. */
static void test_one_process(void **unused)
{
    (void)unused;
    job_start(&j, 0, "self");
    job_finish(&j, 20);
    assert_int_equal(j.code, 0);
    assert_one_line(0, "all", 2, "flexhpc: configs/x.yaml:3: unknown key", "");
}

static void test_slurm_without_mpi(void **unused)
{
    (void)unused;
    setenv("SLURM_NTASKS", "4", 1); /* a batch script that calls the program without srun */
    assert_one_line(0, "works", 1, "flexhpc: Slurm has 4 tasks here", "(srun -n 1 for one rank)");
    setenv("SLURM_STEP_NUM_TASKS", "4", 1); /* srun without PMIx: task 0 speaks */
    setenv("SLURM_PROCID", "0", 1);
    assert_one_line(0, "works", 1, "flexhpc: Slurm has 4 tasks here", "(srun -n 1 for one rank)");
    setenv("SLURM_PROCID", "3", 1);
    job_start(&j, 0, "works");
    job_finish(&j, 20);
    assert_int_equal(j.code, 1);
    assert_null(strstr(j.text, "flexhpc: "));
    job_start(&j, 1, "works"); /* one rank by wish */
    job_finish(&j, 20);
    assert_int_equal(j.code, 0);
    unsetenv("SLURM_NTASKS");
    unsetenv("SLURM_STEP_NUM_TASKS");
    unsetenv("SLURM_PROCID");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        fx_comm *comm = NULL;
        fx_status status = fx_comm_start(&argc, &argv, &comm);
        if (status == FX_OK) status = role(argv[1], comm);
        return fx_comm_finish(&comm, status);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success),
        cmocka_unit_test(test_agreed_failure),
        cmocka_unit_test(test_all_fail_alike),
        cmocka_unit_test(test_culprit_among_peers),
        cmocka_unit_test(test_failure_of_one_alone),
        cmocka_unit_test(test_failure_in_flight),
        cmocka_unit_test(test_one_process),
        cmocka_unit_test(test_slurm_without_mpi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
