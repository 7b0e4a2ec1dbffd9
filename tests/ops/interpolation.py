"""Interpolation of coarse fields by NumPy: matrices of weights by distance, as PyTorch's interpolate without align_corners."""
import numpy as np


def weight(kind, x, A=-0.75):
    """The kernel at a distance of x source pixels."""
    x = abs(x)
    if kind == "bilinear":
        return max(0.0, 1 - x)
    return (A + 2) * x**3 - (A + 3) * x**2 + 1 if x <= 1 else A * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def matrix(kind, coarse, factor):
    """(coarse * factor, coarse): every source pixel, and those beyond the edge as copies of the last, weighted by distance."""
    m = np.zeros((coarse * factor, coarse))
    for i in range(coarse * factor):
        centre = (i + 0.5) / factor - 0.5
        for k in range(-3, coarse + 3):
            m[i, min(max(k, 0), coarse - 1)] += weight(kind, centre - k)
    return m


def upsample(kind, coarse, factor):
    m = matrix(kind, len(coarse), factor)
    return (m @ coarse.astype(np.float64) @ m.T).astype(np.float32)


def interpolate(kind, x, factor):
    return upsample(kind, x[::factor, ::factor], factor)


def antialiased(fine, factor):
    """The fine field reduced by the bicubic kernel of A = -1/2 stretched to `factor` pixels, cut at the edges: PyTorch's
    interpolate with antialias."""
    side = len(fine)
    m = np.zeros((side // factor, side))
    for i in range(side // factor):
        for k in range(side):
            m[i, k] = weight("bicubic", (k + 0.5 - (i + 0.5) * factor) / factor, A=-0.5)
    m /= m.sum(axis=1, keepdims=True)
    return (m @ fine.astype(np.float64) @ m.T).astype(np.float32)
