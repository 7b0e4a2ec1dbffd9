#!/usr/bin/env python3
"""configs/walls.yaml, made small: flows between walls are generated and packed, the manifest says that no axis is periodic, a model
is trained on them and evaluated, and so is one that was trained on periodic flows; the evaluation says what it was of. And no
patch of a domain with edges has a pixel of the far edge.

Planted in the code, caught here, removed: an evaluation that says periodic of all packs; a solver whose boxes are
periodic along x; a first tile out of the last columns.
Run: label full
Run: cost 4
Run: timeout 300
"""
import json
import os

import numpy as np
import h5py

import formats
from formats import pack, patches, run

CONFIG = os.path.join(os.environ["FX_TESTS_DIR"], "..", "configs", "walls.yaml")
SMALL = formats.sets({"generate__grid": 64, "generate__start": 0.1, "generate__interval": 0.05, "generate__snapshots": 5,
                      "pack__strata": 4, "train__steps": 6, "train__global_batch": 4, "train__warmup": 2, "checkpoint__every": 6,
                      "eval__patches": 4, "eval__batch": 4, "model__channels": "[32]", "model__blocks": "[1]",
                      "model__depth": 1})


def manifest(folder):
    with open(f"{folder}/manifest.json") as text:
        return json.load(text)


def losses(folder):
    with open(f"{folder}/metrics.jsonl") as lines:
        found = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
    assert found and np.isfinite(found).all(), found


def evaluated(folder, name):
    with h5py.File(f"{folder}/eval-{name}.h5") as f:
        assert np.isfinite(f["samples"][:, 0]).all() and len(f["samples"]) > 0
        return list(f.attrs["periodic"])


run("generate", CONFIG, *SMALL)
run("pack", CONFIG, *SMALL)
m = manifest("packs/walls")
assert [(s["reynolds"], s["periodic"]) for s in m["sources"]] == [(500, [False, False]), (1000, [False, False])], m["sources"]
assert m["periodic"] is False and all(s["interval"] == 0.05 for s in m["sources"])
said = run("data", "info", "packs/walls").stdout
assert said.count(", periodic along neither axis") == 2, said
run("train", CONFIG, *SMALL, "--run", "own")
losses("own")
said = run("eval", CONFIG, *SMALL, "--run", "own").stdout
assert "packs/walls: its domains are periodic along neither axis" in said, said
assert evaluated("own", "walls") == [0, 0]

# Zero-shot: trained on periodic flows, which are said to be so.
box = ["--set", "generate.walls=false", "--set", "generate.path=fields", "--set", "pack.source=fields", "--set", "pack.path=packs/box",
       "--set", "pack.compress=1"]  # and compressed shards are trained on
run("generate", CONFIG, *SMALL, *box)
run("pack", CONFIG, *SMALL, *box)
run("train", CONFIG, *SMALL, "--set", "data.path=packs/box", "--run", "periodic")
said = run("eval", CONFIG, *SMALL, "--set", "data.path=packs/box", "--run", "periodic").stdout
assert "its domains are" not in said, said
assert evaluated("periodic", "box") == [1, 1]
run("eval", CONFIG, *SMALL, "--run", "periodic")
assert evaluated("periodic", "walls") == [0, 0]

# Marks on the edges: 0 inside, 1 in the first row and column, 2 in the last ones. Where tiles don't fill the domain, the last
# ones are in no patch; where they do, in the last tiles alone; and the first are in the first tiles alone.
for H, W in ((35, 50), (32, 48)):
    w = np.zeros((3, H, W), np.float32)
    w[:, 1:-1, 1:-1] = 0.5
    w[:, 0], w[:, :, 0], w[:, -1], w[:, :, -1] = 1, 1, 2, 2
    path = f"500_{H}_{W}_seed_1.h5"
    with h5py.File(path, "w") as f:
        f["w"], f.attrs["periodic"] = w, [0, 0]
    m = pack(path, patch=16)
    rows, columns = H // 16, W // 16
    for _, tile, got in patches(m):
        row, column = tile // columns, tile % columns
        far = [H == 32 and row == rows - 1, W == 48 and column == columns - 1]
        assert (got == 2).any() == any(far), (tile, "far edge")
        assert (got == 1).any() == (row == 0 or column == 0), (tile, "near edge")
formats.end()
