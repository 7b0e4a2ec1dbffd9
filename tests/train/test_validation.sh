#!/usr/bin/env bash
# validate.every: a training that validates ends with the bits of one that does not; what it finds is the same on 1 and 2 ranks, the
# same again after a resume, the same at every step where the weights stay (so patches, noise and times do), and what
# `flexhpc eval` finds for the last checkpoint. It stands in metrics.jsonl, TensorBoard's file, the log and the report, and
# its memory in the plan.
# Run: label full
# Run: cost 8
# Planted and caught: noise of the losses from the number of the validation; the same from the rank; the scores of the validation before
# kept; losses of the weights in place of their average; what the network is to say for what it says.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

make_data
# The tree of gradients makes weights that do not depend on the ranks.
train=("$FLEXHPC" train tiny.yaml --set train.steps=5 --set train.reduce=fixed --set checkpoint.every=3)
validate=(--set validate.every=2 --set validate.patches=3 --set eval.batch=2)

expect 0 "${train[@]}" --run without
expect 0 "${train[@]}" --run with "${validate[@]}"
says out '^step 4: validation loss 0\.[0-9]+, RFNE .* SR Re 100 .*, bicubic .* FC Re 200 .*, persistence'
expect 0 "$FLEXHPC" checkpoint compare {without,with}/ckpt/step-00000005.h5
expect 0 mpiexec -n 2 "${train[@]}" --run ranks "${validate[@]}"
same_run with ranks
expect 75 "${train[@]}" --run stopped "${validate[@]}" --time-limit 0.001
expect 0 "${train[@]}" --run stopped "${validate[@]}"
same_run with stopped
expect 0 "${train[@]}" --run still "${validate[@]}" --set train.learning_rate=0 --set diffusion.criterion=mse
expect 0 "${train[@]}" --run raw "${validate[@]}" --set train.ema_decay=0

expect 0 "$FLEXHPC" eval tiny.yaml --run with --set eval.patches=3 --set eval.batch=2
grep -E '^(SR|FC) .*\[' out >scores
grep -qa val_rfne_fc_re200 with/tb/* || fail "TensorBoard's file has no validation"
grep -q '>Validation<' with/report.html || fail "the report has no validation"
! grep -q '>Validation<' without/report.html || fail "a report of what was not validated"

/usr/bin/python3 - <<'PY' || fail "the numbers of validation"
import json
def rows(run):
    lines = [json.loads(line) for line in open(run + "/metrics.jsonl")]
    found = [row for row in lines if "val_loss" in row]
    assert [row["step"] for row in found] == [2, 4, 5], found
    return lines, found
def validation(row):
    return {k: v for k, v in row.items() if k.startswith("val_")}
lines, found = rows("with")
last = found[-1]
keys = {f"val_{kind}_{task}{re}" for kind in ("rfne", "floor") for task in ("sr", "fc") for re in ("", "_re100", "_re200")}
keys |= {f"val_{kind}_{task}" for kind in ("target", "output") for task in ("sr", "fc")}
assert set(validation(last)) == keys | {"val_loss", "val_rfne"}, last
for line in open("scores"):
    task, re, n, rfne, low, high, floor, *rest = line.split()
    assert n == "3"
    assert abs(last[f"val_rfne_{task.lower()}_re{re}"] - float(rfne)) < 6e-5, (last, line)
    assert abs(last[f"val_floor_{task.lower()}_re{re}"] - float(floor)) < 6e-5, (last, line)
mean = sum(last[f"val_rfne_{task}_re{re}"] for task in ("sr", "fc") for re in (100, 200)) / 4
assert abs(mean - last["val_rfne"]) < 1e-6 and found[0]["val_rfne"] != last["val_rfne"]
# The loss is the training's, of other patches, noise and times, and of the average of the weights.
_, raw = rows("raw")
assert all(a["loss"] == b["loss"] and a["val_loss"] != b["val_loss"] for a, b in zip(found, raw)), (found, raw)
still, same = rows("still")
# A network that returns 0 has, by the loss MSE, the mean square of its target for its loss.
assert all(same[0][f"val_output_{task}"] == 0 < last[f"val_output_{task}"] for task in ("sr", "fc"))
assert abs((same[0]["val_target_sr"] + same[0]["val_target_fc"]) / 2 - same[0]["val_loss"]) < 1e-6 * same[0]["val_loss"], same
assert all(validation(row) == validation(same[0]) for row in same), same
trained = sum(row["loss"] for row in still) / len(still)
assert 0.75 * trained < same[0]["val_loss"] < 1.25 * trained, (trained, same[0])
PY
expect 0 "$FLEXHPC" plan tiny.yaml "${validate[@]}"
says out '^validation +[0-9.]+ +MiB'
refused 2 "validate.every: with train.shard_optimizer" "${train[@]}" --run sharded "${validate[@]}" --set train.shard_optimizer=yes
refused 2 "eval.reynolds: the pack pack holds none" "${train[@]}" --run nothing "${validate[@]}" --set eval.reynolds=7
echo "validation leaves the training alone and finds what an evaluation finds"
