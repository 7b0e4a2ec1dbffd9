/* shares.c: what a rank holds of a sharded slab, and a tensor put together from all ranks' parts. */
#include "flexhpc/backend.h"

/* The largest alignment that a kernel's vector loads and a gather's messages ask for, and more. */
enum { BORDER = 64 };

int64_t fx_share_width(int64_t elements, int ranks)
{
    const int64_t blocks = (elements + BORDER - 1) / BORDER;
    return (blocks + ranks - 1) / ranks * BORDER;
}

fx_range fx_share_of(int64_t elements, int rank, int ranks)
{
    const int64_t width = fx_share_width(elements, ranks), start = rank * width;
    const int64_t first = start < elements ? start : elements, left = elements - first;
    return (fx_range){first, left < width ? left : width};
}

/* A rank that could not read its part sends what there is: the others are on their way to it. */
fx_status fx_params_read_whole(fx_params *params, fx_exec *exec, const fx_param *p, fx_slab slab,
                               float *out)
{
    fx_comm *comm = exec->options.comm;
    const int64_t count = fx_count(&p->value);
    const bool everywhere = fx_params_part(params, p, slab, 0).count == count &&
                            fx_params_part(params, p, slab, comm->size - 1).count == count;
    fx_status status = fx_params_read(params, exec, p, slab, out);
    for (int r = 0; !everywhere && r < comm->size; r++) {
        const fx_range part = fx_params_part(params, p, slab, r);
        if (part.count == 0) continue;
        const fx_status sent =
            comm->ops->broadcast(comm, out + part.first, (size_t)part.count * sizeof(float), r);
        if (status == FX_OK) status = sent;
    }
    return status;
}
