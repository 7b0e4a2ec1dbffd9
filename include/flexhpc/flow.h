/* flow.h: what a backend does with the arrays of the solver of two-dimensional turbulence.
 * src/dns/solver.c decides time, steps and what is refused; src/dns/flow.c (cpu) and cuda/flow.cu hold
 * the modes of w and compute with them, src/dns/walls.c its values between walls. Formulas: solver.c,
 * walls.c. Includes backend.h. */
#ifndef FLEXHPC_FLOW_H
#define FLEXHPC_FLOW_H

#include "flexhpc/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_complex {
    double re, im;
} fx_complex;

/* Which modes are kept, and who keeps them. A rank holds columns, each of one kx >= 0 (F(-k) is the
 * conjugate of F(k)), being the 2 K + 1 values of ky in the order 0 .. K, -K .. -1. */
typedef struct fx_modes {
    int64_t cut;     /* K */
    int64_t heights; /* 2 K + 1 values of ky */
    int64_t columns; /* that each rank has room for, a multiple of four: one cache line */
    int64_t first;   /* kx of this rank's column 0 */
    int64_t mine;    /* columns of this rank with kx <= K; the rest of `columns` is padding */
} fx_modes;

/* The modes of the 2/3 rule on `grid` points: the largest K below grid / 3. Local. */
fx_modes fx_modes_of(const fx_comm *comm, int64_t grid);

static inline int64_t fx_modes_ky(const fx_modes *m, int64_t j)
{
    return j <= m->cut ? j : j - m->heights;
}

static inline size_t fx_modes_count(const fx_modes *m)
{
    return (size_t)(m->columns * m->heights);
}

/* src/dns/initial.c: w of decaying turbulence, (columns, 2 K + 1). Local. */
void fx_random_vorticity(const fx_modes *m, uint64_t seed, fx_complex *w);

typedef enum fx_dns_field { FX_DNS_U, FX_DNS_V, FX_DNS_W } fx_dns_field;

typedef struct fx_flow_options {
    int64_t grid, output_grid; /* N; n of `sample`, <= N, or N + 1 between walls */
    double viscosity;          /* nu */
    double mean_flow[2];       /* U, V */
    double lid;                /* between walls: velocity of the one at y = 2 pi */
    int slots;                 /* fields that `send` may have under way at once; 0: none */
} fx_flow_options;

/* Over the modes of the plane, and over the points of the grid. */
typedef struct fx_flow_sums {
    double energy, enstrophy, palinstrophy; /* 1/2 sum |W|^2 / k^2, 1/2 sum |W|^2, 1/2 sum k^2 |W|^2 */
    double square, fourth;                  /* of w^2, w^4 */
    double peak;                            /* max |w| */
} fx_flow_sums;

typedef struct fx_flow fx_flow; /* a backend's own */

/* Results are the same on every backend, to rounding, and the same bits every time. Collective but for
 * `close`, and returned by all ranks alike where a rank's memory may be short. */
typedef struct fx_flow_ops {
    bool shared; /* the ranks of a communicator may share one flow */

    /* A flow at rest; `exec` is of this backend and outlives it (cpu: it may be NULL). */
    fx_status (*open)(fx_flow **out, fx_exec *exec, fx_comm *comm, const fx_flow_options *options);
    void (*close)(fx_flow **flow);

    /* w = fx_random_vorticity's. */
    fx_status (*load)(fx_flow *flow, uint64_t seed);
    /* w from this rank's rows, (N / ranks, N); its mean and the modes beyond the 2/3 rule left out. */
    fx_status (*load_rows)(fx_flow *flow, const double *w);

    /* The slope k_s = N(.), s = 1 .. 4: of w for s = 1, else of what `combine` made ready. `speed`, if
     * not NULL, is the largest |u| + |v| on the grid, not finite where one of them is not. */
    fx_status (*evaluate)(fx_flow *flow, int s, double *speed);
    /* Adds the share of k_s to the step of size h; after the fourth, w is the new one. */
    fx_status (*combine)(fx_flow *flow, int s, double h);

    fx_status (*measure)(fx_flow *flow, fx_flow_sums *sums);
    /* One field on the output grid n: (n / ranks, n), this rank's rows. */
    fx_status (*sample)(fx_flow *flow, fx_dns_field field, double *rows);
    /* The same rounded to fp32: started by `send`, there when `receive` returns, the caller's until the
     * slot is sent again. In between the flow goes on; a slot is received before it is sent again. Both
     * NULL where the host computes: nothing would go on then. */
    fx_status (*send)(fx_flow *flow, fx_dns_field field, int slot);
    fx_status (*receive)(fx_flow *flow, int slot, const float **rows);
} fx_flow_ops;

extern const fx_flow_ops fx_cpu_flow;
extern const fx_flow_ops fx_walls_flow; /* src/dns/walls.c: between walls, on the CPU */

#ifdef __cplusplus
}
#endif
#endif
