#!/usr/bin/env bash
# train.shard_optimizer: what each rank keeps of moments, EMA and masters is its share, and nothing else changes: losses and
# checkpoints of 1, 2 and 3 ranks are those of the same ranks without it, to the bit, in a resumed run too, from a checkpoint of
# either kind and of another number of ranks; with train.reduce: fixed as well. EMA weights can be evaluated. Memory is less by
# what the plan says.
# Run: label full
# Run: timeout 300
# Run: cost 25
# Planted and caught: the update's share begun 16 elements late; a rank's part of the EMA left out of the checkpoint; a moment read
# from the file into the share 16 elements off; the updated weights not gathered; the second moments' memory that
# of the whole slab.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

sed -i 's/strata: 4/strata: 12/; s/steps: 24, global_batch: 4/steps: 8, global_batch: 6/' tiny.yaml
make_data
shard=(--set train.shard_optimizer=yes)

# `ranks N RUN OPTIONS...`: trains.
ranks() {
    local n=$1 run=$2
    shift 2
    expect 0 mpiexec -n "$n" "$FLEXHPC" train tiny.yaml --run "$run" "$@"
}

for n in 1 2 3; do
    ranks "$n" "whole$n"
    ranks "$n" "shard$n" "${shard[@]}"
    same_run "whole$n" "shard$n"
done
expect 0 "$FLEXHPC" checkpoint compare {whole,shard}2/ckpt/step-00000008.h5
says out '^config: train.shard_optimizer'

# ---- Resumed in the middle.
ranks 2 there --resume shard2/ckpt/step-00000004.h5
ranks 2 back --resume whole2/ckpt/step-00000004.h5 "${shard[@]}"
ranks 3 whole --resume whole2/ckpt/step-00000004.h5
ranks 3 shard --resume shard2/ckpt/step-00000004.h5 "${shard[@]}"
for pair in "whole2 there" "whole2 back" "whole shard"; do
    read -r run other <<<"$pair"
    expect 0 "$FLEXHPC" checkpoint compare "$run/ckpt/step-00000008.h5" "$other/ckpt/step-00000008.h5"
done

ranks 2 fixed --set train.reduce=fixed
ranks 2 fixed_shard --set train.reduce=fixed "${shard[@]}"
same_run fixed fixed_shard

# ---- EMA weights.
for run in whole2 shard2; do
    expect 0 mpiexec -n 2 "$FLEXHPC" eval tiny.yaml --run "$run" --set eval.patches=2
    grep -E '(SR|FC)  ' out >"scores-$run"
done
cmp -s scores-whole2 scores-shard2 || fail "other scores"
[ -s scores-shard2 ] || fail "no scores"

# ---- Memory: planned, and taken by a model of 10 million parameters.
cat >wide.yaml <<'YAML'
model: {preset: custom, channels: [320], blocks: [1], depth: 1, heads: 8, mlp_ratio: 4}
data: {patch: 16, factor: 4}
train: {global_batch: 2, optimizer: adamw}
bench: {steps: 1, warmup: 0, patches: 1}
YAML
for kind in no yes; do
    expect 0 "$FLEXHPC" plan wide.yaml --ranks 2 --set train.shard_optimizer=$kind
    mv out plan-$kind
    expect 0 mpiexec -n 2 "$FLEXHPC" bench wide.yaml --set train.shard_optimizer=$kind --json bench-$kind.json
done
refused 2 '--ranks: "two" is no number from 1 to 1048576' "$FLEXHPC" plan wide.yaml --ranks two
/usr/bin/python3 - <<'PY'
import json
import re


def rows(kind):
    text = open("plan-" + kind).read()
    found = re.findall(r"^(parameters (?:values|gradients|first moments|second moments|EMA)|in all) +([0-9.]+)", text, re.M)
    return {name.replace("parameters ", ""): float(mib) for name, mib in found}, text


(whole, text), (shard, sharded) = rows("no"), rows("yes")
assert len(whole) == len(shard) == 6 and "sharded" not in text, (whole, shard)
for name in ("first moments", "second moments", "EMA"):
    assert abs(shard[name] - whole[name] / 2) < 0.1, (name, whole[name], shard[name])
for name in ("values", "gradients"):
    assert abs(shard[name] - whole[name]) < 0.1, (name, whole[name], shard[name])
saved = 1.5 * whole["gradients"]
assert abs(whole["in all"] - shard["in all"] - saved) < 0.3, (whole["in all"], shard["in all"], saved)
told = float(re.search(r"^sharded over 2 ranks, .* in all ([0-9.]+)$", sharded, re.M)[1])
assert abs(told - saved) < 0.3 and saved > 40, (told, saved)
resident = [json.load(open(f"bench-{kind}.json"))["resident_bytes"] / 2**20 for kind in ("no", "yes")]
print(f"{saved:.1f} MiB less planned, {resident[0] - resident[1]:.1f} of {resident[0]:.0f} MiB less resident")
assert 0.9 * saved < resident[0] - resident[1] < 1.1 * saved, resident
PY
