#!/usr/bin/env bash
# Energy of the GPUs of a training, by a made-up NVML whose counter goes on by 1.5 J a question: metrics.jsonl has what the
# counters of all ranks went on by, a resume adds to it, and without NVML, or without a
# counter in it, the run goes on and says why nothing is counted.
# Run: standin only
# Run: label full
# Run: cost 12
# Planted and caught: joules since the counters were opened at every question.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

make_data
nvml=(env LD_LIBRARY_PATH="$FX_BINARY_DIR/tests/nvml" FX_FAKE_NVML_LOG="$scratch/asked")
train=("$FLEXHPC" train tiny.yaml --set backend=cuda --set train.steps=4)

expect 75 "${nvml[@]}" "${train[@]}" --run run --time-limit 0.001
mv asked first
expect 0 "${nvml[@]}" "${train[@]}" --run run
mv asked second
says run/env.txt '^energy       of GPUs is counted$'
expect 0 mpiexec -n 2 "${nvml[@]}" "${train[@]}" --run ranks
mv asked both
expect 0 "${train[@]}" --run without --set train.steps=1
says without/env.txt '^energy       of GPUs is not counted: NVML: libnvidia-ml.so.1: cannot open'
expect 0 "${nvml[@]}" FX_FAKE_NVML=1 "${train[@]}" --run old --set train.steps=1
says old/env.txt '^energy       of GPUs is not counted: NVML: energy: Not Supported$'
says old/report.html '<dt>energy</dt><dd>no counter on this machine</dd>'
expect 0 "${nvml[@]}" FX_FAKE_NVML=3 "${train[@]}" --run lost --set train.steps=1
says err 'energy of GPUs counts no longer: NVML: energy: Not Supported'

/usr/bin/python3 - <<'PY' || fail "the joules"
import json
def joules(run):
    return [json.loads(line).get("energy_gpu_j") for line in open(run + "/metrics.jsonl")]
def counted(*logs):
    """What every start's counters went on by, but for the question at the open and the one where the steps begin."""
    total = 0
    for log in logs:
        buses = {}
        for line in open(log):
            bus, count = line.split()
            buses.setdefault(bus, []).append(int(count))
        total += sum(max(0, c[-1] - c[1]) for c in buses.values()) / 1000
    return total, len(buses)
run, ranks = joules("run"), joules("ranks")
assert len(run) == len(ranks) == 4 and run == sorted(run), (run, ranks)
assert (run[-1], 1) == counted("first", "second") and run[-1] > 0, (run, counted("first", "second"))
assert (ranks[-1], 2) == counted("both") and ranks[-1] >= 3, (ranks, counted("both"))
assert all(round(x / 1.5, 6) % 1 == 0 for x in run + ranks), (run, ranks)
PY
echo "joules of GPUs are those of their counters"
