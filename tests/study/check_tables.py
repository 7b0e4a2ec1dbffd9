"""check_tables.py STUDY NAME REFERENCE MEMBERS [SHIFT]: the tables of a study, made again with NumPy from the evaluations in its pool. Used by
test_study.sh."""
import glob
import json
import os
import re
import sys

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "eval"))
from compare_oracle import STUDENT, bootstrap, half, is_wide, judge, noise  # noqa: E402

study, name, reference, members = sys.argv[1:5]
SHIFT = float(sys.argv[5]) if len(sys.argv) > 5 else 1  # diffusion.shift of the runs
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


def scale_of(run):
    """diffusion.residual_scale that a run was trained with, for both tasks."""
    with open(f"{study}/runs/{run}/config.yaml") as f:
        values = [float(x) for x in re.search(r"^  residual_scale: \[(.*)\]", f.read(), re.M).group(1).split(",")]
    return values if len(values) == 2 else values * 2


def said_percent(said, verdict, percent):
    """Whether a sentence "...: +1.2 % ...: VERDICT" says so."""
    m = re.search(r": ([+-][\d.]+) %", said)
    return said.endswith(f": {verdict}") and abs(float(m.group(1)) - percent) < 0.0501


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
    assert (row["seeds"], row["samples"]) == (2, len(x)), row
for row in found["tables"].get("differences", []):
    task = ["SR", "FC"].index(row["task"])
    a, block, _ = chosen(row["a"], task, "all", "rfne")
    b = chosen(row["b"], task, "all", "rfne")[0]
    value, low, high = bootstrap(a - b, np.ones_like(a), block, 1)
    low, high, verdict = judge(value, low, high, *(half(*pooled[task], m.mean(), 2) for m in (a, b)))
    close(f"{row['a']} - {row['b']}", [row["RFNE a - RFNE b"][k] for k in ("value", "low", "high")], [value, low, high])
    assert row["verdict"] == verdict, row
    (said,) = (r for r in found["readings"] if r.startswith(f"{row['task']}: RFNE of {row['a']} against {row['b']}: "))
    assert said_percent(said, verdict, 100 * value / b.mean()), (said, verdict)
    assert (row["seeds"], row["samples"]) == ("2, 2", len(a)), row
for row in found["tables"].get("levels", []):
    task = ["SR", "FC"].index(row["task"])
    arm = "flex" if row["levels"] == 4 else f"weak-{row['levels']:.0f}"
    spread = np.sqrt(np.concatenate([(s["deviation"] / s["truth_square"])[s["task"] == task] for s in arms[arm]])).mean()
    sums = {c: sum(s[c][s["task"] == task].sum() for s in arms[arm]) for c in ("spread", "mean_error", "deviation", "residual_square")}
    close(f"spread of {arm}", row["spread"]["value"], spread)
    close(f"spread-skill of {arm}", row["spread-skill ratio"], np.sqrt(sums["spread"] / sums["mean_error"]))
    close(f"diversity of {arm}", row["spread over residual"], np.sqrt(sums["deviation"] / sums["residual_square"]))
for row in found["tables"].get("targets", []):
    task = ["SR", "FC"].index(row["task"])
    raw, unit = row["target"].startswith("raw"), row["target"].endswith("at unit scale")
    scales = [scale_of(f"{row['arm']}-s{seed}")[task] for seed in (1, 2)]
    assert (scales == [1, 1]) == (not unit), (row, scales)
    square = chosen(row["arm"], task, "all", "truth_square" if raw else "residual_square")[0].mean()
    close(f"what {row['arm']} diffuses", row["diffused, rms"], np.sqrt(square) / np.mean(scales))
    close(f"its decibels", row["dB"], 20 * np.log10(np.sqrt(square) / np.mean(scales)))
    x, y = (chosen(row["arm"], task, "all", column)[0].mean() for column in ("rfne", "floor"))
    close(f"ratio of {row['arm']}", row["RFNE / floor"]["value"], x / y)
    assert (row["seeds"], row["samples"]) == (2, len(chosen(row["arm"], task, "all", "rfne")[0])), row


def norms_and_squares(arm):
    """By seed: norms of gradients, and the last validation's mean squares."""
    for seed in (1, 2):
        with open(f"{study}/runs/{arm}-s{seed}/metrics.jsonl") as f:
            rows = [json.loads(line) for line in f]
        yield np.array([row["grad_norm"] for row in rows]), [row for row in rows if "val_loss" in row][-1]


