#!/usr/bin/env bash
# bench on a tiny model: its JSON has every field, they agree with each other, and the ranks share the batch.
# Planted errors, seen caught and removed: the first step taken for the fastest; samples/s of one rank; every rank
# printing its table; the resident set in KiB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >tiny.yaml <<'YAML'
model: {size: custom, image: 16, channels: [32, 32], blocks: [1, 1], depth: 1, heads: 1, mlp_ratio: 1}
data: {factor: 2}
train: {batch: 4, bucket: 0.0625}
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
PY
