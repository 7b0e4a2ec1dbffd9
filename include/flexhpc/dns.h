/* dns.h: direct numerical simulation of decaying two-dimensional turbulence, and the files it makes.
 * Includes config.h, flow.h.
 *
 *   w_t + u . grad w = nu lap w,   lap psi = -w,   u = psi_y + U,   v = -psi_x + V,   nu = 1 / Re
 *
 * on [0, 2 pi)^2, unforced, periodic. Fields on a grid are (N, N) row-major: axis 0 is y, axis 1 is x,
 * point i at 2 pi i / N. Rank r holds the rows r N / ranks ... of its share. The results do not depend
 * on threads, on ranks only through the order of the sums in fx_dns_state, and on the backend only
 * through the rounding of its transforms.
 *
 * Or between no-slip walls around [0, 2 pi]^2, by differences of second order (src/dns/walls.c): N x N
 * cells, on the CPU, one rank a flow, viscous. Fields are sampled at the centres of n x n cells, point
 * i at 2 pi (i + 1/2) / n, n a divisor of N; or, n = N + 1, at all nodes, point i at 2 pi i / N. */
#ifndef FLEXHPC_DNS_H
#define FLEXHPC_DNS_H

#include "flexhpc/config.h"
#include "flexhpc/flow.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_dns fx_dns;

typedef struct fx_dns_options {
    int64_t grid;        /* N: even, divisible by the ranks */
    int64_t output_grid; /* n of fx_dns_sample; 0: N; smaller: spectral truncation */
    double viscosity;    /* nu = 1 / Re; 0: inviscid */
    double courant;      /* dt <= courant (2 pi / N) / max(|u| + |v|); stable to about 1.3 */
    double mean_flow[2]; /* U, V */
    bool walls;          /* between no-slip walls; dt <= 0.28 (2 pi / N)^2 / nu as well */
    double lid;          /* of those, the one at y = 2 pi moves along x with this velocity */
    int slots;           /* fields that may be under way at once, fx_dns_send; 0: none */
    fx_exec *exec;       /* where it is solved; outlives the flow; NULL: the CPU */
} fx_dns_options;

/* The flow at one time. Means are over the area; angle brackets below. */
typedef struct fx_dns_state {
    double time;
    double energy;       /* E = 1/2 <u^2 + v^2>, without the mean flow */
    double enstrophy;    /* Z = 1/2 <w^2> */
    double palinstrophy; /* P = 1/2 <|grad w|^2> */
    double peak;         /* max |w| on the grid */
    double rms;          /* of w */
    double kurtosis;     /* <w^4> / <w^2>^2 */
    double resolution; /* k_max / k_d, k_d = (2 nu P / nu^3)^(1/6); wanted: 1.5; infinite if inviscid */
} fx_dns_state;

/* A flow at rest at t = 0. The caller frees it. FX_EARG: the grid does not suit, or several ranks are
 * to share a flow on a backend where it is one rank's. Collective. */
fx_status fx_dns_create(fx_dns **out, fx_comm *comm, const fx_dns_options *options);
void fx_dns_free(fx_dns **dns);

/* Starts at t = 0 from random phases and the spectrum E(k) = c k^4 exp(-(k / 10)^2): one seed is one
 * physical field, at any resolution and number of ranks. Between walls it is that field's stream
 * function, brought to zero in value and slope towards the walls: E is about 0.38 instead of 0.48.
 * Collective. */
fx_status fx_dns_start_random(fx_dns *dns, uint64_t seed);

/* Starts at t = 0 from w, (N / ranks, N), its mean and the modes beyond the 2/3 rule left out; between
 * walls from that at the inner nodes, i, j = 1 .. N - 1. Collective. */
fx_status fx_dns_start(fx_dns *dns, const double *w);

/* One step, of the largest equal parts of the time left that the Courant number allows; `until` is met
 * exactly. FX_EVALUE when the flow is not finite. Collective. */
fx_status fx_dns_step(fx_dns *dns, double until);

/* Steps until `until`, looking at the flow now and then and at the end: FX_EVALUE, naming Re and time,
 * when max |w| is above 1.1 times the largest of the start (not between walls, which make vorticity),
 * energy rises (but under a moving wall), or something is not finite.
 * `state`, if not NULL, is the flow at the end. Collective. */
fx_status fx_dns_advance(fx_dns *dns, double until, fx_dns_state *state);

/* Integral measures of the present flow. Collective. */
fx_status fx_dns_measure(fx_dns *dns, fx_dns_state *state);

/* One field on the output grid n: (n / ranks, n), this rank's rows. Collective. */
fx_status fx_dns_sample(fx_dns *dns, fx_dns_field field, double *rows);

/* The same rounded to fp32, in two halves: the flow may go on between fx_dns_send and fx_dns_receive.
 * `slot`: 0 .. options.slots - 1; one that was sent is received before it is sent again, and `*rows`
 * is the caller's to read until then, on any thread. Collective. */
fx_status fx_dns_send(fx_dns *dns, fx_dns_field field, int slot);
fx_status fx_dns_receive(fx_dns *dns, int slot, const float **rows);
/* Whether it gains anything to let the flow go on in between: the host is free while it does. Local. */
bool fx_dns_sends_aside(const fx_dns *dns);

double fx_dns_time(const fx_dns *dns);
int64_t fx_dns_steps(const fx_dns *dns);

/* Solves one Reynolds number on `exec` (NULL: the CPU) as config's generate.* says, and writes
 * generate.path/{Re}_{n}_{n}_seed_{seed}.h5: `w` (T, n, n) float32, or (T, 3, n, n) u, v, w with
 * generate.velocity, one snapshot a chunk; `time`, `energy`, `enstrophy`, `palinstrophy` (T) float64;
 * and attributes. It is a .part file until it is whole. A whole file of the same attributes is left as
 * it is and `made->reused` set; another one is FX_ECONFIG. Collective. */
typedef struct fx_dns_made {
    double reynolds, seconds, resolution; /* the least k_max / k_d of the snapshots */
    int64_t steps;
    fx_dns_state last;
    bool reused;
} fx_dns_made;
fx_status fx_dns_generate(fx_comm *comm, fx_exec *exec, const fx_config *config, double reynolds,
                          fx_dns_made *made);

/* All of generate.reynolds on the backend that the configuration names, and a table of them in the log.
 * With at least as many files as ranks each file is one rank's; with fewer, all ranks share each, which
 * on cuda is FX_ECONFIG. Collective. */
fx_status fx_dns_generate_all(fx_comm *comm, const fx_config *config);

#ifdef __cplusplus
}
#endif
#endif
