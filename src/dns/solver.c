/* solver.c: pseudo-spectral solver of the two-dimensional vorticity equation. The advection term is in
 * the form of Basdevant (J. Comput. Phys. 50, 1983), which takes four transforms instead of five:
 *   u . grad w = (d_xx - d_yy) (u v) + d_xy (v^2 - u^2)
 *   N(W) = (kx^2 - ky^2) A + kx ky B,   A, B: transforms of u v and v^2 - u^2
 * free of aliasing by the 2/3 rule. Time: the viscous term exactly, by its integrating factor, and the
 * classical fourth-order Runge-Kutta method for the rest, with e = exp(-nu k^2 h / 2):
 *   k1 = N(W)   k2 = N(e (W + h/2 k1))   k3 = N(e W + h/2 k2)   k4 = N(e^2 W + h e k3)
 *   W' = e^2 W + h/6 (e^2 k1 + 2 e (k2 + k3) + k4)
 * What this takes of arithmetic on arrays is the backend's: flow.h. */
#include "flexhpc/dns.h"

#include <math.h>

#include "flexhpc/mem.h"

static const double two_pi = 6.28318530717958647693;

enum { LOOK_EVERY = 25 }; /* steps between looks at the flow in fx_dns_advance */

/* Between walls diffusion is explicit: its fastest rate is 8 nu / h^2, and a step of 2.78 of it is the
 * limit of the method. dt <= h^2 / (DIFFUSION nu) stays at 0.8 of that. */
static const double DIFFUSION = 3.6;

struct fx_dns {
    fx_comm *comm;
    fx_dns_options options;
    const fx_flow_ops *ops;
    fx_flow *flow;
    double *field; /* where the ops have no `send`: a field of this rank, and (slots) rounded ones */
    float *sent;
    double stiffness; /* steps a unit of time that explicit diffusion needs */
    double time;
    int64_t steps;

    bool looked;          /* the two below are set */
    double first_peak;    /* max |w| at the start */
    double energy_before; /* at the last look */
};

static double spacing_of(const fx_dns *dns)
{
    return two_pi / (double)dns->options.grid;
}

/* Which arrays solve it, and where. Local. */
static fx_status find_ops(const fx_comm *comm, const fx_dns_options *options, const fx_flow_ops **out)
{
    const char *name = options->exec ? options->exec->backend->name : "cpu";
    const fx_flow_ops *ops = options->exec ? options->exec->backend->flow : &fx_cpu_flow;
    if (options->walls) {
        FX_REQUIRE(ops == &fx_cpu_flow, FX_EARG,
                   "backend %s has no solver between walls: only the CPU has", name);
        FX_REQUIRE(options->mean_flow[0] == 0 && options->mean_flow[1] == 0, FX_EARG,
                   "a mean flow between walls");
        FX_REQUIRE(options->viscosity > 0, FX_EARG, "between walls, viscosity %g: it must be positive",
                   options->viscosity);
        ops = &fx_walls_flow;
    }
    FX_REQUIRE(options->walls || options->lid == 0, FX_EARG, "a moving wall without walls");
    FX_REQUIRE(ops->shared || comm->size == 1, FX_EARG,
               "%d ranks cannot share one flow %s%s, where a flow is one rank's", comm->size,
               options->walls ? "between walls" : "on backend ", options->walls ? "" : name);
    *out = ops;
    return FX_OK;
}

/* Points of a field on the output grid, this rank's. */
static int64_t points(const fx_dns *dns)
{
    const fx_dns_options *o = &dns->options;
    const int64_t n = o->output_grid ? o->output_grid : o->grid;
    return n / dns->comm->size * n;
}

static fx_status make_slots(fx_dns *dns)
{
    FX_TRY(FX_ALLOC(dns->field, points(dns)));
    return FX_ALLOC(dns->sent, dns->options.slots * points(dns));
}

fx_status fx_dns_create(fx_dns **out, fx_comm *comm, const fx_dns_options *options)
{
    *out = NULL;
    const int64_t n = options->grid, coarse = options->output_grid;
    const fx_flow_ops *ops = NULL;
    FX_REQUIRE(n >= 16 && coarse >= 0 && coarse <= n + options->walls, FX_EARG,
               "a solver's grid of %lld points and an output grid of %lld: at least 16, and not finer "
               "than the solver's",
               (long long)n, (long long)coarse);
    FX_REQUIRE(options->viscosity >= 0 && options->courant > 0, FX_EARG,
               "viscosity %g and Courant number %g: not negative, and positive", options->viscosity,
               options->courant);
    FX_TRY(find_ops(comm, options, &ops));
    fx_dns *dns = NULL;
    FX_TRY(fx_agree(comm, FX_ALLOC(dns, 1)));
    *dns = (fx_dns){.comm = comm, .options = *options, .ops = ops};
    if (options->walls)
        dns->stiffness = DIFFUSION * options->viscosity / (spacing_of(dns) * spacing_of(dns));
    const fx_flow_options flow = {.grid = n,
                                  .output_grid = coarse ? coarse : n,
                                  .viscosity = options->viscosity,
                                  .mean_flow = {options->mean_flow[0], options->mean_flow[1]},
                                  .lid = options->lid,
                                  .slots = options->slots};
    fx_status status = ops->open(&dns->flow, options->exec, comm, &flow);
    if (status == FX_OK && options->slots > 0 && !ops->send) status = fx_agree(comm, make_slots(dns));
    if (status != FX_OK) fx_dns_free(&dns);
    *out = dns;
    return status;
}

void fx_dns_free(fx_dns **out)
{
    fx_dns *dns = *out;
    if (!dns) return;
    dns->ops->close(&dns->flow);
    fx_free(dns->field);
    fx_free(dns->sent);
    fx_free(dns);
    *out = NULL;
}

