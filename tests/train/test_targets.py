"""diffusion.residual and diffusion.residual_scale: what is trained, sampled and scored is what NumPy makes of the same fields. A
network that returns 0 has, with the loss MSE on x, the mean square of its targets as its loss, and samples what DDIM makes of
its noise, times the scale, plus the input unless raw: patches, whole fields in tiles and forecasts of forecasts. The scale that is
found is the root mean square over the pack, whatever the number of ranks; it is the checkpoint's, so a run that is
continued, exported and imported, evaluated or fine-tuned keeps it, and what would mean something else is refused in one line.

Planted and caught: the input added to raw samples; the scale of super-resolution for that of the forecast, in training or in sampling;
the scale of residuals found for raw targets; another target, or a scale found anew, for weights of train.init_from;
the scale of such weights refused as another than 0; an infinite scale taken for found.

Run: label full
Run: timeout 300
Run: cost 15
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

sys.path[:0] = [os.path.join(os.environ["FX_TESTS_DIR"], name) for name in ("train", "ops")]
from flexhpc_command import command, settings
from interpolation import interpolate
from sampled_fields import noise, zero_network_gain

SIDE, FACTOR, EPOCH = 16, 4, 128
CONFIG = f"""
run: {{timeout: 60, probe: false}}
model: {{preset: custom, channels: [32], blocks: [1], depth: 1, heads: 2, mlp_ratio: 1, dropout: 0}}
data: {{path: pack, patch: {SIDE}, factor: {FACTOR}}}
train: {{steps: 4, global_batch: 32, learning_rate: 0, optimizer: adamw}}
checkpoint: {{every: 2}}
generate: {{path: fields, reynolds: [100, 200], grid: 64, start: 0, interval: 0.1, snapshots: 6}}
pack: {{source: fields, path: pack, patch: {SIDE}, strata: {EPOCH}}}
eval: {{patches: 3, batch: 3}}
"""


def refused(text, *words, code=2, **keys):
    lines = command(*words, *settings(keys), code=code).splitlines()
    assert len(lines) == 1 and text in lines[0], lines


def train(run, ranks=0, **keys):
    return command("train", "tiny.yaml", "--run", run, *settings(keys), ranks=ranks)


def metrics(run):
    with open(run + "/metrics.jsonl") as file:
        return [json.loads(line) for line in file]


def found(run):
    """The scales in the run's configuration."""
    with open(run + "/config.yaml") as file:
        (line,) = [line for line in file if line.startswith("  residual_scale:")]
    return [float(x) for x in line.split("[")[1].split("]")[0].split(",")]


def close(got, want, limit=2e-5):
    assert np.shape(got) == np.shape(want) and np.linalg.norm(np.subtract(got, want)) <= limit * np.linalg.norm(want), (got, want)


def same(a, b):
    subprocess.run([sys.executable, os.environ["FX_TESTS_DIR"] + "/fault/same_run.py", a, b], check=True)


scratch = tempfile.TemporaryDirectory()
os.chdir(scratch.name)
with open("tiny.yaml", "w") as file:
    file.write(CONFIG)
command("generate", "tiny.yaml")
command("pack", "tiny.yaml")

# ---- What NumPy finds: every sample of the pack, which an epoch visits once; two epochs are looked at for the scale.
with open("pack/manifest.json") as file:
    UNIT = np.float32(json.load(file)["scale"])
truth, base = {"sr": [], "fc": []}, {"sr": [], "fc": []}
for path in glob.glob("fields/*.h5"):
    with h5py.File(path) as file:
        w = file["w"][:].astype(np.float32) / UNIT
    tiles = w.reshape(len(w), 4, SIDE, 4, SIDE).transpose(1, 3, 0, 2, 4).reshape(16, len(w), SIDE, SIDE)
    for tile in tiles:
        for n in range(1, len(w) - 1):
            truth["sr"].append(tile[n])
            base["sr"].append(interpolate("bicubic", tile[n], FACTOR))
            truth["fc"].append(tile[n + 1])
            base["fc"].append(tile[n])
assert len(truth["sr"]) == EPOCH
square = {(task, raw): np.mean((np.array(truth[task]) - (0 if raw else np.array(base[task]))) ** 2, dtype=np.float64)
          for task in ("sr", "fc") for raw in (False, True)}
root = {raw: [np.sqrt(square["sr", raw]), np.sqrt(square["fc", raw])] for raw in (False, True)}

# ---- The loss of a network that returns 0, over an epoch.
plain = {"diffusion__predict": "x", "diffusion__criterion": "mse"}
for run, raw, given, scale in (("x", False, "1", (1, 1)), ("x-raw", True, "1", (1, 1)), ("x-unit", False, "0", root[False]),
                               ("x-half", True, "0,2", (root[True][0], 2))):
    out = train(run, diffusion__residual=str(not raw).lower(), diffusion__residual_scale=given, **plain)
    assert ("diffusion.residual_scale: " in out) == ("0" in given.split(","))
    rows = metrics(run)
    assert len(rows) == 4
    for k, task in enumerate(("sr", "fc")):
        close(np.mean([row["loss_" + task] for row in rows]), square[task, raw] / scale[k] ** 2)
    if "0" in given.split(","):
        close(found(run), scale, 1e-6)
assert all(abs(square[task, False] / square[task, True] - 1) > 0.05 for task in ("sr", "fc")), square

