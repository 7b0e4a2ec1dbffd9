#!/usr/bin/env bash
# jobs/requeue.sbatch against Slurm's own time limit of one minute, on the Slurm of cluster.sh: a training of minutes is cut by
# the deadline that the binary takes from the limit, and another by Slurm's signal alone, each at least three times, and
# both end with the bits of an uncut one. Prints when each start began and ended, for benchmarks/results/.
# Run: label long
# Run: timeout 3600
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/slurm/cluster.sh
source "$FX_TESTS_DIR/slurm/cluster.sh"
ln -s "$FX_TESTS_DIR/../jobs" jobs
cluster_up
make_data

# `chain RUN CODE SBATCH... -- TRAIN...`: one minute a job, on one node.
submit_chain() {
    local run=$1 options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    submit --nodes=1 --time=1 "${options[@]}" jobs/requeue.sbatch tiny.yaml "$run" --set "train.steps=$steps" --set checkpoint.every=0 \
        --set run.timeout=300 "${@:2}"
}

# Steps for about three and a half minutes, three trainings side by side.
steps=40
submit_chain probe --
probe=$job
submit_chain probe2 --
submit_chain probe3 --
completes "$probe" 300
completes "$job" 300
seconds=$(/usr/bin/python3 -c 'import json; print(sum(json.loads(line)["seconds"] for line in open("probe/metrics.jsonl")))')
steps=$(/usr/bin/python3 -c "print(int(210 / ($seconds / 40)))")
echo "$steps steps of $(/usr/bin/python3 -c "print('%.3f' % ($seconds / 40))") s"

submit --nodes=1 jobs/train.sbatch tiny.yaml whole --set "train.steps=$steps" --set checkpoint.every=0 --set run.timeout=300
whole=$job
submit_chain deadline --
declare -A chain=([deadline]=$job)
submit_chain signal --signal=USR2@20 -- --time-limit UNLIMITED
chain[signal]=$job
completes "$whole" 1800
for run in deadline signal; do
    job=${chain[$run]}
    completes "$job" 1800
    case $run in
    deadline) cuts=$(grep -c '^time limit in [0-9]* s: saving and stopping$' "flex-requeue-$job.out") ;;
    signal) cuts=$(grep -c '^signal 12: saving and stopping$' "flex-requeue-$job.out") ;;
    esac
    echo "$run: $cuts cuts, ${steps} steps; the starts:"
    sed 's/  in .*//; s/^/    /' "$run/cmd.txt"
    grep -E '^(time limit in|signal|resumed)' "flex-requeue-$job.out" | sed 's/^/    /'
    [ "$cuts" -ge 3 ] || fail "$run: cut $cuts times"
    same_run whole "$run"
    echo "$run: the bits of the uncut run"
done
