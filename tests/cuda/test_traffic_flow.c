/* test_traffic_flow.c: the device memory that every kernel of the flow solver moves, counted from the
 * code that runs, on a grid of 192 points a side, and held as traffic.h says; the ideal is every number
 * that the kernel has to read or write, once. What cuFFT moves is not ours. Prints the second table of
 * benchmarks/results/kernel-traffic-*.md.
 *
 * Planted and caught, in flow.cu: w read for the fourth slope, and zeros stored behind it; points of v
 * read by sum_points; the worst of twice as many rows.
 *
 * Run: standin only
 * Run: timeout 120 */
#include <stdlib.h>

#include "flexhpc/backend.h"
#include "flexhpc/comm.h"
#include "flexhpc/flow.h"
#include "flexhpc/mem.h"
#include "traffic.h"

enum { N = 192, CUT = 63, HEIGHTS = 2 * CUT + 1, OUTPUT = 128, SUMS = 3, COMPLEX = 16, REAL = 8 };

/* Bytes of a spectrum, of the modes kept, of the points of a field. */
static const double C = COMPLEX * N * (N / 2 + 1), M = COMPLEX * HEIGHTS * (CUT + 1), P = REAL * N * N,
                    C_OUT = COMPLEX * OUTPUT * (OUTPUT / 2 + 1), P_OUT = REAL * OUTPUT * OUTPUT;

static fx_exec *exec;
static const fx_flow_ops *ops;
static fx_flow *flow;
static double *rows;

static fx_status load(void)
{
    return ops->load(flow, 7);
}
static fx_status load_rows(void)
{
    return ops->load_rows(flow, rows);
}
static fx_status evaluate(void)
{
    double speed;
    return ops->evaluate(flow, 1, &speed);
}
static fx_status combine_1(void)
{
    return ops->combine(flow, 1, 1e-3);
}
static fx_status combine_2(void)
{
    return ops->combine(flow, 2, 1e-3);
}
static fx_status combine_3(void)
{
    return ops->combine(flow, 3, 1e-3);
}
static fx_status combine_4(void)
{
    return ops->combine(flow, 4, 1e-3);
}
static fx_status measure(void)
{
    fx_flow_sums sums;
    return ops->measure(flow, &sums);
}
static fx_status sample(void)
{
    return ops->sample(flow, FX_DNS_W, rows);
}

/* In this order they are calls that the solver makes. */
static const struct row {
    const char *kernel, *with;
    fx_status (*call)(void);
    double ideal;
    traffic_limits most;
} table[] = {
    {"transpose", "the start", load, 2 * M, {0.5, 0, "sectors that two rows share"}},
    {"open_gaps", "a start from rows", load_rows, 2 * P, {0, 0, NULL}},
    {"gather", "a start from rows", load_rows, 2 * M, {0, 0, NULL}},
    {"spread", "u and v", evaluate, M + 2 * C, {0.18, 0, "w, by either field"}},
    {"multiply", "u and v", evaluate, 4 * P, {0, 0, NULL}},
    {"find_worst", "a row each", evaluate, REAL *N, {0, 0, NULL}},
    {"set_decay", "a step", combine_1, REAL *(CUT + 1 + HEIGHTS), {0, 0, NULL}},
    {"combine",
     "slope 1",
     combine_1,
     2 * M + 2 * C + 2 * M,
     {0.06, 0.2, "the decay, by every row and thread"}},
    {"combine",
     "slope 2",
     combine_2,
     2 * M + 2 * C + 3 * M,
     {0.05, 0.18, "the decay, by every row and thread"}},
    {"combine",
     "slope 3",
     combine_3,
     2 * M + 2 * C + 3 * M,
     {0.05, 0.18, "the decay, by every row and thread"}},
    {"combine", "slope 4", combine_4, 2 * M + 2 * M, {0, 0, NULL}},
    {"sum_modes", "w", measure, M + REAL *SUMS *HEIGHTS, {0.02, 0, "sectors that two rows share"}},
    {"spread", "w", measure, M + C, {0, 0, NULL}},
    {"sum_points", "w", measure, P + REAL *SUMS *N, {0.01, 0, "sectors that two rows share"}},
    {"finish_sums", "rows and modes", measure, REAL *SUMS *(N + HEIGHTS), {0, 0, NULL}},
    {"spread", "w, a smaller grid", sample, M + C_OUT, {0, 0, NULL}},
    {"close_gaps", "a smaller grid", sample, 2 * P_OUT, {0, 0, NULL}},
};

static void require(fx_status status, const char *what)
{
    if (status == FX_OK) return;
    printf("FATAL %s: %s\n", what, fx_error_message());
    exit(1);
}

/* Whether the row holds. */
static bool check(const struct row *w)
{
    fake_traffic all[FAKE_TRAFFIC_KERNELS];
    char name[64];
    fake_traffic_begin(w->kernel);
    require(w->call(), w->kernel);
    require(exec->backend->wait(exec), w->kernel);
    fake_traffic_end(all);
    const char *const fault = traffic_fault(&all[0], w->ideal, &w->most);
    snprintf(name, sizeof name, "**flow: %s**", w->kernel);
    traffic_print(name, w->with, w->ideal, &all[0], w->most.why);
    if (fault) printf("BAD flow: %s [%s]: %s\n", w->kernel, w->with, fault);
    return !fault;
}

int main(void)
{
    const fx_backend *backend = NULL;
    const fx_flow_options options = {.grid = N, .output_grid = OUTPUT, .viscosity = 1e-3};
    int bad = 0;
    require(fx_backend_find("cuda", &backend), "backend");
    require(backend->open(&(fx_exec_options){.comm = fx_comm_self()}, &exec), "backend");
    ops = backend->flow;
    require(ops->open(&flow, exec, fx_comm_self(), &options), "flow");
    require(FX_ALLOC(rows, N * N), "rows");
    traffic_print_head();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        bad += !check(&table[i]);
    ops->close(&flow);
    fx_free(rows);
    exec->backend->close(&exec);
    printf("%zu rows, %d bad\n", sizeof table / sizeof *table, bad);
    return bad > 0;
}
