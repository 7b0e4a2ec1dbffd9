"""Metrics, bootstrap and spectra of libflexhpc.so against NumPy, which gets there another way: norms by linalg, the complex
FFT instead of the real one, shells by a histogram, Philox in arrays, quantiles by np.quantile.

Run: label quick
Planted errors, each caught: error over the norm of the estimate, the mean not subtracted in the correlation, lead ignored in
the extrapolation, resample and draw exchanged in the counter, the window of n - 1 points, a percentile off by one place.
"""
import ctypes
import os
import subprocess
import sys
import zlib

import numpy as np

library = os.path.join(os.environ["FX_BINARY_DIR"], "libflexhpc.so")
if "libasan" in subprocess.run(["ldd", library], capture_output=True, text=True).stdout:
    print("a library under AddressSanitizer does not load into Python")
    sys.exit(77)
fx = ctypes.CDLL(library)

f32p, f64, i64 = ctypes.POINTER(ctypes.c_float), ctypes.c_double, ctypes.c_int64
FLOORS, METRICS, RESAMPLES = 2, 1, 2000


class SampleScore(ctypes.Structure):
    _fields_ = [("index", i64), ("block", i64), ("reynolds", f64), ("rfne", f64), ("floor", f64 * FLOORS),
                ("correlation", f64), ("loss", f64), ("task", ctypes.c_int), ("value", f64 * METRICS)]


class Scores(ctypes.Structure):
    _fields_ = [("row", ctypes.POINTER(SampleScore)), ("count", i64), ("capacity", ctypes.c_size_t)]


class Score(ctypes.Structure):
    _fields_ = [("task", ctypes.c_int), ("reynolds", f64), ("count", i64), ("blocks", i64), ("rfne", f64), ("rfne_error", f64),
                ("rfne_low", f64), ("rfne_high", f64), ("floor", f64 * FLOORS), ("ratio", f64), ("ratio_low", f64),
                ("ratio_high", f64), ("correlation", f64), ("loss", f64)]


class Band(ctypes.Structure):
    _fields_ = [(name, f64) for name in ("low", "high", "energy", "error", "decibel", "cutoff")]


def function(name, result, *arguments):
    f = getattr(fx, name)
    f.restype, f.argtypes = result, arguments
    return f


rfne = function("fx_rfne", f64, f32p, f32p, i64)
extrapolated = function("fx_rfne_extrapolated", f64, f32p, f32p, f64, f32p, i64)
correlation = function("fx_correlation", f64, f32p, f32p, i64)
add = function("fx_scores_add", ctypes.c_int, ctypes.POINTER(Scores), ctypes.POINTER(SampleScore))
merge = function("fx_scores_merge", ctypes.c_int, ctypes.POINTER(Scores), ctypes.c_void_p)
summarise = function("fx_scores_summarise", ctypes.c_int, ctypes.POINTER(Scores), ctypes.c_uint64, ctypes.POINTER(Score),
                     ctypes.c_int, ctypes.POINTER(ctypes.c_int))
free_scores = function("fx_scores_free", None, ctypes.POINTER(Scores))
alone = function("fx_comm_self", ctypes.c_void_p)
spectrum_create = function("fx_spectrum_create", ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), i64, f64, ctypes.c_int)
spectrum_add = function("fx_spectrum_add", ctypes.c_int, ctypes.c_void_p, f32p, f32p)
spectrum_shells = function("fx_spectrum_shells", i64, ctypes.c_void_p)
spectrum_read = function("fx_spectrum_read", None, ctypes.c_void_p, *[ctypes.POINTER(f64)] * 3)
spectrum_band = function("fx_spectrum_band", ctypes.c_int, *[ctypes.c_void_p] * 3, f64, f64, ctypes.POINTER(Band))
spectrum_free = function("fx_spectrum_free", None, ctypes.POINTER(ctypes.c_void_p))


def pointer(a):
    assert a.dtype == np.float32 and a.flags.c_contiguous
    return a.ctypes.data_as(f32p)


def close(what, got, want, tolerance):
    error = np.max(np.abs(np.asarray(got) - want) / (np.abs(want) + 1e-300))
    assert error <= tolerance, f"{what}: {got} instead of {want}, {error:.1e} apart"


def philox(seed, counter):
    """Ten rounds over arrays of four counter words (..., 4)."""
    c = [counter[..., i].astype(np.uint64) for i in range(4)]
    k, low = [seed & 0xFFFFFFFF, seed >> 32], np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p = [np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]]
        c = [(p[1] >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), p[1] & low, (p[0] >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]),
             p[0] & low]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, -1)


def check_fields(rng):
    truth = (rng.standard_normal((48, 40)) * 3 + 0.7).astype(np.float32)
    before, last = [(truth + s * rng.standard_normal(truth.shape)).astype(np.float32) for s in (0.5, 0.3)]
    y, x, b = [a.astype(np.float64).ravel() for a in (truth, last, before)]
    n = truth.size
    close("rfne", rfne(pointer(last), pointer(truth), n), np.linalg.norm(x - y) / np.linalg.norm(y), 1e-13)
    close("correlation", correlation(pointer(last), pointer(truth), n), np.corrcoef(x, y)[0, 1], 1e-13)
    line = x + 2.5 * (x - b)
    close("extrapolated", extrapolated(pointer(before), pointer(last), 2.5, pointer(truth), n),
          np.linalg.norm(line - y) / np.linalg.norm(y), 1e-13)
    zero = np.zeros_like(truth)
    assert np.isnan(rfne(pointer(last), pointer(zero), n)) and np.isnan(correlation(pointer(last), pointer(zero), n))


