#!/usr/bin/env bash
# What flexhpc plan says beside memory: the bytes of a checkpoint are those of the file that a run then writes; the steps of an
# epoch are counted by hand; a pack that is not there yet is no error.
# Planted and caught: the gradient counted in; the EMA left out; samples told as steps; data.reynolds not obeyed; those kept for
# good left out; a missing pack as an error.
# Run: label full
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

plan=("$FLEXHPC" plan tiny.yaml)

expect 0 "${plan[@]}"
says out '^epoch +\? +no pack in pack yet$'
expect 0 "${plan[@]}" --set data.path=
! grep -q '^epoch' out || fail "an epoch of no pack"
make_data
# 2 files of 16 patches; 6 snapshots, 2 in and 1 out: 4 starts. 128 samples, 4 a step, 24 steps.
expect 0 "${plan[@]}"
says out '^epoch +32\.0 +steps: 128 samples, 4 a step; train\.steps is 0\.75 epochs$'
expect 0 "${plan[@]}" --set data.reynolds=200 --set train.global_batch=2
says out '^epoch +32\.0 +steps: 64 samples, 2 a step;'

expect 0 "$FLEXHPC" train tiny.yaml --run run --set train.steps=1
expect 0 "${plan[@]}" --set checkpoint.keep=2 --set checkpoint.keep_every=8
/usr/bin/python3 - <<'PY' || fail "bytes of a checkpoint"
import os, re
told, whole = re.search(r"^checkpoint +(\S+) +MiB on disk; a run holds at most (\S+): 2 newest, 3 kept for good, 1 ", open("out").read(),
                        re.M).groups()
size = os.stat("run/ckpt/step-00000001.h5").st_size / 2**20
assert 0.99 * size - 0.05 < float(told) < 1.03 * size + 0.05, (told, size)
assert abs(float(whole) - 6 * float(told)) < 0.4, (whole, told)
PY
echo "the plan's bytes are the file's"
