#!/usr/bin/env python3
"""flexhpc predict: from a profile of this machine it gives back the profile's own step for one rank; with measured sums, what
follows from the file's times; from a device's limits, what is counted here from the tape that `plan --out` lists. Its rows
fall with jitter and ranks, the same twice, and files that don't fit are refused by name.

Planted and caught: entries that communicate matched with the profile's compute; the profile's time between entries left out;
reading of one sample a step; fp32 tensors for a device that stores bf16; the fraction as a factor; efficiency against the
jittered step of one rank; the same bucket in every change; sums in a queue that take as long as alone; the profile's form of the contrast in place of the one asked for.

Run: cost 4
"""
import csv
import json
import math
import os
import re
import subprocess
import tempfile
import xml.etree.ElementTree as xml

FLEXHPC = os.environ["FLEXHPC"]
TINY = """model: {preset: custom, channels: [32, 32], blocks: [1, 1], depth: 1, heads: 1, mlp_ratio: 1}
data: {patch: 16, factor: 2}
train: {global_batch: 2, bucket: 0.0625}
bench: {steps: 3, warmup: 1}
"""


def run(*words, ok=True):
    r = subprocess.run([FLEXHPC, *words], capture_output=True, text=True)
    assert (r.returncode == 0) == ok, (words, r.returncode, r.stdout, r.stderr)
    return r.stdout if ok else r.stderr


def predict(*words):
    text = run("predict", "tiny.yaml", "--json", "p.json", *words)
    return json.load(open("p.json")), text


def refused(wanted, *words):
    error = run("predict", "tiny.yaml", *words, ok=False)
    assert wanted in error and len(error.splitlines()) == 1, (wanted, error)


folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
open("tiny.yaml", "w").write(TINY)

# Measured compute, no ranks beside: the profile itself.
run("profile", "tiny.yaml", "--json", "profile.json")
profile = json.load(open("profile.json"))
inside = sum(e["seconds"] for e in profile["entries"] if not e["communicates"])
p, _ = predict("--profile", "profile.json", "--batch", "2", "--ranks", "1")
assert math.isclose(p["rows"][0]["step_ms"], 1e3 * (inside + profile["between_s"]), rel_tol=1e-9), p["rows"]
assert math.isclose(inside + profile["between_s"] + sum(e["seconds"] for e in profile["entries"] if e["communicates"]),
                    profile["step_s"], rel_tol=1e-9)
assert p["rows"][0]["eff_0"] == 100 and p["rows"][0]["sums_ms"] == 0

# Sums so slow that compute is nothing: the sizes of the tape's buckets, one after the other.
def write_sums(file, seconds, queued, largest):
    rows = [{"bytes": n, "median_s": seconds * n, "queued_s": queued * n} for n in (1, largest)]
    json.dump({"kind": "comm", "ranks": 4, "rows": rows}, open(file, "w"))


write_sums("comm.json", 1e-9, 1e-9, 1 << 40)
p, text = predict("--profile", "profile.json", "--batch", "2", "--ranks", "4", "--comm", "comm.json")
assert math.isclose(p["rows"][0]["sums_ms"], 1e3 * 1e-9 * 4 * profile["parameters"], rel_tol=1e-3), (p["rows"], profile["parameters"])
write_sums("slow.json", 1e-5, 1e-5, 1 << 36)
p, text = predict("--profile", "profile.json", "--batch", "2", "--ranks", "4", "--comm", "slow.json")
assert "binds: sums that nothing hides" in text and "change: train.reduce_type: bf16" in text, text
assert 0.9 < p["rows"][0]["exposed_ms"] / p["rows"][0]["sums_ms"] <= 1
changes = {c["change"]: c for c in p["changes"]}
fewer = changes["as configured"]["exposed_ms"] - changes["train.reduce_type: bf16"]["exposed_ms"]
assert math.isclose(fewer, 0.5 * p["rows"][0]["sums_ms"], rel_tol=1e-6), p
# Sums that occupy the network for a quarter of their time: all but the last one cost that.
write_sums("queue.json", 1e-5, 0.25e-5, 1 << 36)
queue, _ = predict("--profile", "profile.json", "--batch", "2", "--ranks", "4", "--comm", "queue.json")
last = (queue["rows"][0]["sums_ms"] - 0.25 * p["rows"][0]["sums_ms"]) / 0.75 / 1e3 / 1e-5  # its bytes
assert 4 * 32 <= last < 4 * profile["parameters"] / 2, last

