/* test_dns_walls_long.c: the driven cavity at Re 400 and 1000 on 256 x 256 cells, and a dipole that
 * meets a wall at Re 625 on 512, 768 and 1024: energy budget, order, energy and enstrophy.
 *
 * Run: label long
 * Run: timeout 7200 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "cavity.h"
#include "dipole.h"

static const cavity_case cavity_400 = {
    400,
    {1, .75837, .68439, .61756, .55892, .29093, .16256, .02135, -.11477, -.17119, -.32726, -.24299,
     -.14612, -.10338, -.09266, -.08186, 0},
    {0, -.12146, -.15663, -.19254, -.22847, NAN, -.44993, -.38598, .05186, .30174, .30203, .28124,
     .22965, .20920, .19713, .18360, 0},
    0,
    0,
    0};

static const cavity_case cavity_1000 = {
    1000,
    {1, .65928, .57492, .51117, .46604, .33304, .18719, .05702, -.06080, -.10648, -.27805, -.38289,
     -.29730, -.22220, -.20196, -.18109, 0},
    {0, -.21388, -.27669, -.33714, -.39188, -.51550, -.42665, -.31966, .02526, .32235, .33075, .37095,
     .32627, .30353, .29012, .27485, 0},
    0,
    0,
    0};

/* ACE Numerics' tables of Re 1000 at the same points, which agree with Botella and Peyret's extrema to
 * six digits; read in a public repository and, in part, in a second place. Ghia's v is off these by up
 * to 0.0185, at x = 121 / 128, so that no right solution is within 0.01 of it there. */
static const cavity_case accurate_1000 = {
    1000,
    {1, .6644227, .5808359, .5169277, .4723329, .3372212, .1886747, .0570178, -.0620561, -.1081999,
     -.2803696, -.3885690, -.3004561, -.2228955, -.2023300, -.1812881, 0},
    {0, -.2279225, -.2936869, -.3553213, -.4103754, -.5264392, -.4264545, -.3202137, .0257995, .3253592,
     .3339924, .3769189, .3330442, .3099097, .2962703, .2807056, 0},
    -.3885698,
    .3769447,
    -.5270771};

/* To the steady state on 256 x 256 cells. */
static fx_dns *settled(const cavity_case *c, const double *times)
{
    enum { N = 256, GRIDS = 3 };
    fx_dns *dns = cavity(c, N, GRIDS, times);
    fx_dns_state before, after;
    ok(fx_dns_measure(dns, &before));
    ok(fx_dns_advance(dns, fx_dns_time(dns) + 2 * acos(-1), &after));
    const double change = after.energy / before.energy - 1;
    printf("Re %g: E changes by %.1e in the last unit of time\n", c->re, change);
    assert_true(fabs(change) < 1e-4);
    return dns;
}

static cavity_errors compare(fx_dns *dns, const cavity_case *c, const char *whose)
{
    enum { N = 256 };
    const cavity_errors e = compare_cavity(dns, c, N);
    printf("Re %g, N %d: off %s by %.5f in u, %.5f in v; least u %.5f, v %.5f to %.5f\n", c->re, N,
           whose, e.u, e.v, e.least_u, e.least_v, e.most_v);
    fflush(stdout);
    assert_true(e.u < 0.01);
    return e;
}

static void cavity_at_re_400(void **state)
{
    (void)state;
    fx_dns *dns = settled(&cavity_400, (const double[]){100, 40, 15});
    assert_true(compare(dns, &cavity_400, "Ghia").v < 0.01);
    fx_dns_free(&dns);
}

static void cavity_at_re_1000(void **state)
{
    (void)state;
    fx_dns *dns = settled(&cavity_1000, (const double[]){200, 100, 40});
    const cavity_case *c = &accurate_1000;
    compare(dns, &cavity_1000, "Ghia");
    const cavity_errors e = compare(dns, c, "ACE");
    assert_true(e.v < 0.01);
    assert_true(fabs(e.least_u - c->least_u) < 0.01);
    assert_true(fabs(e.least_v - c->least_v) < 0.01);
    assert_true(fabs(e.most_v - c->most_v) < 0.01);
    fx_dns_free(&dns);
}

enum { TIMES = 3, GRIDS = 3, PARTS = 1500 /* of 0 .. 0.75: where enstrophy is looked at */ };
/* After the second collision, at t = 0.75, 256, 384 and 512 are too coarse to show an order. */
static const int grids[GRIDS] = {512, 768, 1024};

