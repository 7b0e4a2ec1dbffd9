/* comm.h: the communicator that ranks share. An interface: src/comm/self.c is one rank alone,
 * mpi/comm_mpi.c many. Reductions have a fixed order, so the same ranks give the same bits. Includes
 * tensor.h. */
#ifndef FLEXHPC_COMM_H
#define FLEXHPC_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "flexhpc/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_comm fx_comm;

/* What an implementation provides. All but `progress`, `answer` and `abort` are collective. start_*
 * return at once; the buffer is busy until join() returned. Counts are per rank. */
typedef struct fx_comm_ops {
    fx_status (*barrier)(fx_comm *comm);
    fx_status (*broadcast)(fx_comm *comm, void *data, size_t bytes, int root);
    fx_status (*all_gather)(fx_comm *comm, const void *mine, size_t bytes,
                            void *all); /* all: size * bytes */
    fx_status (*all_to_all)(fx_comm *comm, const void *send, size_t bytes_per_peer,
                            void *recv); /* block p of send goes to rank p, block p of recv came from
                                            it; both size * bytes_per_peer, and not the same memory */
    fx_status (*start_sum)(fx_comm *comm, void *data, int64_t count,
                           fx_dtype dtype); /* in place, over ranks, fixed order; FX_F32, or FX_BF16:
                                               rounded after every addition */
    fx_status (*start_gather)(fx_comm *comm, const void *mine, size_t bytes, void *all);
    fx_status (*progress)(fx_comm *comm); /* moves started operations on; cheap; called between nodes */
    fx_status (*answer)(fx_comm *comm,
                        bool *here); /* rank 0 hears that this rank is here, and marks in `here`, which
                                        is `size` of false at first, whom it has heard; called until
                                        all are marked there, once elsewhere; never waits */
    fx_status (*split)(fx_comm *comm, int members,
                       fx_comm **out); /* the group of `members` consecutive ranks that this rank is
                                          of, which the caller closes; members divides size */
    fx_status (*join)(fx_comm *comm);  /* waits until every started operation is done */
    void (*abort)(fx_comm *comm, int exit_code); /* ends every rank; does not return */
    void (*close)(fx_comm *comm);
} fx_comm_ops;

struct fx_comm {
    const fx_comm_ops *ops;
    int rank, size;             /* in the job */
    int local_rank, local_size; /* on this node */
    int node_rank, node_size;   /* the same in the whole job, where this is a group of split() */
    const void *native; /* MPI_Comm *, for parallel HDF5; NULL when alone, or only planned for */
    void *state;
};

/* One rank alone. Never fails; nothing to free. Local. */
fx_comm *fx_comm_self(void);

/* Sum, maximum and gathers of small host values, over all ranks, in rank order. Collective. */
fx_status fx_comm_max_i64(fx_comm *comm, int64_t *value);
fx_status fx_comm_max_f64(fx_comm *comm, double *value); /* a NaN of any rank wins */
fx_status fx_comm_sum_f64(fx_comm *comm, double *values, int count);

/* The same status on all ranks: FX_OK when all bring FX_OK. Otherwise the lowest failing rank's code,
 * its message recorded on every rank with "rank R/N on HOST: " before it (unless an agreement before
 * has put it there), so that whoever prints it names the culprit. On the failing rank itself the record
 * is the same text. A failing rank whose peers don't come within fx_patience_seconds, because they wait
 * for it in a collective that it left, prints its line and ends all ranks; then this does not return.
 * Collective, but safe for one rank alone to call with a failure. */
fx_status fx_agree(fx_comm *comm, fx_status status);

/* For a failure that shows inside a call of a library, which may not return from it: the line of
 * `status` is printed and all ranks are ended unless this rank comes to fx_agree within
 * fx_patience_seconds. Local, of the thread that calls fx_agree. */
void fx_agree_soon(fx_comm *comm, fx_status status);

/* Seconds that a failed rank waits for its peers: the lowest is the first to lose patience. Local. */
double fx_patience_seconds(const fx_comm *comm);

/* Whether an agreement has named the rank that failed in `message`. Local. */
bool fx_names_rank(const char *message);

#ifdef __cplusplus
}
#endif
#endif
