/* devices.c: which GPU is a rank's. The launcher may leave each rank one GPU or show all of a node's to
 * every rank: then the local rank picks. NCCL takes one GPU a rank, and says no more than "invalid
 * usage" where two ranks bring the same; here both are named. Groups of ranks that work beside each
 * other (study.ranks) know nothing of each other: it is the local rank in the whole job that picks, and
 * a node must have GPUs for all. Of ranks that see one GPU each the launcher has to see to it. */
#include <stdio.h>
#include <string.h>

#include "exec.h"
#include "flexhpc/log.h"
#include "flexhpc/mem.h"
#include "flexhpc/str.h"

/* Where a rank's GPU is; all bytes are set, for comparison. */
typedef struct place {
    char host[64], bus[32];
} place;

static fx_status choose(fx_cuda *exec, place *mine)
{
    const fx_comm *comm = exec->base.options.comm;
    struct cudaDeviceProp device;
    int count = 0;
    FX_CUDA(cudaGetDeviceCount(&count));
    FX_REQUIRE(count > 0, FX_EDEVICE, "the driver sees no device");
    FX_REQUIRE(
        count == 1 || comm->node_size == comm->local_size || comm->node_size <= count, FX_EDEVICE,
        "%d ranks in groups on %s, which has %d GPUs: start as many ranks on a node as it has GPUs",
        comm->node_size, fx_host(), count);
    exec->device = comm->node_rank % count;
    FX_CUDA(cudaSetDevice(exec->device));
    *mine = (place){{0}, {0}};
    snprintf(mine->host, sizeof mine->host, "%s", fx_host());
    FX_CUDA(cudaDeviceGetPCIBusId(mine->bus, (int)sizeof mine->bus, exec->device));
    FX_CUDA(cudaGetDeviceProperties(&device, exec->device));
    snprintf(exec->base.device, sizeof exec->base.device, "%.60s at %s", device.name, mine->bus);
    if (count == 1 && comm->local_size > 1 && comm->rank == 0)
        fx_log(FX_DEBUG,
               "each rank sees one GPU alone: NCCL may not reach the others' memory directly");
    return FX_OK;
}

/* The same answer on all ranks. */
static fx_status compare(const place *all, int size)
{
    for (int b = 1; b < size; b++)
        for (int a = 0; a < b; a++)
            FX_REQUIRE(memcmp(&all[a], &all[b], sizeof *all) != 0, FX_EDEVICE,
                       "ranks %d and %d have one GPU between them: %s on %s; start as many ranks on a "
                       "node as it has GPUs, or let each rank see all of them",
                       a, b, all[a].bus, all[a].host);
    return FX_OK;
}

fx_status fx_cuda_pick_device(fx_cuda *exec)
{
    fx_comm *comm = exec->base.options.comm;
    place mine, *all = NULL;
    fx_status status = choose(exec, &mine);
    if (comm->size == 1) return status;
    if (status == FX_OK) status = FX_ALLOC(all, comm->size);
    status = fx_agree(comm, status);
    if (status == FX_OK) status = comm->ops->all_gather(comm, &mine, sizeof mine, all);
    if (status == FX_OK) status = compare(all, comm->size);
    fx_free(all);
    return status;
}
