#!/usr/bin/env bash
# bench and profile on a tiny model: bench's JSON has every field, they agree with each other, and the ranks share the
# batch; profile's table adds up, and its trace has every rank's entries in order and sums that end with the join.
# Planted errors, seen caught and removed: the first step taken for the fastest; samples/s of one rank; every rank
# printing its table; the resident set in KiB; sums that end where join begins; an event that ends
# at its duration; rank 0's times for every rank; seconds of all steps for those of one; convolutions taken for the rest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >tiny.yaml <<'YAML'
model: {preset: custom, channels: [32, 32], blocks: [1, 1], depth: 1, heads: 1, mlp_ratio: 1}
data: {patch: 16, factor: 2}
train: {global_batch: 4, bucket: 0.0625}
bench: {steps: 3, warmup: 1, patches: 2}
YAML

"$FLEXHPC" bench tiny.yaml --json one.json >one.txt
grep -q 'samples/s' one.txt
mpiexec -n 2 "$FLEXHPC" bench tiny.yaml --json two.json >two.txt
[ "$(grep -c 'samples/s' two.txt)" = 1 ] # rank 0 alone prints
if "$FLEXHPC" bench tiny.yaml --set bench.steps=0 2>wrong.txt; then exit 1; fi
grep -q 'bench.steps' wrong.txt
if "$FLEXHPC" bench tiny.yaml --json missing/one.json >/dev/null 2>wrong.txt; then exit 1; fi
grep -q 'missing/one.json' wrong.txt

code=0
"$FLEXHPC" bench gpu tiny.yaml --backend cpu >none.txt 2>wrong.txt || code=$?
[ $code = 1 ] && [ ! -s none.txt ] && [ "$(wc -l <wrong.txt)" = 1 ] && grep -q 'there is no GPU to measure' wrong.txt

mpiexec -n 2 "$FLEXHPC" profile tiny.yaml --out trace.json >profile.txt
"$FLEXHPC" profile tiny.yaml >alone.txt
if "$FLEXHPC" profile tiny.yaml --out missing/trace.json >/dev/null 2>wrong.txt; then exit 1; fi
grep -q 'missing/trace.json' wrong.txt

/usr/bin/python3 - <<'PY'
import json
import math

one, two = (json.load(open(f)) for f in ("one.json", "two.json"))
for r in (one, two):
    assert len(r["step_s"]) == len(r["sample_s"]) == 3 and min(r["step_s"] + r["sample_s"]) > 0, r
    assert r["step_least_s"] == min(r["step_s"]) and r["step_median_s"] == sorted(r["step_s"])[1], r
    assert math.isclose(r["samples_per_s"], r["ranks"] * r["batch"] / min(r["step_s"]), rel_tol=1e-12), r
    assert math.isclose(r["gflops"], 1e-9 * r["plan_flop"] / min(r["step_s"]), rel_tol=1e-12), r
    assert 0 < r["outside_convolution"] < 1, r
    assert 0 < r["saved_bytes"] <= r["arena_bytes"] < r["resident_bytes"], r
    assert r["program"] == "flexhpc" and "oneDNN" in r["backend"] and r["threads"] == 1, r
    assert r["image"] == 16 and r["sample_batch"] == 2, r
assert (one["ranks"], one["batch"], two["ranks"], two["batch"]) == (1, 4, 2, 2)
assert one["parameters"] == two["parameters"] > 0
assert math.isclose(one["plan_flop"], 2 * two["plan_flop"], rel_tol=0.02)

events = json.load(open("trace.json"))["traceEvents"]
spans = [e for e in events if e["ph"] == "X"]
assert {e["pid"] for e in spans} == {0, 1}
names, durations = [], []
for rank in (0, 1):
    tape = [e for e in spans if (e["pid"], e["tid"]) == (rank, 0)]
    sums = [e for e in spans if (e["pid"], e["tid"]) == (rank, 1)]
    assert tape[0]["ts"] == 0 and min(e["dur"] for e in spans) >= 0
    for before, after in zip(tape, tape[1:]):  # one after the other: microseconds, rounded
        assert before["ts"] + before["dur"] <= after["ts"] + 1e-3, (before, after)
    names.append([(e["name"], e["args"]["pass"]) for e in tape])
    durations.append([e["dur"] for e in tape])
    starts = [e for e in tape if e["cat"] == "all_reduce"]
    assert len(starts) == len(sums) > 1
    join = next(e for e in tape if e["name"] == "join")
    backward = [e["ts"] for e in tape if e["args"]["pass"] == "backward"]
    for start, whole in zip(starts, sums):
        assert start["name"] == whole["name"] and start["ts"] == whole["ts"]
        assert abs(whole["ts"] + whole["dur"] - join["ts"] - join["dur"]) < 1e-3
    assert sums[0]["ts"] < max(backward) < sums[0]["ts"] + sums[0]["dur"]  # beside backward
assert durations[0] != durations[1]  # each rank's own
assert names[0] == names[1] and {p for _, p in names[0]} == {"forward", "backward"}

text = open("profile.txt").read()
rows = {line.split()[0]: line.split() for line in text.splitlines()[1:] if "%" in line and ":" not in line}
assert sum(int(r[1]) for r in rows.values() if r[0] != "between") == len(names[0])
assert abs(sum(float(line.split("%")[0].split()[-1]) for line in text.splitlines()[1:]
               if "%" in line and ":" not in line) - 100) < 2
shares = {k: float(r[4]) for k, r in rows.items() if k != "between"}
outside = float(text.split("mean of 3; ")[1].split()[0])
assert abs(outside + shares["conv"] - 100) < 0.2, (outside, shares)
assert "sums of gradients: under way" in text and "outside convolutions" in open("alone.txt").read()
PY
