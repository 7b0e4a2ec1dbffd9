#!/usr/bin/env bash
# Slurm's own time limit of two minutes on the Slurm of cluster.sh, in trainings of 2 nodes x 1 task that need six at least,
# for data come slowly (inject.c): one chain of jobs/requeue.sbatch is cut by the deadline that the binary takes from the
# limit, another by Slurm's signal alone, each at least three times, with exit code 75 before the limit; a third training
# knows of neither, and saves when Slurm ends it. All end with the bits of an uncut one. Prints what happened when, for
# benchmarks/results/.
# Run: label long
# Run: timeout 3600
# Caught: a deadline that counts from the start of the ranks and leaves no time for the requeue.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/slurm/cluster.sh
source "$FX_TESTS_DIR/slurm/cluster.sh"
STEPS=3400 MINUTES=2 KILL_WAIT=30
SLOW=ALL,LD_PRELOAD=$FX_BINARY_DIR/tests/libinject.so,FX_INJECT="read pack/ 1 SLOW50" # 0.1 s a step and more
SILENT=URG@1 # in place of the script's USR2: a signal that nobody hears
training=(--set "train.steps=$STEPS" --set checkpoint.every=0)
ln -s "$FX_TESTS_DIR/../jobs" jobs
cluster_up
make_data

# `start SCRIPT RUN SBATCH... -- TRAIN...`; `job`.
start() {
    local script=$1 run=$2 options=()
    shift 2
    for (( ; $# > 0; )); do
        [ "$1" = -- ] && shift && break
        options+=("$1")
        shift
    done
    submit --nodes=2 --ntasks-per-node=1 "${options[@]}" "jobs/$script.sbatch" tiny.yaml "$run" "${training[@]}" "$@"
}

# `clock FILE`: every line of a job's output that tells of an end or a start, with the time at which it came, until this
# test ends.
clock() {
    local line
    tail --pid=$$ --retry -n +1 -s 0.1 -F "$1" 2>/dev/null |
        grep --line-buffered -E '^(time limit in|signal|resumed|slurmstepd|srun: error|.* parameters; a step)' |
        while IFS= read -r line; do printf '    %(%T)T %s\n' -1 "${line:0:110}"; done >>"$1.clock"
}

start requeue deadline --time=$MINUTES --signal=$SILENT --export="$SLOW"
deadline=$job
start requeue signal --time=$MINUTES --signal=USR2@20 --export="$SLOW" -- --time-limit UNLIMITED
signal=$job
start train limit --time=$MINUTES --signal=$SILENT --export="$SLOW" -- --time-limit UNLIMITED
limit=$job
for file in flex-requeue-{$deadline,$signal}.out "flex-train-$limit.out"; do clock "$file" & done
start train whole
whole=$job

# ---- Slurm's TERM at the limit.
until_state "$limit" TIMEOUT 300
[ -s limit/ckpt/latest ] || fail "no checkpoint of the training that Slurm ended: $(tail "flex-train-$limit.out")"
says "flex-train-$limit.out" '^signal 15: saving and stopping$'
echo "limit: ended by Slurm, saved as $(cat limit/ckpt/latest) at $(date -r "limit/ckpt/$(cat limit/ckpt/latest)" +%T)"
completes "$whole" 1200
start train limit
completes "$job" 1200
says "flex-train-$job.out" "^resumed from limit/ckpt/"

# ---- The chains.
completes "$deadline" 1800
completes "$signal" 1800
for run in deadline signal; do
    output=flex-requeue-${!run}.out
    case $run in
    deadline) cuts=$(grep -c '^time limit in [0-9]* s: saving and stopping$' "$output") ;;
    signal) cuts=$(grep -c '^signal 12: saving and stopping$' "$output") ;;
    esac
    [ "$cuts" -ge 3 ] || fail "$run: cut $cuts times"
    [ "$(grep -c 'Exited with exit code 75$' "$output")" -ge "$cuts" ] || fail "$run: other exit codes than 75"
    ! grep -q '^srun: .*Killed$' "$output" || fail "$run: ranks that were not done when another left with 75"
    ! grep -q 'DUE TO TIME LIMIT' "$output" || fail "$run: Slurm had to end it"
    echo "$run: $cuts cuts, $(wc -l <"$run/cmd.txt") starts"
done
for run in deadline signal limit; do same_run whole "$run"; done
for run in deadline signal; do
    echo "$run:"
    cat "flex-requeue-${!run}.out.clock"
done
echo "limit:"
cat "flex-train-$limit.out.clock"
echo "all end with the bits of the uncut run"
