/* CUDA twin of src/dns/flow.c: the same formulas (src/dns/solver.c), all in double, one rank a flow.
 * Modes are (ky, kx), kx = 0 .. K fastest, ky in the order 0 .. K, -K .. -1. Transforms are cuFFT's, in
 * place and of u and v together: (2, N, N / 2 + 1) complex numbers on one side, (2, N, N + 2) real ones
 * on the other, the last two of a row unused. The stages of a step are never stored: `combine` reads
 * the transforms of u v and v^2 - u^2 and leaves those of the next stage's u and v in their place.
 *
 * Bound by memory. With C = 16 N (N / 2 + 1) bytes a field's spectrum and M = 16 (2 K + 1) (K + 1)
 * bytes of modes, a step moves 80 C in 8 transforms of pairs (two passes over memory each) and 4
 * products, and 8 C + 20 M between them: 3.25 GB for 2048^2, estimated 1.1 ms on an H100 at 3.0 TB/s
 * (not measured); its 3.7 GFLOP take a tenth of that. */
#include "flexhpc/flow.h"
#include "flexhpc/mem.h"
#include "flow_fft.h"
#include "flow_slots.h"
#include "flow_view.cuh"
#include "launch.cuh"

enum { THREADS = 128, FINISHERS = 256 /* threads of the one block that ends a reduction */ };
enum { SUMS = 3 /* of a row */, TOTALS = 2 * SUMS };
static const int64_t LARGEST = 32768; /* rows are the second dimension of a launch, below 65536 */

struct fx_flow {
    fx_exec *exec;
    const char *name; /* in messages of launches */
    view v;
    fx_modes modes; /* as the host lays them out */
    int64_t output_grid;
    fx_flow_fft *fft;
    fx_flow_slots *slots;
    double *speed;       /* pinned */
    cudaEvent_t arrived; /* it is there */
};

/* The spectra of w's fields first, first + 1 .. (the grid's z), on a grid of m, where |k| <= cut. */
FX_KERNEL void FX_BOUNDS(THREADS) spread(view v, int first, int64_t m, int64_t cut)
{
    const int64_t kx = fx_index(), iy = fx_block_y(), ky = wave(iy, m), pitch = m / 2 + 1;
    if (kx >= pitch) return;
    complex2 mode = {0, 0};
    if (is_kept(kx, ky, cut)) mode = mode_of(v, first + fx_block_z(), v.w[place(v, kx, ky)], kx, ky);
    v.pair[(fx_block_z() * m + iy) * pitch + kx] = mode;
}

static fx_status start_spread(fx_flow *f, fx_dns_field first, int fields, int64_t m)
{
    const int64_t cut = f->v.cut < (m - 1) / 2 ? f->v.cut : (m - 1) / 2;
    FX_LAUNCH(f->exec, f, spread, dim3(fx_grid(m / 2 + 1, THREADS), (unsigned)m, (unsigned)fields),
              THREADS, 0, f->v, (int)first, m, cut);
    return FX_OK;
}

/* u and v of a row, a block each, into u v and v^2 - u^2; sums[row] = its worst |u| + |v|. */
FX_KERNEL void FX_BOUNDS(THREADS) multiply(view v)
{
    FX_SHARED(bytes);
    complex2 *u = v.pair + fx_block() * v.pitch, *w = u + v.n * v.pitch; /* two points each */
    double most = 0;
    for (int64_t i = fx_thread(); i < v.n / 2; i += fx_threads()) {
        const complex2 a = u[i], b = w[i];
        most = worse(worse(most, fabs(a.x) + fabs(b.x)), fabs(a.y) + fabs(b.y));
        u[i] = complex2{a.x * b.x, a.y * b.y};
        w[i] = complex2{(b.x - a.x) * (b.x + a.x), (b.y - a.y) * (b.y + a.y)};
    }
    most = worst_of_block(most, (double *)bytes);
    if (fx_thread() == 0) v.sums[fx_block()] = most;
}

