#!/usr/bin/env bash
# Fine-tuning on another data set (train.init_from): weights and EMA are another run's, the rest is the new pack's: scale,
# Reynolds numbers, crops; a resume goes on with the fine-tuned weights; weights that would mean something else are refused in one
# line. The mixture of both data sets (pack.add, data.weights, data.augment) trains with the contrast, and two ranks see the
# batches of one.
# Run: label full
# Run: timeout 240
# Run: cost 8
# Planted and caught: weights left as they were initialized; another data.condition_scale let through.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
make_data
other=(--set generate.path=others --set generate.reynolds=400 --set generate.seed=8 --set generate.snapshots=8)
expect 0 "$FLEXHPC" generate tiny.yaml "${other[@]}"
expect 0 "$FLEXHPC" pack tiny.yaml --set pack.source=others --set pack.path=other
expect 0 "$FLEXHPC" train tiny.yaml --run first --set train.steps=4
tune=("$FLEXHPC" train tiny.yaml --set data.path=other --set train.init_from=first --set train.steps=2 --set checkpoint.every=1)

# ---- A rate of 0 leaves the weights as they came; what the data set decides is its own.
expect 0 "${tune[@]}" --run same --set train.learning_rate=0
says out '^weights and EMA from first/ckpt/step-00000004\.h5, step 4$'
says out '^fine-tuning: data\.reynolds: 100,200 -> 400$'
says out '^fine-tuning: data\.scale: '
/usr/bin/python3 - <<'PY' || fail "weights"
import json, h5py
# The EMA moves towards the weights by 1 - 2/11, then 1 - 3/12 of what is left.
first, same = h5py.File("first/ckpt/step-00000004.h5"), h5py.File("same/ckpt/step-00000002.h5")
count = {"value": 0, "ema": 0}
def compare(name, data):
    kind = name.split("/")[0]
    if isinstance(data, h5py.Dataset) and kind in ("value", "ema"):
        count[kind] += 1
        value = first["value" + name[len(kind):]][...]
        want = value if kind == "value" else value + 2 / 11 * 3 / 12 * (data[...] - value)
        off = abs(want - same[name][...]).max()
        assert off == 0 if kind == "value" else off <= 1e-6 * (1 + abs(value).max()), (name, off)
first.visititems(compare)
assert count["value"] >= count["ema"] > 100, count
scale = json.load(open("other/manifest.json"))["scale"]
assert f"scale: {scale:.6g}"[:10] in open("same/config.yaml").read(), scale
PY
expect 0 "${tune[@]}" --run tuned
cp -r tuned stopped && rm stopped/ckpt/step-00000002.h5
expect 0 "${tune[@]}" --run stopped --resume must
same_run tuned stopped

# ---- What the weights would not fit.
refused 2 'train.init_from: first/ckpt/step-00000004.h5 was trained otherwise: data.condition_scale: 40000 -> 1000' "${tune[@]}" --run no \
    --set data.condition_scale=1000
refused 2 'was trained otherwise: diffusion.predict: v -> x' "${tune[@]}" --run no --set diffusion.predict=x
refused 2 'was trained otherwise: model.heads: 2 -> 4' "${tune[@]}" --run no --set model.heads=4
refused 1 'train.init_from: first/ckpt/step-00000004.h5' "${tune[@]}" --run no --set model.channels=64
refused 1 'train.init_from: other: ' "${tune[@]}" --run no --set train.init_from=other

# ---- Both data sets in one pack, weighed, turned, with the contrast; on two ranks the losses of one.
expect 0 "$FLEXHPC" pack tiny.yaml --set pack.source=others --set pack.add=true
mix=(train tiny.yaml --set train.steps=3 --set contrast.weight=0.01 --set data.augment=all
    --set "data.weights=*_seed_8.h5=1,*=3" --set model.dropout=0)
expect 0 "$FLEXHPC" "${mix[@]}" --run mix
expect 0 mpiexec -n 2 "$FLEXHPC" "${mix[@]}" --run mix2
/usr/bin/python3 - <<'PY' || fail "two ranks have other losses"
import json
one, two = ([json.loads(line) for line in open(run + "/metrics.jsonl")] for run in ("mix", "mix2"))
assert len(one) == 3 and all(abs(a[k] / b[k] - 1) < 2e-5 for a, b in zip(one, two) for k in ("loss_sr", "loss_fc")), (one, two)
PY
refused 2 'data.weights: none for ' "$FLEXHPC" "${mix[@]}" --run no --set data.weights=400=1
echo "fine-tuned"
