#!/usr/bin/env bash
# A rank of a training that stops (SIGSTOP) is named on standard error, with its pid, and everything is over within
# run.timeout + 5 s: in a step, at any rank, in a save, while it reads data, in set-up.
# Run: label full
# Run: timeout 200
# Run: cost 17
# Planted errors, each seen caught and removed: the deadline ignored; a rank that runs blamed; a silent rank given the time
# of its phase; the pid of the rank that speaks; the watchdog started after the loader.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"
DEADLINE=2
train=(train tiny.yaml --run run --set data.path=pack12 --set "run.timeout=$DEADLINE" --set train.steps=100000)

# The job `$job` has had rank RANK of RANKS, process PID, stopped a moment ago.
expect_end() {
    local ranks=$1 rank=$2 pid=$3 where=$4 code=0 begun
    begun=$(date +%s%N)
    all_gone $((DEADLINE + 5)) || {
        kill -KILL "$job" "$(left_over)" 2>/dev/null || true
        fail "$where: still there after $((DEADLINE + 5)) s: $(left_over)"
    }
    wait "$job" || code=$?
    echo "$where: rank $rank/$ranks stopped, all over after $((($(date +%s%N) - begun) / 1000000)) ms, exit code $code"
    [ "$code" -ne 0 ] || fail "$where: exit code 0"
    [ "$(our_lines | wc -l)" -eq 1 ] || fail "$where: not one line"
    our_lines | grep -q "rank $rank/$ranks on .* pid $pid: no progress for .*the process does not run" || fail "$where: rank $rank, pid $pid is not named"
}

# In a step, by hand.
stop_in_step() {
    local ranks=$1 rank=$2 pids
    rm -rf run
    : >out
    mpiexec -n "$ranks" "$FLEXHPC" "${train[@]}" --set "train.global_batch=$((2 * ranks))" --set checkpoint.every=0 >out 2>err &
    job=$!
    some_steps_on "$ranks"
    kill -STOP "${pids[$rank]}"
    expect_end "$ranks" "$rank" "${pids[$rank]}" "step"
}

# Where `PLAN` says, on two ranks.
stop_at() {
    local where=$1 rank=$2 plan=$3 pid
    rm -rf run
    faulty_job 2 "$rank" "$plan STOP" "${train[@]}"
    "${faulty[@]}" >out 2>err &
    job=$!
    until pid=$(stopped_rank) && [ -n "$pid" ]; do
        kill -0 "$job" 2>/dev/null || fail "$where: ended by itself"
        sleep 0.05
    done
    expect_end 2 "$rank" "$pid" "$where"
}

make_data
expect 0 "$FLEXHPC" pack tiny.yaml --set pack.path=pack12 --set pack.strata=12 # which 2 and 3 ranks divide
stop_in_step 2 0
stop_in_step 3 2
stop_at "save" 1 "write step-00000004.h5 20"
stop_at "read" 1 "read pack12/shard- 60"
stop_at "set-up" 0 "open pack12/manifest.json 2"
echo "a stopped rank is named"
