/* abort.c: the end of a job that can't go on. MPI_Abort asks the launcher to end all ranks, and may
 * itself hang (a stopped mpirun): then an alarm ends this process. The alarm needs no memory and no
 * thread, and its handler calls only what a signal handler may. */
#include "comm_mpi.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "flexhpc/heartbeat.h"

enum { ABORT_SECONDS = 10 };

static volatile sig_atomic_t last_code = 1;

static void end_now(int signal)
{
    (void)signal;
    _exit(last_code);
}

void fx_mpi_end_within(unsigned seconds, int code)
{
    struct sigaction action = {.sa_handler = end_now};
    sigset_t alarm_only;
    last_code = code;
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    alarm(seconds);
}

void fx_mpi_abort(fx_comm *comm, int code)
{
    (void)comm; /* MPI ends whole jobs only */
    fx_beat_depart();
    fx_mpi_end_within(ABORT_SECONDS, code);
    MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}
