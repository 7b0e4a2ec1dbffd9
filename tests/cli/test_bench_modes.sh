#!/usr/bin/env bash
# bench comm, io and scaling on a tiny model: rows add up, files agree with each other, and the curve joins what belongs
# together and refuses the rest by name. Times are never judged.
# Planted errors, seen caught and removed: a bus rate without its factor 2(n-1)/n; weak scaling that keeps the global batch;
# the strong curve's efficiency without the ratio of ranks; bytes of one snapshot for those of a sample; rank 0's samples for
# those of all; a curve in the order of its files; a replay that leaves out half of each wait; a curve of two
# models; the time of a sum in a queue with the first one's in it; gathers
# of a rank's share. Not seen: a replay that leaves gathers out.
# Run: cost 6
# Run: label full
# shellcheck source=tests/fault/tiny.sh
. "$FX_TESTS_DIR/fault/tiny.sh"
make_data

mpiexec -n 2 "$FLEXHPC" bench comm --set train.bucket=0.0625 --set bench.steps=3 --json comm.json --csv comm.csv >comm.txt
mpiexec -n 2 "$FLEXHPC" bench io tiny.yaml --set bench.steps=2 --json io.json >io.txt
for n in 1 2 4; do
    mpiexec -n $n "$FLEXHPC" bench scaling tiny.yaml --batch 2 --repeats 2 --set bench.steps=2 --set bench.warmup=1 \
        --json s$n.json >s$n.txt
done
"$FLEXHPC" bench scaling --plot curve s4.json s1.json s2.json >curve.txt
"$FLEXHPC" bench step tiny.yaml --set bench.steps=1 --set bench.warmup=0 >step.txt
grep -q 'samples/s' step.txt

refused 2 'mpiexec' "$FLEXHPC" bench comm
refused 2 'data.path' "$FLEXHPC" bench io tiny.yaml --set data.path=
refused 1 'nowhere' "$FLEXHPC" bench io tiny.yaml --set data.path=nowhere
refused 2 '"none" is no number' "$FLEXHPC" bench scaling tiny.yaml --batch none
refused 2 'no CONFIG' "$FLEXHPC" bench scaling tiny.yaml --plot x s1.json
refused 1 'missing.json' "$FLEXHPC" bench scaling --plot x missing.json
refused 1 'comm.json: holds comm' "$FLEXHPC" bench scaling --plot x comm.json
refused 1 'two files of 2 ranks' "$FLEXHPC" bench scaling --plot x s2.json s2.json
sed 's/"image": 16/"image": 32/' s4.json >other.json
refused 1 'other.json: images of 32' "$FLEXHPC" bench scaling --plot x s1.json other.json
sed 's/"batch": 2,/"batch": 3,/' s4.json >other.json
refused 1 'not of the same batch' "$FLEXHPC" bench scaling --plot x s1.json other.json
sed 's/"parameters": [0-9]*/"parameters": 7/' s4.json >other.json
refused 1 'other.json: a model of 7 parameters' "$FLEXHPC" bench scaling --plot x s1.json other.json
[ ! -e x.svg ] || fail "a refused curve was drawn"
refused 2 'train.global_batch' mpiexec -n 3 "$FLEXHPC" bench scaling tiny.yaml

/usr/bin/python3 - <<'PY'
import csv
import json
import math
import xml.etree.ElementTree as xml

comm = json.load(open("comm.json"))
rows = comm["rows"]
assert comm["kind"] == "comm" and comm["ranks"] == 2 and comm["nodes"] == 1
assert [r["bytes"] for r in rows] == [4] + [1024 << i for i in range(7)], rows
for r in rows:
    assert 0 < r["least_s"] <= r["median_s"] <= r["most_s"], r
    more = (r["queue_s"] - r["median_s"]) / 7
    assert r["queue"] == 8 and math.isclose(r["queued_s"], max(more, 1e-9), rel_tol=1e-9), r
    assert math.isclose(r["bus_mb_per_s"], 1e-6 * 2 * (2 - 1) / 2 * r["bytes"] / r["median_s"], rel_tol=1e-9), r
table = list(csv.DictReader(open("comm.csv")))
assert len(table) == len(rows) and all(math.isclose(float(t["median_s"]), r["median_s"], rel_tol=1e-8)
                                       for t, r in zip(table, rows))
assert len(open("comm.txt").read().splitlines()) == len(rows) + 1

