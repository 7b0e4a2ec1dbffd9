#!/usr/bin/env python3
"""A model on data of other units and conditions than it was trained on: eval.scale and eval.condition, what a checkpoint knows of
its training, condition 0 in the C API, noise of conditions that are no whole numbers, spectra of whole periodic domains,
packs of data sets of unlike units.

Planted and caught: results given back in the training's units; the mean condition over sources instead of samples; conditions
cut to whole numbers as words of the noise's counter; a window on whole periodic domains; the pack's scale for all of its data
sets in the loader.

Run: label full
Run: timeout 300
Run: cost 10"""
import json

import numpy as np
import h5py

import formats
from formats import run, sets
from models import Draw, losses, sampled, smooth, superres, train


def write(path, fields):
    with h5py.File(path, "w") as f:
        f["w"] = fields


def near(a, b, limit=2e-5):
    return np.abs(a - b).max() < limit * np.abs(b).max()


def refused(text, *words, code=2, **keys):
    done = run(*words, *sets(keys), code=code)
    lines = [line for line in done.stderr.splitlines() if line.startswith("flexhpc: ")]
    assert len(lines) == 1 and text in lines[0], f"not \"{text}\": {done.stderr}"


# ---- What a checkpoint knows: Re 100 has 8 - 2 samples a tile, Re 200 has 6 - 2.
write("100_32_32_seed_1.h5", smooth(8, 32, 32))
write("200_32_32_seed_1.h5", smooth(6, 32, 32))
formats.pack("100_32_32_seed_1.h5", "200_32_32_seed_1.h5")
train("run")
with h5py.File("run/ckpt/step-00000002.h5") as f:
    assert f.attrs["condition_least"] == 100 and abs(f.attrs["condition_mean"] - (6 * 100 + 4 * 200) / 10) < 1e-12

# ---- The same fields in other units: in the pack's own scale the results differ by the unit alone.
UNIT = 50
fields = smooth(6, 32, 32)
write("300_32_32_seed_1.h5", fields)
formats.pack("300_32_32_seed_1.h5", out="metres")
write("300_32_32_seed_1.h5", UNIT * fields)
manifest = formats.pack("300_32_32_seed_1.h5", out="feet")
own = {name: sampled("run", data__path=name, eval__scale="pack") for name in ("metres", "feet")}
assert near(own["feet"][1], UNIT * own["metres"][1]) and near(own["feet"][2], UNIT * own["metres"][2])
as_trained = sampled("run", data__path="feet")
assert not near(as_trained[1], own["feet"][1], 1e-3) and near(as_trained[0], own["feet"][0])
given = sampled("run", data__path="feet", eval__scale=repr(manifest["scale"]))
assert (given[1] == own["feet"][1]).all()

# ---- Another condition is told, and nothing else changes: the training's mean, or a number.
mean, same, other = (sampled("run", data__path="feet", eval__scale="pack", eval__condition=c)[1] for c in ("mean", 140, 200))
assert (mean == same).all() and not (mean == other).all() and not (mean == own["feet"][1]).all()
assert (sampled("run", data__path="feet", eval__scale="pack", eval__condition=300)[1] == own["feet"][1]).all()
for key in "scale", "condition":
    refused(f'eval.{key}: "much" is none of', "eval", "tiny.yaml", "--run", "run", **{f"eval__{key}": "much"})
refused("eval.scale", "eval", "tiny.yaml", "--run", "run", eval__scale=0)

# ---- Conditions below 1: one field of one tile and one sample, told the same, so that noise alone tells the two apart. That of
# whole numbers is what it was before (test_core).
one = smooth(3, 16, 16)
results = {}
for condition in 0.25, 0.5, 0:
    with h5py.File("a_subregion.h5", "w") as f:
        f["fields"] = one
    formats.pack("a_subregion.h5", out="small", source__periodic="both", source__condition=condition, pack__strata=1)
    results[condition] = sampled("run", data__path="small", eval__condition=200, eval__patches=1)
for condition in 0.25, 0:
    assert (results[condition][0] == results[0.5][0]).all() and not near(results[condition][1], results[0.5][1], 1e-3)

# ---- The spectrum of patches that are whole periodic domains has no window: against NumPy's.
run("eval", "tiny.yaml", "--run", "run", *sets({"data__path": "small", "eval__patches": 1}))
with h5py.File("run/eval-small.h5") as f:
    k, truth = f["spectrum/0/k"][:], f["spectrum/0/truth"][:]
with h5py.File("run/ckpt/step-00000002.h5") as f:
    scale = f.attrs["data_scale"]
