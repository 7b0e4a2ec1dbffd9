/* test_watchdog.c: a rank that hangs or is stopped is named, by one line, and the job ends within its
 * deadline + 5 s; a job in order, a declared save, a suspended and continued job are left alone. The
 * program runs itself under mpirun in the role that argv[1] names.
 *
 * Run: label full
 * Run: timeout 300
 *
 * Run: cost 50
 *
 * Planted errors, each caught: silence of a thread not looked at; SAVE with the deadline of STEP; a
 * suspended rank not pardoned; no alarm behind MPI_Abort; time of saves counted as time of steps; a
 * departed rank that the others don't wait for (they took the word from it); a rank that is gone left
 * to the deadline, or told of although the job was told to end; who waits inside a collective blamed at
 * once, though another node knows better (seen under Slurm first), or who lags behind not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <time.h>

#include "flexhpc/launch.h"
#include "flexhpc/train.h"
#include "flexhpc/watchdog.h"
#include "job.h"

enum { RANKS = 3, VALUES = 50000 };
static const double DEADLINE = 2, LONG_DEADLINE = 100;

/* Steps as a trainer makes them, for `seconds` or, on rank 1 from step 20 on, until `trouble`. */
static fx_status steps(fx_comm *comm, double seconds, const char *trouble)
{
    static float data[VALUES];
    const double end = fx_now() + seconds;
    int64_t left = 1;
    for (int64_t step = 0; left; step++) {
        fx_beat_step(step);
        fx_beat_at("encoder.input_blocks.3.0");
        usleep(1000);
        fx_beat_at("decoder.output_blocks.1.0");
        FX_TRY(comm->ops->start_sum(comm, data, VALUES, FX_F32));
        usleep(1000);
        FX_TRY(comm->ops->progress(comm));
        if (step == 20 && strcmp(trouble, "hangs") == 0 && comm->rank == 1) {
            fx_beat_at("middle.attention");
            sleep(60);
        }
        if (step == 20 && strcmp(trouble, "saves") == 0) {
            fx_beat_phase(FX_PHASE_SAVE, "ckpt/step-00000020.h5");
            if (comm->rank == 1) usleep((useconds_t)(2.5 * DEADLINE * 1e6));
            FX_TRY(comm->ops->barrier(comm));
        }
        if (step == 20 && strcmp(trouble, "fails") == 0 && comm->rank == 1)
            return fx_fail(FX_EVALUE, "NaN in middle.attention");
        FX_TRY(comm->ops->join(comm));
        left = fx_now() < end;
        FX_TRY(comm->ops->broadcast(comm, &left, sizeof left, 0));
    }
    return FX_OK;
}

/* As if a node more were in the job, and had ended it already. Rank 0 is a collective behind its
 * neighbours: inside of one (a collective lets one rank go before another), or on its way. */
static fx_status apart(fx_comm *comm, bool inside)
{
    fx_watchdog *watchdog = NULL;
    fx_signals_catch();
    FX_TRY(fx_watchdog_start(comm, DEADLINE, &watchdog));
    job_hello(comm->rank);
    comm->size++;
    raise(SIGTERM);
    fx_beat_step(20);
    if (inside || comm->rank > 0) fx_beat_enter("all-reduce");
    if (inside && comm->rank > 0) {
        fx_beat_leave();
        fx_beat_enter("all-gather");
    }
    for (const double end = fx_now() + 60; fx_now() < end;)
        usleep(100000);
    return FX_OK;
}

static fx_status role(const char *name, fx_comm *comm)
{
    if (strcmp(name, "waits") == 0 || strcmp(name, "lags") == 0) return apart(comm, name[0] == 'w');
    fx_watchdog *watchdog = NULL;
    const bool obeys = strcmp(name, "obeys") == 0, stays = strcmp(name, "stays") == 0;
    const bool lasts = obeys || stays || strcmp(name, "lasts") == 0;
    if (stays) signal(SIGTERM, SIG_IGN);
    if (obeys) fx_signals_catch();
    FX_TRY(fx_watchdog_start(comm, obeys || stays ? LONG_DEADLINE : DEADLINE, &watchdog));
    job_hello(comm->rank);
    const fx_status status = steps(comm, lasts ? 60 : 3, name);
    fx_watchdog_stop(&watchdog);
    return status;
}

static job j;
static char line[1024];

/* Names in /dev/shm that are ours: none may stay. */
static int segments(void)
{
    int count = 0;
    DIR *d = opendir("/dev/shm");
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        count += strncmp(e->d_name, "flexhpc-", 8) == 0;
    if (d) closedir(d);
    return count;
}

