"""What whole-field sampling must give, by NumPy: noise, tiles, blending, and DDIM of a network that returns 0."""
import zlib

import numpy as np

MASK = np.uint64(0xFFFFFFFF)


def philox(key, counter):
    """Ten rounds of Philox4x32 on arrays of counters (4, n); words (4, n)."""
    c = [np.asarray(x, np.uint64) + np.zeros_like(np.asarray(counter[0], np.uint64)) for x in counter]
    k0, k1 = np.uint64(key & 0xFFFFFFFF), np.uint64(key >> 32)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k0, p1 & MASK, (p0 >> np.uint64(32)) ^ c[3] ^ k1, p0 & MASK]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & MASK, (k1 + np.uint64(0xBB67AE85)) & MASK
    return np.array(c)


def noise(shape, seed, task, member, frame):
    """The field's normal numbers; task 0: sr, 1: fc."""
    rows, columns = np.meshgrid(np.arange(shape[0]), np.arange((shape[1] + 3) // 4), indexing="ij")
    stream = zlib.crc32(b"x_T" if member == 0 else b"x_T.%d" % member)
    word = philox(seed, [columns, 2 * rows + task, stream, frame]).astype(np.float64)
    radius = lambda w: np.sqrt(-2 * np.log((w + 1) * 2.0**-32))
    angle = lambda w: w * 2.0**-32 * 2 * np.pi
    out = [radius(word[0]) * np.cos(angle(word[1])), radius(word[0]) * np.sin(angle(word[1])),
           radius(word[2]) * np.cos(angle(word[3])), radius(word[2]) * np.sin(angle(word[3]))]
    return np.stack(out, -1).reshape(shape[0], -1)[:, :shape[1]]


def zero_network_gain(steps):
    """DDIM's residual over its noise where the velocity is 0: the product of the alphas, sigmas in between."""
    b = np.arctan(np.exp(-10.0))
    a = np.arctan(np.exp(10.0)) - b
    alpha = lambda t: np.cos(a * t + b)
    sigma = lambda t: np.sin(a * t + b)
    x = mean = 1.0
    for k in range(steps, 0, -1):
        t, after = k / steps, (k - 1) / steps
        mean, e = alpha(t) * x, sigma(t) * x
        x = alpha(after) * mean + sigma(after) * e
    return mean


def blend(shape, side, overlap, rows, columns, tile):
    """Tiles by tile(row, column) at these corners, weighted by sin^2 from their edges over `overlap` points."""
    to_edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    w = np.where(to_edge >= overlap, 1.0, np.sin(np.pi / 2 * to_edge / max(overlap, 1)) ** 2)
    total, weight = np.zeros(shape), np.zeros(shape)
    for r in rows:
        for c in columns:
            at = np.ix_((r + np.arange(side)) % shape[0], (c + np.arange(side)) % shape[1])
            total[at] += np.outer(w, w) * tile(r, c)
            weight[at] += np.outer(w, w)
    return total / weight


def seam(field, rows, columns, side):
    """Mean absolute jump across the edges of tiles over that elsewhere, of a field that is periodic or not; the wrap is left
    out. 1 where edges can't be told from other places."""
    def jumps(x, first):
        edges = {f % len(x) for f in first} | {(f + side) % len(x) for f in first}
        step = np.abs(np.diff(x, axis=0)).mean(1)
        there = np.array([k + 1 in edges for k in range(len(step))])
        return step[there], step[~there]

    down, across = jumps(field, rows), jumps(field.T, columns)
    return np.concatenate([down[0], across[0]]).mean() / np.concatenate([down[1], across[1]]).mean()