/* Clercx and Bruneau's at t = 0.25, 0.5, 0.75: from memory of the paper, unconfirmed: no source that
 * could be read has them. */
static const double unconfirmed_energy[TIMES] = {1.502, 1.013, 0.767},
                    unconfirmed_enstrophy[TIMES] = {472.6, 380.6, 255.2};

typedef struct collision {
    double energy[TIMES], enstrophy[TIMES], peak; /* the largest enstrophy */
} collision;

static collision collide(int64_t n)
{
    const double re = 625, end = 0.75;
    collision c;
    fx_dns_state s;
    fx_dns *dns = dipole(n, re);
    ok(fx_dns_measure(dns, &s));
    const double first = dipole_energy(&s);
    double taken = 0, before = dipole_enstrophy(&s), when = 0;
    c.peak = 0;
    printf("N %lld: t 0: E %.6f Z %.4f P %.0f\n", (long long)n, first, before, dipole_palinstrophy(&s));
    for (int i = 1; i <= PARTS; i++) {
        ok(fx_dns_advance(dns, acos(-1) * end * i / PARTS, &s));
        const double z = dipole_enstrophy(&s), t = end * i / PARTS;
        taken += end / PARTS * (before + z) / re;
        before = z;
        if (z > c.peak) {
            c.peak = z;
            when = t;
        }
        if (i % (PARTS / TIMES)) continue;
        const double budget = (first - dipole_energy(&s)) / taken - 1;
        const int k = i / (PARTS / TIMES) - 1;
        c.energy[k] = dipole_energy(&s);
        c.enstrophy[k] = z;
        printf("N %lld: t %.2f: E %.5f Z %.3f, energy lost over taken - 1: %.1e, step %lld\n",
               (long long)n, t, c.energy[k], z, budget, (long long)fx_dns_steps(dns));
        fflush(stdout);
        assert_true(fabs(budget) < 0.01);
    }
    printf("N %lld: largest Z %.2f at t %.4f\n", (long long)n, c.peak, when);
    fx_dns_free(&dns);
    return c;
}

/* p, if the values on the three grids are exact + constant / N^p; 0 where no p from 0.1 to 8 fits. */
static double order_of(double coarse, double middle, double fine)
{
    const double ratio = (coarse - middle) / (middle - fine);
    double low = 0.1, high = 8;
    for (int i = 0; i < 60; i++) {
        const double p = 0.5 * (low + high), a = pow(grids[0], -p), b = pow(grids[1], -p),
                     c = pow(grids[2], -p);
        *((a - b) / (b - c) < ratio ? &low : &high) = p;
    }
    return low > 0.1 && high < 8 ? low : 0;
}

static void dipole_meets_a_wall(void **state)
{
    (void)state;
    collision c[GRIDS];
    double order[TIMES];
    for (int g = 0; g < GRIDS; g++)
        c[g] = collide(grids[g]);
    for (int k = 0; k < TIMES; k++) {
        const double e = c[0].energy[k] / unconfirmed_energy[k] - 1,
                     z = c[0].enstrophy[k] / unconfirmed_enstrophy[k] - 1;
        order[k] = order_of(c[0].energy[k], c[1].energy[k], c[2].energy[k]);
        printf("t %.2f, N 512 against the unconfirmed: E %+.2f %%, Z %+.2f %%; order of E %.2f\n",
               0.25 * (k + 1), 100 * e, 100 * z, order[k]);
        assert_true(fabs(e) < 0.02 && fabs(z) < 0.02);
    }
    const double of_peak = order_of(c[0].peak, c[1].peak, c[2].peak);
    const double ratio = pow((double)grids[2] / grids[1], of_peak);
    printf("order of the largest Z %.2f; its limit %.1f (933.6 unconfirmed)\n", of_peak,
           c[2].peak + (c[2].peak - c[1].peak) / (ratio - 1));
    assert_true(order[0] >= 1.5 && order[1] >= 1.5 && order[2] >= 1.5 && of_peak >= 1.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cavity_at_re_400),
        cmocka_unit_test(cavity_at_re_1000),
        cmocka_unit_test(dipole_meets_a_wall),
    };
    return cmocka_run_group_tests_name("dns walls, long", tests, NULL, NULL);
}
