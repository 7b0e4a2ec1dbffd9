"""Metrics, bootstrap and spectra of libflexhpc.so against NumPy, which gets there another way: norms by linalg, the complex
FFT instead of the real one, shells by a histogram, Philox in arrays, quantiles by np.quantile.

Run: label quick
Planted errors, each caught: error over the norm of the estimate, the mean not subtracted in the correlation, lead ignored in
the extrapolation, resample and draw exchanged in the counter, the window of n - 1 points, a percentile off by one place, CRPS
over M^2 pairs, spread without (M + 1) / M, ties that never fill the last rank, a Gaussian of 1.6, distributions that cross within
a bin, NaN counted in a mean, batches of 33.
"""
import ctypes
import zlib

import numpy as np

from eval_types import METRICS, STATISTICS, Details, SampleScore, Score, Scores, f32p, f64, fx, i64

RESAMPLES, BINS, LEADS, LEAD_SCORES = 2000, 128, 4, 8


class Band(ctypes.Structure):
    _fields_ = [(name, f64) for name in ("low", "high", "energy", "error", "decibel", "cutoff")]


class EnsembleScore(ctypes.Structure):
    _fields_ = [(name, f64) for name in ("crps", "error", "spread", "deviation", "pull", "pull_square")]


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
mean_of = function("fx_scores_mean_details", None, ctypes.POINTER(Scores), ctypes.POINTER(Score), ctypes.POINTER(f64))
free_scores = function("fx_scores_free", None, ctypes.POINTER(Scores))
alone = function("fx_comm_self", ctypes.c_void_p)
spectrum_create = function("fx_spectrum_create", ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), i64, f64, ctypes.c_int)
spectrum_add = function("fx_spectrum_add", ctypes.c_int, ctypes.c_void_p, f32p, f32p)
spectrum_shells = function("fx_spectrum_shells", i64, ctypes.c_void_p)
spectrum_read = function("fx_spectrum_read", None, ctypes.c_void_p, *[ctypes.POINTER(f64)] * 3)
spectrum_band = function("fx_band_of", ctypes.c_int, *[ctypes.POINTER(f64)] * 3, i64, *[f64] * 3, ctypes.POINTER(Band))
spectrum_free = function("fx_spectrum_free", None, ctypes.POINTER(ctypes.c_void_p))
psnr = function("fx_psnr", f64, f32p, f32p, i64, f64)
ssim = function("fx_ssim", ctypes.c_int, f32p, f32p, i64, f64, ctypes.POINTER(f64))
moments = function("fx_moments", None, f32p, i64, f64, *[ctypes.POINTER(f64)] * 2)
pdf_add = function("fx_pdf_add", None, f32p, i64, f64, f64, f64, ctypes.POINTER(f64))
pdf_distance = function("fx_pdf_distance", f64, *[ctypes.POINTER(f64)] * 2, f64, f64)
measure = function("fx_ensemble_measure", None, f32p, i64, ctypes.c_int, f32p, i64, f32p, ctypes.POINTER(EnsembleScore))
ranks = function("fx_ensemble_ranks", None, f32p, i64, ctypes.c_int, f32p, i64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint32,
                 ctypes.POINTER(f64))
pull_expected = function("fx_pull_expected", f64, ctypes.c_int)


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


def check_images(rng):
    a, b = [(rng.standard_normal((40, 40)) + 0.3).astype(np.float32) for _ in range(2)]
    b = (0.7 * a + 0.4 * b).astype(np.float32)
    x, y, span = a.astype(np.float64), b.astype(np.float64), 7.5
    close("psnr", psnr(pointer(a), pointer(b), a.size, span), 20 * np.log10(span / np.sqrt(np.mean((x - y) ** 2))), 1e-13)

    tap = np.exp(-np.arange(-5, 6) ** 2 / 4.5)
    window = np.outer(tap, tap) / tap.sum() ** 2
    views = [np.lib.stride_tricks.sliding_window_view(f, (11, 11)) for f in (x, y)]

    def local(f):
        return np.einsum("yxij,ij->yx", f, window)

    mx, my = map(local, views)
    vx, vy, vxy = (local((p - m[..., None, None]) * (q - k[..., None, None]))
                   for p, m, q, k in ((views[0], mx, views[0], mx), (views[1], my, views[1], my), (views[0], mx, views[1], my)))
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    want = np.mean((2 * mx * my + c1) * (2 * vxy + c2) / ((mx ** 2 + my ** 2 + c1) * (vx + vy + c2)))
    got = f64()
    assert ssim(pointer(a), pointer(b), 40, span, got) == 0
    close("ssim", got.value, want, 1e-12)
    small = np.ascontiguousarray(a[:8, :8])
    assert ssim(pointer(small), pointer(small), 8, span, got) == 0 and np.isnan(got.value)

    second, fourth = f64(), f64()
    moments(pointer(a), a.size, 0.2, second, fourth)
    close("moments", [second.value, fourth.value], [np.mean((x - 0.2) ** 2), np.mean((x - 0.2) ** 4)], 1e-13)
    bins, edges = [], np.linspace(-2, 2.5, 129)
    for field, f in ((a, x), (b, y)):
        counts = (f64 * 128)()
        pdf_add(pointer(field), field.size, -2.0, 2.5, 0.5, counts)
        want = np.histogram(np.clip(f, edges[0], edges[-1] - 1e-9), edges)[0] / f.size
        assert np.abs(np.array(counts) - 0.5 * want).max() < 1e-14
        bins.append((f64 * 128)(*want))
    # The cumulative functions on a fine grid; and beside it the distance of the samples themselves.
    fine = np.linspace(-2, 2.5, 128 * 64 + 1)
    cumulative = [np.interp(fine, edges, np.concatenate([[0], np.cumsum(p)])) for p in bins]
    want = np.abs(np.subtract(*cumulative))
    close("W1", pdf_distance(*bins, -2.0, 2.5), np.sum((want[1:] + want[:-1]) / 2) * (fine[1] - fine[0]), 1e-4)
    clipped = [np.sort(np.clip(f, -2, 2.5).ravel()) for f in (x, y)]
    assert abs(pdf_distance(*bins, -2.0, 2.5) - np.mean(np.abs(np.subtract(*clipped)))) < 0.5 * (edges[1] - edges[0])


