/* topology.c: where the ranks of a job are: which share a node, on which processors each may run. */
#include "comm_mpi.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/launch.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

fx_status fx_mpi_local_rank(MPI_Comm all, int *rank, int *size)
{
    MPI_Comm node = MPI_COMM_NULL;
    FX_TRY(fx_mpi_check(MPI_Comm_split_type(all, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node),
                        "MPI_Comm_split_type"));
    FX_TRY(fx_mpi_check(MPI_Comm_rank(node, rank), "MPI_Comm_rank"));
    FX_TRY(fx_mpi_check(MPI_Comm_size(node, size), "MPI_Comm_size"));
    return fx_mpi_check(MPI_Comm_free(&node), "MPI_Comm_free");
}

typedef struct place {
    char host[64], processors[64]; /* "0-3,8"; ends in ",..." when there are too many ranges */
    char device[96];
    int32_t local_rank, local_size, pid;
} place;

static void list_processors(char *text, size_t size)
{
    cpu_set_t set;
    size_t used = 0;
    snprintf(text, size, "?");
    if (sched_getaffinity(0, sizeof set, &set) != 0) return;
    for (size_t first = 0, last; first < CPU_SETSIZE; first = last + 1) {
        last = first;
        if (!CPU_ISSET(first, &set)) continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set))
            last++;
        char range[32];
        if (first == last)
            snprintf(range, sizeof range, "%s%zu", used ? "," : "", first);
        else
            snprintf(range, sizeof range, "%s%zu-%zu", used ? "," : "", first, last);
        const bool fits = used + strlen(range) + sizeof ",..." <= size;
        snprintf(text + used, size - used, "%s", fits ? range : ",...");
        if (!fits) return;
        used += strlen(range);
    }
}

/* Some libraries tell a whole page: its first line. May be asked before MPI is started. */
static void print_library(FILE *out)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return;
    fprintf(out, "MPI          %.*s\n", (int)strcspn(text, "\n"), text);
}

fx_status fx_comm_placement(fx_comm *comm, const char *device, FILE *out)
{
    place mine = {
        .local_rank = comm->local_rank, .local_size = comm->local_size, .pid = (int32_t)getpid()};
    snprintf(mine.host, sizeof mine.host, "%s", fx_host());
    snprintf(mine.device, sizeof mine.device, "%s", device[0] ? device : "-");
    list_processors(mine.processors, sizeof mine.processors);

    place *all = NULL;
    fx_status status = fx_agree(comm, FX_ALLOC(all, comm->size));
    if (status == FX_OK) status = comm->ops->all_gather(comm, &mine, sizeof mine, all);
    if (status == FX_OK && out) print_library(out);
    for (int r = 0; status == FX_OK && out && r < comm->size; r++)
        if (fprintf(out, "rank %d/%d on %s, local rank %d/%d, pid %d, processors %s, GPU %s\n", r,
                    comm->size, all[r].host, all[r].local_rank, all[r].local_size, all[r].pid,
                    all[r].processors, all[r].device) < 0)
            status = fx_fail(FX_EIO, "placement of the ranks: write failed");
    fx_free(all);
    return fx_agree(comm, status);
}