/* totals[0] = the worst of the rows. */
FX_KERNEL void FX_BOUNDS(FINISHERS) find_worst(view v)
{
    FX_SHARED(bytes);
    double most = 0;
    for (int64_t row = fx_thread(); row < v.n; row += fx_threads())
        most = worse(most, v.sums[row]);
    most = worst_of_block(most, (double *)bytes);
    if (fx_thread() == 0) v.totals[0] = most;
}

static size_t warps(int threads)
{
    return (size_t)(threads / FX_WARP) * sizeof(double);
}

/* The host waits for the speed while the device goes on with the transform behind it. */
static fx_status evaluate(fx_flow *f, int s, double *speed)
{
    fx_cuda *cuda = fx_cuda_of(f->exec);
    if (s == 1) FX_TRY(start_spread(f, FX_DNS_U, FX_FLOW_PAIR, f->v.n));
    FX_TRY(fx_flow_to_points(f->fft->inverse, f->v.pair));
    FX_LAUNCH(f->exec, f, multiply, (unsigned)f->v.n, THREADS, warps(THREADS), f->v);
    if (speed) {
        FX_LAUNCH(f->exec, f, find_worst, 1, FINISHERS, warps(FINISHERS), f->v);
        FX_CUDA(cudaMemcpyAsync(f->speed, f->v.totals, sizeof *f->speed, cudaMemcpyDeviceToHost,
                                cuda->stream));
        FX_CUDA(cudaEventRecord(f->arrived, cuda->stream));
    }
    FX_TRY(fx_flow_to_modes(f->fft->forward, f->v.pair));
    if (!speed) return FX_OK;
    FX_TRY(fx_cuda_await(cuda, f->arrived));
    *speed = *f->speed;
    return FX_OK;
}

/* exp(-nu k^2 h / 2) = decay[kx] decay[K + 1 + row of ky] */
FX_KERNEL void FX_BOUNDS(THREADS) set_decay(view v, double h)
{
    const int64_t i = fx_index(), columns = v.cut + 1;
    if (i >= columns + v.heights) return;
    const double k = (double)(i < columns ? i : wave(i - columns, v.heights));
    v.decay[i] = exp(-0.5 * v.viscosity * h * k * k);
}

/* stage = a W + b k, next += c k (S = 1: next = e^2 W + c k); the stage as the spectra of its u, v. */
template <int S> FX_KERNEL void FX_BOUNDS(THREADS) combine(view v, double h)
{
    const int64_t kx = fx_index(), iy = fx_block_y(), ky = wave(iy, v.n);
    if (kx >= v.pitch) return;
    complex2 *at_u = v.pair + iy * v.pitch + kx, *at_v = at_u + v.n * v.pitch;
    if (!is_kept(kx, ky, v.cut)) {
        if (S < 4) *at_u = *at_v = complex2{0, 0};
        return;
    }
    const complex2 A = *at_u, B = *at_v;
    const int64_t at = place(v, kx, ky);
    const double scale = 1.0 / ((double)v.n * (double)v.n), x = (double)kx, y = (double)ky;
    const double p = scale * (x - y) * (x + y), q = scale * x * y;
    const complex2 k = {p * A.x + q * B.x, p * A.y + q * B.y};
    const double e = v.decay[kx] * v.decay[v.cut + 1 + row_of(v, ky)];
    const double a = S == 3 ? e * e : e, b = S == 1 ? 0.5 * h * e : S == 2 ? 0.5 * h : h * e;
    const double c = S == 1 ? h / 6 * e * e : S == 4 ? h / 6 : h / 3 * e;
    complex2 w = {0, 0};
    if (S < 4) w = v.w[at];
    const complex2 sum = S == 1 ? complex2{e * e * w.x, e * e * w.y} : v.next[at];
    v.next[at] = complex2{sum.x + c * k.x, sum.y + c * k.y};
    if (S == 4) return;
    const complex2 stage = {a * w.x + b * k.x, a * w.y + b * k.y};
    *at_u = mode_of(v, FX_DNS_U, stage, kx, ky);
    *at_v = mode_of(v, FX_DNS_V, stage, kx, ky);
}

