#!/usr/bin/env python3
"""The model's low-resolution input, as `flexhpc sample` writes it beside the truth, against NumPy: bicubic and bilinear, a
property of the model that its checkpoint keeps.

Planted and caught: data.upsampling left out of step_options.c.
Run: label quick
Run: cost 8"""
import os
import sys

import numpy as np
import h5py

import formats
from formats import run, sets

sys.path.insert(0, os.path.join(os.environ["FX_TESTS_DIR"], "ops"))
from interpolation import interpolate

FACTOR = 4
random = np.random.default_rng(5)


def smooth(*shape):
    """Periodic fields with some structure, of root mean square about 1."""
    x = np.fft.rfft2(random.standard_normal(shape))
    ky, kx = np.fft.fftfreq(shape[-2]) * shape[-2], np.arange(shape[-1] // 2 + 1)
    x *= np.exp(-(ky[:, None] ** 2 + kx**2) / 100)
    y = np.fft.irfft2(x, s=shape[-2:])
    return (y / y.std()).astype(np.float32)


def train(name, **keys):
    with open("tiny.yaml", "w") as f:
        f.write(formats.TINY.replace("TASKS", "tasks: mt"))
    run("train", "tiny.yaml", "--run", name, *sets({"train__steps": 2, "checkpoint__every": 2, **keys}))


def sampled(name, **keys):
    """Inputs, results and truths of super-resolution, (sample, y, x)."""
    run("sample", "tiny.yaml", "--run", name, "--out", "sample.h5", *sets(keys))
    with h5py.File("sample.h5") as f:
        return f["sr_input"][:], f["sr_model"][:], f["sr_truth"][:]


def close(a, b):
    assert a.shape == b.shape and np.abs(a - b).max() < 2e-6 * np.abs(b).max(), np.abs(a - b).max()


def floors(name):
    """RFNE of the input, by the evaluation's own table."""
    run("eval", "tiny.yaml", "--run", name)
    with h5py.File(f"{name}/eval-pack.h5") as f:
        return {row[0]: row[8] for row in f["scores"][:]}


def rfne(a, b):
    return np.mean([np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in zip(a.astype(float), b.astype(float))])


# ---- Interpolation is the checkpoint's, not the call's.
path = "1000_48_48_seed_1.h5"
with h5py.File(path, "w") as f:
    f["w"] = smooth(8, 48, 48)
formats.pack(path)
for kind in "bicubic", "bilinear":
    train(kind, data__upsampling=kind)
    x, model, truth = sampled(kind)
    want = np.stack([interpolate(kind, t, FACTOR) for t in truth])
    close(x, want)
    assert abs(floors(kind)[0] - rfne(want, truth)) < 1e-5
other = run("train", "tiny.yaml", "--run", "bicubic", *sets({"data__upsampling": "bilinear"}), code=2)
assert "data.upsampling" in other.stderr, other.stderr
formats.end()
