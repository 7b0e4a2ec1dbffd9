/* comm_mpi.c: fx_comm over MPI: the blocking collectives. They only move bytes, so MPI's own serve;
 * the sums, whose order must be fixed, are in allreduce.c. Blocks of more bytes than an MPI count
 * should carry go in strips: bytes [at, at + strip) of every rank's block at a time. */
#include "comm_mpi.h"

#include <string.h>

#include "flexhpc/heartbeat.h"
#include "flexhpc/mem.h"

fx_status fx_mpi_check(int rc, const char *call)
{
    if (rc == MPI_SUCCESS) return FX_OK;
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int length = 0;
    if (MPI_Error_string(rc, text, &length) != MPI_SUCCESS || length == 0)
        return fx_fail(FX_ECOMM, "%s: error %d", call, rc);
    return fx_fail(FX_ECOMM, "%s: %s", call, text);
}

static fx_mpi *state_of(const fx_comm *comm)
{
    return comm->state;
}

static fx_status barrier(fx_comm *comm)
{
    fx_beat_enter("barrier");
    const fx_status status = fx_mpi_check(MPI_Barrier(state_of(comm)->all), "MPI_Barrier");
    fx_beat_leave();
    return status;
}

static size_t strip_of(const fx_mpi *m, size_t bytes, size_t at)
{
    return bytes - at < m->largest ? bytes - at : m->largest;
}

static fx_status broadcast(fx_comm *comm, void *data, size_t bytes, int root)
{
    const fx_mpi *m = state_of(comm);
    fx_status status = FX_OK;
    fx_beat_enter("broadcast");
    for (size_t at = 0, strip; status == FX_OK && at < bytes; at += strip) {
        strip = strip_of(m, bytes, at);
        status =
            fx_mpi_check(MPI_Bcast((char *)data + at, (int)strip, MPI_BYTE, root, m->all), "MPI_Bcast");
    }
    fx_beat_leave();
    return status;
}

/* `strip` bytes, of which one follows the next at a distance of `bytes`: a strip of every block. */
static fx_status strip_type(size_t strip, size_t bytes, MPI_Datatype *type)
{
    MPI_Datatype packed = MPI_DATATYPE_NULL;
    FX_TRY(fx_mpi_check(MPI_Type_contiguous((int)strip, MPI_BYTE, &packed), "MPI_Type_contiguous"));
    int rc = MPI_Type_create_resized(packed, 0, (MPI_Aint)bytes, type);
    MPI_Type_free(&packed);
    if (rc == MPI_SUCCESS) rc = MPI_Type_commit(type);
    return fx_mpi_check(rc, "MPI_Type_create_resized");
}

static fx_status all_gather(fx_comm *comm, const void *mine, size_t bytes, void *all)
{
    const fx_mpi *m = state_of(comm);
    char *own = (char *)all + (size_t)comm->rank * bytes;
    fx_status status = FX_OK;
    fx_beat_enter("all-gather");
    if (own != mine && bytes > 0) memcpy(own, mine, bytes);
    for (size_t at = 0, strip; status == FX_OK && at < bytes; at += strip) {
        MPI_Datatype type = MPI_DATATYPE_NULL;
        strip = strip_of(m, bytes, at);
        status = strip_type(strip, bytes, &type);
        if (status != FX_OK) break;
        status = fx_mpi_check(MPI_Allgather(MPI_IN_PLACE, 0, type, (char *)all + at, 1, type, m->all),
                              "MPI_Allgather");
        MPI_Type_free(&type);
    }
    fx_beat_leave();
    return status;
}

static fx_status all_to_all(fx_comm *comm, const void *send, size_t bytes, void *recv)
{
    const fx_mpi *m = state_of(comm);
    fx_status status = FX_OK;
    fx_beat_enter("all-to-all");
    for (size_t at = 0, strip; status == FX_OK && at < bytes; at += strip) {
        MPI_Datatype type = MPI_DATATYPE_NULL;
        strip = strip_of(m, bytes, at);
        status = strip_type(strip, bytes, &type);
        if (status != FX_OK) break;
        status = fx_mpi_check(
            MPI_Alltoall((const char *)send + at, 1, type, (char *)recv + at, 1, type, m->all),
            "MPI_Alltoall");
        MPI_Type_free(&type);
    }
    fx_beat_leave();
    return status;
}

