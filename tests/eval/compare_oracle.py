"""compare_oracle.py: src/eval/compare.c once more, in NumPy: for test_compare_numpy.py and tests/study. Not a test itself."""
import zlib

import numpy as np

from test_metrics_numpy import RESAMPLES, philox

# 97.5 % quantiles of Student's t, from a printed table.
STUDENT = {1: 12.7062, 2: 4.30265, 3: 3.18245, 4: 2.77645, 5: 2.57058, 6: 2.44691, 9: 2.26216, 10: 2.22814, 30: 2.04227, 60: 2.00030,
           120: 1.97993}


def bootstrap(x, y, block, seed):
    """(value, low, high) of sum x / sum y over whole blocks drawn with replacement."""
    names = np.unique(block)
    draws = -(-len(names) // 4)
    counter = np.zeros((RESAMPLES, draws, 4), np.uint64)
    counter[..., 0], counter[..., 1] = np.arange(draws), np.arange(RESAMPLES)[:, None]
    counter[..., 2] = zlib.crc32(b"bootstrap")
    words = philox(seed, counter).reshape(RESAMPLES, -1)[:, :len(names)]
    drawn = (words * np.uint64(len(names))) >> np.uint64(32)
    a, b = (np.array([v[block == n].sum() for n in names]) for v in (x, y))
    return (x.sum() / y.sum(), *np.quantile(a[drawn].sum(1) / b[drawn].sum(1), [0.025, 0.975]))


def noise(arms):
    """(relative standard deviation, degrees of freedom) of arms of means, one a seed."""
    freedom = sum(len(a) - 1 for a in arms)
    square = sum(((np.asarray(a) / np.mean(a) - 1) ** 2).sum() for a in arms if len(a) > 1)
    return (np.sqrt(square / freedom) if freedom else np.nan), freedom


def half(relative, freedom, mean, seeds):
    return STUDENT[freedom] * relative * abs(mean) / np.sqrt(seeds) if freedom else np.nan


def judge(value, low, high, a, b):
    """The interval over samples and seeds, and the verdict."""
    seeds = 0 if np.isnan(a) or np.isnan(b) else np.hypot(a, b)
    low, high = value - np.hypot(value - low, seeds), value + np.hypot(high - value, seeds)
    if low <= 0 <= high or np.isnan(low):
        return low, high, "a tie"
    if np.isnan(a) or np.isnan(b):
        return low, high, "not known from one seed"
    return low, high, "lower" if high < 0 else "higher"
