/* launch.c: the start and the end of a job. The end is where one rank's failure must reach all: every
 * rank brings its outcome to fx_comm_finish, and one speaks for all. */
#include "flexhpc/launch.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm_mpi.h"
#include "flexhpc/log.h"
#include "flexhpc/str.h"

enum { CLOSING_SECONDS = 10, BUSY = 1 << 16 /* operations are still in flight */ };

/* MPI takes a quarter of a second to start alone, and is of no use to one process. */
static bool launcher_seen(void)
{
    static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK",       "PMI_RANK",
                                        "MV2_COMM_WORLD_SIZE",  "MPI_LOCALNRANKS", "PALS_RANKID",
                                        "FLUX_TASK_RANK",       "FLEXHPC_MPI"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (getenv(signs[i])) return true;
    return false;
}

static int environment_int(const char *name)
{
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

/* Several tasks of Slurm that take themselves for one rank each would all write the same files. */
static fx_status check_slurm(void)
{
    const int step = environment_int("SLURM_STEP_NUM_TASKS");
    const int tasks = step ? step : environment_int("SLURM_NTASKS");
    if (tasks <= 1) return FX_OK;
    if (step && environment_int("SLURM_PROCID") != 0)
        return fx_fail(FX_EPEER, "SLURM_PROCID 0 says why this task does not run");
    return fx_fail(
        FX_ECOMM,
        "Slurm has %d tasks here, but each of them sees one rank of MPI: use srun --mpi=pmix or "
        "mpirun (srun -n 1 for one rank)",
        tasks);
}

static fx_status start_mpi(int *argc, char ***argv, fx_comm **out)
{
    int level = MPI_THREAD_SINGLE;
    /* Open MPI's own component for MPI-IO is slower and hangs in close on some file systems. */
    setenv("OMPI_MCA_io", "^ompio", 0);
    FX_TRY(fx_mpi_check(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level), "MPI_Init_thread"));
    FX_TRY(fx_mpi_check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
                        "MPI_Comm_set_errhandler"));
    FX_REQUIRE(level >= MPI_THREAD_FUNNELED, FX_ECOMM,
               "this MPI allows one thread a process only (MPI_THREAD_SINGLE): flexhpc needs FUNNELED");
    return fx_mpi_create(MPI_COMM_WORLD, out);
}

fx_status fx_comm_start(int *argc, char ***argv, fx_comm **out)
{
    const bool by_mpirun =
        getenv("OMPI_COMM_WORLD_SIZE") != NULL; /* one rank by wish, whatever Slurm has */
    *out = NULL;
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0); /* many file systems have no locks; ours are our own */
    if (!launcher_seen()) {
        FX_TRY(check_slurm());
        *out = fx_comm_self();
        return FX_OK;
    }
    fx_comm *comm = NULL;
    FX_TRY(start_mpi(argc, argv, &comm));
    const fx_status status = comm->size == 1 && !by_mpirun ? check_slurm() : FX_OK;
    if (status == FX_OK) {
        *out = comm;
        return FX_OK;
    }
    comm->ops->close(comm);
    MPI_Finalize();
    return status;
}

int fx_exit_code(fx_status status)
{
    return status == FX_OK ? 0 : status == FX_ECONFIG ? 2 : 1;
}

static void speak(const fx_comm *comm, fx_status status)
{
    const char *message = fx_error_message();
    if (!message[0]) message = "failed, and nothing says why";
    if (!comm || comm->size == 1) {
        if (status != FX_OK && (comm || status != FX_EPEER)) fx_log_failure("%s", message);
    } else if (fx_names_rank(message)) {
        fx_log_failure("%s", message);
    } else {
        fx_log_failure("rank %d/%d on %s: %s", comm->rank, comm->size, fx_host(), message);
    }
}

/* Every rank's status, and whether its operations are done. False when a rank has not come in time; a
 * rank that has nothing to complain of waits as long as it takes. */
static bool all_came(fx_comm *comm, fx_status status)
{
    fx_mpi *m = comm->state;
    const int mine = (int)status | (fx_mpi_idle(m) ? 0 : BUSY);
    const struct timespec pause = {.tv_nsec = 1000000};
    const double patience = fx_patience_seconds(comm), begun = fx_now();
    MPI_Request request = MPI_REQUEST_NULL;
    int done = 0;
    if (MPI_Iallgather(&mine, 1, MPI_INT, m->endings, 1, MPI_INT, m->ending, &request) != MPI_SUCCESS)
        return false;
    for (;;) {
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
        if (done) return true;
        if (status != FX_OK && fx_now() - begun > patience) return false;
        nanosleep(&pause, NULL);
    }
}

/* The rank that speaks: the lowest that failed by itself; without one the lowest that failed; or -1. */
static int speaker_of(const fx_comm *comm, bool *busy)
{
    const fx_mpi *m = comm->state;
    int own = -1, any = -1;
    *busy = false;
    for (int r = comm->size - 1; r >= 0; r--) {
        const int status = m->endings[r] & ~BUSY;
        if (m->endings[r] & BUSY) *busy = true;
        if (status != FX_OK) any = r;
        if (status != FX_OK && status != FX_EPEER) own = r;
    }
    return own >= 0 ? own : any;
}

/* After a failed write HDF5 can hang or crash while MPI ends, and messages in flight have no end. */
static void end_hard(fx_comm *comm, bool first, int code)
{
    if (first) fx_mpi_abort(comm, code);
    fx_mpi_end_within(CLOSING_SECONDS, code);
    for (;;)
        pause();
}

int fx_comm_finish(fx_comm **out, fx_status status)
{
    fx_comm *comm = *out;
    *out = NULL;
    fflush(stdout);
    if (!comm || !comm->state) {
        speak(comm, status);
        return fx_exit_code(status);
    }
    if (!all_came(comm, status)) {
        speak(comm, status);
        fx_mpi_abort(comm, fx_exit_code(status));
    }
    fx_mpi *m = comm->state;
    bool busy = false;
    const int speaker = speaker_of(comm, &busy);
    int code = 0;
    if (speaker >= 0) {
        const fx_status why = (fx_status)(m->endings[speaker] & ~BUSY);
        code = fx_exit_code(why);
        if (speaker == comm->rank)
            speak(comm, status);
        else if (status != FX_OK)
            fx_log_last_words(fx_error_message());
        if (busy || why == FX_EIO || why == FX_ECOMM) end_hard(comm, speaker == comm->rank, code);
        fx_mpi_end_within(CLOSING_SECONDS, code);
        MPI_Barrier(m->ending); /* the launcher may end all ranks when the first has ended */
    }
    comm->ops->close(comm);
    MPI_Finalize();
    return code;
}
