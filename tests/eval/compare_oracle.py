"""compare_oracle.py: src/eval/compare.c once more, in NumPy: for test_compare_numpy.py and tests/study. Not a test itself."""
import zlib

import numpy as np

from test_metrics_numpy import RESAMPLES, philox

# 97.5 % quantiles of Student's t, from a printed table.
STUDENT = {1: 12.7062, 2: 4.30265, 3: 3.18245, 4: 2.77645, 5: 2.57058, 6: 2.44691, 7: 2.36462, 8: 2.30600, 9: 2.26216, 10: 2.22814,
           30: 2.04227, 60: 2.00030, 120: 1.97993}
# Quantiles of Fisher's F, (chance of more, degrees of freedom above, below), from a printed table.
FISHER = {(0.05, 1, 1): 161.448, (0.05, 1, 2): 18.5128, (0.05, 2, 1): 199.500, (0.05, 2, 2): 19.0000, (0.05, 3, 2): 19.1643,
          (0.05, 2, 3): 9.55209, (0.05, 4, 7): 4.12031, (0.05, 7, 4): 6.09421, (0.05, 5, 5): 5.05033, (0.05, 10, 1): 241.882,
          (0.05, 1, 10): 4.96460, (0.05, 3, 10): 3.70826, (0.01, 1, 2): 98.5025, (0.01, 5, 5): 10.9670, (0.01, 4, 7): 7.84665}


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


def is_wide(own, others):
    """Whether two seeds of an arm lie further apart than those of other arms tell: for one degree of freedom F is t squared."""
    (relative, freedom), (rest, more) = noise([own]), noise(others)
    return freedom == 1 and more > 0 and bool((relative / rest) ** 2 > STUDENT[more] ** 2)