# Limits of a device, from the list of nodes: every entry max(FLOP / rate, bytes / rate) / 0.6, one rank. The list of this
# machine stores fp32, so only the compute-bound entries' times are equal; in all the device's bytes are half to all of them.
run("plan", "tiny.yaml", "--set", "train.global_batch=8", "--out", "nodes.txt")
flop, nbytes = (sum(float(m) for m in re.findall(rf" {what} (\d+)", open("nodes.txt").read())) for what in ("flop", "bytes"))
p, text = predict("--ranks", "1")
alone = p["alone_ms"]
assert 0.5 * nbytes < alone * 0.6e-3 * 3.0e12 < 0.7 * nbytes, (alone, nbytes)  # all of it would be 1
assert alone < 1e3 * (nbytes / 3.0e12 + flop / 798e12) / 0.6, (alone, nbytes, flop)
half, _ = predict("--ranks", "1", "--fraction", "0.3")
assert math.isclose(half["alone_ms"], 2 * alone, rel_tol=1e-9)

p, text = predict("--network", "h100-200g", "--csv", "p.csv", "--plot", "p.svg")
rows = p["rows"]
assert [r["ranks"] for r in rows] == [8 << i for i in range(10)]
for a, b in zip(rows, rows[1:]):
    assert b["step_ms"] >= a["step_ms"] and b["eff_3"] < a["eff_3"], (a, b)
for r in rows:
    assert r["eff_0"] >= r["eff_0.3"] >= r["eff_1"] >= r["eff_3"] > 0, r
    assert math.isclose(r["eff_0"], 100 * p["alone_ms"] / r["step_ms"], rel_tol=1e-9)
    assert math.isclose(r["read_gb_per_s"], 1e-9 * r["samples_per_s"] * 4 * 3 * 16 * 16, rel_tol=1e-9), r
    assert math.isclose(r["samples_per_s"], 8 * r["ranks"] / p["alone_ms"] * 1e3 * r["eff_0.3"] / 100, rel_tol=1e-9)
assert len(list(csv.DictReader(open("p.csv")))) == 10
lines = [e for e in xml.parse("p.svg").iter() if e.get("class", "").startswith("dots")]
assert len(lines) == 4
assert "8 H100 a node" in text and "binds: " in text
assert len({c["step_ms"] for c in p["changes"]}) > 3
# Where an efficiency is above 100 %, it is said why.
for ranks in ("8", "1024"):
    text = run("predict", os.path.join(os.environ["FX_TESTS_DIR"], "..", "configs", "flex-small.yaml"), "--ranks", ranks, "--json", "s.json")
    s = json.load(open("s.json"))
    most = max(r.get("eff_0", r["eff_0.3"]) for r in s["rows"] + s["changes"])
    assert (most > 100) == ("above 100: with train.shard_optimizer" in text) == (ranks == "8"), (most, text)
small = {c["change"]: c["step_ms"] for c in json.load(open("s.json"))["changes"]}
# The bucket that is left open: a sixteenth of the gradients (small: 58,315,984 floats), from 1 to 32 MiB.
for name, mib, others in (("demo", 1, 0.5), ("flex-small", 58315984 * 4 / 16 / 2**20, 16), ("flex-big", 32, 16)):
    config = os.path.join(os.environ["FX_TESTS_DIR"], "..", "configs", name + ".yaml")
    steps = []
    for bucket in (0, mib, others):
        run("predict", config, "--ranks", "64", "--set", f"train.bucket={bucket}", "--json", "s.json")
        steps.append(json.load(open("s.json"))["rows"][0]["step_ms"])
    assert steps[0] == steps[1] != steps[2], (name, steps)
assert small["train.bucket: 1"] > 1.01 * small["train.bucket: 64"], small
again, _ = predict("--network", "h100-200g")
assert again == p
other, _ = predict("--network", "h100-200g", "--set", "seed=7")
assert other["rows"][0]["eff_3"] != rows[0]["eff_3"] and other["rows"][0]["eff_0"] == rows[0]["eff_0"]
assert predict("--network", "h100-200g", "--set", "model.recompute=resblock")[0]["alone_ms"] > p["alone_ms"]

# A rank that reads 8 samples of 3072 bytes in a second has steps of a second.
json.dump({"kind": "io", "rows": [{"mb_per_s_least": 8 * 3072e-6}]}, open("io.json", "w"))
p, text = predict("--io", "io.json")
assert math.isclose(p["rows"][0]["step_ms"], 1000, rel_tol=1e-9) and "binds: reading" in text, text

refused("--batch 2", "--profile", "profile.json")
refused("contrast.exchange: features, and the profile is of gather", "--profile", "profile.json", "--batch", "2",
        "--set", "contrast.weight=0.1", "--set", "contrast.exchange=features")
refused("data.patch is 32", "--profile", "profile.json", "--batch", "2", "--set", "data.patch=32")
refused("where the tape of this configuration has", "--profile", "profile.json", "--batch", "2", "--set", "model.depth=3")
refused("holds comm", "--profile", "comm.json")
refused("holds profile", "--comm", "profile.json")
refused("holds comm", "--io", "comm.json")
refused("missing.json", "--profile", "missing.json")
refused("did you mean h100-ndr", "--network", "h100-nd")
refused("--fraction", "--fraction", "0")
refused("--ranks", "--ranks", "0")
refused("missing/p.svg", "--plot", "missing/p.svg")