w = np.fft.fft2(results[0][2][0].astype(float) / scale) / 256
n = np.fft.fftfreq(16) * 16
square = n[:, None] ** 2 + n**2
shell = np.rint(np.sqrt(square)).astype(int)
want = [np.sum((0.5 * np.abs(w) ** 2 / np.maximum(square, 1))[(shell == j) & (square > 0)]) for j in range(9)]
assert np.allclose(k, np.arange(9)) and np.allclose(truth, want, rtol=1e-5), (truth, want)

# ---- A pack of two data sets, the second one in two units: its own scale makes one training of both.
def add(path, name, out):
    run("pack", path, "--out", out, "--patch", 16, *sets({"pack__add": "true", "pack__dataset": name}))
    with open(f"{out}/manifest.json") as text:
        return json.load(text)


def of_unit(unit, out):
    write("200_32_32_seed_1.h5", first)
    formats.pack("200_32_32_seed_1.h5", out=out)
    write("400_32_32_seed_1.h5", unit * second)
    return add("400_32_32_seed_1.h5", "other", out)


first, second = smooth(6, 32, 32), 3 * smooth(6, 32, 32)
mixed = {name: of_unit(unit, name) for name, unit in (("plain", 1), ("scaled", UNIT))}
for name, unit in ("plain", 1), ("scaled", UNIT):
    source = mixed[name]["sources"][1]
    assert source["dataset"] == "other" and "dataset" not in mixed[name]["sources"][0]
    assert abs(source["scale"] / (unit * np.sqrt(np.mean(second.astype(float) ** 2))) - 1) < 1e-6
    assert abs(mixed[name]["scale"] / np.sqrt(np.mean(first.astype(float) ** 2)) - 1) < 1e-6
    train(f"of-{name}", data__path=name)
assert np.allclose(losses("of-plain"), losses("of-scaled"), rtol=1e-5)
train("of-one", data__path="scaled", data__scale=1)
assert not np.allclose(losses("of-one"), losses("of-scaled"), rtol=1e-3)
with h5py.File("of-scaled/ckpt/step-00000002.h5") as f:
    text = f.attrs["data_sets"]
    assert text.decode() == f"other={mixed['scaled']['sources'][1]['scale']:.17g},", text
for reynolds, unit in (200, 1), (400, UNIT):
    a, b = (sampled(f"of-{name}", data__path=name, eval__reynolds=reynolds)[1] for name in ("plain", "scaled"))
    assert near(b, unit * a, 1e-4), reynolds
both = sampled("of-scaled", data__path="scaled", eval__scale="pack")[1]
assert near(both, sampled("of-scaled", data__path="scaled")[1])  # the pack's scale is in double, training's in single precision
run("train", "tiny.yaml", "--run", "of-scaled", *sets({"data__path": "scaled", "train__steps": 2, "checkpoint__every": 2}))
write("500_32_32_seed_1.h5", second)
add("500_32_32_seed_1.h5", "third", "scaled")
refused("was not trained on the data set third of scaled", "eval", "tiny.yaml", "--run", "of-scaled", data__path="scaled")
refused('pack.dataset: "a b" is not a name', "pack", "500_32_32_seed_1.h5", "--out", "no", "--patch", 16, pack__dataset="a b")

# What its files say of its scale counts where all say the same.
pair = ["600_32_32_seed_1.h5", "700_32_32_seed_1.h5"]
for file in pair:
    write(file, second)
for stated, want in ((5, 5), 5), ((5, 7), np.sqrt(np.mean(second.astype(float) ** 2))):
    for file, scale in zip(pair, stated):
        with h5py.File(file, "a") as f:
            f.attrs["scale"] = float(scale)
    scales = [source["scale"] for source in formats.pack(*pair, pack__dataset="said")["sources"]]
    assert len(scales) == 2 and np.allclose(scales, want, rtol=1e-6), (scales, want)

# ---- Condition 0: where the model was trained with it.
coarse = one[2, ::4, ::4]
assert "was not trained with it" in superres("run", coarse, Draw(0, 1, 0))
assert "not between" in superres("run", coarse, Draw(-1, 1, 0))
with h5py.File("2013_subregion.h5", "w") as f:
    f["fields"] = smooth(8, 32, 48)
formats.pack("2013_subregion.h5")
train("region", data__upsampling="bilinear", data__scale=1)
x, model, truth = sampled("region", eval__batch=1)
assert (superres("region", truth[1][::4, ::4], Draw(0, 1, 1)) == model[1]).all()
formats.end()