# ---- What that network samples, by v: gain times noise times scale, and what is added.
gain = zero_network_gain(2)
train("v")
train("v-unit", diffusion__residual_scale=0, seed=9, ranks=2)
train("v-half", diffusion__residual="false", diffusion__residual_scale="0,2")
assert found("v-unit") == found("x-unit") and found("v-half") == found("x-half")


def sample(run, *tasks, **keys):
    """Of each task what was sampled, and from what."""
    command("sample", "tiny.yaml", "--run", run, "--out", "out.h5", *settings(keys))
    with h5py.File("out.h5") as file:
        return [(file[task + "_model"][:], file[task + "_input"][:]) for task in tasks]


patches = sample("v", "sr", "fc")
added = [ours - given for ours, given in patches]
assert all(0.5 < np.std(x) / (gain * UNIT) < 2 for x in added)
for run, scale, raw in (("v-unit", found("v-unit"), False), ("x", (0, 0), False), ("v-half", found("v-half"), True), ("x-half", (0, 0), True)):
    for k, (ours, given) in enumerate(sample(run, "sr", "fc", seed=1)):
        assert np.array_equal(given, patches[k][1])
        close(ours, (0 if raw else given) + np.float32(scale[k]) * added[k], 1e-4)

field = {"sample__source": glob.glob("fields/200*.h5")[0], "sample__task": "fc", "sample__horizon": 3, "sample__overlap": 0}
leads = np.array([noise((64, 64), 1, 1, 0, 1 + j) for j in range(3)]) * gain * UNIT
for run, scale, raw in (("v", 1, False), ("v-unit", found("v-unit")[1], False), ("v-half", 2, True)):
    ((ours, given),) = sample(run, "fc", **field)
    close(ours[0], scale * leads if raw else given[-1] + scale * np.cumsum(leads, 0), 1e-4)


# ---- An evaluation takes the model as the checkpoint has it, whatever the configuration says; so do exports.
def scores(run, **keys):
    command("eval", "tiny.yaml", "--run", run, *settings(keys))
    with h5py.File(run + "/eval-pack.h5") as file:
        return file["samples"][:]


rows = scores("v-half")
assert np.array_equal(rows, scores("v-half", diffusion__residual="true", diffusion__residual_scale=1), equal_nan=True)
command("export", "v-half", "half.safetensors")
command("import", "half.safetensors", "--run", "again")
assert found("again") == found("v-half") and np.array_equal(rows, scores("again"), equal_nan=True)
refused("diffusion.residual_scale: what was that which half.safetensors diffuses divided by?", "import", "tiny.yaml",
        "half.safetensors", "--run", "no", data__scale=1, diffusion__residual_scale=0)

# ---- A run that learns: stopped and continued it ends as it would have, with every key; others than its own are refused.
learns = {"train__learning_rate": 1e-3, "train__global_batch": 4}
for name, keys in (("raw", {"diffusion__predict": "x", "diffusion__residual": "false", "diffusion__residual_scale": 0}),
                   ("unit", {"diffusion__predict": "eps", "diffusion__residual_scale": "0,0.5"})):
    train("whole-" + name, **learns, **keys)
    command("train", "tiny.yaml", "--run", "part-" + name, "--time-limit", "0.001", *settings({**learns, **keys}), code=75)
    train("part-" + name, **learns, **keys)
    same("whole-" + name, "part-" + name)
assert found("whole-unit")[1] == 0.5
again = ("train", "tiny.yaml", "--run")
x, eps = {**learns, "diffusion__predict": "x"}, {**learns, "diffusion__predict": "eps"}
refused("diffusion.residual: false -> true", *again, "whole-raw", diffusion__residual_scale=0, **x)
refused("diffusion.residual_scale: ", *again, "whole-unit", diffusion__residual_scale=0.5, **eps)
refused("diffusion.residual_scale: 1 -> 0", *again, "v", diffusion__residual_scale=0)
train("v", diffusion__residual_scale="1,1")
refused("diffusion.residual_scale: 1 -> 1,2", *again, "v", diffusion__residual_scale="1,2")
for _ in range(2):
    train("from-v", diffusion__residual_scale=0, train__init_from="v")
    assert found("from-v") == [1, 1]
tune = {"train__init_from": "whole-unit", **eps}
train("tuned", diffusion__residual_scale=0, **tune)
assert found("tuned") == found("whole-unit")
refused("was trained otherwise: diffusion.residual: true -> false", *again, "no", diffusion__residual="false",
        diffusion__residual_scale=0, **tune)
refused("was trained otherwise: diffusion.residual_scale: ", *again, "no", **tune)
refused("diffusion.residual_scale: 3 numbers", *again, "no", diffusion__residual_scale="1,2,3")
refused("diffusion.residual_scale: 0 numbers", *again, "no", diffusion__residual_scale="")
tiny = {"diffusion__residual_scale": 0, "data__scale": 1e-38}  # infinite in float32
for raw, value in ((False, "nan"), (True, "inf")):
    refused(f"diffusion.residual_scale: super-resolution: the root mean square of what is diffused is {value} in 256 samples of pack",
            *again, "no", code=1, diffusion__residual=str(not raw).lower(), **tiny)
command("plan", "tiny.yaml", *settings({"diffusion__residual_scale": 0}))
print("raw targets and scaled residuals are what NumPy makes of them")
