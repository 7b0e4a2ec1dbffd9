"""Whole fields of 2048 x 2048, by a small model trained here on smooth waves: SR on 2 ranks is that on 1 to the bit, and so
is the first member of a forecast of 3 leads, at 1024 x 1024 both members; the seams of tiles stay below 0.05, the detector's limit,
and the wrap is as smooth; memory grows with the field by no more than what a rank must hold of it, and not with members. With
FX_SAMPLE=sr or FX_SAMPLE=fc one of the two alone. Prints what it measured.

Planted and caught, seams and bits on 512 x 512, memory by super-resolution of 512 and 2048 squared alone: tiles without overlap (seam 3.5
where the truth's is 1.0); the tiles of two ranks taken for each other's; a rank that keeps the whole result of super-resolution (16.3 MiB
more, of which 1.2 must be).

Run: label long
Run: timeout 7200
"""
import os
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.environ["FX_TESTS_DIR"], "train"))
from sampled_fields import seam

FLEXHPC, SIDE, FACTOR, MIB = os.environ["FLEXHPC"], 64, 8, 2**20
CONFIG = f"""
precision: bf16
model: {{preset: custom, channels: [32], blocks: [1], depth: 1, heads: 2, mlp_ratio: 1, dropout: 0}}
data: {{path: pack, patch: {SIDE}, factor: {FACTOR}}}
train: {{steps: 80, global_batch: 4, learning_rate: 2e-3, optimizer: adamw, warmup: 10, ema_decay: 0.95}}
sample: {{steps: 1, overlap: 0.125}}
pack: {{source: fields, path: pack, patch: {SIDE}, strata: 8}}
"""


def waves(size, times, seed):
    """Waves of 32 to 512 points that drift: the same on every size, so that a larger field is more of it."""
    r = np.random.default_rng(seed)
    w = np.zeros((times, size, size), np.float32)
    at = 2 * np.pi * np.arange(size) / 512
    for _ in range(24):
        ky, kx, phase, speed = *r.integers(-16, 17, 2), *r.uniform(0, 6, 2)
        for t in range(times):
            y, x = ky * at + phase + 0.1 * speed * t, kx * at
            w[t] += np.outer(np.cos(y), np.cos(x)) - np.outer(np.sin(y), np.sin(x))
    return w