def check_ensembles(rng):
    for M in (2, 5, 16):
        truth = rng.standard_normal(999).astype(np.float32)
        members = (0.8 * rng.standard_normal((M, 1024)) + 0.1).astype(np.float32)  # a stride above the count
        members[:, 7] = 0.25  # no spread
        x, y, got, mean = members[:, :999].astype(np.float64), truth.astype(np.float64), EnsembleScore(), np.zeros(999, np.float32)
        measure(pointer(members), 1024, M, pointer(truth), 999, pointer(mean), got)
        pairs = np.abs(x[:, None] - x[None]).sum((0, 1)) / (2 * M * (M - 1))
        close("crps", got.crps, np.mean(np.abs(x - y).mean(0) - pairs), 1e-12)
        m, s = x.mean(0), x.std(0, ddof=1)
        close("mean", mean, m, 1e-5)
        close("error of the mean", got.error, np.mean((m - y) ** 2), 1e-12)
        close("spread", [got.deviation, got.spread], [np.mean(s ** 2), np.mean(s ** 2) * (M + 1) / M], 1e-12)
        z = ((m - y) / np.where(s > 0, s, 1))[s > 1e-12]
        close("pull", [got.pull, got.pull_square], [z.mean(), (z ** 2).mean()], 1e-11)
        if M == 16:  # a Student's t of 15 degrees of freedom: variance 15/13
            close("pull expected", pull_expected(M), np.sqrt(15 / 13 * 17 / 16), 1e-14)

        truth[::3] = members[0, :999:3]  # ties: of one member, and at pixel 7 of none
        members[1, :999:6] = truth[::6]  # of two
        counts, seed = (f64 * (M + 1))(), (5 << 33) + 1
        ranks(pointer(members), 1024, M, pointer(truth), 999, seed, 12, 700, counts)
        counter = np.zeros((250, 4), np.uint64)
        counter[:, 0], counter[:, 1], counter[:, 2], counter[:, 3] = np.arange(250), 12, zlib.crc32(b"rank"), 700
        word = philox(seed, counter).ravel()[:999]
        below, equal = (members[:, :999] < truth).sum(0), (members[:, :999] == truth).sum(0)
        drawn = below + (word * (equal + 1).astype(np.uint64) >> np.uint64(32)).astype(int)
        assert (np.bincount(drawn, minlength=M + 1) == np.array(counts)).all()
    assert np.isnan(pull_expected(3))