def clouds():
    """All samples of the pack, which the study draws each once: {task: (raw, residual)}, (samples, pixels)."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "ops"))
    from interpolation import interpolate
    with open("pack/manifest.json") as f:
        unit = np.float32(json.load(f)["scale"])
    out = {"SR": ([], []), "FC": ([], [])}
    for path in glob.glob("fields-pack/*.h5"):
        with h5py.File(path) as f:
            w = f["w"][:].astype(np.float32) / unit
        for tile in w.reshape(len(w), 4, 16, 4, 16).transpose(1, 3, 0, 2, 4).reshape(16, len(w), 16, 16):
            for now, after in zip(tile[1:], tile[2:]):
                for task, truth, base in ("SR", now, interpolate("bicubic", now, 4)), ("FC", after, now):
                    out[task][0].append(truth.ravel())
                    out[task][1].append((truth - base).ravel())
    return {task: [np.array(x, float) for x in both] for task, both in out.items()}


def spectrum(x):
    """Effective rank, and the shell up to which half of the energy lies, of windowed patches."""
    n = 16
    w = (1 - np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)) / np.sqrt(1.5)
    w = np.outer(w, w)
    x = x.reshape(-1, n, n)
    x = (x - (w * x).sum((1, 2), keepdims=True) / w.sum()) * w
    energy = (np.abs(np.fft.fft2(x)) ** 2).mean(0)
    k = np.fft.fftfreq(n, 1 / n)
    shell = np.rint(np.hypot(*np.meshgrid(k, k))).astype(int)
    share = np.bincount(shell.ravel(), energy.ravel()) / energy.sum()
    modes = np.bincount(shell.ravel())
    known = share > 1e-30
    rank = np.exp(-(share[known] * np.log(share[known] / modes[known])).sum())
    return rank, np.argmax(np.cumsum(share) >= 0.5)


def leave_one_out(x):
    """Participation ratios without each sample, from the Gram matrix."""
    gram = x @ x.T
    trace = np.outer(np.diag(gram), np.diag(gram))
    np.fill_diagonal(trace, 0)
    square = gram**2
    np.fill_diagonal(square, 0)
    keep = [np.arange(len(x)) != i for i in range(len(x))]
    return np.array([trace[np.ix_(k, k)].sum() / square[np.ix_(k, k)].sum() for k in keep])


def jackknifed(value, without):
    half = 1.959964 * np.sqrt((len(without) - 1) * without.var())
    return [value, value - half, value + half]


if name == "residual-space":
    both, squares, without = clouds(), {}, {}
    for row in found["tables"]["covariance"]:
        x = both[row["task"]][["raw", "residual"].index(row["space"])]
        n, energy = len(x), (x**2).sum(1)
        assert n == 320 and row["samples"] == n  # each once, whatever study.samples
        eigenvalues = np.linalg.eigvalsh(x.T @ x / n)
        label = f"{row['space']} {row['task']}"
        squares[row["task"], row["space"]] = row["mean square"]
        close(f"mean square of {label}", row["mean square"], eigenvalues.sum() / x.shape[1])
        ratio = (energy.sum() ** 2 - (energy**2).sum()) / (((n * eigenvalues) ** 2).sum() - (energy**2).sum())
        without[row["task"], row["space"]] = ratio, leave_one_out(x)
        close(f"participation of {label}", [row["participation ratio"][k] for k in ("value", "low", "high")],
              jackknifed(*without[row["task"], row["space"]]))
        rank, half_energy = spectrum(x)
        close(f"rank of {label}", row["effective rank"], rank)
        assert row["half of the energy up to k"] == half_energy, (label, half_energy)
    assert len(squares) == 4
    for task in ("SR", "FC"):
        (raw, raws), (residual, residuals) = without[task, "raw"], without[task, "residual"]
        _, low, high = jackknifed(np.log(residual / raw), np.log(residuals / raws))
        words = "fewer shapes" if high < 0 else "more shapes" if low > 0 else "a tie"
        (said,) = (r for r in found["readings"] if r.startswith(f"{task}: the residual has "))
        assert words in said, (words, low, high, said)
    for row in found["tables"]["velocities"]:
        task = row["task"]
        scale = np.mean([scale_of(f"{row['arm']}-s{seed}")[["SR", "FC"].index(task)] for seed in (1, 2)])
        square = squares[task, "raw" if row["arm"] == "raw" else "residual"] / scale**2
        close(f"what {row['arm']} diffuses of {task}", row["diffused, mean square"], square)
        alpha = np.mean(np.cos(np.arctan(SHIFT * np.tan(np.pi / 2 * (np.arange(4096) + 0.5) / 4096))) ** 2)
        close(f"velocity of {row['arm']}", row["velocity expected"], alpha + (1 - alpha) * square)
        assert row["seeds"] == 2
        last = [row for _, row in norms_and_squares(row["arm"])]
        said, wanted = (np.mean([r[f"val_{kind}_{task.lower()}"] for r in last]) for kind in ("output", "target"))
        close(f"velocity of {row['arm']} validated", [row["velocity"], row["network's"]["value"]], [wanted, said])
        close(f"their ratio", row["network's / velocity"], said / wanted)
        assert 0 < said and 0.3 < wanted / row["velocity expected"] < 3
    assert len(found["tables"]["velocities"]) == 6
    for row in found["tables"]["gradients"]:
        norms = [n for n, _ in norms_and_squares(row["arm"])]
        assert (row["seeds"], row["steps"]) == (2, 6), row
        within = [np.mean([w.var(ddof=1) / w.mean() ** 2 for w in n.reshape(3, 2)]) for n in norms]
        close(f"norm of {row['arm']}", row["gradient norm"]["value"], np.mean(norms))
        close(f"variance of {row['arm']}", row["variance"], np.mean([n.var(ddof=1) for n in norms]))
        close(f"windows of {row['arm']}", row["variance / mean^2 in windows"]["value"], np.mean(within))
    assert len(found["tables"]["gradients"]) == 3
    # What is said of raw against the others: the Student verdict on means over seeds.
    relative = {a: [np.mean([w.var(ddof=1) / w.mean() ** 2 for w in n.reshape(3, 2)]) for n, _ in norms_and_squares(a)] for a in arms}
    sentences = {"relative variance of the gradient's norm of": relative}
    for task in ("SR", "FC"):
        sentences[f"{task}: mean squared velocity of the network of"] = {
            a: [last[f"val_output_{task.lower()}"] for _, last in norms_and_squares(a)] for a in arms}
    for begin, values in sentences.items():
        spread = noise(list(values.values()))
        for other in ("flex", "unit"):
            raw, than = np.mean(values["raw"]), np.mean(values[other])
            d = raw - than
            verdict = judge(d, d, d, half(*spread, raw, 2), half(*spread, than, 2))[2]
            (said,) = (r for r in found["readings"] if r.startswith(f"{begin} raw against {other}: "))
            assert said_percent(said, verdict, 100 * d / than), (said, verdict, 100 * d / than)
            checked += 1
if any("noise of the training seed" in r for r in found["readings"]):  # which arms have more of it than the others
    for task in (0, 1):
        means = {a: chosen(a, task, "all", "rfne")[2] for a in arms if has(a, task)}
        wide = {a for a in means if is_wide(means[a], [m for b, m in means.items() if b != a])}
        said = {m[1]: m for r in found["readings"] if (m := re.match(["SR", "FC"][task] + r": seeds of (\S+) differ by ([\d.]+) %, "
                                                                     r"those of the other arms by ([\d.]+) %.*too narrow", r))}
        assert said.keys() == wide, (said, wide)
        for a, m in said.items():
            want = [100 * noise(x)[0] for x in ([means[a]], [v for b, v in means.items() if b != a])]
            assert np.allclose([float(m[2]), float(m[3])], want, atol=0.0051), (a, m[0], want)
        print(f"{name}, {['SR', 'FC'][task]}: seeds further apart than those of the other arms: {', '.join(wide) or 'none'}")
if name == "parameterisation":
    assert len(found["tables"]["targets"]) == 18 and len(found["tables"]["differences"]) == 30
    pairs = {(row["task"], row["a"], row["b"]): f"{row['%']:+.1f} % ({{}}): {row['verdict']}" for row in found["tables"]["differences"]}
    for task in ("SR", "FC"):
        for predicts, arm in ("v", ""), ("x", "x-"), ("eps", "eps-"):
            plain, unit = (pairs[task, arm + "raw" if arm else "raw", other].split("{}")
                           for other in (arm[:-1] or "flex", arm + "unit"))
            (said,) = (r for r in found["readings"] if r.startswith(f"{task}, {predicts}: RFNE of raw targets against residuals "))
            first, second = said.split("; against residuals at unit scale, ")
            assert all(part in first for part in (f"residuals {plain[0]}", plain[1] + ", with")), (first, plain)
            assert all(part in second for part in (f" dB, {unit[0]}", unit[1] + ". ")), (second, unit)
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
    assert path == "chart-1.svg" or "seeds, pooled over the arms" in text, path
    assert path == "chart-1.svg" or all(s in text or path == "report.html" for s in found["readings"]), path
    assert "nan" not in text.lower().replace("nano", ""), f"{path} says nan"
    assert len(text) > 500
print(f"{name}: {checked} values agree with NumPy")
