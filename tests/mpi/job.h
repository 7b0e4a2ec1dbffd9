/* job.h: a test program that runs itself again under mpirun, in the role that argv[1] names, and reads
 * what the job writes. For tests of what a job does when ranks fail, stop or die. */
#ifndef FX_TESTS_JOB_H
#define FX_TESTS_JOB_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flexhpc/str.h"

enum { JOB_RANKS = 4, JOB_TEXT = 1 << 16 };

typedef struct job {
    pid_t pid;
    int out;                 /* standard output and standard error of all ranks and of mpirun */
    char text[JOB_TEXT + 1]; /* what came so far */
    size_t length;
    int rank_pid[JOB_RANKS]; /* from lines "rank R pid P"; 0: not seen yet */
    double seconds;          /* from start to end */
    int code;                /* exit code of mpirun; 128 + signal */
    double begun;
} job;

/* The line by which a rank in a role makes itself known. */
static inline void job_hello(int rank)
{
    printf("rank %d pid %d\n", rank, (int)getpid());
    fflush(stdout);
}

/* ranks 0: without mpirun. */
static inline void job_start(job *j, int ranks, const char *role)
{
    int ends[2];
    char self[FX_PATH_MAX] = "", number[16];
    memset(j, 0, sizeof *j);
    snprintf(number, sizeof number, "%d", ranks);
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    assert_int_equal(pipe(ends), 0);
    j->begun = fx_now();
    j->pid = fork();
    assert_true(j->pid >= 0);
    if (j->pid == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        if (ranks == 0)
            execl(self, self, role, (char *)NULL);
        else
            execlp("mpirun", "mpirun", "-np", number, self, role, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    j->out = ends[0];
}

static inline void job_read_pids(job *j)
{
    for (const char *at = j->text; (at = strstr(at, "rank ")) != NULL; at++) {
        int rank = 0, pid = 0;
        if (sscanf(at, "rank %d pid %d\n", &rank, &pid) == 2 && rank >= 0 && rank < JOB_RANKS)
            j->rank_pid[rank] = pid;
    }
}

/* Reads what comes within `seconds`; false when the job has ended its output before. */
static inline bool job_read(job *j, double seconds)
{
    const double end = fx_now() + seconds;
    for (double left; (left = end - fx_now()) > 0;) {
        struct pollfd p = {.fd = j->out, .events = POLLIN};
        if (poll(&p, 1, (int)(left * 1000) + 1) <= 0) continue;
        const ssize_t n = read(j->out, j->text + j->length, JOB_TEXT - j->length);
        if (n <= 0) return false;
        j->length += (size_t)n;
        job_read_pids(j);
    }
    return true;
}

/* Waits until all ranks have said hello. */
static inline void job_wait_started(job *j, int ranks)
{
    const double end = fx_now() + 30;
    for (int seen = 0; seen < ranks;) {
        assert_true(fx_now() < end);
        const bool runs = job_read(j, 0.05);
        seen = 0;
        for (int r = 0; r < ranks; r++)
            seen += j->rank_pid[r] != 0;
        if (!runs && seen < ranks) fprintf(stderr, "%s\n", j->text);
        assert_true(runs || seen == ranks);
    }
}

/* Waits for the end; when it does not come within `seconds`, ends the job and fails the test. */
static inline void job_finish(job *j, double seconds)
{
    const bool hangs = job_read(j, seconds);
    int status = 0;
    if (hangs) {
        kill(j->pid, SIGKILL);
        for (int r = 0; r < JOB_RANKS; r++)
            if (j->rank_pid[r]) kill(j->rank_pid[r], SIGKILL);
    }
    waitpid(j->pid, &status, 0);
    close(j->out);
    j->seconds = fx_now() - j->begun;
    j->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (hangs) fprintf(stderr, "%s\n", j->text);
    assert_false(hangs);
}

/* Our own lines in what the job wrote; `line` gets the last of them. */
static inline int job_lines(const job *j, char *line, size_t size)
{
    int count = 0;
    line[0] = '\0';
    for (const char *at = j->text; (at = strstr(at, "flexhpc: ")) != NULL; at++) {
        count++;
        snprintf(line, size, "%.*s", (int)strcspn(at, "\n"), at);
    }
    if (count != 1) fprintf(stderr, "%s\n", j->text);
    return count;
}

/* No rank of the job is left a moment after its end. */
static inline void job_assert_gone(const job *j)
{
    for (int r = 0; r < JOB_RANKS; r++) {
        int tries = 0;
        char path[64], state[512] = "";
        while (j->rank_pid[r] && kill(j->rank_pid[r], 0) == 0 && tries++ < 100) {
            snprintf(path, sizeof path, "/proc/%d/stat", j->rank_pid[r]);
            FILE *f = fopen(path, "r"); /* ended, but nobody has fetched its status: as good as gone */
            const bool zombie = f && fgets(state, sizeof state, f) && strstr(state, ") Z ");
            if (f) fclose(f);
            if (zombie) break;
            usleep(20000);
        }
        assert_true(tries < 100);
    }
}

#endif