static void assert_named(int rank, const char *place)
{
    char start[128];
    assert_int_equal(job_lines(&j, line, sizeof line), 1);
    snprintf(start, sizeof start, "flexhpc: rank %d/%d on %s pid %d: no progress for ", rank, RANKS,
             fx_host(), j.rank_pid[rank]);
    if (strncmp(line, start, strlen(start)) != 0) fprintf(stderr, "%s\n", line);
    assert_memory_equal(line, start, strlen(start));
    assert_non_null(strstr(line, place));
    assert_int_not_equal(j.code, 0);
    job_assert_gone(&j);
    assert_int_equal(segments(), 0);
}

static void stop_one(int rank)
{
    job_start(&j, RANKS, "lasts");
    job_wait_started(&j, RANKS);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t); /* any moment of a step */
    job_read(&j, 0.3 + (double)(t.tv_nsec % 1000000000) * 0.3e-9);
    const double stopped = fx_now();
    assert_int_equal(kill(j.rank_pid[rank], SIGSTOP), 0);
    job_finish(&j, DEADLINE + 5);
    assert_true(fx_now() - stopped >
                DEADLINE - 0.3); /* the thread's last sign is older than the stop */
    assert_named(rank, "the process does not run; ");
}

static void test_stopped_rank(void **unused)
{
    (void)unused;
    for (int rank = 0; rank < RANKS; rank++)
        stop_one(rank);
}

/* Killed: named long before the deadline, by a rank of its node that the launcher leaves the time. Not
 * after the job was told to end: then ranks go, and it is no news. */
static void test_killed_rank(void **unused)
{
    (void)unused;
    setenv("OMPI_MCA_odls_base_sigkill_timeout", "12", 1); /* seconds between TERM and KILL */
    job_start(&j, RANKS, "stays");
    job_wait_started(&j, RANKS);
    job_read(&j, 0.5);
    assert_int_equal(kill(j.rank_pid[1], SIGKILL), 0);
    job_finish(&j, 30);
    assert_named(1, "the process is gone; ");

    setenv("OMPI_MCA_odls_base_sigkill_timeout", "4", 1);
    job_start(&j, RANKS, "obeys");
    job_wait_started(&j, RANKS);
    job_read(&j, 0.5);
    for (int r = 0; r < RANKS; r++)
        assert_int_equal(kill(j.rank_pid[r], SIGTERM), 0);
    job_read(&j, 2.5); /* the threads' next signs */
    assert_int_equal(kill(j.rank_pid[1], SIGKILL), 0);
    job_finish(&j, 30);
    unsetenv("OMPI_MCA_odls_base_sigkill_timeout");
    assert_null(strstr(j.text, "flexhpc: "));
    assert_int_not_equal(j.code, 0);
    job_assert_gone(&j);
}

/* Alive, but not coming: the node of the tape is told, and where the others wait. */
static void test_hanging_rank(void **unused)
{
    (void)unused;
    job_start(&j, RANKS, "hangs");
    job_wait_started(&j, RANKS);
    job_finish(&j, DEADLINE + 6);
    assert_named(1, " s in step 20, middle.attention (collective ");
    assert_non_null(strstr(line, ", others wait in "));
    assert_non_null(strstr(line, ", join"));
}

/* Who waits in a collective may wait for another node, which has the word; who does not is to blame. */
static void test_another_node(void **unused)
{
    (void)unused;
    job_start(&j, RANKS, "waits");
    job_finish(&j, DEADLINE + 10);
    assert_null(strstr(j.text, "flexhpc: "));
    assert_int_not_equal(j.code, 0);
    job_start(&j, RANKS, "lags");
    job_finish(&j, DEADLINE + 10);
    assert_int_equal(job_lines(&j, line, sizeof line), 1);
    assert_non_null(strstr(line, "flexhpc: rank 0/4 on "));
    assert_non_null(strstr(line, ", others wait in "));
    assert_non_null(strstr(line, ", all-reduce)"));
    job_assert_gone(&j);
}

static void test_no_false_alarm(void **unused)
{
    (void)unused;
    const char *const roles[] = {"works", "saves"};
    for (int i = 0; i < 2; i++) {
        job_start(&j, RANKS, roles[i]);
        job_finish(&j, 30);
        assert_int_equal(j.code, 0);
        assert_null(strstr(j.text, "flexhpc: "));
    }
    assert_true(j.seconds > 2.5 * DEADLINE); /* or the save has not tried the watchdog's patience */
}