io = json.load(open("io.json"))
assert [r["pass"] for r in io["rows"]] == ["cold", "warm"] and io["sample_bytes"] == 4 * 3 * 16 * 16
for r in io["rows"]:
    assert r["samples"] == 2 * 4 and r["seconds"] > 0, r
    assert math.isclose(r["mb_per_s_all"], 1e-6 * 8 * io["sample_bytes"] / r["seconds"], rel_tol=1e-9), r
    assert math.isclose(r["samples_per_s"], 8 / r["seconds"], rel_tol=1e-9), r
    assert r["mb_per_s_least"] <= r["mb_per_s_median"], r

mean = {}
for n in (1, 2, 4):
    weak, strong = json.load(open(f"s{n}.json"))["rows"]
    assert (weak["mode"], weak["batch"], weak["global_batch"]) == ("weak", 2, 2 * n), weak
    assert (strong["mode"], strong["batch"], strong["global_batch"]) == ("strong", 4 // n, 4), strong
    for r in (weak, strong):
        assert r["ranks"] == n and len(r["repeat_s"]) == 2 and r["least_s"] <= min(r["repeat_s"]), r
        assert math.isclose(r["mean_s"], sum(r["repeat_s"]) / 2, rel_tol=1e-9), r
        assert math.isclose(r["sd_s"], abs(r["repeat_s"][0] - r["repeat_s"][1]) / math.sqrt(2), rel_tol=1e-6, abs_tol=1e-12)
        mean[r["mode"], n] = r["mean_s"]
points = json.load(open("curve.json"))["rows"]
assert [(p["mode"], p["ranks"]) for p in points] == [(m, n) for m in ("weak", "strong") for n in (1, 2, 4)]
for p in points:
    more = p["ranks"] if p["mode"] == "strong" else 1
    assert math.isclose(p["efficiency"], mean[p["mode"], 1] / (more * mean[p["mode"], p["ranks"]]), rel_tol=1e-9), p
    assert (p["efficiency_sd"] > 0) == (p["ranks"] > 1), p
bars = [e.get("d") for e in xml.parse("curve.svg").iter() if "bars" in e.get("class", "")]
assert len(bars) == 2 and all(d.count("V") == 3 for d in bars), bars
assert len(list(csv.DictReader(open("curve.csv")))) == 6
PY

# Replay: no shorter than its waits, and it gathers what the tape gathers; refused without a profile, and where the tape
# communicates otherwise.
"$FLEXHPC" profile tiny.yaml --set train.global_batch=2 --set bench.steps=2 --json profile.json >profile.txt
mpiexec -n 2 "$FLEXHPC" bench replay tiny.yaml --batch 2 --profile profile.json --set bench.steps=2 --json replay.json >replay.txt
refused 2 '--profile FILE' "$FLEXHPC" bench replay tiny.yaml
refused 1 'missing.json' "$FLEXHPC" bench replay tiny.yaml --profile missing.json
refused 2 'contrast.group' "$FLEXHPC" bench replay tiny.yaml --profile profile.json --set contrast.weight=1 --set contrast.group=node
refused 2 'train.reduce: fixed' "$FLEXHPC" bench replay tiny.yaml --profile profile.json --set train.reduce=fixed
for key in train.shard_optimizer=true contrast.weight=1; do
    "$FLEXHPC" profile tiny.yaml --set train.global_batch=2 --set bench.steps=1 --set "$key" --json other.json >profile.txt
    mpiexec -n 2 "$FLEXHPC" bench replay tiny.yaml --batch 2 --profile other.json --set bench.steps=1 --set "$key" \
        --json "$key.json" >replay.txt
done
/usr/bin/python3 - <<'PY'
import json
profile, row = json.load(open("profile.json")), json.load(open("replay.json"))["rows"][0]
waits = profile["between_s"] + sum(e["seconds"] for e in profile["entries"] if not e["communicates"])
assert row["ranks"] == 2 and row["sums"] >= 1 and row["steps"] == 2 and row["gathered_bytes"] == 0, row
# The weights; the latents, fp32, of 2 ranks x 2 samples x 2 tasks
weights, latents = (json.load(open(f"{key}.json"))["rows"][0] for key in ("train.shard_optimizer=true", "contrast.weight=1"))
assert 0 <= weights["gathered_bytes"] - 4 * profile["parameters"] < 256, (weights, profile["parameters"])
assert latents["gathered_bytes"] == 4 * 8 * 65 * 32, latents
assert waits <= row["least_s"] <= row["median_s"] <= row["most_s"], (waits, row)
PY
