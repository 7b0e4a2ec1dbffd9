/* poisson.c: five-point Poisson equation in a box: sine transforms (DST-I) along x decouple its
 * columns, and what is left is a tridiagonal system along y for each of the N - 1 wave numbers k:
 *
 *   -P(j-1) + (2 + m) P(j) - P(j+1) = h^2 W(j),   m = 4 sin^2(pi k / (2 N)),   P(0) = P(N) = 0
 *
 * solved by elimination (Thomas) with c(j) = 1 / (2 + m - c(j-1)), made once:
 *
 *   upwards P(j) = c(j) (h^2 W(j) + P(j-1)),   downwards P(j) += c(j) P(j+1)
 *
 * Half the transforms of a sine transform along both
 * axes, and none of its transpositions. */
#include "poisson.h"

#include <fftw3.h>
#include <math.h>
#include <omp.h>

static const double pi = 3.14159265358979323846;

enum { LINE = 8 /* doubles of a cache line */, SLAB = 64 /* columns eliminated together */ };

struct fx_poisson {
    int64_t n, pitch;
    double h;
    double *pivot; /* c: (N - 1, N - 1), k fastest, rows of `pitch` */
    int threads;
    double *lines; /* (threads, line): the odd function, and in its place the transform */
    int64_t line;  /* 2 N + 2 rounded up to a cache line */
    fftw_plan forward;
};

int64_t fx_nodes_pitch(int64_t n)
{
    return (n + 1 + LINE - 1) / LINE * LINE;
}

double *fx_nodes_alloc(int64_t n)
{
    double *memory = fx_calloc((size_t)(LINE + (n + 1) * fx_nodes_pitch(n)), sizeof *memory);
    return memory ? memory + LINE - 1 : NULL;
}

void fx_nodes_free(double **nodes)
{
    if (*nodes) fx_free(*nodes - (LINE - 1));
    *nodes = NULL;
}

static fx_status create(fx_poisson *p)
{
    const int64_t n = p->n, pitch = p->pitch;
    FX_TRY(FX_ALLOC(p->pivot, n * pitch));
    for (int64_t k = 1; k < n; k++) {
        const double sine = sin(0.5 * pi * (double)k / (double)n);
        double before = 0;
        for (int64_t j = 1; j < n; j++) {
            before = 1 / (2 + 4 * sine * sine - before);
            p->pivot[(j - 1) * pitch + k - 1] = before;
        }
    }
    FX_TRY(FX_ALLOC(p->lines, p->threads * p->line));
    p->forward = fftw_plan_dft_r2c_1d(2 * (int)n, p->lines, (fftw_complex *)p->lines, FFTW_ESTIMATE);
    FX_REQUIRE(p->forward, FX_ENOMEM, "FFTW makes no plan for %lld points", (long long)(2 * n));
    return FX_OK;
}

fx_status fx_poisson_create(fx_poisson **out, int64_t n, double h)
{
    *out = NULL;
    fx_poisson *p = NULL;
    FX_TRY(FX_ALLOC(p, 1));
    *p = (fx_poisson){.n = n,
                      .pitch = fx_nodes_pitch(n),
                      .h = h,
                      .threads = omp_get_max_threads(),
                      .line = (2 * n + 2 + LINE - 1) / LINE * LINE};
    const fx_status status = create(p);
    if (status != FX_OK) fx_poisson_free(&p);
    *out = p;
    return status;
}

void fx_poisson_free(fx_poisson **out)
{
    fx_poisson *p = *out;
    if (!p) return;
    fftw_destroy_plan(p->forward);
    fx_free(p->lines);
    fx_free(p->pivot);
    fx_free(p);
    *out = NULL;
}

/* out(k) = scale * the sum over m of 2 x(m) sin(pi k m / N), k and m = 1 .. N - 1; out may be x. */
static void sines(const fx_poisson *p, double scale, const double *x, double *out)
{
    const int64_t n = p->n;
    double *line = p->lines + omp_get_thread_num() * p->line;
    line[0] = line[n] = 0;
    for (int64_t m = 1; m < n; m++) {
        line[m] = x[m - 1];
        line[2 * n - m] = -x[m - 1];
    }
    fftw_execute_dft_r2c(p->forward, line, (fftw_complex *)line);
    for (int64_t k = 1; k < n; k++)
        out[k - 1] = -scale * line[2 * k + 1];
}

/* Columns first .. first + count of the N - 1 rows from `rows` on; the rows before and behind, which
 * are walls, hold 0. */
static void eliminate(const fx_poisson *p, double *rows, int64_t first, int64_t count)
{
    const int64_t pitch = p->pitch;
    for (int64_t j = 0; j < p->n - 1; j++) {
        const double *restrict c = p->pivot + j * pitch + first;
        double *restrict row = rows + j * pitch + first;
        for (int64_t k = 0; k < count; k++)
            row[k] = c[k] * (row[k] + row[k - pitch]);
    }
    for (int64_t j = p->n - 2; j >= 0; j--) {
        const double *restrict c = p->pivot + j * pitch + first;
        double *restrict row = rows + j * pitch + first;
        for (int64_t k = 0; k < count; k++)
            row[k] += c[k] * row[k + pitch];
    }
}

void fx_poisson_solve(fx_poisson *p, const double *w, double *psi)
{
    const int64_t n = p->n, pitch = p->pitch;
    const double scale = p->h * p->h / (2 * (double)n); /* two DST-I are 2 N times the identity */
    double *inner = psi + pitch + 1;
    w += pitch + 1;
#pragma omp parallel num_threads(p->threads)
    {
#pragma omp for
        for (int64_t j = 0; j < n - 1; j++)
            sines(p, scale, w + j * pitch, inner + j * pitch);
#pragma omp for
        for (int64_t first = 0; first < n - 1; first += SLAB)
            eliminate(p, inner, first, first + SLAB < n - 1 ? SLAB : n - 1 - first);
#pragma omp for
        for (int64_t j = 0; j < n - 1; j++)
            sines(p, 1, inner + j * pitch, inner + j * pitch);
    }
}
