#!/usr/bin/env bash
# first.sh: the first minutes with a GPU, from inside a pack (tests/gpu/pack.sh): does the backend open, do the kernels agree
# with the CPU's, are they clean under NVIDIA's sanitizer, does the whole program compute what the golden files say and
# resume with the same bits, what does the GPU give at its best, where does a step's time go, and what does trying engines gain.
# Each step has its own limit, all together 520 s. OUT [./out] gets first.md (the table, also printed), device.json (the GPU's
# properties as cuDNN gives them), bench_gpu.json, trace.json, plans/ (the engines that were kept), logs.tar.gz. Exit code 0 only
# when every step passed.
set -u
# shellcheck source=tests/gpu/env.sh
source "$(dirname "$0")/env.sh"
cd "$here" || exit 1
logs=$(mktemp -d)
end=$((SECONDS + 520))
rows=()
failed=0

# `step NAME LIMIT COMMAND...`: what it prints goes into a log; a row of the table says how it ended.
step() {
    local name=$1 limit=$2 code=0 begun=$SECONDS verdict
    shift 2
    [ $((end - SECONDS)) -ge "$limit" ] || limit=$((end - SECONDS))
    if [ "$limit" -le 0 ]; then
        verdict='not run: no time left'
    else
        timeout -k 5 "$limit" bash -c '"$@"' "$name" "$@" >"$logs/$name.log" 2>&1 || code=$?
        case $code in
        0) verdict=passed ;;
        124 | 137) verdict="cut off after $limit s" ;;
        *) verdict="FAILED ($code): $(grep -aE 'rror|FAIL|flexhpc: ' "$logs/$name.log" | tail -1 | tr '|' '/' | cut -c1-140)" ;;
        esac
    fi
    [ "$verdict" = passed ] || failed=$((failed + 1))
    rows+=("| $name | $verdict | $((SECONDS - begun)) |")
    printf '%s: %s\n' "$name" "$verdict"
}

opens() {
    flexhpc info && flexhpc info | grep 'backend cuda'
}
# The tests of ops ask this variable for their backend.
on_gpu() {
    FX_TEST_BACKEND=cuda "$@"
}
sanitized() {
    on_gpu compute-sanitizer --tool "$1" --error-exitcode 9 "$here/tests/test_twins"
}

export -f opens on_gpu sanitized
export here
shopt -s nullglob

step driver 20 nvidia-smi
step opens 60 opens
[ ! -x tests/device_json ] || step device_json 60 sh -c "tests/device_json >'$OUT/device.json'"
for program in tests/*_twins; do
    [ "$program" = tests/test_twins ] || step "$(basename "$program")" 60 "$program"
done
for program in tests/test_*; do
    step "$(basename "$program")" 90 on_gpu "$program"
done
step verify_fp32 120 flexhpc verify golden/*.h5 --backend cuda --precision fp32
step verify_tf32 60 flexhpc verify golden/flex_*.h5 --backend cuda --precision tf32
step verify_bf16 60 flexhpc verify golden/flex_*.h5 --backend cuda --precision bf16
step whole_program 120 env FX_ON_GPU=1 FLEXHPC="$here/bin/flexhpc" FX_TESTS_DIR="$here" bash scripts/test_whole_model.sh
step bench_gpu 40 flexhpc bench gpu --json "$OUT/bench_gpu.json"
step profile 60 flexhpc profile configs/flex-small.yaml --backend cuda --set data.patch=256 --set train.global_batch=8 \
    --out "$OUT/trace.json"
# Trying engines: what it gains, and that a second start finds them (its table again, from the file).
tuned() {
    flexhpc profile configs/flex-small.yaml --backend cuda --set data.patch=256 --set train.global_batch=8 \
        --set cuda.autotune=yes --set "cuda.plan_cache=$OUT/plans"
}
export -f tuned
step autotune 100 tuned
step autotune_again 40 tuned
for tool in memcheck synccheck initcheck racecheck; do
    step "$tool" 60 sanitized "$tool"
done

{
    printf '# First run on a GPU, %s\n\n' "$(date -u '+%Y-%m-%d %H:%M UTC')"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'no GPU'
    printf '\nCommit %s. Command: tests/gpu/first.sh in a pack of tests/gpu/pack.sh.\n\n' "$(cat commit)"
    printf '| step | result | s |\n|---|---|---|\n'
    printf '%s\n' "${rows[@]}"
    printf '\n%s of %s steps passed\n' $((${#rows[@]} - failed)) ${#rows[@]}
} | tee "$OUT/first.md"
tar -C "$logs" -czf "$OUT/logs.tar.gz" .
rm -rf "$logs"
[ "$failed" -eq 0 ]
