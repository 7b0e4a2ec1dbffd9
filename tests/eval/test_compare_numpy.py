"""Block bootstrap, noise of seeds and verdicts of libflexhpc.so against NumPy, and the tie rule on made cases: arms that
differ by nothing but their seeds' noise are a tie about as often as a 95 % interval says.

Run: label quick
Planted and caught: the tie rule reversed; degrees of freedom of an F ratio exchanged.
"""
import ctypes

import numpy as np

from compare_oracle import FISHER, STUDENT, bootstrap, half, judge, noise
from test_metrics_numpy import close, function

f64, i64 = ctypes.c_double, ctypes.c_int64
VERDICTS = ["a tie", "lower", "higher", "not known from one seed"]


class Interval(ctypes.Structure):
    _fields_ = [("value", f64), ("low", f64), ("high", f64)]


class Noise(ctypes.Structure):
    _fields_ = [("relative", f64), ("freedom", ctypes.c_int)]


block_bootstrap = function("fx_bootstrap_ratio", ctypes.c_int, *[ctypes.POINTER(f64)] * 2, ctypes.POINTER(i64), i64,
                           ctypes.c_uint64, ctypes.POINTER(Interval))
fisher = function("fx_fisher_tail", f64, f64, ctypes.c_int, ctypes.c_int)
student = function("fx_student_quantile", f64, ctypes.c_int)
noise_add = function("fx_seed_noise_add", None, ctypes.POINTER(Noise), ctypes.POINTER(f64), ctypes.c_int)
noise_half = function("fx_seed_noise_half", f64, ctypes.POINTER(Noise), f64, ctypes.c_int)
fx_judge = function("fx_judge", ctypes.c_int, ctypes.POINTER(Interval), f64, f64, ctypes.POINTER(Interval))


def reals(a):
    return np.ascontiguousarray(a, np.float64).ctypes.data_as(ctypes.POINTER(f64))


def run_bootstrap(x, y, block, seed):
    out = Interval()
    block = np.ascontiguousarray(block, np.int64)
    pointer = None if y is None else reals(y)
    assert block_bootstrap(reals(x), pointer, block.ctypes.data_as(ctypes.POINTER(i64)), len(x), seed, out) == 0
    return out


def numbers(interval):
    return [interval.value, interval.low, interval.high]


def check_bootstrap(rng):
    block = rng.integers(0, 11, 100) * 7 - 20  # uneven blocks, not in order
    x, y = rng.uniform(0.1, 0.4, 100) + 0.01 * block / 7, rng.uniform(0.5, 1, 100)
    for seed in (1, (5 << 40) + 3):
        close("mean", numbers(run_bootstrap(x, None, block, seed)), np.array(bootstrap(x, np.ones(100), block, seed)), 1e-11)
        close("ratio", numbers(run_bootstrap(x, y, block, seed)), np.array(bootstrap(x, y, block, seed)), 1e-11)
    one = run_bootstrap(x, None, np.full(100, 3), 1)
    assert one.value == x.sum() / 100 or abs(one.value - x.mean()) < 1e-14
    assert np.isnan(one.low) and np.isnan(one.high)


def run_noise(arms):
    n = Noise(np.nan, 0)
    for a in arms:
        noise_add(n, reals(a), len(a))
    return n


def check_noise(rng):
    for freedom, value in STUDENT.items():
        close(f"t of {freedom}", student(freedom), value, 2e-5)
    assert np.isinf(student(0))
    for (chance, above, below), ratio in FISHER.items():
        close(f"F of {above} and {below}", fisher(ratio, above, below), chance, 2e-5)
    for above, below in ((0, 3), (3, 0)):
        assert np.isnan(fisher(1, above, below))
    for below in (1, 4, 9):
        assert fisher(np.inf, 2, below) == 0 and fisher(0, 3, below) == 1
    arms = [rng.uniform(0.9, 1.1, k) for k in (2, 3, 1, 2)]
    n, (relative, freedom) = run_noise(arms), noise(arms)
    assert n.freedom == freedom == 4
    close("relative noise", n.relative, relative, 1e-13)
    close("half-width", noise_half(n, -0.3, 3), half(relative, freedom, -0.3, 3), 2e-5)
    alone = run_noise([[0.2], [0.3]])
    assert alone.freedom == 0 and np.isnan(alone.relative) and np.isnan(noise_half(alone, 1, 1))


def check_verdicts():
    nan = np.nan
    for value, low, high, a, b, want in [(0.3, 0.2, 0.4, 0.05, 0.05, "higher"), (-0.3, -0.4, -0.2, 0.05, 0.05, "lower"),
                                         (0.3, 0.2, 0.4, 0.3, 0.2, "a tie"),  # samples tell it, seeds do not
                                         (0.3, -0.1, 0.7, 0.0, 0.0, "a tie"), (0.3, 0.2, 0.4, nan, nan, "not known from one seed"),
                                         (0.3, -0.1, 0.7, nan, nan, "a tie"), (0.3, nan, nan, 0.01, 0.01, "a tie"),
                                         (0.0, 0.0, 0.0, 0.0, 0.0, "a tie")]:
        samples, both = Interval(value, low, high), Interval()
        verdict = VERDICTS[fx_judge(samples, a, b, both)]
        wanted = judge(value, low, high, a, b)
        assert verdict == wanted[2] == want, (value, low, high, a, b, verdict)
        if not np.isnan(low):
            close("interval over both", [both.low, both.high], np.array(wanted[:2]), 1e-13)


def check_coverage(rng, trials=300, arms=4, seeds=2, samples=60, blocks=10):
    """Arms of one true mean: per-sample errors are alike in a block, seeds shift a whole run by 3 %."""
    block = np.repeat(np.arange(blocks), samples // blocks)
    ties = {0.0: 0, 0.3: 0}
    for _ in range(trials):
        shared = 0.2 + 0.05 * rng.standard_normal(blocks)[block]
        runs = [[shared * (1 + 0.03 * rng.standard_normal()) + 0.01 * rng.standard_normal(samples) for _ in range(seeds)]
                for _ in range(arms)]
        n = run_noise([[r.mean() for r in arm] for arm in runs])
        a, b = np.mean(runs[0], 0), np.mean(runs[1], 0)
        for shift in ties:
            both = Interval()
            d = run_bootstrap(a * (1 + shift) - b, None, block, 1)
            ties[shift] += fx_judge(d, noise_half(n, a.mean() * (1 + shift), seeds), noise_half(n, b.mean(), seeds), both) == 0
    print(f"of {trials} pairs without a difference {ties[0.0]} are ties; of as many that differ by 30 %, {ties[0.3]}")
    assert ties[0.0] >= 0.93 * trials and ties[0.3] <= 0.1 * trials


def main():
    rng = np.random.default_rng(7)
    check_bootstrap(rng)
    check_noise(rng)
    check_verdicts()
    check_coverage(rng)
    print("bootstrap, noise of seeds and verdicts agree with NumPy")


if __name__ == "__main__":
    main()
