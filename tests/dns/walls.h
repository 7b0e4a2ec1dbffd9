/* walls.h: what the tests of the flow solver between walls share. After cmocka.h. */
#ifndef FLEXHPC_TEST_WALLS_H
#define FLEXHPC_TEST_WALLS_H

#include <math.h>

#include "flexhpc/dns.h"
#include "flexhpc/mem.h"

static inline void ok(fx_status status)
{
    if (status != FX_OK) fail_msg("%s", fx_error_message());
}

/* Zeros; the caller frees them. */
static inline double *field(int64_t count)
{
    double *values = NULL;
    ok(FX_ALLOC(values, count));
    return values;
}

/* A flow between walls at rest. */
static inline fx_dns *make(int64_t n, int64_t output, double nu)
{
    const fx_dns_options options = {
        .grid = n, .output_grid = output, .viscosity = nu, .courant = 0.6, .walls = true};
    fx_dns *dns = NULL;
    ok(fx_dns_create(&dns, fx_comm_self(), &options));
    return dns;
}

/* One field on the (n + 1, n + 1) nodes; the caller frees it. */
static inline double *nodes_of(fx_dns *dns, int64_t n, fx_dns_field which)
{
    double *all = field((n + 1) * (n + 1));
    ok(fx_dns_sample(dns, which, all));
    return all;
}

/* Two shielded vortices in the middle of the box, of strength w0, (n, n): at first their velocity ends
 * with them. */
static inline double *vortices(int64_t n, double radius, double w0)
{
    double *w = field(n * n);
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < n; i++) {
            const double pi = acos(-1), h = 2 * pi / (double)n;
            const double x = h * (double)i - pi, y = h * (double)j - pi;
            const double a = (pow(x - 0.1, 2) + pow(y - 0.3, 2)) / (radius * radius);
            const double b = (pow(x + 0.2, 2) + pow(y + 0.3, 2)) / (radius * radius);
            w[j * n + i] = w0 * ((1 - a) * exp(-a) - 1.2 * (1 - b) * exp(-b));
        }
    return w;
}

/* sqrt(<(a - b)^2> / <b^2>) */
static inline double rfne(const double *a, const double *b, int64_t count)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(difference / norm);
}

#endif
