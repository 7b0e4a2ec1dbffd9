#!/usr/bin/env bash
# train.reduce_type: bf16 on 2 and 3 ranks: the first step's losses are those of fp32, before any gradient was used; later ones are near
# them and not the same; all ranks hold the same weights, which a resume on them repeats to the bit. One rank has nothing to send, and
# the bits of fp32. With train.reduce: fixed it is refused.
# Run: label full
# Run: timeout 120
# Run: cost 8
# Planted and caught: the rounded sums not taken back; half of each taken back.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

sed -i 's/strata: 4/strata: 12/; s/steps: 24, global_batch: 4/steps: 8, global_batch: 6/' tiny.yaml
make_data
for n in 1 2 3; do
    for type in fp32 bf16; do
        expect 0 mpiexec -n $n "$FLEXHPC" train tiny.yaml --run $type$n --set train.reduce_type=$type
    done
done
same_run fp321 bf161
expect 0 mpiexec -n 2 "$FLEXHPC" train tiny.yaml --run again --set train.reduce_type=bf16 --resume bf162/ckpt/step-00000004.h5
expect 0 "$FLEXHPC" checkpoint compare {bf162,again}/ckpt/step-00000008.h5
refused 2 'train.reduce_type: train.reduce: fixed sums fp32; use fp32' mpiexec -n 2 "$FLEXHPC" train tiny.yaml --run fixed \
    --set train.reduce_type=bf16 --set train.reduce=fixed

/usr/bin/python3 - <<'PY'
import json


def losses(run):
    rows = [json.loads(line) for line in open(run + "/metrics.jsonl")]
    return [row["loss"] for row in rows if "loss" in row]


for n in "23":
    exact, rounded = losses("fp32" + n), losses("bf16" + n)
    assert len(exact) == len(rounded) == 8, (exact, rounded)
    assert exact[0] == rounded[0], (exact[0], rounded[0])
    off = [abs(a - b) / a for a, b in zip(exact, rounded)]
    print(n, "ranks, off by", " ".join(f"{x:.1e}" for x in off))
    assert 0 < max(off) < 2e-2, off
PY
