/* agree.c: one outcome on all ranks. The failing rank's message travels along, so that whoever prints
 * it names the culprit; sums and maxima of small host values go over gathers, in rank order. */
#include "flexhpc/comm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "flexhpc/mem.h"
#include "flexhpc/str.h"
#include "patience.h"

enum { FEW = 256 }; /* ranks gathered without the heap: an agreement must work when memory is gone */

typedef struct verdict {
    int32_t status;
    char message[960];
} verdict;

static verdict verdict_of(const fx_comm *comm, fx_status status)
{
    verdict mine = {.status = status};
    const char *why = fx_error_message();
    if (status != FX_OK && fx_names_rank(why))
        snprintf(mine.message, sizeof mine.message, "%.900s", why);
    else if (status != FX_OK)
        snprintf(mine.message, sizeof mine.message, "rank %d/%d on %s: %.800s", comm->rank, comm->size,
                 fx_host(), why);
    return mine;
}

/* Some rank has failed: all hear why. */
static fx_status hear(fx_comm *comm, const verdict *mine)
{
    verdict *all = fx_calloc((size_t)comm->size, sizeof *all);
    int64_t no_memory = all == NULL;
    FX_TRY(fx_comm_max_i64(comm, &no_memory)); /* the gather below must be entered by all or none */
    if (no_memory) {
        fx_free(all);
        return fx_fail(FX_ENOMEM, "a rank failed, and another has no memory left to hear why");
    }
    fx_status result = comm->ops->all_gather(comm, mine, sizeof *mine, all);
    if (result == FX_OK) {
        int first = 0;
        while (all[first].status == FX_OK)
            first++;
        all[first].message[sizeof all[first].message - 1] = '\0';
        result = fx_fail((fx_status)all[first].status, "%s", all[first].message);
    }
    fx_free(all);
    return result;
}

/* Of a failure that no agreement has heard of. */
static fx_patience early;
static bool early_runs;

void fx_agree_soon(fx_comm *comm, fx_status status)
{
    if (comm->size == 1 || status == FX_OK || early_runs) return;
    const verdict mine = verdict_of(comm, status);
    fx_patience_begin(&early, comm, 1, mine.message);
    early_runs = true;
}

fx_status fx_agree(fx_comm *comm, fx_status status)
{
    if (comm->size == 1) return status;
    if (early_runs) fx_patience_end(&early);
    early_runs = false;
    const verdict mine = verdict_of(comm, status);
    fx_patience patience;
    if (status != FX_OK) fx_patience_begin(&patience, comm, status == FX_ECONFIG ? 2 : 1, mine.message);
    int64_t worst = status;
    fx_status result = fx_comm_max_i64(comm, &worst);
    if (result == FX_OK && worst != FX_OK) result = hear(comm, &mine);
    if (status != FX_OK) fx_patience_end(&patience);
    return result;
}

fx_status fx_comm_max_i64(fx_comm *comm, int64_t *value)
{
    int64_t few[FEW], *all = few;
    if (comm->size == 1) return FX_OK;
    if (comm->size > FEW && !(all = fx_calloc((size_t)comm->size, sizeof *all))) return FX_ENOMEM;
    const fx_status status = comm->ops->all_gather(comm, value, sizeof *value, all);
    for (int r = 0; status == FX_OK && r < comm->size; r++)
        if (all[r] > *value) *value = all[r];
    if (all != few) fx_free(all);
    return status;
}

fx_status fx_comm_max_f64(fx_comm *comm, double *value)
{
    double few[FEW], *all = few;
    if (comm->size == 1) return FX_OK;
    if (comm->size > FEW && !(all = fx_calloc((size_t)comm->size, sizeof *all))) return FX_ENOMEM;
    const fx_status status = comm->ops->all_gather(comm, value, sizeof *value, all);
    for (int r = 0; status == FX_OK && r < comm->size; r++)
        if (!isnan(*value) && !(all[r] <= *value)) *value = all[r];
    if (all != few) fx_free(all);
    return status;
}

fx_status fx_comm_sum_f64(fx_comm *comm, double *values, int count)
{
    if (comm->size == 1) return FX_OK;
    double *all = NULL;
    FX_TRY(FX_ALLOC(all, (size_t)comm->size * (size_t)count));
    const fx_status status = comm->ops->all_gather(comm, values, sizeof *values * (size_t)count, all);
    for (int i = 0; status == FX_OK && i < count; i++) {
        values[i] = 0;
        for (int r = 0; r < comm->size; r++)
            values[i] += all[(size_t)r * (size_t)count + (size_t)i];
    }
    fx_free(all);
    return status;
}
