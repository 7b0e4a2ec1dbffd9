#!/usr/bin/env bash
# A rank of a training by NCCL that is lost, on the stand-in: one that stops (SIGSTOP) or is killed while the others are in a
# collective with it, one whose peer NCCL says is gone, and one that never comes to the connection. Every rank ends within the
# deadline, and the lost one is named.
# Run: standin only
# Run: label full
# Run: timeout 300
# Run: cost 25
# Planted and caught: cuda.connect not handed on; a rank that answers before NCCL has taken its call; NCCL's
# asynchronous error not looked at.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"
train=(train tiny.yaml --set backend=cuda --set model.tasks=fc --set data.path=pack6 --set checkpoint.every=0 --set train.steps=100000 --set run.probe=false)

# `begin RANKS`: `$job`, and the pids of its ranks, once it is some steps on: captured lists are launched again.
begin() {
    rm -rf run
    mpiexec -n "$1" "$FLEXHPC" "${train[@]}" --set "train.global_batch=$1" --run run >out 2>err &
    job=$!
    some_steps_on "$1"
}

# `over WHAT PATTERN SECONDS`: the job ends by itself in so many seconds, with a failure, and a line of it matches.
over() {
    local code=0 begun=$SECONDS
    all_gone "$3" || {
        kill -KILL "$job" "$(left_over)" 2>/dev/null || true
        fail "$1: still there after $3 s: $(left_over)"
    }
    wait "$job" || code=$?
    echo "$1: all over after $((SECONDS - begun)) s, exit code $code"
    [ "$code" -ne 0 ] || fail "$1: exit code 0"
    says err "$2"
}

make_data
expect 0 "$FLEXHPC" pack tiny.yaml --set pack.path=pack6 --set pack.strata=6

# From its second collective on, a captured one (the start's probe would take the first ones), rank 0 is told that its peer is gone; rank 1 goes on waiting.
# shellcheck disable=SC2016 # for the rank's shell
told='[ "$OMPI_COMM_WORLD_RANK" != 0 ] || export FX_FAKE_NCCL_LOST=1; exec "$@"'
code=0
timeout 200 mpiexec -n 2 bash -c "$told" rank "$FLEXHPC" "${train[@]}" --set train.global_batch=2 --set run.timeout=200 --run told >out 2>err ||
    code=$?
[ "$code" -eq 1 ] || fail "exit code $code of a rank whose peer is gone"
says err "rank 0/2 on .*: a collective on the device.*remote process exited"
# A busy machine takes seconds a step.
slowest=$(/usr/bin/python3 -c 'import json; print(int(1 + max(json.loads(line)["seconds"] for line in open("told/metrics.jsonl"))))')
DEADLINE=$((6 + 4 * slowest))
train+=(--set "run.timeout=$DEADLINE")

begin 3
kill -STOP "${pids[1]}"
over "stopped" "rank 1/3 on .* pid ${pids[1]}: no progress for .*the process does not run" $((DEADLINE + 10))

begin 2
kill -KILL "${pids[1]}"
over "killed" "rank 1 .*exited on signal 9|rank 1/2 on .*the process is gone" $((DEADLINE + 10))
FX_FAKE_NCCL_ABSENT=2 expect 1 mpiexec -n 3 "$FLEXHPC" "${train[@]}" --set train.global_batch=3 --set run.timeout=60 --set cuda.connect=2 --run absent
says err "rank 0/3 on .*: connecting by NCCL: not done after 2 s, never came: ranks 2$"
[ ! -s absent/metrics.jsonl ] || fail "steps without a connection"
echo "a lost peer is named"
