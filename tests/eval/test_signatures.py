"""Failure signatures: each fires on fields made to have exactly that fault, and none on sound ones, 20 seeds each. Fields go
through the library from the pixels on: measured, merged, summarised, detected.

A truth is what its low-resolution grid says (base), a part that can be known from it, and one that can't: u = a k + b r,
a^2 + b^2 = 1, with nothing at the pixels given. A sound member has the same base and k and its own r, so truth and members are
draws of one distribution; each fault changes one thing of that. No limit is of this test: they are those of the table.

Run: label full
Planted errors, each caught: the band and the tail up to the grid's Nyquist number, the error's spectrum without the truth taken
off, k_d of 1.3 sqrt(Re), borders one pixel off, the comb one wave number off, a collapse that is called uncalibrated as well.
"""
import ctypes

import numpy as np

from eval_types import METRICS, Details, SampleScore, Score, Scores, f32p, f64, fx, i64

N, FACTOR, RE, M, SAMPLES, SEEDS = 64, 4, 196.0, 16, 4, 20  # k_d = 28, k_LR = 8
KNOWN = 0.85  # share of the variance beyond the base that can be known


class Measure(ctypes.Structure):
    _fields_ = [("side", i64), ("factor", i64), ("members", ctypes.c_int), ("seed", ctypes.c_uint64), ("details", Details)]


class Values(ctypes.Structure):
    _fields_ = [(name, f64) for name in ("mean", "std", "range")]


class Row(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ("name", "says", "number", "advice")] + [("low", f64), ("high", f64)]


class Symptoms(ctypes.Structure):
    _fields_ = [("members", ctypes.c_int)] + [(name, f64) for name in (
        "spread_skill diversity band_energy band_sum trained_ratio jump truth error comb cutoff decibel natural tail "
        "energy_drift enstrophy_drift energy_gain lowres").split()]


class Sign(ctypes.Structure):
    _fields_ = [("signature", i64), ("task", ctypes.c_int), ("reynolds", f64), ("number", f64), ("limit", f64)]


class Seams(ctypes.Structure):
    _fields_ = [(name, f64) for name in ("jump", "truth", "error", "comb")]


class TilesOptions(ctypes.Structure):
    _fields_ = [(name, i64) for name in ("height", "width", "side", "unit")] + [("overlap", f64), ("periodic", ctypes.c_bool * 2)]


SIGNATURES = 15
TABLE = [r.name.decode() for r in (Row * SIGNATURES).in_dll(fx, "fx_signature_table")]
fx.fx_symptoms_none.restype = fx.fx_symptoms_of.restype = Symptoms
fx.fx_symptoms_of.argtypes = ctypes.POINTER(Score), ctypes.c_int, ctypes.c_bool, ctypes.c_bool
fx.fx_signatures_find.argtypes = ctypes.POINTER(Symptoms), ctypes.POINTER(Sign)
fx.fx_measure_create.argtypes = ctypes.POINTER(ctypes.POINTER(Measure)), i64, i64, i64, ctypes.c_int, ctypes.c_int, ctypes.c_uint64
fx.fx_measure_natural.argtypes = ctypes.POINTER(Measure), f32p, f32p, f64, ctypes.POINTER(f64)
fx.fx_measure_sample.argtypes = (ctypes.POINTER(Measure), f32p, i64, f32p, f32p, ctypes.POINTER(Values),
                                 ctypes.POINTER(SampleScore), ctypes.c_void_p)
fx.fx_scores_add.argtypes = ctypes.POINTER(Scores), ctypes.POINTER(SampleScore)
fx.fx_scores_details.argtypes = ctypes.POINTER(Scores), ctypes.POINTER(SampleScore)
fx.fx_scores_details.restype = ctypes.c_void_p
fx.fx_comm_self.restype = ctypes.c_void_p
fx.fx_scores_merge.argtypes = ctypes.POINTER(Scores), ctypes.c_void_p
fx.fx_scores_summarise.argtypes = (ctypes.POINTER(Scores), ctypes.c_uint64, ctypes.POINTER(Score), ctypes.c_int,
                                   ctypes.POINTER(ctypes.c_int))
fx.fx_seams_open.argtypes = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
fx.fx_seams_add_rows.argtypes = fx.fx_seams_add_columns.argtypes = ctypes.c_void_p, i64, f32p
fx.fx_seams_judge.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(Seams)

