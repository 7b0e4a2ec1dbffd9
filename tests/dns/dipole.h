/* dipole.h: the normal collision of a dipole with a wall, for the tests of the flow solver between
 * walls: Clercx and Bruneau, Comput. Fluids 35 (2006). On [-1, 1]^2 two shielded vortices,
 *   w = w_e sum of +-(1 - r^2 / r0^2) exp(-r^2 / r0^2)   around (0, +-0.1),   r0 = 0.1
 * whose integrals over the square are E = 2, Z = 800 and P = 441855 (w_e: public repositories of
 * several solvers; E, Z, P: one of them). The solver's [0, 2 pi]^2 is pi times the square: times and nu
 * are pi times those of the paper, w is divided by pi, velocities are the same, and integrals are 4
 * <.>. */
#ifndef FLEXHPC_TEST_DIPOLE_H
#define FLEXHPC_TEST_DIPOLE_H

#include <math.h>

#include "walls.h"

/* Integrals over the square of the paper, whose times are t / pi. */
static inline double dipole_energy(const fx_dns_state *s)
{
    return 4 * s->energy;
}

static inline double dipole_enstrophy(const fx_dns_state *s)
{
    const double pi = acos(-1);
    return 4 * pi * pi * s->enstrophy;
}

static inline double dipole_palinstrophy(const fx_dns_state *s)
{
    const double pi = acos(-1);
    return 4 * pi * pi * pi * pi * s->palinstrophy;
}

/* At t = 0, on N = n cells a side. */
static inline fx_dns *dipole(int64_t n, double re)
{
    const double pi = acos(-1), r0 = 0.1, strongest = 299.528385375226;
    const fx_dns_options options = {
        .grid = n, .output_grid = n + 1, .viscosity = pi / re, .courant = 1, .walls = true};
    fx_dns *dns = NULL;
    double *w = field(n * n);
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++) {
            const double x = 2.0 * (double)i / (double)n - 1, y = 2.0 * (double)j / (double)n - 1;
            const double above = (x * x + (y - 0.1) * (y - 0.1)) / (r0 * r0);
            const double below = (x * x + (y + 0.1) * (y + 0.1)) / (r0 * r0);
            w[j * n + i] = strongest / pi * ((1 - above) * exp(-above) - (1 - below) * exp(-below));
        }
    ok(fx_dns_start(dns, w));
    fx_free(w);
    return dns;
}

#endif
