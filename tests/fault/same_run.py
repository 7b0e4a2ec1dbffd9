"""same_run.py RUN OTHER: the last checkpoints of two runs hold the same bits, and their metrics say the same, each step once."""
import json
import sys

import h5py


def tensors(run):
    found = {}
    with open(run + "/ckpt/latest") as f:
        path = run + "/ckpt/" + f.read().strip()
    with h5py.File(path) as f:
        f.visititems(lambda name, item: found.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None)
        return found, f.attrs["step"], f.attrs["loss"]


def metrics(run):
    times = ("seconds", "samples_per_s", "data_wait", "own_median", "own_most", "slowest_rank")
    with open(run + "/metrics.jsonl") as f:
        return [{k: v for k, v in json.loads(line).items() if k not in times} for line in f]


a, b = tensors(sys.argv[1]), tensors(sys.argv[2])
assert a[0].keys() == b[0].keys() and len(a[0]) > 300, "other tensors"
differing = [name for name in a[0] if a[0][name] != b[0][name]]
assert not differing, f"{len(differing)} of {len(a[0])} tensors differ, {differing[0]} the first"
assert a[1:] == b[1:], f"step and loss {a[1:]}, {b[1:]}"
m, n = metrics(sys.argv[1]), metrics(sys.argv[2])
assert [row["step"] for row in n] == list(range(1, a[1] + 1)), f"steps {[row['step'] for row in n]}"
for x, y in zip(m, n, strict=True):
    assert x == y, f"metrics {x}, {y}"