static fx_status combine_slope(fx_flow *f, int s, double h)
{
    const view &v = f->v;
    const dim3 all(fx_grid(v.pitch, THREADS), (unsigned)v.n);
    if (s == 1) {
        FX_LAUNCH(f->exec, f, set_decay, fx_grid(v.cut + 1 + v.heights, THREADS), THREADS, 0, v, h);
        FX_LAUNCH(f->exec, f, combine<1>, all, THREADS, 0, v, h);
    } else if (s == 2) {
        FX_LAUNCH(f->exec, f, combine<2>, all, THREADS, 0, v, h);
    } else if (s == 3) {
        FX_LAUNCH(f->exec, f, combine<3>, all, THREADS, 0, v, h);
    } else {
        FX_LAUNCH(f->exec, f, combine<4>, all, THREADS, 0, v, h);
        complex2 *const old = v.w;
        f->v.w = v.next;
        f->v.next = old;
    }
    return FX_OK;
}

/* sums[ky] = shares of E, Z, P, a block each. */
FX_KERNEL void FX_BOUNDS(THREADS) sum_modes(view v)
{
    FX_SHARED(bytes);
    const int64_t row = fx_block();
    const double y = (double)wave(row, v.heights);
    double sum[SUMS] = {0, 0, 0};
    for (int64_t kx = fx_thread(); kx <= v.cut; kx += fx_threads()) {
        const complex2 w = v.w[row * (v.cut + 1) + kx];
        const double x = (double)kx, k2 = x * x + y * y, both = kx > 0 ? 2 : 1; /* kx and -kx */
        const double share = 0.5 * both * (w.x * w.x + w.y * w.y);
        sum[0] += k2 > 0 ? share / k2 : 0;
        sum[1] += share;
        sum[2] += share * k2;
    }
    for (int i = 0; i < SUMS; i++) {
        const double all = fx_block_sum(sum[i], (double *)bytes);
        if (fx_thread() == 0) v.sums[row * SUMS + i] = all;
    }
}

/* sums[N + iy] = shares of w^2 and w^4, and the largest |w|, a block each. */
FX_KERNEL void FX_BOUNDS(THREADS) sum_points(view v)
{
    FX_SHARED(bytes);
    const double *w = (const double *)(v.pair + fx_block() * v.pitch);
    double square = 0, fourth = 0, peak = 0;
    for (int64_t i = fx_thread(); i < v.n; i += fx_threads()) {
        const double w2 = w[i] * w[i];
        square += w2;
        fourth += w2 * w2;
        peak = worse(peak, fabs(w[i]));
    }
    square = fx_block_sum(square, (double *)bytes);
    fourth = fx_block_sum(fourth, (double *)bytes);
    peak = worst_of_block(peak, (double *)bytes);
    if (fx_thread() != 0) return;
    double *out = v.sums + (v.n + fx_block()) * SUMS;
    out[0] = square, out[1] = fourth, out[2] = peak;
}

/* totals, in the order of fx_flow_sums. */
FX_KERNEL void FX_BOUNDS(FINISHERS) finish_sums(view v)
{
    FX_SHARED(bytes);
    for (int i = 0; i < TOTALS; i++) {
        const bool of_modes = i < SUMS, largest = i == TOTALS - 1;
        const int64_t rows = of_modes ? v.heights : v.n;
        const double *sums = v.sums + (of_modes ? i : v.n * SUMS + i - SUMS);
        double all = 0;
        for (int64_t row = fx_thread(); row < rows; row += fx_threads())
            all = largest ? worse(all, sums[row * SUMS]) : all + sums[row * SUMS];
        all = largest ? worst_of_block(all, (double *)bytes) : fx_block_sum(all, (double *)bytes);
        if (fx_thread() == 0) v.totals[i] = all;
    }
}

static fx_status measure(fx_flow *f, fx_flow_sums *sums)
{
    const view &v = f->v;
    FX_LAUNCH(f->exec, f, sum_modes, (unsigned)v.heights, THREADS, warps(THREADS), v);
    FX_TRY(start_spread(f, FX_DNS_W, 1, v.n));
    FX_TRY(fx_flow_to_points(f->fft->single, f->v.pair));
    FX_LAUNCH(f->exec, f, sum_points, (unsigned)v.n, THREADS, warps(THREADS), v);
    FX_LAUNCH(f->exec, f, finish_sums, 1, FINISHERS, warps(FINISHERS), v);
    double total[TOTALS];
    FX_TRY(fx_cuda_download(fx_cuda_of(f->exec), total, v.totals, sizeof total));
    *sums = fx_flow_sums{total[0], total[1], total[2], total[3], total[4], total[5]};
    return FX_OK;
}

