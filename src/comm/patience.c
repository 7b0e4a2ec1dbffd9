/* patience.c: how a rank that failed brings its failure to the others. Agreement needs all ranks; where
 * the others wait for this one in a collective call that it left (inside HDF5, or in a step), they
 * never come. So a thread of the failed rank waits beside it, and after a few seconds says the one line
 * itself and ends the job. */
#include "patience.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "flexhpc/log.h"
#include "flexhpc/str.h"

bool fx_names_rank(const char *message)
{
    for (const char *at = message; (at = strstr(at, "rank ")) != NULL; at++) {
        int rank = 0, size = 0;
        if (sscanf(at, "rank %d/%d on ", &rank, &size) == 2) return true;
    }
    return false;
}

double fx_patience_seconds(const fx_comm *comm)
{
    return 3 + 0.25 * (comm->rank < 20 ? comm->rank : 20);
}

static void *wait_beside(void *argument)
{
    fx_patience *p = argument;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    const int64_t end = until.tv_nsec + (int64_t)(1e9 * fx_patience_seconds(p->comm));
    until.tv_sec += (time_t)(end / 1000000000);
    until.tv_nsec = (long)(end % 1000000000);
    pthread_mutex_lock(&p->lock);
    int waited = 0;
    while (!p->relieved && waited == 0)
        waited = pthread_cond_timedwait(&p->changed, &p->lock, &until);
    if (!p->relieved) {
        fx_log_failure("%s", p->line);
        p->comm->ops->abort(p->comm, p->exit_code);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void fx_patience_begin(fx_patience *p, fx_comm *comm, int exit_code, const char *line)
{
    pthread_condattr_t monotonic;
    sigset_t all, kept;
    *p = (fx_patience){.comm = comm, .exit_code = exit_code};
    snprintf(p->line, sizeof p->line, "%s", line);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    p->runs = pthread_create(&p->thread, NULL, wait_beside, p) == 0; /* else it waits without end */
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
}

void fx_patience_end(fx_patience *p)
{
    pthread_mutex_lock(&p->lock);
    p->relieved = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (p->runs) pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
}
