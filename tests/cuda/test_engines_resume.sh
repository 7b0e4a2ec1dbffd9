#!/usr/bin/env bash
# A run that tried cuDNN's engines and is resumed where the file of choices is gone, and where trying would find others,
# computes with the checkpoint's and ends as the run that was not stopped.
# Run: standin only
# Run: label full
# Run: cost 5
# Planted and caught: the checkpoint's engines not handed to the backend.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
export FX_FAKE_CUDNN=none # the stand-in's own engines, of which trying finds 5
make_data
tuned=(train tiny.yaml --set backend=cuda --set cuda.autotune=true --set cuda.plan_cache=cache --set train.global_batch=2
    --set train.steps=2 --set checkpoint.every=1)
expect 0 "$FLEXHPC" "${tuned[@]}" --run whole
mkdir -p half/ckpt
cp whole/ckpt/step-00000001.h5 half/ckpt/
echo step-00000001.h5 >half/ckpt/latest
rm -r cache
export FX_FAKE_ENGINES=slow
expect 0 "$FLEXHPC" "${tuned[@]}" --run half
[ -z "$(our_lines)" ] || fail "a resume that has its engines says something"
expect 0 "$FLEXHPC" checkpoint compare whole/ckpt/step-00000002.h5 half/ckpt/step-00000002.h5
# The comparison sees engines: a run of its own has others now.
expect 0 "$FLEXHPC" "${tuned[@]}" --run fresh --set cuda.plan_cache=off
expect 1 "$FLEXHPC" checkpoint compare whole/ckpt/step-00000002.h5 fresh/ckpt/step-00000002.h5
says out '^engines '