/* One empty message a rank; MPI sends it off without its receiver. */
static fx_status answer(fx_comm *comm, bool *here)
{
    enum { TAG = 1 };
    const MPI_Comm ranks = state_of(comm)->ending;
    MPI_Status status;
    int come = 0;
    if (comm->rank != 0 && !here[comm->rank])
        FX_TRY(fx_mpi_check(MPI_Send(NULL, 0, MPI_BYTE, 0, TAG, ranks), "MPI_Send"));
    here[comm->rank] = true;
    while (comm->rank == 0) {
        FX_TRY(fx_mpi_check(MPI_Iprobe(MPI_ANY_SOURCE, TAG, ranks, &come, &status), "MPI_Iprobe"));
        if (!come) break;
        FX_TRY(fx_mpi_check(
            MPI_Recv(NULL, 0, MPI_BYTE, status.MPI_SOURCE, TAG, ranks, MPI_STATUS_IGNORE), "MPI_Recv"));
        here[status.MPI_SOURCE] = true;
    }
    return FX_OK;
}

static fx_status split(fx_comm *comm, int members, fx_comm **out)
{
    MPI_Comm part = MPI_COMM_NULL;
    fx_status status = fx_mpi_check(
        MPI_Comm_split(state_of(comm)->all, comm->rank / members, comm->rank, &part), "MPI_Comm_split");
    if (status == FX_OK) status = fx_mpi_create(part, out);
    if (status == FX_OK) {
        (*out)->node_rank = comm->node_rank;
        (*out)->node_size = comm->node_size;
    }
    if (part != MPI_COMM_NULL) MPI_Comm_free(&part);
    return fx_agree(comm, status);
}

/* Frees what fx_mpi_create got as far as making. */
static void close_mpi(fx_comm *comm)
{
    fx_mpi *m = comm->state;
    MPI_Comm *owned[] = {&m->all, &m->pieces, &m->ending};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        if (*owned[i] != MPI_COMM_NULL) MPI_Comm_free(owned[i]);
    fx_free(m->endings);
    fx_free(m->queue);
    fx_free(m->scratch);
    fx_free(m);
    fx_free(comm);
}

static const fx_comm_ops ops = {
    .barrier = barrier,
    .broadcast = broadcast,
    .all_gather = all_gather,
    .all_to_all = all_to_all,
    .start_sum = fx_mpi_start_sum,
    .start_gather = fx_mpi_start_gather,
    .progress = fx_mpi_progress,
    .answer = answer,
    .split = split,
    .join = fx_mpi_join,
    .abort = fx_mpi_abort,
    .close = close_mpi,
};

static fx_status duplicate(MPI_Comm world, MPI_Comm *out)
{
    FX_TRY(fx_mpi_check(MPI_Comm_dup(world, out), "MPI_Comm_dup"));
    return fx_mpi_check(MPI_Comm_set_errhandler(*out, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

fx_status fx_mpi_create(MPI_Comm world, fx_comm **out)
{
    fx_comm *comm = fx_calloc(1, sizeof *comm);
    fx_mpi *m = fx_calloc(1, sizeof *m);
    if (!comm || !m) {
        fx_free(comm);
        fx_free(m);
        return FX_ENOMEM;
    }
    fx_status status = FX_OK;
    *m = (fx_mpi){.all = MPI_COMM_NULL,
                  .pieces = MPI_COMM_NULL,
                  .ending = MPI_COMM_NULL,
                  .largest = FX_MPI_LARGEST};
    for (int i = 0; i < 2 * FX_MPI_SLOTS; i++)
        m->request[i] = MPI_REQUEST_NULL;
    *comm = (fx_comm){.ops = &ops, .native = &m->all, .state = m};
    FX_TRY_DONE(duplicate(world, &m->all));
    FX_TRY_DONE(duplicate(world, &m->pieces));
    FX_TRY_DONE(duplicate(world, &m->ending));
    FX_TRY_DONE(fx_mpi_check(MPI_Comm_rank(m->all, &comm->rank), "MPI_Comm_rank"));
    FX_TRY_DONE(fx_mpi_check(MPI_Comm_size(m->all, &comm->size), "MPI_Comm_size"));
    FX_TRY_DONE(fx_mpi_local_rank(m->all, &comm->local_rank, &comm->local_size));
    comm->node_rank = comm->local_rank;
    comm->node_size = comm->local_size;
    FX_TRY_DONE(FX_ALLOC(m->endings, comm->size));
done:
    if (status == FX_OK)
        *out = comm;
    else
        close_mpi(comm);
    return status;
}