double fx_dns_time(const fx_dns *dns)
{
    return dns->time;
}

int64_t fx_dns_steps(const fx_dns *dns)
{
    return dns->steps;
}

static void restart(fx_dns *dns)
{
    dns->time = 0;
    dns->steps = 0;
    dns->looked = false;
}

fx_status fx_dns_start_random(fx_dns *dns, uint64_t seed)
{
    FX_TRY(dns->ops->load(dns->flow, seed));
    restart(dns);
    return FX_OK;
}

fx_status fx_dns_start(fx_dns *dns, const double *w)
{
    FX_TRY(dns->ops->load_rows(dns->flow, w));
    restart(dns);
    return FX_OK;
}

fx_status fx_dns_step(fx_dns *dns, double until)
{
    FX_REQUIRE(until > dns->time, FX_EARG, "a step to t = %.9g from t = %.9g: time goes forward", until,
               dns->time);
    double speed = 0;
    FX_TRY(dns->ops->evaluate(dns->flow, 1, &speed));
    FX_REQUIRE(isfinite(speed), FX_EVALUE, "Re %g: the velocity is not finite at t = %.6g, step %lld",
               1 / dns->options.viscosity, dns->time, (long long)dns->steps);
    const double left = until - dns->time;
    const double advected = ceil(left * speed / (dns->options.courant * spacing_of(dns)));
    const double parts = fmax(fmax(1.0, advected), ceil(left * dns->stiffness));
    const double h = left / parts;
    FX_TRY(dns->ops->combine(dns->flow, 1, h));
    for (int s = 2; s <= 4; s++) {
        FX_TRY(dns->ops->evaluate(dns->flow, s, NULL));
        FX_TRY(dns->ops->combine(dns->flow, s, h));
    }
    dns->time = parts > 1 ? dns->time + h : until;
    dns->steps++;
    return FX_OK;
}

fx_status fx_dns_measure(fx_dns *dns, fx_dns_state *state)
{
    fx_flow_sums sum;
    FX_TRY(dns->ops->measure(dns->flow, &sum));
    const double nu = dns->options.viscosity,
                 area = (double)dns->options.grid * (double)dns->options.grid;
    const double square = sum.square / area, fourth = sum.fourth / area;
    const double dissipation =
        pow(2 * sum.palinstrophy / (nu * nu), 1.0 / 6.0); /* (2 nu P / nu^3)^(1/6) */
    *state = (fx_dns_state){.time = dns->time,
                            .energy = sum.energy,
                            .enstrophy = sum.enstrophy,
                            .palinstrophy = sum.palinstrophy,
                            .peak = sum.peak,
                            .rms = sqrt(square),
                            .kurtosis = square > 0 ? fourth / (square * square) : 0,
                            .resolution =
                                (double)fx_modes_of(dns->comm, dns->options.grid).cut / dissipation};
    return FX_OK;
}

/* Measures the flow and refuses one that has blown up. Collective. */
static fx_status look(fx_dns *dns, fx_dns_state *state)
{
    FX_TRY(fx_dns_measure(dns, state));
    const double re = 1 / dns->options.viscosity, e = state->energy;
    FX_REQUIRE(isfinite(e) && isfinite(state->enstrophy), FX_EVALUE,
               "Re %g: the flow is not finite at t = %.6g, step %lld", re, dns->time,
               (long long)dns->steps);
    if (!dns->looked) {
        dns->first_peak = state->peak;
        dns->energy_before = e;
        dns->looked = true;
    }
    FX_REQUIRE(
        dns->options.lid != 0 || e <= dns->energy_before * (1 + 1e-6), FX_EVALUE,
        "Re %g: energy rises from %.9g to %.9g before t = %.6g: a smaller Courant number is needed", re,
        dns->energy_before, e, dns->time);
    FX_REQUIRE(
        dns->options.walls || state->peak <= 1.1 * dns->first_peak, FX_EVALUE,
        "Re %g: max |w| is %.4g at t = %.6g, above 1.1 times its first value %.4g: a finer grid or "
        "a smaller Courant number is needed",
        re, state->peak, dns->time, dns->first_peak);
    dns->energy_before = e;
    return FX_OK;
}

fx_status fx_dns_advance(fx_dns *dns, double until, fx_dns_state *state)
{
    fx_dns_state now;
    FX_TRY(look(dns, &now));
    while (dns->time < until) {
        FX_TRY(fx_dns_step(dns, until));
        if (dns->time >= until || dns->steps % LOOK_EVERY == 0) FX_TRY(look(dns, &now));
    }
    if (state) *state = now;
    return FX_OK;
}

fx_status fx_dns_sample(fx_dns *dns, fx_dns_field field, double *rows)
{
    return dns->ops->sample(dns->flow, field, rows);
}

fx_status fx_dns_send(fx_dns *dns, fx_dns_field field, int slot)
{
    FX_REQUIRE(slot >= 0 && slot < dns->options.slots, FX_EARG, "slot %d of %d", slot,
               dns->options.slots);
    if (dns->ops->send) return dns->ops->send(dns->flow, field, slot);
    float *rows = dns->sent + slot * points(dns);
    FX_TRY(dns->ops->sample(dns->flow, field, dns->field));
    for (int64_t i = 0; i < points(dns); i++)
        rows[i] = (float)dns->field[i];
    return FX_OK;
}

fx_status fx_dns_receive(fx_dns *dns, int slot, const float **rows)
{
    if (dns->ops->send) return dns->ops->receive(dns->flow, slot, rows);
    *rows = dns->sent + slot * points(dns);
    return FX_OK;
}

bool fx_dns_sends_aside(const fx_dns *dns)
{
    return dns->ops->send != NULL;
}
