/* comm_mpi.h: the state behind an fx_comm of several ranks. Private to mpi/ and its tests. */
#ifndef FLEXHPC_COMM_MPI_H
#define FLEXHPC_COMM_MPI_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "flexhpc/comm.h"

enum {
    FX_MPI_SLOTS = 8,           /* pieces of operations in flight at a time */
    FX_MPI_BLOCK = 1 << 16,     /* numbers of one message of a ring, at most */
    FX_MPI_RING_FROM = 1 << 15, /* numbers from which a sum goes round the ring; fewer are doubled */
    FX_MPI_LARGEST = 1 << 29    /* bytes of one message of a blocking collective, at most */
};

typedef enum fx_mpi_kind { FX_MPI_RING_SUM, FX_MPI_DOUBLING_SUM, FX_MPI_GATHER } fx_mpi_kind;

/* A started operation, cut into `pieces` that move on their own. */
typedef struct fx_mpi_operation {
    fx_mpi_kind kind;
    char *base;           /* the sum's data, or the gather's `all` */
    size_t count;         /* numbers of a sum, bytes a rank of a gather */
    fx_dtype dtype;       /* of a sum */
    size_t pieces, begun; /* begun: pieces that have had a slot */
} fx_mpi_operation;

/* One message each way, or one way (peer -1: none); then recv is added to sum_into, if there is one. */
typedef struct fx_mpi_move {
    int to, from;
    char *send, *recv;
    size_t send_bytes, recv_bytes;
    char *sum_into;
} fx_mpi_move;

/* A piece on its way: elements [from, from + size) of the operation, or of each rank's part. */
typedef struct fx_mpi_slot {
    bool busy;
    fx_mpi_operation op;
    size_t from, size;
    int step, tag;
    char *scratch; /* FX_MPI_BLOCK floats, as all of a slot's room */
    fx_mpi_move move;
} fx_mpi_slot;

typedef struct fx_mpi {
    MPI_Comm all;    /* blocking collectives, parallel HDF5 */
    MPI_Comm pieces; /* messages of the operations in flight */
    MPI_Comm ending; /* fx_comm_finish, and answers */
    size_t largest;  /* FX_MPI_LARGEST; smaller in tests */
    int *endings;    /* one a rank, for fx_comm_finish, which must work without memory */

    fx_mpi_operation *queue; /* [head, tail) have pieces to begin */
    size_t capacity, head, tail;
    fx_mpi_slot slot[FX_MPI_SLOTS];
    MPI_Request request[2 * FX_MPI_SLOTS]; /* of slot i: 2i receives, 2i + 1 sends */
    char *scratch;                         /* of all slots */
    uint64_t serial;                       /* pieces begun: gives the tag */
    int busy;                              /* slots in use */
} fx_mpi;

/* FX_OK, or FX_ECOMM with MPI's own words. Local. */
fx_status fx_mpi_check(int rc, const char *call);

/* Operations in flight (allreduce.c). */
fx_status fx_mpi_start_sum(fx_comm *comm, void *data, int64_t count, fx_dtype dtype);
fx_status fx_mpi_start_gather(fx_comm *comm, const void *mine, size_t bytes, void *all);
fx_status fx_mpi_progress(fx_comm *comm);
fx_status fx_mpi_join(fx_comm *comm);
bool fx_mpi_idle(const fx_mpi *m);

/* A communicator over duplicates of `world`. On success only ops->close frees it. Collective. */
fx_status fx_mpi_create(MPI_Comm world, fx_comm **out);

/* Rank and number of ranks on this node (topology.c). Collective. */
fx_status fx_mpi_local_rank(MPI_Comm all, int *rank, int *size);

/* Ends this process by _exit(code) `seconds` from now, whatever it hangs in (abort.c). Any thread. */
void fx_mpi_end_within(unsigned seconds, int code);

/* Ends all ranks; when MPI doesn't within seconds, at least this one. Any thread; does not return. */
void fx_mpi_abort(fx_comm *comm, int code) __attribute__((noreturn));

#endif
