#!/usr/bin/env python3
"""The model's low-resolution input, as `flexhpc sample` writes it beside the truth, against NumPy: bicubic and bilinear,
strided, reduced with antialiasing, with noise, and a data set's own low resolution, in SuperBench's two layouts. All are
properties of the model that its checkpoint keeps, in training, evaluation and sampling.

Planted and caught: data.upsampling left out of step_options.c; noise alike in all samples; the kernel of the reduction with
A = -3/4; the data set's own not divided by the scale; NAME_lres.h5 packed under its own name, out of order;
the old pack's low resolution left under a new one of the same name; data.augment with data.lowres=file let through; low resolution written
into a pack that another makes; a link to the copy that holds from one folder alone.
Run: label full
Run: timeout 300
Run: cost 12"""
import fcntl
import json
import os
import shutil
import sys

import numpy as np
import h5py

import formats
from formats import run, sets
from models import Draw, losses, sampled, smooth, superres, train

sys.path.insert(0, os.path.join(os.environ["FX_TESTS_DIR"], "ops"))
from interpolation import antialiased, interpolate, matrix, upsample

FACTOR = 4


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

# ---- A reduction with antialiasing, and noise, of the same numbers whenever the same samples are drawn.
train("smooth", data__lowres="antialiased")
x, model, truth = sampled("smooth")
close(x, np.stack([upsample("bicubic", antialiased(t, FACTOR), FACTOR) for t in truth]))
SIGMA = 0.5
train("noisy", data__lowres_noise=SIGMA, data__upsampling="bilinear", data__scale=2)
x, model, truth = sampled("noisy", eval__patches=16)
noise = x - np.stack([interpolate("bilinear", t, FACTOR) for t in truth])
share = np.mean(np.sum(matrix("bilinear", 16 // FACTOR, FACTOR) ** 2, axis=1))  # of the variance, along one axis
assert abs(noise.std() / (2 * SIGMA * share) - 1) < 0.1 and abs(noise.mean()) < 0.2, (noise.std(), noise.mean())
assert not np.allclose(noise[0], noise[1])
again, *_ = sampled("noisy", eval__patches=16)
assert (again == x).all()
train("with", data__lowres_noise=SIGMA)
train("again", data__lowres_noise=SIGMA, data__prefetch=0)
assert losses("with") == losses("again")
# An input of its own gives training the bits of the one that is made on the tape.
train("without")
train("hardly", data__lowres_noise=1e-30)
assert losses("without") == losses("hardly") != losses("with")
# Two ranks train on what one does, the noise among it.
train("two", ranks=2, data__lowres_noise=SIGMA)
assert np.allclose(losses("two"), losses("with"), rtol=2e-6) and not np.allclose(losses("two"), losses("without"), rtol=1e-4)

# ---- A data set's own: LR_fields, independent of the fields here, so that nothing else can be taken for them.
def superbench(path, key, shape, low_shape, low_path=None):
    fields, low = smooth(*shape), smooth(*low_shape)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with h5py.File(path, "w") as f:
        f["fields"] = fields
    with h5py.File(low_path or path, "a") as f:
        f[key] = low
    return fields, low


def find(field, patch):
    """(snapshot, row, column) of a patch in (T, H, W)."""
    side = patch.shape[0]
    for t in range(field.shape[0]):
        for r in range(0, field.shape[1] - side + 1, side):
            for c in range(0, field.shape[2] - side + 1, side):
                if np.abs(field[t, r:r + side, c:c + side] - patch).max() < 1e-5:
                    return t, r, c
    raise AssertionError("no tile of the fields")


def check_own(name, fields, low, **keys):
    x, model, truth = sampled(name, **keys)
    for got, t in zip(x, truth):
        s, r, c = find(fields, t)
        tile = low[s, r // FACTOR:r // FACTOR + 4, c // FACTOR:c // FACTOR + 4]
        close(got, upsample("bicubic", tile, FACTOR))
    assert abs(floors(name)[0] - rfne(x, truth)) < 1e-5


path = "nskt_16k_sim_4_v7/train/nskt.h5"
fields, low = superbench(path, "LR_fields", (8, 3, 32, 48), (8, 3, 8, 12))
formats.compare(formats.pack(path), lambda s: fields[:, 2])
with open("pack/lowres/manifest.json") as text:
    m = json.load(text)
assert m["patch"] == 4 and m["sources"][0]["name"] == "nskt.h5" and m["sources"][0]["field"] == "LR_fields[2]", m
formats.compare(m, lambda s: low[:, 2], "pack/lowres")
train("own", data__lowres="file", data__scale=1)
check_own("own", fields[:, 2], low[:, 2])

# The C API takes the low-resolution field as it is.
x, model, truth = sampled("own", eval__batch=1)
for k in 0, 3:
    s, r, c = find(fields[:, 2], truth[k])
    fine = superres("own", low[s, 2, r // 4:r // 4 + 4, c // 4:c // 4 + 4], Draw(16000, 1, k))
    assert (fine == model[k]).all(), np.abs(fine - model[k]).max()

# In training: low resolution that is every fourth pixel gives the bits of what the model takes itself.
with h5py.File(path, "a") as f:
    f["LR_fields"][...] = fields[:, :, ::4, ::4]
formats.pack(path)
train("taken")
train("given", data__lowres="file")
assert losses("taken") == losses("given")

# cosmo's two files; in a folder the one comes with the other, and two runs of unequal names keep their order
both = {}
for run_name in "a", "a_b":
    both[f"{run_name}.h5"] = superbench(f"cosmo/{run_name}.h5", "fields", (8, 1, 32, 32), (8, 1, 8, 8),
                                        f"cosmo/{run_name}_lres.h5")
def pack_folder(folder, out="pack", patch=16, ranks=1, **keys):
    """Of all its files."""
    return run("pack", "--out", out, "--patch", patch,
               *sets({"pack__source": folder, "pack__strata": 4, "pack__shard_patches": 2, **keys}), ranks=ranks)


def content(folder):
    return {os.path.join(at, name): open(os.path.join(at, name), "rb").read() for at, _, names in os.walk(folder)
            for name in names if name != "run.lock"}


shutil.rmtree("pack")
pack_folder("cosmo", source__condition=100)
with open("pack/manifest.json") as text:
    m = json.load(text)
formats.compare(m, lambda s: both[s["name"]][0][:, 0])
assert [s["name"] for s in m["sources"]] == ["a.h5", "a_b.h5"], m
with open("pack/lowres/manifest.json") as text:
    low_manifest = json.load(text)
assert formats.compare(low_manifest, lambda s: both[s["name"]][1][:, 0], "pack/lowres") == 8
pack_folder("cosmo", "by-two", ranks=2, source__condition=100)
whole = content("pack")
assert len(whole) == 2 * 5 and whole == {name.replace("by-two", "pack"): b for name, b in content("by-two").items()}, list(whole)
# While another packs into the folder, neither of the two is touched.
with open("pack/run.lock", "r+") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    done = run("pack", "cosmo/a.h5", "--out", "pack", "--patch", 16, *sets({"pack__shard_patches": 1}), code=1)
    assert "in use by" in done.stderr and content("pack") == whole, done.stderr
train("cosmo-run", data__lowres="file")
# Each rank's share of both packs on the disk of its node.
train("staged", ranks=2, data__lowres="file", data__stage=os.path.abspath("disk"))
assert np.allclose(losses("staged"), losses("cosmo-run"), rtol=2e-6) and len(os.listdir("disk")) == 2, os.listdir("disk")
fields = np.concatenate([f[:, 0] for f, _ in both.values()])
low = np.concatenate([l[:, 0] for _, l in both.values()])
check_own("cosmo-run", fields, low)

# Copies of both packs, by one rank and by two, the one with a link to the other.
for ranks, place in ((1, "copies"), (2, "copies-by-two")):
    copy = run("data", "stage", "pack", place, ranks=ranks).stdout.splitlines()[-1]
    assert len(os.listdir(place)) == 2 and content(os.path.join(copy, "lowres")), os.listdir(place)


# ---- What can't be.
def refused(text, *words, code=2, **keys):
    done = run(*words, *sets(keys), code=code)
    lines = [line for line in done.stderr.splitlines() if line.startswith("flexhpc: ")]
    assert len(lines) == 1 and text in lines[0], f"not \"{text}\": {done.stderr}"


refused("data.factor: 2, but a.h5 is 32 x 32 and its own low resolution 8 x 8", "train", "tiny.yaml", "--run", "no",
        data__lowres="file", data__factor=2)
refused("data.augment: not with data.lowres: file", "train", "tiny.yaml", "--run", "no", data__lowres="file",
        data__augment="symmetries")
os.makedirs("mixed")
os.link("cosmo/a.h5", "mixed/a.h5")
os.link("cosmo/a_lres.h5", "mixed/a_lres.h5")
os.link("cosmo/a_b.h5", "mixed/b.h5")
refused("has low-resolution fields of its own, mixed/b.h5 has none", "pack", "mixed/a.h5", "mixed/b.h5", "--out", "no",
        "--patch", 16)
refused("pack.add: low-resolution fields of their own: the pack pack has some, the files have none", "pack", "mixed/b.h5",
        "--out", "pack", "--patch", 16, pack__add="true")
with h5py.File("cosmo/a.h5", "a") as f:
    f["odd"] = np.zeros((8, 1, 8, 9), np.float32)
    f["short"] = np.zeros((7, 1, 8, 8), np.float32)
for key, code, text in (("odd", 1, "are no low resolution of"), ("short", 1, "are no low resolution of"),
                        ("none", 2, "source.lowres: cosmo/a.h5 has no dataset none")):
    formats.refused(text, "cosmo/a.h5", source__lowres=key, code=code)
refused("pack.patch: 10 is no multiple of 4", "pack", "cosmo/a.h5", "--out", "no", "--patch", 10)
with h5py.File("pack/lowres/shard-0000.h5", "r+") as f:
    f["w"][...] = 0
refused("checksum differs", "sample", "tiny.yaml", "--run", "cosmo-run", "--out", "no.h5", code=1)
# A new pack in the old one's place, of files without: the old low resolution is not taken for theirs.
pack_folder("cosmo", source__lowres="off")
assert not content("pack/lowres")
alone = run("data", "stage", "pack", "alone", ranks=2).stdout.splitlines()[-1]
assert len(os.listdir("alone")) == 1 and not os.path.lexists(os.path.join(alone, "lowres")), os.listdir("alone")
refused("the pack pack has no low-resolution fields", "train", "tiny.yaml", "--run", "no", data__lowres="file")
refused("the pack pack has no low-resolution fields", "eval", "tiny.yaml", "--run", "own")
formats.end()
