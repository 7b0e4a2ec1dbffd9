/* flow_view.cuh: what the flow solver's kernels know of the flow, and where its modes lie. Modes of w
 * are (2 K + 1, K + 1): ky in the order 0 .. K, -K .. -1, kx fastest. A spectrum on a grid of m is (m,
 * m / 2 + 1), its rows being ky = 0 .. m / 2, then the negative ones up to -1. */
#ifndef FX_CUDA_FLOW_VIEW_CUH
#define FX_CUDA_FLOW_VIEW_CUH

#include "device.cuh"
#include "flexhpc/flow.h"

typedef double2 complex2; /* real and imaginary part, loaded at once */

/* What kernels know of the flow; by value. */
typedef struct view {
    int64_t n, pitch;     /* N; N / 2 + 1, complex numbers from row to row of a spectrum */
    int64_t cut, heights; /* K; 2 K + 1 */
    double viscosity, mean_u, mean_v;
    complex2 *w, *next;    /* (2 K + 1, K + 1) */
    complex2 *pair;        /* (2, N, N / 2 + 1) */
    double *decay;         /* (K + 1) by kx, then (2 K + 1) by ky */
    double *sums, *totals; /* (2, N, SUMS); (TOTALS) */
} view;

/* The wave number of row or column i of m. */
FX_DEVICE int64_t wave(int64_t i, int64_t m)
{
    return 2 * i <= m ? i : i - m;
}
FX_DEVICE bool is_kept(int64_t kx, int64_t ky, int64_t cut)
{
    return kx <= cut && ky <= cut && -ky <= cut;
}
/* Of ky in w and next. */
FX_DEVICE int64_t row_of(const view &v, int64_t ky)
{
    return ky >= 0 ? ky : ky + v.heights;
}
/* Of the mode (kx, ky) in them. */
FX_DEVICE int64_t place(const view &v, int64_t kx, int64_t ky)
{
    return row_of(v, ky) * (v.cut + 1) + kx;
}

/* The larger, or NaN where one is. */
FX_DEVICE double worse(double a, double b)
{
    return b > a || b != b ? b : a;
}

/* The worst of the block, on every thread. `shared`: one value a warp; free again after the call. */
FX_DEVICE double worst_of_block(double v, double *shared)
{
    for (int mask = FX_WARP / 2; mask > 0; mask /= 2)
        v = worse(v, fx_shuffle_xor(v, mask));
    if (fx_lane() == 0) shared[fx_warp()] = v;
    fx_sync();
    double worst = 0;
    for (int w = 0; w < (fx_threads() + FX_WARP - 1) / FX_WARP; w++)
        worst = worse(worst, shared[w]);
    fx_sync();
    return worst;
}

/* The mode of a field, from that of w: U = i ky W / k^2, V = -i kx W / k^2, mean flow included. */
FX_DEVICE complex2 mode_of(const view &v, int field, complex2 w, int64_t kx, int64_t ky)
{
    if (field == FX_DNS_W) return w;
    const double x = (double)kx, y = (double)ky, k2 = x * x + y * y;
    if (k2 == 0) return complex2{field == FX_DNS_U ? v.mean_u : v.mean_v, 0};
    const double inverse = 1.0 / k2;
    const complex2 psi = {inverse * w.x, inverse * w.y};
    return field == FX_DNS_U ? complex2{-y * psi.y, y * psi.x} : complex2{x * psi.y, -x * psi.x};
}

#endif