def numpy_statistics(metric, details, rfne, reynolds, shape):
    """The statistics by name, from means over samples (last axis: samples; leading axes: resamples)."""
    shells, dk, nyquist, low, members = shape
    m = {name: metric[name] for name in metric}
    spectra, pdf, rest = details[:3 * shells], details[3 * shells:3 * shells + 2 * BINS], details[3 * shells + 2 * BINS:]
    rank, by_lead = rest[:members + 1], rest[members + 1:].reshape(LEADS, LEAD_SCORES, *rest.shape[1:])
    start = np.ones_like(by_lead[:1, 1])
    r = np.concatenate([start, by_lead[:, 1]])  # of leads 0 .. LEADS
    falls = (r[1:] < 0.8).argmax(0)
    before, after = (np.take_along_axis(r, np.expand_dims(falls + k, 0), 0)[0] for k in (0, 1))
    lead = np.where((r[1:] < 0.8).any(0), falls + (before - 0.8) / (before - after), LEADS)
    model, truth, error = (spectra[k * shells:(k + 1) * shells] for k in range(3))
    k, kd = np.arange(shells) * dk, min(2 * np.sqrt(reynolds), nyquist)
    band, beyond = (k > low) & (k <= kd), k > kd
    smooth = [np.array([e[max(j - 1, 1):min(j + 1, int(kd / dk)) + 1].sum(0) for j in range(1, int(kd / dk) + 1)])
              for e in (model, truth)]
    below = smooth[0] / smooth[1] < 0.5
    steps = np.cumsum(pdf[:BINS] - pdf[BINS:], 0)
    steps = np.concatenate([np.zeros_like(steps[:1]), steps])
    fine = np.linspace(0, BINS, 64 * BINS + 1)
    if steps.ndim == 1:
        gap = np.abs(np.interp(fine, np.arange(BINS + 1), steps))
        w1 = ((gap[1:] + gap[:-1]) / 2).sum() / 64 * 16 / BINS
    else:
        w1 = None
    return {
        "climatology": m["climatology"], "psnr": m["psnr"], "ssim": m["ssim"], "lowres": m["lowres_rfne"] / rfne,
        "kurtosis": m["fourth_moment"] / m["second_moment"] ** 2,
        "truth_kurtosis": m["truth_fourth_moment"] / m["truth_second_moment"] ** 2, "w1": w1,
        "enstrophy": m["second_moment"] / m["truth_second_moment"], "energy": model[1:].sum(0) / truth[1:].sum(0),
        "band_energy": model[band].sum(0) / truth[band].sum(0), "band_error": error[band].sum(0) / truth[band].sum(0),
        "band_sum": (model[band].sum(0) + error[band].sum(0)) / truth[band].sum(0),
        "tail": model[beyond].sum(0) / truth[beyond].sum(0),
        "cutoff": np.where(below.any(0), (below.argmax(0) + 1) * dk, kd) / kd,
        "spectrum_decibel": m["spectrum_decibel"], "mean_rfne": m["mean_rfne"], "crps": m["crps"],
        "spread_skill": np.sqrt(m["spread"] / m["mean_error"]), "diversity": np.sqrt(m["deviation"] / m["residual_square"]),
        "pull": m["pull"], "pull_width": np.sqrt(m["pull_square"] - m["pull"] ** 2),
        "lead": lead, "energy_drift": np.abs(by_lead[:, 4] / by_lead[:, 5] - 1).max(0),
        "enstrophy_drift": np.abs(by_lead[:, 6] / by_lead[:, 7] - 1).max(0),
        "energy_gain": (by_lead[1:, 4] / by_lead[:-1, 4] - 1).max(0),
        "outliers": (rank[0] + rank[-1]) / rank.sum(0) * (members + 1) / 2,
    }