def check_summary(rng, seed=(3 << 40) + 17):
    count, blocks = 90, rng.integers(0, 13, 90) * 5 - 7  # uneven blocks, some missing
    model, floor, corr = rng.uniform(0.1, 0.4, count), rng.uniform(0.3, 0.9, count), rng.uniform(-1, 1, count)
    model += 0.02 * blocks / 13
    loss = rng.uniform(0, 2, count)
    scores, out, rows = Scores(), (Score * 1)(), ctypes.c_int()
    for i in rng.permutation(count):
        row = SampleScore(int(i), int(blocks[i]), 700.0, model[i], (f64 * 2)(floor[i], 2 * floor[i]), corr[i], loss[i], 1)
        assert add(scores, row) == 0
    assert merge(scores, alone()) == 0 and summarise(scores, seed, out, 1, rows) == 0 and rows.value == 1
    free_scores(scores)
    s = out[0]
    close("mean", s.rfne, model.mean(), 1e-14)
    close("standard error", s.rfne_error, model.std(ddof=1) / np.sqrt(count), 1e-13)
    close("floors", s.floor[:], [floor.mean(), 2 * floor.mean()], 1e-14)
    close("ratio", s.ratio, model.mean() / floor.mean(), 1e-13)
    close("mean correlation", s.correlation, corr.mean(), 1e-12)
    close("mean loss", s.loss, loss.mean(), 1e-13)

    names = np.unique(blocks)
    assert s.blocks == len(names) and s.count == count
    draws = -(-len(names) // 4)
    counter = np.zeros((RESAMPLES, draws, 4), np.uint64)
    counter[..., 0], counter[..., 1] = np.arange(draws), np.arange(RESAMPLES)[:, None]
    counter[..., 2] = zlib.crc32(b"bootstrap")
    words = philox(seed, counter).reshape(RESAMPLES, -1)[:, :len(names)]
    drawn = (words * np.uint64(len(names))) >> np.uint64(32)
    sums = np.array([[a[blocks == b].sum() for b in names] for a in (model, floor, np.ones(count))])
    m, f, c = (sums[i][drawn].sum(1) for i in range(3))
    close("interval", [s.rfne_low, s.rfne_high], np.quantile(m / c, [0.025, 0.975]), 1e-12)
    close("interval of the ratio", [s.ratio_low, s.ratio_high], np.quantile(m / f, [0.025, 0.975]), 1e-12)


def spectrum(n, length, window, *fields):
    s = ctypes.c_void_p()
    assert spectrum_create(s, n, length, window) == 0
    for field in fields:
        assert spectrum_add(s, pointer(field), None) == 0
    arrays = [(f64 * spectrum_shells(s))() for _ in range(3)]
    spectrum_read(s, *arrays)
    return s, [np.array(a) for a in arrays]


def numpy_spectrum(n, length, window, *fields):
    dk = 2 * np.pi / length
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(n, 1 / n), np.fft.fftfreq(n, 1 / n)))
    edges = np.arange(int(round(n / np.sqrt(2))) + 2) - 0.5
    energy, enstrophy = 0, 0
    for field in fields:
        w = field.astype(np.float64)
        if window:
            hann = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
            hann = np.outer(hann, hann)
            w = (w - np.average(w, weights=hann)) * hann / np.sqrt(np.mean(hann ** 2))
        power = 0.5 * np.abs(np.fft.fft2(w) / n ** 2) ** 2
        enstrophy = enstrophy + np.histogram(k, edges, weights=power)[0] / dk / len(fields)
        with np.errstate(invalid="ignore", divide="ignore"):
            energy = energy + np.histogram(k, edges, weights=np.where(k > 0, power / (k * dk) ** 2, 0))[0] / dk / len(fields)
    return energy, enstrophy


def check_spectra(rng):
    for n, length, window in ((64, 2 * np.pi, 0), (32, 2 * np.pi / 8, 1), (10, 3.0, 1)):
        fields = [rng.standard_normal((n, n)).astype(np.float32) + 1 for _ in range(3)]
        s, (k, energy, enstrophy) = spectrum(n, length, window, *fields)
        want = numpy_spectrum(n, length, window, *fields)
        close("k", k, np.arange(len(k)) * 2 * np.pi / length, 1e-14)
        close("energy", energy[1:], want[0][1:], 1e-10)
        close("enstrophy", enstrophy[1:], want[1][1:], 1e-10)
        dk = 2 * np.pi / length
        half, halved = spectrum(n, length, window, *[0.5 * f for f in fields])
        band = Band()
        assert spectrum_band(half, s, None, 2 * dk, 4 * dk, band) == 0
        close("band", [band.energy, band.decibel], [0.25, 10 * np.log10(4)], 1e-12)
        assert band.cutoff == dk or abs(band.cutoff - dk) < 1e-12
        spectrum_free(s), spectrum_free(half)


generator = np.random.default_rng(1)
check_fields(generator)
check_summary(generator)
check_spectra(generator)
print("metrics, bootstrap and spectra agree with NumPy")