/* The room of the pair's second field, where a field lies without gaps: (m, m). */
static double *dense(const fx_flow *f)
{
    return (double *)(f->v.pair + f->v.n * f->v.pitch);
}

/* Between rows of m + 2 and rows of m. */
template <typename T>
FX_KERNEL void FX_BOUNDS(THREADS) close_gaps(const double *gaps, T *rows, int64_t m)
{
    const int64_t ix = fx_index(), iy = fx_block_y();
    if (ix < m) rows[iy * m + ix] = (T)gaps[iy * (m + 2) + ix];
}
FX_KERNEL void FX_BOUNDS(THREADS) open_gaps(const double *rows, double *gaps, int64_t m)
{
    const int64_t ix = fx_index(), iy = fx_block_y();
    if (ix < m) gaps[iy * (m + 2) + ix] = rows[iy * m + ix];
}

/* Starts a field on the output grid: (m, m). */
template <typename T> static fx_status start_field(fx_flow *f, fx_dns_field field, T *rows)
{
    const int64_t m = f->output_grid;
    FX_TRY(start_spread(f, field, 1, m));
    FX_TRY(fx_flow_to_points(f->fft->output, f->v.pair));
    FX_LAUNCH(f->exec, f, close_gaps<T>, dim3(fx_grid(m, THREADS), (unsigned)m), THREADS, 0,
              (const double *)f->v.pair, rows, m);
    return FX_OK;
}

static fx_status sample(fx_flow *f, fx_dns_field field, double *rows)
{
    const int64_t points = f->output_grid * f->output_grid;
    FX_TRY(start_field(f, field, dense(f)));
    return fx_cuda_download(fx_cuda_of(f->exec), rows, dense(f), (size_t)points * sizeof *rows);
}

static fx_status send(fx_flow *f, fx_dns_field field, int slot)
{
    FX_TRY(start_field(f, field, fx_flow_slot_room(f->slots, slot)));
    return fx_flow_slot_send(f->slots, slot);
}

static fx_status receive(fx_flow *f, int slot, const float **rows)
{
    return fx_flow_slot_receive(f->slots, slot, rows);
}

/* w from columns of kx, (K + 1, 2 K + 1). */
FX_KERNEL void FX_BOUNDS(THREADS) transpose(view v, const complex2 *columns)
{
    const int64_t kx = fx_index(), row = fx_block_y();
    if (kx <= v.cut) v.w[row * (v.cut + 1) + kx] = columns[kx * v.heights + row];
}

/* w from its spectrum, the mean left out. */
FX_KERNEL void FX_BOUNDS(THREADS) gather(view v)
{
    const int64_t kx = fx_index(), row = fx_block_y(), ky = wave(row, v.heights);
    if (kx > v.cut) return;
    const double scale = kx == 0 && ky == 0 ? 0.0 : 1.0 / ((double)v.n * (double)v.n);
    const complex2 z = v.pair[(ky >= 0 ? ky : ky + v.n) * v.pitch + kx];
    v.w[place(v, kx, ky)] = complex2{scale * z.x, scale * z.y};
}

static dim3 grid_of_modes(const view &v)
{
    return dim3(fx_grid(v.cut + 1, THREADS), (unsigned)v.heights);
}

static fx_status load(fx_flow *f, uint64_t seed)
{
    const size_t count = fx_modes_count(&f->modes);
    fx_complex *w = (fx_complex *)fx_calloc(count, sizeof *w);
    if (!w) return FX_ENOMEM;
    fx_random_vorticity(&f->modes, seed, w);
    const fx_status status = fx_cuda_upload(fx_cuda_of(f->exec), f->v.pair, w, count * sizeof *w);
    fx_free(w);
    FX_TRY(status);
    FX_LAUNCH(f->exec, f, transpose, grid_of_modes(f->v), THREADS, 0, f->v, f->v.pair);
    return FX_OK;
}