/* The whole job suspended and continued, as a batch system may do it. */
static void test_suspended_job(void **unused)
{
    (void)unused;
    job_start(&j, RANKS, "works");
    job_wait_started(&j, RANKS);
    for (int r = 0; r < RANKS; r++)
        kill(j.rank_pid[r], SIGSTOP);
    usleep((useconds_t)(2.5 * DEADLINE * 1e6));
    for (int r = 0; r < RANKS; r++) { /* not all at once: the first finds the others still silent */
        kill(j.rank_pid[r], SIGCONT);
        usleep(300000);
    }
    job_finish(&j, 20);
    assert_int_equal(j.code, 0);
    assert_null(strstr(j.text, "flexhpc: "));
}

/* A failure in a step that nobody agreed on: the others wait, but fx_comm_finish has the word. */
static void test_failure_in_a_step(void **unused)
{
    (void)unused;
    job_start(&j, RANKS, "fails");
    job_finish(&j, 10);
    assert_int_equal(job_lines(&j, line, sizeof line), 1);
    assert_non_null(strstr(line, "rank 1/3 on "));
    assert_non_null(strstr(line, ": NaN in middle.attention"));
    assert_int_not_equal(j.code, 0);
    job_assert_gone(&j);
}

/* mpirun itself is stopped as well: MPI_Abort can't end the job, the ranks end by themselves. */
static void test_stopped_launcher(void **unused)
{
    (void)unused;
    job_start(&j, RANKS, "hangs");
    job_wait_started(&j, RANKS);
    kill(j.pid, SIGSTOP);
    const double begun = fx_now();
    int alive = RANKS;
    while (alive > 0 && fx_now() - begun < DEADLINE + 20) {
        usleep(100000);
        alive = 0;
        for (int r = 0; r < RANKS; r++) {
            char path[64], state[512] = "";
            snprintf(path, sizeof path, "/proc/%d/stat", j.rank_pid[r]);
            FILE *f = fopen(path, "r");
            alive += f && fgets(state, sizeof state, f) && !strstr(state, ") Z ");
            if (f) fclose(f);
        }
    }
    kill(j.pid, SIGCONT);
    job_finish(&j, 10);
    assert_int_equal(alive, 0);
    assert_named(1, "middle.attention");
}

/* The deadline's yardstick: the slowest recent step, without what is no step. */
static void test_slowest_step(void **unused)
{
    (void)unused;
    const fx_heartbeat *mine = fx_heartbeat_line();
    fx_beat_step(0);
    usleep(20000);
    fx_beat_step(1);
    const int64_t first = mine->slowest_ns;
    assert_true(first >= 20000000 && first < 2000000000);
    fx_beat_phase(FX_PHASE_SAVE, "ckpt");
    usleep(150000);
    fx_beat_phase(FX_PHASE_STEP, NULL);
    fx_beat_step(2);
    assert_true(mine->slowest_ns < first + 50000000); /* the save is not in it */
    for (int64_t step = 3; step < 400; step++)
        fx_beat_step(step);
    assert_true(mine->slowest_ns < first / 4); /* and it is forgotten */
    assert_int_equal(mine->step, 399);
    char text[FX_WHERE_MAX], name[2 * FX_WHERE_MAX];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    fx_beat_at(name);
    fx_heartbeat_text(mine->where, FX_WHERE_MAX / 8, text);
    assert_int_equal(strlen(text), FX_WHERE_MAX - 1);
    fx_beat_at("0123456");
    fx_heartbeat_text(mine->where, FX_WHERE_MAX / 8, text);
    assert_string_equal(text, "0123456");
}

static void test_off(void **unused)
{
    (void)unused;
    fx_watchdog *none = NULL;
    assert_int_equal(fx_watchdog_start(fx_comm_self(), -1, &none), FX_OK);
    assert_null(none);
    fx_watchdog_stop(&none);
    assert_int_equal(fx_watchdog_start(fx_comm_self(), 0, &none), FX_OK);
    assert_non_null(none);
    fx_watchdog_stop(&none);
    assert_null(none);
    assert_int_equal(segments(), 0);
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
        cmocka_unit_test(test_slowest_step),     cmocka_unit_test(test_off),
        cmocka_unit_test(test_stopped_rank),     cmocka_unit_test(test_hanging_rank),
        cmocka_unit_test(test_killed_rank),      cmocka_unit_test(test_no_false_alarm),
        cmocka_unit_test(test_suspended_job),    cmocka_unit_test(test_failure_in_a_step),
        cmocka_unit_test(test_stopped_launcher), cmocka_unit_test(test_another_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
