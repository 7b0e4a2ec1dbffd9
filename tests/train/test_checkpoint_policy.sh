#!/usr/bin/env bash
# Which checkpoints a run makes and keeps: by steps, by minutes, the newest few, and every so many steps for good; and
# what is refused.
# Planted and caught: minutes counted as seconds; the clock not set back by a save, or by every step; never due; kept for good
# by their place instead of their step; keep_every not checked; checkpoint.minutes not to be changed by a resume.
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

# ---- Kept: the newest two, and those of every 4th step; over a stop as well.
kept=("${train[@]}" --run kept --set train.steps=6 --set checkpoint.keep=2 --set checkpoint.keep_every=4)
expect 75 "${kept[@]}" --set checkpoint.every=2 --time-limit 0.001
expect 0 "${kept[@]}" --set checkpoint.every=1 --set checkpoint.minutes=1000
holds kept 4 5 6
refused 2 "checkpoint.keep_every: 6 is no multiple of checkpoint.every, 4" "${train[@]}" --run none --set checkpoint.keep_every=6
refused 2 "checkpoint.keep_every: 6 is no multiple of checkpoint.every, 0" "${train[@]}" --run none --set checkpoint.every=0 \
    --set checkpoint.keep_every=6

# ---- By the clock: in the time of five steps, measured from the end of the save before; in a day, which no run here takes.
minutes=$(/usr/bin/python3 -c "import json, statistics
print(5 / 60 * statistics.median(json.loads(line)['seconds'] for line in open('kept/metrics.jsonl')))")
expect 0 "${train[@]}" --run clock --set checkpoint.every=0 --set checkpoint.keep=1000 --set train.steps=20 \
    --set checkpoint.minutes="$minutes"
/usr/bin/python3 - "$minutes" <<'PY' || fail "checkpoints by the clock"
import glob, os, sys
files = sorted(glob.glob("clock/ckpt/step-*.h5"))
assert files.pop().endswith("step-00000020.h5")  # the end's
times = [os.stat(f).st_mtime for f in files]
gaps = [b - a for a, b in zip(times, times[1:])]
assert 1 <= len(times) <= 12 and min(gaps, default=1e9) >= 60 * float(sys.argv[1]) - 0.01, (sys.argv, files, gaps)
PY
expect 0 "${train[@]}" --run day --set train.steps=3 --set checkpoint.every=0 --set checkpoint.minutes=1440
holds day 3
echo "checkpoints are made and kept as asked"
