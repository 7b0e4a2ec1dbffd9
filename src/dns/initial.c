/* initial.c: the random initial condition of two-dimensional decaying turbulence (San and Staples,
 * Computers & Fluids 2012; Maulik and San, JFM 2017):
 *   E(k) = c k^4 exp(-(k / k0)^2),   k0 = 10,   c = 4 / (3 sqrt(pi) k0^5)
 *   W(kx, ky) = sqrt(k E(k) / pi) exp(i zeta),   W = 0 where kx = 0 or ky = 0
 *   zeta = xi + eta for kx, ky > 0;  xi - eta for ky < 0;  W(-k) is the conjugate
 * with xi and eta uniform in [0, 2 pi), drawn by (|kx|, |ky|): Philox counter {kx, ky,
 * crc32("dns.phase"), 0}. */
#include "flexhpc/flow.h"

#include <math.h>
#include <stdlib.h>

#include "flexhpc/rng.h"
#include "flexhpc/str.h"

static const double pi = 3.14159265358979323846;

static double spectrum(double k)
{
    const double k0 = 10.0, c = 4.0 / (3.0 * sqrt(pi) * pow(k0, 5));
    return c * pow(k, 4) * exp(-(k / k0) * (k / k0));
}

void fx_random_vorticity(const fx_modes *m, uint64_t seed, fx_complex *w)
{
    const uint32_t stream = fx_crc32("dns.phase");
    for (int64_t i = 0; i < m->mine; i++)
        for (int64_t j = 0; j < m->heights; j++) {
            const int64_t kx = m->first + i, ky = fx_modes_ky(m, j);
            fx_complex *z = &w[i * m->heights + j];
            *z = (fx_complex){0, 0};
            if (kx == 0 || ky == 0) continue;
            const fx_philox r =
                fx_philox4x32(seed, (const uint32_t[4]){(uint32_t)kx, (uint32_t)llabs(ky), stream, 0});
            const double xi = 2 * pi * 0x1p-32 * r.word[0], eta = 2 * pi * 0x1p-32 * r.word[1];
            const double zeta = ky > 0 ? xi + eta : xi - eta, k = hypot((double)kx, (double)ky);
            const double modulus = sqrt(k * spectrum(k) / pi);
            *z = (fx_complex){modulus * cos(zeta), modulus * sin(zeta)};
        }
}