wave = np.hypot(*np.meshgrid(np.fft.fftfreq(N, 1 / N), np.fft.fftfreq(N, 1 / N)))


def f32(a):
    return np.ascontiguousarray(a, np.float32)


def at(a):
    return a.ctypes.data_as(f32p)


def turbulence(rng, n=N, kd=28.0, above=0.0):
    """Random phases; the energy falls as k^-3 and faster near dissipation. Nothing up to the wave number `above`."""
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(n, 1 / n), np.fft.fftfreq(n, 1 / n)))
    amplitude = np.where(k > above, np.maximum(k, 1) ** -1.0 * np.exp(-(k / kd * 1.3) ** 2), 0)
    w = np.fft.ifft2(amplitude * np.fft.fft2(rng.standard_normal((n, n)))).real
    return w / np.sqrt((amplitude ** 2).sum()) * n


def filtered(w, gain):
    return np.fft.ifft2(gain(wave) * np.fft.fft2(w)).real


def from_lowres(w):
    """The smoothest field through every 4th pixel: Fourier's."""
    low = np.fft.fft2(w[::FACTOR, ::FACTOR])
    low[N // FACTOR // 2, :] = low[:, N // FACTOR // 2] = 0
    full, index = np.zeros((N, N), complex), np.fft.fftfreq(N // FACTOR, FACTOR / N).astype(int)
    full[np.ix_(index, index)] = low * FACTOR ** 2
    return np.fft.ifft2(full).real


# Vanishes at the pixels given, without a corner there.
VEIL = 1 - np.outer(*[0.5 * (1 + np.cos(2 * np.pi * np.arange(N) / FACTOR))] * 2)


def part(rng):
    return VEIL * 0.3 * turbulence(rng, above=N / 2 / FACTOR)


def world(rng, known=KNOWN, members=M):
    """One sample: truth, members, base, what can be known beyond it."""
    base, k = from_lowres(turbulence(rng)), np.sqrt(known) * part(rng)
    fields = np.array([base + k + np.sqrt(1 - known) * part(rng) for _ in range(1 + members)])
    return fields[0], fields[1:], base, k


def sound(rng, truth, members, base, known):
    return members


def collapse(rng, truth, members, base, known):
    return members[0] + 1e-3 * (members - members[0])


def uncalibrated(rng, truth, members, base, known):
    return members[0] + 0.6 * (members - members[0])


def blur(rng, truth, members, base, known):
    return np.array([filtered(w, lambda k: np.where(k > 8, 0.6, 1)) for w in members])


def mean_predictor(rng, truth, members, base, known):
    return base + known + 1e-3 * (members - members[0])


def rolloff(rng, truth, members, base, known):
    return np.array([filtered(w, lambda k: k <= 19) for w in members])


def spectrum(rng, truth, members, base, known):
    return np.array([filtered(w, lambda k: np.where(np.round(k) % 2 == 0, 1.45, 0.75)) for w in members])


def noise(rng, truth, members, base, known):
    white = rng.standard_normal(members.shape)
    return members + 0.1 * np.array([filtered(w, lambda k: k > 28) for w in white])


def lowres(rng, truth, members, base, known):
    return members + 0.05 * np.array([filtered(turbulence(rng), lambda k: k < 6) for _ in members])


def worlds(seed, known=KNOWN):
    rng = np.random.default_rng(1000 + seed)
    return [(world(rng, known), f32(world(rng, known, 0)[0])) for _ in range(SAMPLES)]


def signs_of(fault, seed, samples):
    rng = np.random.default_rng(2000 + seed)
    measure, scores, out, rows = ctypes.POINTER(Measure)(), Scores(), (Score * 1)(), ctypes.c_int()
    assert fx.fx_measure_create(measure, N, N, FACTOR, 0, M, seed) == 0
    scores.details = measure.contents.details
    for i, ((truth, members, base, part), apart) in enumerate(samples):
        members = f32(fault(rng, truth, members, base, part))
        truth, base = f32(truth), f32(base)
        rfne = np.mean([np.linalg.norm(w - truth) for w in members]) / np.linalg.norm(truth)
        s = SampleScore(i, i, RE, rfne, (f64 * 2)(np.linalg.norm(base - truth) / np.linalg.norm(truth), np.nan), 1,
                        np.nan, np.nan, np.nan, 0)
        for k in range(METRICS):
            s.value[k] = np.nan
        s.value[0], natural = float((truth.astype(float) ** 2).mean()), f64()
        assert fx.fx_measure_natural(measure, at(truth), at(apart), RE, natural) == 0
        s.value[11] = natural.value
        assert fx.fx_scores_add(scores, s) == 0
        row = scores.row[scores.count - 1]
        assert fx.fx_measure_sample(measure, at(members), N * N, at(base), at(truth), Values(0, 1, 8), row,
                                    fx.fx_scores_details(scores, row)) == 0
    assert fx.fx_scores_merge(scores, fx.fx_comm_self()) == 0
    assert fx.fx_scores_summarise(scores, 1, out, 1, rows) == 0
    fx.fx_scores_free(ctypes.byref(scores))
    fx.fx_measure_free(ctypes.byref(measure))
    return found(fx.fx_symptoms_of(out[0], M, True, True)), out[0]


def found(symptoms):
    signs = (Sign * SIGNATURES)()
    return {TABLE[signs[k].signature]: (signs[k].number, signs[k].limit) for k in range(fx.fx_signatures_find(symptoms, signs))}


def underfit(rng, truth, members, base, known):
    return members  # of a world where little is known


# What must fire, and what else may, as it follows from the fault.
FAULTS = {
    sound: ((), ()),
    collapse: (("collapse", "no_diversity"), ()),
    uncalibrated: (("uncalibrated",), ()),
    blur: (("blur",), ("rolloff", "spectrum", "uncalibrated", "lowres", "underfit")),
    mean_predictor: (("collapse", "no_diversity", "mean_predictor"), ("spectrum",)),
    underfit: (("underfit",), ()),
    rolloff: (("rolloff",), ("spectrum", "lowres", "uncalibrated")),
    spectrum: (("spectrum",), ("lowres", "uncalibrated", "noise", "underfit")),
    noise: (("noise",), ("spectrum", "lowres", "uncalibrated")),
    lowres: (("lowres",), ("uncalibrated",)),
}


def sums_of(w, tiles):
    """The field in pieces of 40 rows and of 24 columns."""
    sums = ctypes.c_void_p()
    assert fx.fx_seams_open(tiles, sums) == 0
    for r in range(0, len(w), 40):
        fx.fx_seams_add_rows(sums, len(w[r:r + 40]), at(f32(w[r:r + 40])))
    for c in range(0, len(w), 24):
        fx.fx_seams_add_columns(sums, w[:, c:c + 24].shape[1], at(f32(w[:, c:c + 24])))
    return sums


def seams_of(w, truth, side=32):
    out, tiles = Seams(), (i64 * 32)()
    assert fx.fx_tiles_create(ctypes.byref(TilesOptions(len(w), len(w), side, 1, 0, (True, True))), tiles) == 0
    sums = sums_of(w, tiles), sums_of(truth, tiles)
    fx.fx_seams_judge(*sums, out)
    for s in sums:
        fx.fx_seams_free(ctypes.byref(s))
    fx.fx_tiles_free(tiles)
    return out


def check_seams(wrong):
    """Sound: the truth and an error of a third of its size. Faults: a constant of its own added to every tile; the same ramp
    added to every tile. The comb is the duller of the two: the weak ramp's jumps are seen, its comb is not."""
    fires = {"sound tiles": set(), "offsets": {"seams"}, "weak ramps": {"seams"}, "ramps": {"seams", "comb"}}
    seen = {name: [] for name in fires}
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        truth = turbulence(rng, 128, 56.0)
        field = np.sqrt(0.95) * truth + np.sqrt(0.05) * turbulence(rng, 128, 56.0)
        step = np.abs(np.diff(field, axis=0)).mean()
        offsets = np.kron(rng.choice([-1, 1], (4, 4)), np.ones((32, 32)))
        ramp = np.tile(np.add.outer(np.arange(32), np.arange(32)) / 31 - 1, (4, 4))
        for name, w in zip(seen, (field, field + 0.7 * step * offsets, field + step * ramp, field + 3 * step * ramp)):
            symptoms, of = fx.fx_symptoms_none(), seams_of(w, truth)
            symptoms.jump, symptoms.truth, symptoms.error, symptoms.comb = of.jump, of.truth, of.error, of.comb
            fired = set(found(symptoms))
            seen[name].append((of.jump - of.truth, of.error, of.comb))
            if fired != fires[name]:
                wrong.append((name, seed, fired, seen[name][-1]))
    for name, rows in seen.items():
        jumps, errors, combs = zip(*rows)
        print(f"{name:15s} jumps {min(jumps):.3f} to {max(jumps):.3f}, standard error {min(errors):.3f} to {max(errors):.3f}, "
              f"comb {min(combs):.2f} to {max(combs):.2f}")


def check_rollouts(wrong):
    """The truth's energy decays. Sound: it and an error of a tenth of its size that grows, beyond the largest eddies; faults: a model that
    loses a fiftieth of its amplitude a lead, one that gains it, one whose small scales alone grow."""
    fires = {"sound leads": set(), "loses": {"energy_drift", "enstrophy_drift"},
             "gains": {"energy_drift", "enstrophy_drift", "energy_gain"}, "roughens": {"enstrophy_drift"}}
    leads, seen = 12, {name: [] for name in fires}
    fx.fx_measure_lead.argtypes = ctypes.POINTER(Measure), f32p, i64, f32p, f32p, ctypes.POINTER(Values), ctypes.POINTER(f64)
    for seed in range(SEEDS):
        rng = np.random.default_rng(3000 + seed)
        begin, error, small = turbulence(rng), turbulence(rng, above=4), turbulence(rng, above=12)
        for name in fires:
            measure, scores, out, rows = ctypes.POINTER(Measure)(), Scores(), (Score * 1)(), ctypes.c_int()
            assert fx.fx_measure_create(measure, N, N, FACTOR, 0, 1, seed) == 0
            measure.contents.details.leads = leads
            scores.details = measure.contents.details
            s = SampleScore(0, 0, RE, 0.1, (f64 * 2)(0.2, np.nan), 1, np.nan, np.nan, np.nan, 1)
            for k in range(METRICS):
                s.value[k] = np.nan
            assert fx.fx_scores_add(scores, s) == 0
            numbers = fx.fx_scores_details(scores, scores.row[0])
            length = 3 * (N // 2 + 1) + 2 * 128
            for lead in range(leads):
                truth = begin * 0.985 ** lead
                member = np.sqrt(1 - 0.01 * lead / leads) * truth + 0.1 * np.sqrt(lead / leads) * 0.985 ** lead * error
                member *= {"loses": 0.98, "gains": 1.02}.get(name, 1) ** lead
                member = member + (0.05 * lead * small if name == "roughens" else 0)
                at_lead = ctypes.cast(numbers + 8 * (length + 8 * lead), ctypes.POINTER(f64))
                truth, member, start = f32(truth), f32(member), f32(begin)
                assert fx.fx_measure_lead(measure, at(member), N * N, at(start), at(truth), Values(0, 1, 8), at_lead) == 0
            assert fx.fx_scores_merge(scores, fx.fx_comm_self()) == 0
            assert fx.fx_scores_summarise(scores, 1, out, 1, rows) == 0
            fired = found(fx.fx_symptoms_of(out[0], 1, True, True))
            fired = {k: v for k, v in fired.items() if k in ("energy_drift", "enstrophy_drift", "energy_gain")}
            seen[name].append({k: round(v[0], 3) for k, v in fired.items()})
            if set(fired) != fires[name]:
                wrong.append((name, seed, fired))
            fx.fx_scores_free(ctypes.byref(scores))
            fx.fx_measure_free(ctypes.byref(measure))
    for name, rows in seen.items():
        print(f"{name:15s}", {k: f"{min(r[k] for r in rows if k in r)} to {max(r[k] for r in rows if k in r)}"
                              for k in sorted(set().union(*rows))})


def main():
    wrong = []
    check_rollouts(wrong)
    normal, hard = ([worlds(seed, known) for seed in range(SEEDS)] for known in (KNOWN, 0.4))
    for fault, (must, may) in FAULTS.items():
        seen = {}
        for seed in range(SEEDS):
            signs, _ = signs_of(fault, seed, (hard if fault is underfit else normal)[seed])
            for name, pair in signs.items():
                seen.setdefault(name, []).append(pair[0])
            if not set(must) <= set(signs) or set(signs) - set(must) - set(may):
                wrong.append((fault.__name__, seed, signs))
        print(f"{fault.__name__:15s}", {k: f"{len(v)} of {SEEDS}, {min(v):.3g} to {max(v):.3g}" for k, v in seen.items()})
    check_seams(wrong)
    assert not wrong, "\n".join(map(str, wrong[:12]))


main()
print("signatures fire on their faults and are silent on sound fields")