/* Transforms come in pairs; what the other one gives is not read. */
static fx_status load_rows(fx_flow *f, const double *w)
{
    const view &v = f->v;
    FX_TRY(fx_cuda_upload(fx_cuda_of(f->exec), dense(f), w, (size_t)(v.n * v.n) * sizeof *w));
    FX_LAUNCH(f->exec, f, open_gaps, dim3(fx_grid(v.n, THREADS), (unsigned)v.n), THREADS, 0,
              (const double *)dense(f), (double *)v.pair, v.n);
    FX_TRY(fx_flow_to_modes(f->fft->forward, v.pair));
    FX_LAUNCH(f->exec, f, gather, grid_of_modes(v), THREADS, 0, v);
    return FX_OK;
}

static void close_flow(fx_flow **out)
{
    fx_flow *f = *out;
    if (!f) return;
    fx_cuda_quiesce(fx_cuda_of(f->exec));
    fx_flow_slots_close(&f->slots);
    fx_flow_fft_close(&f->fft);
    void *const memory[] = {f->v.w, f->v.next, f->v.pair, f->v.decay, f->v.sums, f->v.totals};
    for (void *m : memory)
        f->exec->backend->release(f->exec, m, 0);
    if (f->speed) cudaFreeHost(f->speed);
    if (f->arrived) cudaEventDestroy(f->arrived);
    fx_free(f);
    *out = NULL;
}

template <typename T> static fx_status allocate(fx_flow *f, T **out, int64_t count)
{
    return f->exec->backend->allocate(f->exec, (size_t)count * sizeof(T), (void **)out);
}

static fx_status make_arrays(fx_flow *f, int slots)
{
    view *v = &f->v;
    const int64_t modes = v->heights * (v->cut + 1);
    FX_TRY(allocate(f, &v->w, modes));
    FX_TRY(allocate(f, &v->next, modes));
    FX_TRY(allocate(f, &v->pair, FX_FLOW_PAIR * v->n * v->pitch));
    FX_TRY(allocate(f, &v->decay, v->cut + 1 + v->heights));
    FX_TRY(allocate(f, &v->sums, 2 * v->n * SUMS));
    FX_TRY(allocate(f, &v->totals, TOTALS));
    FX_CUDA(cudaHostAlloc((void **)&f->speed, sizeof *f->speed, 0));
    FX_CUDA(cudaEventCreateWithFlags(&f->arrived, cudaEventDisableTiming));
    FX_TRY(fx_flow_slots_open(&f->slots, f->exec, slots, f->output_grid * f->output_grid));
    return fx_flow_fft_open(&f->fft, f->exec, v->n, f->output_grid);
}

static fx_status require_grid(int64_t m)
{
    FX_REQUIRE(m >= 4 && m <= LARGEST && m % 2 == 0, FX_EARG,
               "a grid of %lld points a side: an even number from 4 to %lld is needed", (long long)m,
               (long long)LARGEST);
    return FX_OK;
}

static fx_status open_flow(fx_flow **out, fx_exec *exec, fx_comm *comm, const fx_flow_options *options)
{
    *out = NULL;
    FX_TRY(require_grid(options->grid));
    FX_TRY(require_grid(options->output_grid));
    fx_flow *f = (fx_flow *)fx_calloc(1, sizeof *f);
    if (!f) return FX_ENOMEM;
    f->exec = exec;
    f->name = "flow";
    f->modes = fx_modes_of(comm, options->grid);
    f->output_grid = options->output_grid;
    f->v.n = options->grid;
    f->v.pitch = options->grid / 2 + 1;
    f->v.cut = f->modes.cut;
    f->v.heights = f->modes.heights;
    f->v.viscosity = options->viscosity;
    f->v.mean_u = options->mean_flow[0];
    f->v.mean_v = options->mean_flow[1];
    const fx_status status = make_arrays(f, options->slots);
    if (status != FX_OK) close_flow(&f);
    *out = f;
    return status;
}

const fx_flow_ops fx_cuda_flow = {false,         open_flow, close_flow, load, load_rows, evaluate,
                                  combine_slope, measure,   sample,     send, receive};
