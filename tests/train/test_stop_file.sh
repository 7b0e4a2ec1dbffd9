#!/usr/bin/env bash
# A file STOP in the run's folder, whoever makes it: the run saves and ends with 75, on all ranks; started again it takes the
# file away and goes on. A time limit counts from the second that stands with it, and ends with time to leave.
# Run: label full
# Run: cost 3
# Planted and caught: the file not taken away at the next start; a time limit that counts from the program's start; no time
# left for what comes after the save.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

make_data
train=(mpiexec -n 2 "$FLEXHPC" train tiny.yaml --run run --set checkpoint.every=0)
"${train[@]}" --set train.steps=100000 >out 2>err &
job=$!
until [ -s run/metrics.jsonl ]; do
    kill -0 "$job" 2>/dev/null || fail "the run ended by itself"
    sleep 0.02
done
touch run/STOP
code=0
wait "$job" || code=$?
[ "$code" -eq 75 ] || fail "exit code $code"
says out '^run/STOP: saving and stopping'
[ -s run/ckpt/latest ] || fail "no checkpoint"
done_before=$(wc -l <run/metrics.jsonl)
expect 75 "${train[@]}" --resume must --set train.steps=100000 --time-limit 0.001
says out "^time limit"
[ ! -e run/STOP ] || fail "STOP is still there"
[ "$(wc -l <run/metrics.jsonl)" -eq $((done_before + 1)) ] || fail "not one step more"

# Ten minutes, ten of which were over when the program began; nine seconds, less than leaving takes; a minute; no end.
now=$(date +%s)
for limit in "10:00@$((now - 595))" 9; do
    expect 75 "${train[@]}" --set train.steps=100000 --time-limit "$limit"
    done_before=$((done_before + 1))
done
[ "$(wc -l <run/metrics.jsonl)" -eq $((done_before + 1)) ] || fail "not one step a time limit"
for limit in "60@$now" "UNLIMITED@$now"; do
    expect 0 "${train[@]}" --run "until-${limit%@*}" --set train.steps=2 --time-limit "$limit"
done
echo "STOP stops"
