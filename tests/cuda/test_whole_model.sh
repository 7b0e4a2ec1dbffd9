#!/usr/bin/env bash
# The whole program on the CUDA backend, on the stand-in: golden values of a model and of a training trajectory in strict fp32, a
# training whose losses are the CPU backend's, a training without graphs and a resume with the same bits.
# Planted and caught: the positional embedding's gradient halved; in training, AdamW's correction of a step later, and a step's numbers
# that graphs do not get; cuda.eager not handed on; in the resume, the first moment left at 0.
# Run: standin only
# Run: label full
# Run: timeout 900
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
golden=$FX_TESTS_DIR/golden

"$FLEXHPC" verify "$golden/flex_weak1.h5" "$golden/flex_train_adamw.h5" --backend cuda --precision fp32 | tee "$folder/verify"
[ "$(tail -1 "$folder/verify")" = "verify: 2 of 2 files agree" ]

cd "$folder"
cat >tiny.yaml <<'YAML'
seed: 5
run: {timeout: 300}
model: {arch: flex, preset: custom, tasks: mt, channels: [32, 32], blocks: [1, 1], depth: 1, heads: 2, mlp_ratio: 1}
data: {path: pack, patch: 16, factor: 4}
contrast: {weight: 0.1}
train: {steps: 4, global_batch: 2, learning_rate: 1e-3, warmup: 0, optimizer: adamw}
checkpoint: {every: 2}
YAML
"$FLEXHPC" generate --re 100 --size 64 --seed 1 --t-start 0 --t-end 0.5 --dt-out 0.1 --out fields
"$FLEXHPC" pack fields/*.h5 --out pack --patch 16
for backend in cpu cuda; do
    "$FLEXHPC" train tiny.yaml --set "backend=$backend" --run "$backend"
done
grep -q '^flexhpc .*backend cuda' cuda/env.txt
/usr/bin/python3 - <<'PY'
import json

cpu, cuda = ([json.loads(line) for line in open(f"{run}/metrics.jsonl")] for run in ("cpu", "cuda"))
assert [line["step"] for line in cpu] == [line["step"] for line in cuda] == [1, 2, 3, 4]
for a, b in zip(cpu, cuda):
    for key, limit in (("loss_sr", 1e-4), ("loss_fc", 1e-4), ("loss_contrastive", 1e-3), ("grad_norm", 1e-3)):
        assert abs(a[key] - b[key]) <= limit * abs(a[key]), (a["step"], key, a[key], b[key])
PY

# cuda.eager: the same bits, and nothing is captured.
FX_FAKE_NO_CAPTURE=1 "$FLEXHPC" train tiny.yaml --set backend=cuda --set cuda.eager=yes --run eager
grep -q '^flexhpc .*, eager$' eager/env.txt
"$FLEXHPC" checkpoint compare cuda/ckpt/step-00000004.h5 eager/ckpt/step-00000004.h5 >compared
if FX_FAKE_NO_CAPTURE=1 "$FLEXHPC" train tiny.yaml --set backend=cuda --set train.steps=2 --run refused 2>refusal; then
    exit 1
fi
grep -q 'not permitted when stream is capturing' refusal

"$FLEXHPC" train tiny.yaml --set backend=cuda --run resumed --resume cuda/ckpt/step-00000002.h5
"$FLEXHPC" checkpoint compare cuda/ckpt/step-00000004.h5 resumed/ckpt/step-00000004.h5 >compared
