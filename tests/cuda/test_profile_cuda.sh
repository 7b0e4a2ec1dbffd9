#!/usr/bin/env bash
# profile and bench gpu on the stand-in, whose clock goes on by a microsecond for each piece of work, two for its cuDNN's engines:
# so every op's time is what `launches` counts that it starts, and rates follow from sizes. On 2 ranks there is a sum as well.
# Planted and caught: in clock.c an entry's event left out, entries not waited for; in profile.c shares of the host's time, all steps'
# seconds for one's, an entry's two limits added; in limits.c a copy counted once, twice the time; in bench_gpu.c precisions
# exchanged (by the line on the backend), the bus's factor upside down. Caught: bf16 sums of a queue in the same memory.
# Run: standin only
# Run: timeout 300
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export FX_FAKE_CUDNN=none
cat >tiny.yaml <<'YAML'
model: {preset: custom, channels: [32, 32], blocks: [1, 1], depth: 1, heads: 1, mlp_ratio: 1}
data: {patch: 16, factor: 2}
train: {global_batch: 2, bucket: 0.0625}
bench: {steps: 2, warmup: 0, matrix: 64, copy: 1}
YAML
"$FLEXHPC" bench gpu tiny.yaml --json one.json >one.txt
mpiexec -n 2 "$FLEXHPC" bench gpu tiny.yaml --json two.json >two.txt
# Sums in a queue, rounded: the stand-in ends a program in which one is rounded into what another still sends.
mpiexec -n 2 "$FLEXHPC" bench comm tiny.yaml --set backend=cuda --set train.reduce_type=bf16 >comm.txt
[ "$(wc -l <comm.txt)" -eq 9 ]
# Matrices so large that some entries are bound by products and some by memory.
"$FLEXHPC" profile tiny.yaml --backend cuda --set bench.matrix=256 --out trace.json >profile.txt
"$FLEXHPC" plan tiny.yaml --set backend=cuda --out nodes.txt >plan.txt
"$FX_BINARY_DIR/tests/launches" tiny.yaml backend=cuda >launches.txt
cat one.txt two.txt profile.txt
[ "$(grep -c all-reduce one.txt two.txt | tr '\n' ' ')" = 'one.txt:0 two.txt:1 ' ]

/usr/bin/python3 - <<'PY'
import json
import math
import re

US, MIB = 1e-6, 2**20


def close(a, b, tolerance=1e-5):
    assert math.isclose(a, b, rel_tol=tolerance), (a, b)


one, two = (json.load(open(f)) for f in ("one.json", "two.json"))
for r in (one, two):
    for name in ("fp32_flops", "tf32_flops", "bf16_flops"):
        close(r[name], 2 * 64**3 / US)
    close(r["copy"], 2 * MIB / US)
    close(r["upload"], MIB / US)
    assert r["backend"].startswith("cuda, bf16,") and (r["matrix"], r["copy_size"]) == (64, MIB), r
assert one["all_reduce"] == 0 and (one["ranks"], two["ranks"]) == (1, 2)
assert two["all_reduce"] > 0
close(two["all_reduce_bus"], two["all_reduce"])

counted = {}
for op, way, entries, kernels, calls in (line.split() for line in open("launches.txt")):
    if op != "all":
        both = counted.setdefault(op, [0, {"forward": 0, "backward": 0}])
        both[0] += int(entries)
        both[1][way] = (int(kernels) + int(calls) * (2 if op == "conv" else 1)) * US
rows = {}
for line in open("profile.txt"):
    row = re.match(r"(\w+) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) % +([\d.]+) +([\d.]+) +([\d.]+) %$", line)
    if row:
        rows[row.group(1)] = [float(cell) for cell in row.groups()[1:]]
assert rows.keys() == counted.keys(), rows.keys() ^ counted.keys()
for op, (entries, times) in counted.items():
    calls, forward, backward = rows[op][:3]
    assert calls == entries, op
    for got, want in ((forward, times["forward"]), (backward, times["backward"])):
        assert abs(got - want) < 0.6 * US, (op, got, want)
inside = sum(sum(times.values()) for _, times in counted.values())
text = open("profile.txt").read()
close(float(re.search(r"its entries: ([\d.]+) s", text).group(1)), inside)
assert abs(sum(row[3] for row in rows.values()) - 100) < 1, rows
conv = sum(counted["conv"][1].values())
close(float(re.search(r"([\d.]+) % outside", text).group(1)), 100 * (1 - conv / inside), 2e-3)
limit = re.search(r"limits, ([\d.]+) TFLOP/s and ([\d.]+) GB/s, ([\d.]+) s", text)
close(float(limit.group(1)), 2 * 256**3 / US / 1e12, 0.01)
close(float(limit.group(2)), 2 * MIB / US / 1e9, 1e-4)
nodes = [(float(a), float(b)) for a, b in re.findall(r" flop (\d+) bytes (\d+)$", open("nodes.txt").read(), re.M)]
product, memory = [a / (2 * 256**3 / US) for a, _ in nodes], [b / (2 * MIB / US) for _, b in nodes]
least = sum(max(pair) for pair in zip(product, memory))
assert 1.02 * least < sum(product) + sum(memory) and least > 1.02 * max(sum(product), sum(memory))
assert abs(float(limit.group(3)) - least) < 0.6 * US, (limit.group(3), least)
# A row without products is bound by memory alone.
close(rows["group_norm"][4] / 2097.152, rows["group_norm"][6] / 100, 0.06)

spans = [e for e in json.load(open("trace.json"))["traceEvents"] if e["ph"] == "X" and e["tid"] == 0]
assert len(spans) == sum(entries for entries, _ in counted.values())
close(sum(e["dur"] for e in spans), inside / US, 1e-3)
PY
