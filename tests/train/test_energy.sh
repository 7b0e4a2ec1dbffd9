#!/usr/bin/env bash
# Energy of a training, by counters in a made-up /sys/class/powercap that move while the run is stopped at a known reading: joules in
# metrics.jsonl to the last digit, kept across a stop and a resume and a counter that begins again; a node's counters read by one
# of its ranks; joules a run and a sample in report.html, the comparison and `flexhpc status`; and, where no counter can be read, or
# no longer, the words that say so.
# Run: label full
# Run: timeout 300
# Run: cost 8
# Planted and caught: a node's counters read by each of its ranks; a resumed run that counts from 0; what was used before the first step
# counted; a counter that is lost taken for one that stands still; a sample more in those that status divides by; of two kinds that are
# lost, the second alone told; a group of a study counts the others' joules.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"

counters() { # PACKAGE MEMORY, microjoules
    echo "$1" >"sys/intel-rapl:0/energy_uj"
    echo "$2" >"sys/intel-rapl:0:0/energy_uj"
}
mkdir -p sys/intel-rapl:0 sys/intel-rapl:0:0 bare/intel-rapl
echo package-0 >sys/intel-rapl:0/name
echo dram >sys/intel-rapl:0:0/name
echo 262143328850 | tee sys/intel-rapl:0/max_energy_range_uj >sys/intel-rapl:0:0/max_energy_range_uj
counters 262140000000 5000000

make_data
export FX_INJECT_PLACE="/sys/class/powercap $scratch/sys"
injected=(LD_PRELOAD="$FX_BINARY_DIR/tests/libinject.so")
train=("$FLEXHPC" train tiny.yaml --set train.steps=6)

# `moved N PACKAGE MEMORY COMMAND...`: runs it, stopped before reading number N, while the counters go on to these values.
moved() {
    local number=$1 package=$2 memory=$3 pid tries=0
    shift 3
    FX_INJECT="read energy_uj $number STOP" env "${injected[@]}" "$@" >out 2>err &
    job=$!
    until pid=$(stopped_rank) && [ -n "$pid" ]; do
        kill -0 "$job" 2>/dev/null || fail "was not stopped: $*"
        ((++tries < 600)) || fail "nobody is stopped: $*"
        sleep 0.1
    done
    counters "$package" "$memory"
    kill -CONT "$pid"
    code=0
    wait "$job" || code=$?
}

# Two readings when the counters are opened, two where the steps begin, two a step: the fifth is the first step's.
moved 5 262143000000 7000000 "${train[@]}" --run run --time-limit 0.001
[ "$code" -eq 75 ] || fail "exit code $code"
says run/env.txt '^energy       of processors and memory is counted, on every node as a whole$'
says run/env.txt '^energy       of GPUs is not counted: backend cpu: there is no GPU$'
moved 5 671150 7000000 "${train[@]}" --run run # 1 J, over the end of the counter
[ "$code" -eq 0 ] || fail "exit code $code"

# What is used before the first step is not the steps'.
moved 3 900000 9000000 "${train[@]}" --run before --set train.steps=1
[ "$code" -eq 0 ] || fail "exit code $code"

# Two ranks on a node, one of which reads.
counters 1000000 1000000
moved 7 5000000 1500000 mpiexec -n 2 "${train[@]}" --run ranks --set train.steps=3
[ "$code" -eq 0 ] || fail "exit code $code"

# Two groups on a node, either of which would count what both use.
expect 0 env "${injected[@]}" FX_INJECT="read energy_uj 999 EIO" mpiexec -n 2 "$FLEXHPC" study seeds tiny.yaml --run pool --ranks 1 \
    --set train.steps=1 --set study.heldout=pack --set study.seeds=1,2 --set eval.patches=1 --set eval.batch=1
for run in pool/runs/*; do
    says "$run/env.txt" '^energy       of processors and memory is not counted: other groups of this job use the node$'
    ! grep -q energy_cpu "$run/metrics.jsonl" || fail "$run: joules of other groups"
done

# A counter that is gone after the second step, no tree, an empty one, and one that nobody may read.
expect 0 env "${injected[@]}" FX_INJECT="read energy_uj 9 EIO" "${train[@]}" --run lost --set train.steps=3
says err 'warning: .*energy of processors and memory counts no longer: .*energy_uj: read: Input/output error'
expect 0 env "${injected[@]}" FX_INJECT="open energy_uj 1 EIO" "${train[@]}" --run closed --set train.steps=1
says closed/env.txt '^energy       of processors and memory is not counted: .*energy_uj: open: Input/output error$'
FX_INJECT_PLACE="/sys/class/powercap $scratch/bare"
expect 0 env "${injected[@]}" "${train[@]}" --run none --set train.steps=1
says none/env.txt '^energy       of processors and memory is not counted: .*powercap: no counter of a package'

for run in closed none; do
    says $run/report.html '^<dt>energy</dt><dd>no counter on this machine</dd>$'
    ! grep -q energy_ $run/metrics.jsonl || fail "$run: joules of nothing"
done
says run/report.html '^<dt>energy</dt><dd>6 J of processors and memory: 0.25 J a sample, validations and saves between steps included</dd>$'
says ranks/report.html '^<dt>energy</dt><dd>4.5 J of processors and memory: 0.375 J a sample, '
says lost/report.html '^<dt>energy</dt><dd>0 J of .*, validations and saves between steps included; of processors and memory in 2 of 3 steps alone</dd>$'
# Both kinds, each of which is lost in the end.
cp -r run both
/usr/bin/python3 - <<'PY'
import json
lines = [json.loads(line) for line in open("both/metrics.jsonl")]
for line, gpu in zip(lines, (10, 20, 30, 40, None, None)):
    line.pop("energy_cpu_j") if line["step"] == 6 else None
    line.update({"energy_gpu_j": gpu} if gpu else {})
open("both/metrics.jsonl", "w").writelines(json.dumps(line) + "\n" for line in lines)
PY
expect 0 "$FLEXHPC" report both
says both/report.html '6 J of processors and memory, 40 J of GPUs: 2.8 J a .*; of processors and memory in 5 of 6 steps alone; of GPUs in 4 of 6 steps alone</dd>$'
expect 0 "$FLEXHPC" report run ranks none --out compared.html
says compared.html '<th scope="row">energy</th><td>6 J of .*</td><td>4.5 J of .*</td><td>no counter on this machine</td>'
expect 0 "$FLEXHPC" status run ranks none --json status.json
says out '  +6 J +0\.05 J +run$'
says out '  +- +- +none$'

/usr/bin/python3 - <<'PY' || fail "the numbers"
import json
def joules(run):
    return [json.loads(line).get("energy_cpu_j") for line in open(run + "/metrics.jsonl")]
assert joules("run") == [5, 6, 6, 6, 6, 6], joules("run")
assert joules("before") == [0], joules("before")
assert joules("ranks") == [0, 4.5, 4.5], joules("ranks")
assert joules("lost") == [0, 0, None], joules("lost")
runs = json.load(open("status.json"))["runs"]
assert [(r["energy_j"], r["sample_j"] and round(r["sample_j"], 6)) for r in runs] == [(6, 0.05), (4.5, 0.5625), (None, None)], runs
PY
echo "joules are those of the counters, once a node, across a resume"
