#!/usr/bin/env bash
# The whole program on two ranks with the CUDA backend and NCCL, on the stand-in: a training with the contrastive term over the
# global batch, latents exchanged by features, whose losses are the CPU backend's, a resume with the same bits, and one GPU a rank, in groups of a study too.
# Run: standin only
# Run: label full
# Run: timeout 300
# Run: cost 20
# Planted and caught: the contrast's gradient written to the first rank's rows; in the resume, the first moment left at 0; of
# GPUs the hosts alone compared, and not all of them compared; one bus told for all GPUs; arrive not waiting for the exchange (order of
# work, by name); a group's GPU picked by the rank in the group; what a run in tf32 costs, counted by the CPU
# backend, asked of it in tf32; two groups that share the GPUs of a node let begin.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
train=(mpiexec -n 2 "$FLEXHPC" train tiny.yaml --set train.steps=4 --set checkpoint.every=2 --set run.timeout=250
    --set precision=fp32 --set contrast.weight=0.1 --set contrast.exchange=features --set train.global_batch=2)

make_data
for backend in cpu cuda; do
    timeout 250 "${train[@]}" --set "backend=$backend" --run "$backend" >out 2>err || fail "training by $backend"
done
/usr/bin/python3 - <<'PY' || fail "the losses are not the CPU's"
import json

cpu, cuda = ([json.loads(line) for line in open(f"{run}/metrics.jsonl")] for run in ("cpu", "cuda"))
assert [line["step"] for line in cpu] == [line["step"] for line in cuda] == [1, 2, 3, 4]
for a, b in zip(cpu, cuda):
    for key, limit in (("loss_sr", 1e-4), ("loss_fc", 1e-4), ("loss_contrastive", 1e-3), ("grad_norm", 1e-3)):
        assert abs(a[key] - b[key]) <= limit * abs(a[key]), (a["step"], key, a[key], b[key])
PY
timeout 250 "${train[@]}" --set backend=cuda --run resumed --resume cuda/ckpt/step-00000002.h5 >out 2>err || fail "resume"
expect 0 "$FLEXHPC" checkpoint compare cuda/ckpt/step-00000004.h5 resumed/ckpt/step-00000004.h5

# As many GPUs as ranks, seen by all; then one for two.
FX_FAKE_DEVICES=2 expect 0 mpiexec -n 2 "$FLEXHPC" info
says out "backend cuda"
for rank in 0 1; do says out "^rank $rank/2 on .*, GPU stand-in on the CPU at 0000:0$((rank + 1)):00\\.0\$"; done
says cuda/env.txt "^sums         of 2 ranks: "
FX_FAKE_DEVICES=1 refused 1 "ranks 0 and 1 have one GPU between them: 0000:01:00.0 on" "${train[@]}" --set backend=cuda --run shared
FX_FAKE_DEVICES=1 expect 0 mpiexec -n 2 "$FLEXHPC" info
says out "no CUDA: .*ranks 0 and 1 have one GPU between them"

# Groups of ranks that share a study have GPUs of their own, and a precision that the CPU backend, which counts costs, hasn't.
FX_FAKE_DEVICES=2 expect 0 mpiexec -n 2 "$FLEXHPC" study seeds tiny.yaml --run pool --ranks 1 --set backend=cuda --set precision=tf32 \
    --set train.steps=1 --set train.global_batch=1 --set study.heldout=pack --set eval.reynolds=100 --set eval.patches=1 --set eval.batch=1
[ "$(cat pool/runs/*/env.txt | grep -o 'GPU stand-in .*' | sort | tr '\n' ';')" = \
    'GPU stand-in on the CPU at 0000:01:00.0;GPU stand-in on the CPU at 0000:02:00.0;' ] || fail "GPUs of groups: $(cat pool/runs/*/env.txt)"
FX_FAKE_DEVICES=2 expect 1 mpiexec -n 4 "$FLEXHPC" study seeds tiny.yaml --run shared-pool --ranks 2 --set backend=cuda --set train.steps=1 \
    --set study.heldout=pack
says err "4 ranks in groups on .*, which has 2 GPUs: start as many ranks on a node as it has GPUs"
echo "two ranks by NCCL train as the CPU's do"
