#!/usr/bin/env bash
# The baselines go through the same commands as FLEX: plan, training on two ranks with the losses of one, a stop and a resume
# to the same bits, sampling, evaluation, report and profile; and what does not fit a network is refused in one line.
# Run: label full
# Run: timeout 300
# Run: cost 12
# Planted and caught: model.arch and the sizes among the settings that a resume may change; in drop_rows, the first slot of a rank
# taken for 0, so that two ranks have other losses than one; the title of every report begun with FLEX.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

make_data
sed 's/^model:.*/model: {arch: unet, preset: custom, heads: 2, channels: [32, 32], blocks: [1, 1], attention_sides: [8]}/
    s/steps: 24/steps: 4/; s/every: 4/every: 2/' tiny.yaml >unet.yaml
sed 's/^model:.*/model: {arch: uvit, preset: custom, heads: 2, embed_dim: 32, depth: 3, mlp_ratio: 2, patch: 4, condition_drop: 0.5}/
    s/steps: 24/steps: 4/; s/every: 4/every: 2/; s/factor: 4/factor: 4, condition_scale: 100/' tiny.yaml >uvit.yaml
small=(--set eval.patches=2 --set eval.batch=2)

# `same_losses RUN OTHER`: each step's losses by task agree to 2e-5.
same_losses() {
    /usr/bin/python3 -c 'import json, sys
a, b = ([json.loads(line) for line in open(run + "/metrics.jsonl")] for run in sys.argv[1:])
off = [abs(m[k] / n[k] - 1) for m, n in zip(a, b, strict=True) for k in ("loss_sr", "loss_fc")]
print(f"{len(a)} steps, losses off by {max(off):.1e}")
sys.exit(len(a) != 4 or max(off) > 2e-5)' "$1" "$2" >out 2>err || fail "$2 has other losses than $1"
}

for arch in unet uvit; do
    train=("$FLEXHPC" train "$arch.yaml")
    expect 0 "$FLEXHPC" plan "$arch.yaml"
    says out '^parameters '
    expect 0 mpiexec -n 2 "${train[@]}" --run "$arch"
    expect 0 "${train[@]}" --run "$arch-one"
    same_losses "$arch" "$arch-one"

    expect 75 mpiexec -n 2 "${train[@]}" --run "$arch-stopped" --time-limit 00:00:01
    expect 0 mpiexec -n 2 "${train[@]}" --run "$arch-stopped" --resume must
    same_run "$arch" "$arch-stopped"

    expect 0 "$FLEXHPC" sample "$arch.yaml" --run "$arch" --out samples.h5 "${small[@]}"
    expect 0 "$FLEXHPC" eval "$arch.yaml" --run "$arch" "${small[@]}"
    expect 0 "$FLEXHPC" report "$arch"
    expect 0 "$FLEXHPC" profile "$arch.yaml" --set bench.steps=1 --set bench.warmup=0
done
# The first screen says which network was trained: the title, the summary, and the facts below it.
says unet/report.html '<h1>[^<]*: U-Net, super-resolution'
says unet/report.html '<p class="summary">U-Net of [0-9.]+ (thousand|million) parameters'
says unet/report.html 'U-Net, channels 32-32, blocks 1-1, attention at maps of side 8'
says uvit/report.html '<h1>[^<]*: UViT, super-resolution'
says uvit/report.html 'UViT, width 32, depth 3, patches of 4 × 4 pixels'

# ---- What does not fit.
refused 2 'model.arch: unet -> uvit' "$FLEXHPC" train uvit.yaml --run unet --resume must
refused 2 'model.depth: model.arch: unet has no such key' "$FLEXHPC" train unet.yaml --run new --set model.depth=3
refused 2 'data.patch: 16 is no multiple of 5 (model.patch)' "$FLEXHPC" plan uvit.yaml --set model.patch=5
refused 2 'model.heads: 3 does not divide the width 32' "$FLEXHPC" plan unet.yaml --set model.heads=3
refused 2 'model.dropout: the forecast encoder of a unet has 1.5 times as much' "$FLEXHPC" plan unet.yaml --set model.dropout=0.7
refused 1 'encoder.input_blocks.3.1.attention: a head of 4 ' "$FLEXHPC" plan unet.yaml --set model.heads=8
refused 2 'unet/ckpt/step-00000004.h5 was trained otherwise: model.arch: unet -> uvit' "$FLEXHPC" train uvit.yaml --run other --set train.init_from="$(ls unet/ckpt/*4.h5)" \
    --set data.condition_scale=40000
