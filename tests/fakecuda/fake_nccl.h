/* fake_nccl.h: what the stand-in for NCCL shows its tests. */
#ifndef FX_FAKE_NCCL_H
#define FX_FAKE_NCCL_H

#define OMPI_SKIP_MPICXX  1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <nccl.h>

#include "fake.h"

/* What a rank is in. */
struct fake_call {
    uint64_t number, count;
    uint64_t captured;
    uint64_t each; /* bytes of an element */
    char what[24];
};

/* Dies where the calls of ranks 0 .. count - 1 differ. */
void fake_nccl_agree(const fake_call *calls, int count);

#endif
