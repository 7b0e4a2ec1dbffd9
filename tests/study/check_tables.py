"""check_tables.py STUDY NAME REFERENCE MEMBERS: the tables of a study, made again with NumPy from the evaluations in its pool. Used by
test_study.sh."""
import glob
import json
import os
import re
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "eval"))
from compare_oracle import STUDENT, bootstrap, half, judge, noise  # noqa: E402

study, name, reference, members = sys.argv[1:5]
with open(f"{study}/{name}/table.json") as f:
    found = json.load(f)
checked = 0


def close(what, got, want):
    global checked
    checked += 1
    got, want = np.asarray(got, float), np.asarray(want, float)
    assert np.allclose(got, want, rtol=1e-4, atol=1e-5), f"{what}: {got} instead of {want}"


def load(run):
    """{column: values} of the evaluation of the held-out pack."""
    with h5py.File(f"{study}/runs/{run}/eval-pack-heldout-n2-m{members}.h5") as f:
        columns = f["samples"].attrs["columns"]
        columns = [c.decode() if isinstance(c, bytes) else c for c in (columns.split() if hasattr(columns, "split") else columns)]
        return dict(zip(columns, f["samples"][:].T))


runs = {r["name"]: load(r["name"]) for r in found["runs"] if r["finished"]}
arms = {}
for r in found["runs"]:
    arms.setdefault(r["arm"], []).append(runs[r["name"]])
assert len(runs) == len(found["runs"]) == 2 * len(arms)


def chosen(arm, task, reynolds, column):
    """(values over seeds, blocks, means of the seeds)"""
    masks = [(s["task"] == task) & (reynolds == "all" or s["reynolds"] == reynolds) for s in arms[arm]]
    values = [s[column][m] for s, m in zip(arms[arm], masks)]
    return np.mean(values, 0), arms[arm][0]["block"][masks[0]], [v.mean() for v in values]


def has(arm, task):
    return (arms[arm][0]["task"] == task).any()


pooled = [noise([chosen(a, task, "all", "rfne")[2] for a in arms if has(a, task)]) for task in (0, 1)]


def with_seeds(interval, mean, task, seeds=2):
    value, low, high = interval
    h = half(*pooled[task], mean, seeds)
    return [value, value - np.hypot(value - low, h), value + np.hypot(high - value, h)]


for row in found["tables"]["arms"]:
    assert has(row["arm"], ["SR", "FC"].index(row["task"]))
    task = ["SR", "FC"].index(row["task"])
    x, block, means = chosen(row["arm"], task, row["Re"], "rfne")
    y = chosen(row["arm"], task, row["Re"], "floor")[0]
    one = np.ones_like(x)
    label = f"{row['arm']} {row['task']} Re {row['Re']}"
    close(label, [row["RFNE"][k] for k in ("value", "low", "high")],
          with_seeds(bootstrap(x, one, block, 1), x.mean(), task))
    ratio = bootstrap(x, y, block, 1)
    close(label + " ratio", [row["RFNE / floor"][k] for k in ("value", "low", "high")], with_seeds(ratio, ratio[0], task))
    close(label + " floor", row["floor"], y.mean())
    close(label + " spread", row["spread over seeds, %"], 100 * noise([means])[0])
for row in found["tables"].get("differences", []):
    task = ["SR", "FC"].index(row["task"])
    a, block, _ = chosen(row["a"], task, "all", "rfne")
    b = chosen(row["b"], task, "all", "rfne")[0]
    value, low, high = bootstrap(a - b, np.ones_like(a), block, 1)
    low, high, verdict = judge(value, low, high, *(half(*pooled[task], m.mean(), 2) for m in (a, b)))
    close(f"{row['a']} - {row['b']}", [row["RFNE a - RFNE b"][k] for k in ("value", "low", "high")], [value, low, high])
    assert row["verdict"] == verdict, row
for row in found["tables"].get("levels", []):
    task = ["SR", "FC"].index(row["task"])
    arm = "flex" if row["levels"] == 4 else f"weak-{row['levels']:.0f}"
    spread = np.sqrt(np.concatenate([(s["deviation"] / s["truth_square"])[s["task"] == task] for s in arms[arm]])).mean()
    sums = {c: sum(s[c][s["task"] == task].sum() for s in arms[arm]) for c in ("spread", "mean_error", "deviation", "residual_square")}
    close(f"spread of {arm}", row["spread"]["value"], spread)
    close(f"spread-skill of {arm}", row["spread-skill ratio"], np.sqrt(sums["spread"] / sums["mean_error"]))
    close(f"diversity of {arm}", row["spread over residual"], np.sqrt(sums["deviation"] / sums["residual_square"]))
if name == "seeds":
    limits = [float(m.group(1)) for r in found["readings"] if (m := re.search(r"differ by less than ([0-9.]+) % are a tie", r))]
    assert len(limits) == 2
    for limit, (relative, freedom) in zip(limits, pooled):
        assert abs(limit - 100 * STUDENT[2 * freedom] * relative * np.sqrt(2 / 2)) < 0.051, limits
if reference != "-":
    assert any(reference in (r["a"], r["b"]) for r in found["tables"]["differences"])
for path in ("table.md", "report.html", "chart-1.svg"):
    with open(f"{study}/{name}/{path}") as f:
        text = f.read()
    assert path == "chart-1.svg" or all(s in text or path == "report.html" for s in found["readings"]), path
    assert "nan" not in text.lower().replace("nano", ""), f"{path} says nan"
    assert len(text) > 500
print(f"{name}: {checked} values agree with NumPy")
