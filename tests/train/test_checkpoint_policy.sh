#!/usr/bin/env bash
# Which checkpoints a run makes and keeps: by steps, by minutes, the newest few, and every so many steps for good; and
# what is refused.
# Planted and caught: minutes counted as seconds; the clock not set back by a save; never due; kept for good by their place
# instead of their step; keep_every not checked, or changed by a resume not allowed.
# Run: label full
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

train=("$FLEXHPC" train tiny.yaml)

# `holds RUN STEPS...`: exactly these checkpoints, `latest` naming the last one.
holds() {
    local run=$1
    shift
    (cd "$run/ckpt" && printf '%s\n' step-*.h5) >out
    printf 'step-%08d.h5\n' "$@" >wanted
    cmp -s out wanted || fail "$run does not hold the checkpoints of steps $*"
    [ "$(cat "$run/ckpt/latest")" = "$(tail -n 1 wanted)" ] || fail "$run: latest"
}

make_data

# ---- Kept: the newest two, and every 8th step; the same when the run is stopped between them.
expect 0 "${train[@]}" --run kept --set train.steps=20 --set checkpoint.every=2 --set checkpoint.keep=2 \
    --set checkpoint.keep_every=8
holds kept 8 16 18 20
expect 75 "${train[@]}" --run stopped --set checkpoint.every=4 --set checkpoint.keep=1 --set checkpoint.keep_every=8 \
    --time-limit 0.01
expect 0 "${train[@]}" --run stopped --set checkpoint.every=4 --set checkpoint.keep=1 --set checkpoint.keep_every=8
holds stopped 8 16 24
refused 2 "checkpoint.keep_every: 6 is no multiple of checkpoint.every, 4" "${train[@]}" --run none --set checkpoint.keep_every=6
refused 2 "checkpoint.keep_every: 6 is no multiple of checkpoint.every, 0" "${train[@]}" --run none --set checkpoint.every=0 \
    --set checkpoint.keep_every=6

# ---- By the clock: a save every 0.3 s, measured from the end of the one before; a day, which no run here takes.
expect 0 mpiexec -n 2 "${train[@]}" --run clock --set checkpoint.every=0 --set checkpoint.keep=1000 --set train.steps=400 \
    --set checkpoint.minutes=0.005
/usr/bin/python3 - <<'PY' || fail "checkpoints by the clock"
import glob, json, os
seconds = [json.loads(line)["seconds"] for line in open("clock/metrics.jsonl")]
files = sorted(glob.glob("clock/ckpt/step-*.h5"))
assert files[-1].endswith("step-00000400.h5")
times = [os.stat(f).st_mtime for f in files[:-1]]  # the last one is the end's
gaps = [b - a for a, b in zip(times, times[1:])]
print(len(times), "saves in", sum(seconds), "s of steps", gaps)
assert len(times) >= min(3, sum(seconds) / 0.3 / 2) and min(gaps, default=1) > 0.29
PY
expect 0 "${train[@]}" --run day --set checkpoint.every=0 --set checkpoint.keep=1000 --set checkpoint.minutes=1440
holds day 24
same_run day stopped
echo "checkpoints are made and kept as asked"
