#!/usr/bin/env bash
# Faults under Slurm (cluster.sh), each in a training of 2 nodes x 2 tasks by jobs/requeue.sbatch: a rank that is killed, one
# that stops, a node that is set DOWN, and a disk that gets full. Each job's step is over within its deadline, its output
# names rank and node, and the requeued job goes on from its checkpoint to the end, with the bits of the others. One that
# fails in every start is requeued three times and no more. Skipped where there is no Slurm, or no root.
# Run: label full
# Run: lock slurm
# Run: timeout 600
# Run: cost 45
# Planted and caught: thirty starts in place of three; the last rank of a lost node forgotten; nodes of
# unequal numbers of ranks not compared (a hang). Not seen here: srun without --kill-on-bad-exit, because PMIx ends the step as
# well. Caught: an innocent rank of the other node blamed as well, by a watchdog that the launcher's TERM told nothing.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"
# shellcheck source=tests/slurm/cluster.sh
source "$FX_TESTS_DIR/slurm/cluster.sh"
DEADLINE=4 SLURMS=8 # run.timeout; what Slurm may take to end a step: KillWait, and a loaded machine
ln -s "$FX_TESTS_DIR/../jobs" jobs
small_disk small 32m
cluster_up
make_data

# `start RUN OPTIONS...`: a job of four ranks on two nodes; `job`.
start() {
    submit --nodes=2 jobs/requeue.sbatch tiny.yaml "$1" --set train.steps=24 --set "run.timeout=$DEADLINE" "${@:2}"
}

# The pid of rank RANK of a job.
pid_of() {
    local pid
    for pid in $(left_over); do
        grep -qzx "SLURM_JOB_ID=$1" "/proc/$pid/environ" 2>/dev/null || continue
        ! grep -qzx "SLURM_PROCID=$2" "/proc/$pid/environ" 2>/dev/null || echo "$pid"
    done
}

# Waits until the run has made its first checkpoint and two steps more.
some_steps_of() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        [ ! -e "$1/metrics.jsonl" ] || [ "$(wc -l <"$1/metrics.jsonl")" -lt 6 ] || return 0
        sleep 0.05
    done
    fail "$1: no 6 steps in 30 s"
}

# `ends_within SECONDS JOB WHAT`: its processes are gone.
ends_within() {
    local begun pid
    begun=$(date +%s%N)
    for pid in "$(pid_of "$2" 0)" "$(pid_of "$2" 1)" "$(pid_of "$2" 2)" "$(pid_of "$2" 3)"; do
        while [ -n "$pid" ] && [ "/proc/$pid/exe" -ef "$FLEXHPC" ]; do
            [ $(($(date +%s%N) - begun)) -lt $(($1 * 1000000000)) ] || fail "$3: still there after $1 s"
            sleep 0.1
        done
    done
    echo "$3: over after $((($(date +%s%N) - begun) / 1000000)) ms"
}

# `went_on JOB RUN`: the requeued job began with a checkpoint and came to the end.
went_on() {
    completes "$1" 90
    says "flex-requeue-$1.out" "^resumed from $2/ckpt/step-000000[0-9]*\.h5"
    [ "$(cat "$2/ckpt/latest")" = step-00000024.h5 ] || fail "$2 ends with $(cat "$2/ckpt/latest")"
}

# ---- Rank 3 is killed: srun names it, and so does the watchdog of the other rank on its node where Slurm leaves it the time
# (KillWait, 2 s here and 30 by default; tests/mpi/test_watchdog.c sees to the line).
start killed
killed=$job
some_steps_of killed
pid=$(pid_of "$killed" 3)
kill -KILL "$pid"
ends_within $SLURMS "$killed" "killed rank"
says "flex-requeue-$killed.out" '^srun: error: n[0-3]: task 3: Killed$'
ours=$(grep '^flexhpc: ' "flex-requeue-$killed.out" || true)
[[ -z $ours || $ours =~ ^"flexhpc: rank 3/4 on n"[0-3]" pid $pid: no progress ".*"the process is gone" ]] || fail "killed rank: $ours"

# ---- Rank 2 stops: the watchdog of the other rank on its node names it. Meanwhile the first job waits for its requeue.
start stopped
stopped=$job
some_steps_of stopped
pid=$(pid_of "$stopped" 2)
kill -STOP "$pid"
ends_within $((DEADLINE + SLURMS)) "$stopped" "stopped rank"
says "flex-requeue-$stopped.out" "^flexhpc: rank 2/4 on n[0-3] pid $pid: no progress for .*the process does not run"
[ "$(grep -c '^flexhpc: ' "flex-requeue-$stopped.out")" -eq 1 ] || fail "stopped rank: not one line of ours"
went_on "$killed" killed

# ---- A node goes DOWN: srun names it, and Slurm requeues the job by itself onto the others, where it tells which ranks were there.
start down
down=$job
some_steps_of down
node=$(squeue -h -j "$down" -o %B)
scontrol update nodename="$node" state=down reason=test
ends_within $SLURMS "$down" "node down"
says "flex-requeue-$down.out" "^srun: error: Node failure on $node\$"
for rank in 0 1; do says "down/log/rank-000$rank.log" " rank $rank/4 $node "; done # srun names its tasks, or not
! grep -q '^flexhpc: ' "flex-requeue-$down.out" || fail "node down: ranks that Slurm ends are told of"
went_on "$stopped" stopped

# ---- The disk gets full: what a save needs is missing. There is room again before the requeued job starts.
start small/run --set checkpoint.keep=1
full=$job
some_steps_of small/run
head -c 40m /dev/zero >small/filler 2>/dev/null || true
ends_within $SLURMS "$full" "full disk"
room='rank 0/4 on n[0-3]: small/run/ckpt: a checkpoint needs [0-9]+ MiB, [0-9]+ MiB are free'
write='checkpoint [^ ]*: rank [0-3]/4 on n[0-3]: small/run/ckpt/.*: no space left on the disk' # that came while one was written
says "flex-requeue-$full.out" "^flexhpc: ($room\$|$write)"
rm small/filler
went_on "$down" down
says "flex-requeue-$down.out" "before its requeue, this job had 2 ranks, 0 to 1, on $node, which it does not have now\$"
scontrol update nodename="$node" state=resume
went_on "$full" small/run
for run in stopped down small/run; do same_run killed "$run"; done

# ---- Nodes with two, one and one rank can't each share a contrastive term: all ranks say so, none waits for the others.
submit --nodes=3 --ntasks=4 jobs/train.sbatch tiny.yaml uneven --set contrast.weight=0.1 --set contrast.group=node
until_state "$job" FAILED 30
says "flex-train-$job.out" '^flexhpc: .*contrast.group: node: nodes have 1 to 2 ranks; each must have as many$'

# ---- No start gets anywhere: three requeues, then the end.
rm -r pack
start hopeless
completes_not() {
    until_state "$1" "FAILED" 90
    [ "$(grep -c '^flexhpc: .*pack/manifest.json: open' "flex-requeue-$1.out")" -eq 4 ] || fail "not four starts"
    says "flex-requeue-$1.out" '^flexhpc: .*hopeless: 3 starts in a row have brought no new checkpoint'
}
completes_not "$job"
echo "faults under Slurm are told and survived"