def check_summary(rng, seed=(3 << 40) + 17, reynolds=100.0):
    count, blocks = 90, rng.integers(0, 13, 90) * 5 - 7  # uneven blocks, some missing
    model, floor, corr = rng.uniform(0.1, 0.4, count), rng.uniform(0.3, 0.9, count), rng.uniform(-1, 1, count)
    model += 0.02 * blocks / 13
    loss = rng.uniform(0, 2, count)
    metric_names = [n.decode() for n in (ctypes.c_char_p * METRICS).in_dll(fx, "fx_metric_names")]
    names = [n.decode() for n in (ctypes.c_char_p * STATISTICS).in_dll(fx, "fx_statistic_names")]
    metric = rng.uniform(1, 2, (METRICS, count))
    metric[metric_names.index("pull_square")] += 4
    metric[metric_names.index("natural_decibel"), 5:30] = np.nan
    metric[metric_names.index("psnr"), 40] = np.nan  # left out of its mean
    shells, dk, nyquist, low, members = shape = (33, 1.0, 32.0, 4.0, 5)
    length = 3 * shells + 2 * BINS + members + 1 + LEADS * LEAD_SCORES
    details = rng.uniform(0.5, 1.5, (length, count))
    for lead in range(LEADS):  # falls through 0.8 between leads 2 and 3
        details[length - LEADS * LEAD_SCORES + lead * LEAD_SCORES + 1] = 0.98 - 0.1 * lead + 0.05 * rng.uniform(-1, 1, count)
    details[5:9] *= 0.2
    details[3 * shells:3 * shells + 2 * BINS] /= BINS

    scores, out, rows = Scores(), (Score * 1)(), ctypes.c_int()
    scores.details = Details(shells, dk, nyquist, low, True, members, LEADS)
    for i in rng.permutation(count):
        row = SampleScore(int(i), int(blocks[i]), reynolds, model[i], (f64 * 2)(floor[i], 2 * floor[i]), corr[i], loss[i],
                          2 * loss[i], 3 * loss[i], 1, (f64 * METRICS)(*metric[:, i]))
        assert add(scores, row) == 0
        for c in range(length):
            scores.numbers[length * (scores.count - 1) + c] = details[c, i]
    assert merge(scores, alone()) == 0 and summarise(scores, seed, out, 1, rows) == 0 and rows.value == 1
    mean_details = (f64 * length)()
    mean_of(scores, out[0], mean_details)
    close("mean details", np.array(mean_details), details.mean(1), 1e-13)
    free_scores(scores)
    s = out[0]
    close("mean", s.rfne, model.mean(), 1e-14)
    close("standard error", s.rfne_error, model.std(ddof=1) / np.sqrt(count), 1e-13)
    close("floors", s.floor[:], [floor.mean(), 2 * floor.mean()], 1e-14)
    close("ratio", s.ratio, model.mean() / floor.mean(), 1e-13)
    close("mean correlation", s.correlation, corr.mean(), 1e-12)
    close("mean loss", s.loss, loss.mean(), 1e-13)
    close("mean squares beside it", [s.target, s.output], [2 * loss.mean(), 3 * loss.mean()], 1e-13)
    square = metric[metric_names.index("truth_square")]
    batches = [np.sqrt((model[b] ** 2 * square[b]).sum() / square[b].sum()) for b in (slice(0, 32), slice(32, 64), slice(64, 90))]
    close("published", s.published, np.mean(batches), 1e-13)
    natural = metric[metric_names.index("natural_decibel")]
    close("natural", s.natural95, np.quantile(natural[~np.isnan(natural)], 0.95), 1e-13)

    names_of_blocks = np.unique(blocks)
    assert s.blocks == len(names_of_blocks) and s.count == count
    draws = -(-len(names_of_blocks) // 4)
    counter = np.zeros((RESAMPLES, draws, 4), np.uint64)
    counter[..., 0], counter[..., 1] = np.arange(draws), np.arange(RESAMPLES)[:, None]
    counter[..., 2] = zlib.crc32(b"bootstrap")
    words = philox(seed, counter).reshape(RESAMPLES, -1)[:, :len(names_of_blocks)]
    drawn = (words * np.uint64(len(names_of_blocks))) >> np.uint64(32)
    sums = np.array([[a[blocks == b].sum() for b in names_of_blocks] for a in (model, floor, np.ones(count))])
    m, f, c = (sums[i][drawn].sum(1) for i in range(3))
    close("interval", [s.rfne_low, s.rfne_high], np.quantile(m / c, [0.025, 0.975]), 1e-12)
    close("interval of the ratio", [s.ratio_low, s.ratio_high], np.quantile(m / f, [0.025, 0.975]), 1e-12)

    want = numpy_statistics(dict(zip(metric_names, np.nanmean(metric, 1))), details.mean(1), model.mean(), reynolds, shape)
    assert set(names) == set(want)
    for name, value in want.items():
        one = 1 if "drift" in name or "gain" in name else 0  # what a difference from 1 was before
        close(name, one + s.value[names.index(name)], one + value, 2e-4 if name == "w1" else 1e-12)
    weights = np.array([np.bincount(d, minlength=len(names_of_blocks)) for d in drawn.astype(int)])  # (resamples, blocks)
    of_sample = weights[:, np.searchsorted(names_of_blocks, blocks)]  # times that each sample is drawn

    def resampled(x):
        known = ~np.isnan(x)
        return of_sample[:, known] @ np.where(known, x, 0)[known] / of_sample[:, known].sum(1)

    again = numpy_statistics({n: resampled(x) for n, x in zip(metric_names, metric)},
                             np.array([resampled(x) for x in details]), resampled(model), reynolds, shape)
    for name, value in again.items():
        if value is not None:
            at = names.index(name)
            one = 1 if "drift" in name or "gain" in name else 0
            close("interval of " + name, one + np.array([s.low[at], s.high[at]]), one + np.quantile(value, [0.025, 0.975]), 1e-11)


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
        band, whole = Band(), n // 2 + 1
        arrays = [(f64 * whole)(*e[:whole]) for e in (halved[1], energy)]
        assert spectrum_band(*arrays, None, whole, dk, 2 * dk, 4 * dk, band) == 0
        close("band", [band.energy, band.decibel], [0.25, 10 * np.log10(4)], 1e-12)
        assert band.cutoff == dk or abs(band.cutoff - dk) < 1e-12
        spectrum_free(s), spectrum_free(half)


if __name__ == "__main__":
    generator = np.random.default_rng(1)
    check_fields(generator)
    check_images(generator)
    check_ensembles(generator)
    check_summary(generator)
    check_spectra(generator)
    print("metrics, ensembles, bootstrap and spectra agree with NumPy")