def command(*words, ranks=1):
    """Largest resident set of a process, in bytes."""
    begun = time.monotonic()
    watch = ("import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
             "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)")
    done = subprocess.run([sys.executable, "-c", watch, "mpiexec", "-n", str(ranks), FLEXHPC, *words], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    peak = 1024 * int(done.stderr.split("peak")[-1])
    print(f"{' '.join(words[:1])} on {ranks}: {time.monotonic() - begun:.0f} s, {peak / MIB:.0f} MiB", flush=True)
    return peak


def sample(size, out, ranks=1, **keys):
    given = {"sample.source": f"200_{size}_{size}_seed_3.h5", **keys}
    return command("sample", "c.yaml", "--run", "run", "--out", out, *[x for k, v in given.items() for x in ("--set", f"{k}={v}")],
                   ranks=ranks)


def check_seam(name, model, truth, about):
    edges = about["tile_rows"], about["tile_columns"], about["tile_side"]
    found, sound = seam(model, *edges), seam(truth, *edges)
    wrap = np.abs(model[0] - model[-1]).mean() / np.abs(np.diff(model, axis=0)).mean()
    wrap_sound = np.abs(truth[0] - truth[-1]).mean() / np.abs(np.diff(truth, axis=0)).mean()
    print(f"{name}: seam {found:.4f}, of the truth {sound:.4f}; at the wrap {wrap:.4f}, of the truth {wrap_sound:.4f}; "
          f"RFNE {np.linalg.norm(model - truth) / np.linalg.norm(truth):.4f}", flush=True)
    assert found - sound < 0.05, name
    assert abs(wrap - wrap_sound) < 0.15, name # one line of points, not all edges


def expect_same(a, b):
    with h5py.File(a) as x, h5py.File(b) as y:
        for name in x:
            assert np.array_equal(x[name][()], y[name][()], equal_nan=True), (a, b, name)


def check_memory(name, peaks, fields):
    """`fields` of them, and a band, are what a rank must hold; peaks: by size, of one member on one rank."""
    field, band = 2048**2 * 4, 2 * SIDE * 2048 * 4
    grown = peaks[2048] - peaks[512]
    print(f"{name}: from 512 to 2048 squared {grown / MIB:.1f} MiB more; a field is {field / MIB:.0f}, "
          f"what must be held {(fields * field + band) / MIB:.1f}")
    assert grown < 1.15 * fields * field + band + 6 * MIB


def check_seam_of(path, task):
    with h5py.File(path) as file:
        check_seam(path, file[f"{task}_model"][0, 0], file[f"{task}_truth"][0], file.attrs)


def check_sr():
    check_memory("SR", {size: sample(size, f"sr-{size}.h5") for size in SIZES}, 1 / FACTOR**2)
    check_seam_of("sr-512.h5", "sr")
    sample(2048, "sr-2.h5", 2)
    expect_same("sr-2048.h5", "sr-2.h5")
    print("SR of 2048 x 2048: 2 ranks have the bits of 1")


def check_fc():
    keys = {"sample.task": "fc", "sample.horizon": LEADS, "sample.snapshot": 1}
    peaks = {size: sample(size, f"fc-{size}.h5", **keys) for size in (512, 2048)}
    check_memory("FC", peaks, 3)
    check_seam_of("fc-512.h5", "fc")
    sample(1024, "members-1.h5", 1, **keys, **{"sample.members": 2})
    sample(1024, "members-2.h5", 2, **keys, **{"sample.members": 2})
    expect_same("members-1.h5", "members-2.h5")
    print(f"FC of 1024 x 1024, {LEADS} leads, 2 members: 2 ranks have the bits of 1", flush=True)
    more = sample(2048, "fc-2.h5", 2, **keys, **{"sample.members": 2}) - peaks[2048]
    print(f"FC: 2 members on 2 ranks take {more / MIB:.1f} MiB more than 1 on 1")
    assert more < 6 * MIB
    with h5py.File("fc-2048.h5") as one, h5py.File("fc-2.h5") as two:
        a, b = one["fc_model"], two["fc_model"]
        assert a.shape == (1, LEADS, 2048, 2048) and b.shape == (2, LEADS, 2048, 2048)
        assert np.array_equal(a[0], b[0]) and np.array_equal(one["fc_truth"], two["fc_truth"])
        assert all(np.abs(b[0, k] - b[1, k]).mean() > 1e-3 for k in range(LEADS))
        assert all(np.abs(a[0, k] - a[0, k + 1]).mean() > 1e-3 for k in range(LEADS - 1))
    print(f"FC of 2048 x 2048, {LEADS} leads: the first of 2 members on 2 ranks has the bits of the one on 1 rank")


LEADS, SIZES = 3, (512, 1024, 2048)
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    os.mkdir("fields")
    for seed in (1, 2):
        with h5py.File(f"fields/200_512_512_seed_{seed}.h5", "w") as file:
            file["w"] = waves(512, 8, seed)
    open("c.yaml", "w").write(CONFIG)
    command("pack", "c.yaml")
    command("train", "c.yaml", "--run", "run", ranks=2)
    for size in SIZES:
        with h5py.File(f"200_{size}_{size}_seed_3.h5", "w") as file:
            file["w"] = waves(size, 2 + LEADS, 3)
    if os.environ.get("FX_SAMPLE", "sr") == "sr":
        check_sr()
    if os.environ.get("FX_SAMPLE", "fc") == "fc":
        check_fc()
