"""hashed.py: numbers that are a function of a name (spec of the golden files), with NumPy alone."""
import zlib

import numpy as np


def hashed(name, shape, amplitude, tag, signed=True):
    """u(name, i) in [0, 1) by splitmix64 over crc32(name) and i, or (2u - 1) amplitude, as float32."""
    mask, golden = (1 << 64) - 1, 0x9E3779B97F4A7C15
    i = np.arange(int(np.prod(shape)), dtype=np.uint64)
    z = (np.uint64(zlib.crc32(name.encode()) << 32) | i) ^ np.uint64(tag * golden & mask)
    with np.errstate(over="ignore"):
        z = z + np.uint64(golden)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(11)).astype(np.float64) * 2.0 ** -53
    return ((2 * u - 1) * amplitude if signed else u).astype(np.float32).reshape(shape)


def weight(name, shape, tag):
    """A parameter or buffer of a model with this published name and shape."""
    module, leaf = name.rsplit(".", 1)
    if leaf in ("freqs", "phases"):
        return hashed(name, shape, 6.0 if leaf == "freqs" else 3.0, tag)
    if leaf == "pos_embed":
        return hashed(name, shape, 0.02, tag)
    if len(shape) >= 2:
        return hashed(name, shape, 1 / np.sqrt(np.prod(shape[1:])), tag)
    is_norm = module.rsplit(".", 1)[-1] in ("norm", "norm1", "norm2") or \
        module.endswith(("in_layers.0", "out_layers.0", "final_layer.0", ".out.0"))
    return hashed(name, shape, 0.1, tag) + np.float32(is_norm and leaf == "weight")
