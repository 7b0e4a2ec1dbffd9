/* cavity.h: the lid-driven cavity, for the tests of the flow solver between walls: to its steady state
 * from coarse grids to fine ones, and its centre lines against tables. The unit square of the tables is
 * the solver's [0, 2 pi]^2: times and nu are 2 pi times theirs, velocities the same.
 *
 * Tables: Ghia, Ghia and Shin, J. Comput. Phys. 48 (1982), on 129 x 129 points, read in public
 * repositories: u of Re 100 in four that agree digit by digit, all of it in one. v at x = 116 / 128,
 * Re 400, is a misprint, which its neighbours give away, and is left out (NAN). Extrema of the centre
 * lines: Botella and Peyret, Comput. Fluids 27 (1998), spectral, read in a public repository. */
#ifndef FLEXHPC_TEST_CAVITY_H
#define FLEXHPC_TEST_CAVITY_H

#include <math.h>

#include "walls.h"

enum { GHIA_POINTS = 17 };

/* Nodes of 128 cells along y (u at x = 1/2) and x (v at y = 1/2). */
static const int ghia_y[GHIA_POINTS] = {128, 125, 124, 123, 122, 109, 94, 79, 64,
                                        58,  36,  22,  13,  9,   8,   7,  0};
static const int ghia_x[GHIA_POINTS] = {128, 124, 123, 122, 121, 116, 110, 103, 64,
                                        30,  29,  20,  12,  10,  9,   8,   0};

typedef struct cavity_case {
    double re;
    double u[GHIA_POINTS], v[GHIA_POINTS];
    double least_u, most_v, least_v; /* spectral; 0: unknown */
} cavity_case;

static const cavity_case cavity_100 = {
    100,
    {1, .84123, .78871, .73722, .68717, .23151, .00332, -.13641, -.20581, -.21090, -.15662, -.10150,
     -.06434, -.04775, -.04192, -.03717, 0},
    {0, -.05906, -.07391, -.08864, -.10313, -.16914, -.22445, -.24533, .05454, .17527, .17507, .16077,
     .12317, .10890, .10091, .09233, 0},
    -.2140417,
    .1795728,
    -.2538030};

/* w on n x n nodes of the cavity at rest, or between those of half as many cells. */
static double *cavity_start(int64_t n, const double *coarse)
{
    double *w = NULL;
    ok(FX_ALLOC(w, n * n));
    if (!coarse) return w;
    const int64_t m = n / 2 + 1;
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++) {
            const double *a = coarse + j / 2 * m + i / 2, *b = a + j % 2 * m;
            w[j * n + i] = 0.25 * (a[0] + a[i % 2] + b[0] + b[i % 2]);
        }
    return w;
}

/* Solves on n / 2^(grids - 1), ... n cells, times[0], ... of the unit cavity on each. */
static fx_dns *cavity(const cavity_case *c, int64_t n, int grids, const double *times)
{
    fx_dns *dns = NULL;
    double *coarse = NULL;
    for (int g = 0; g < grids; g++) {
        const int64_t cells = n >> (grids - 1 - g);
        const fx_dns_options options = {.grid = cells,
                                        .output_grid = cells + 1,
                                        .viscosity = 2 * acos(-1) / c->re,
                                        .courant = 1,
                                        .walls = true,
                                        .lid = 1};
        double *w = cavity_start(cells, coarse);
        fx_dns_free(&dns);
        ok(fx_dns_create(&dns, fx_comm_self(), &options));
        ok(fx_dns_start(dns, w));
        ok(fx_dns_advance(dns, 2 * acos(-1) * times[g], NULL));
        fx_free(w);
        fx_free(coarse);
        coarse = nodes_of(dns, cells, FX_DNS_W);
    }
    fx_free(coarse);
    return dns;
}

typedef struct cavity_errors {
    double u, v;                     /* largest difference from the tables */
    double least_u, most_v, least_v; /* extrema of the centre lines on nodes */
} cavity_errors;

static cavity_errors compare_cavity(fx_dns *dns, const cavity_case *c, int64_t n)
{
    cavity_errors e = {0};
    double *u = nodes_of(dns, n, FX_DNS_U), *v = nodes_of(dns, n, FX_DNS_V);
    for (int k = 0; k < GHIA_POINTS; k++) {
        const int64_t scale = n / 128;
        const double du = fabs(u[scale * ghia_y[k] * (n + 1) + n / 2] - c->u[k]);
        const double dv = fabs(v[n / 2 * (n + 1) + scale * ghia_x[k]] - c->v[k]);
        if (!(du <= e.u)) e.u = du;
        if (!(dv <= e.v) && !isnan(c->v[k])) e.v = dv;
    }
    for (int64_t i = 0; i <= n; i++) {
        e.least_u = fmin(e.least_u, u[i * (n + 1) + n / 2]);
        e.most_v = fmax(e.most_v, v[n / 2 * (n + 1) + i]);
        e.least_v = fmin(e.least_v, v[n / 2 * (n + 1) + i]);
    }
    fx_free(u);
    fx_free(v);
    return e;
}

#endif
