#!/usr/bin/env bash
# A run that was stopped, however that happened, ends as the unbroken run does: the same bits in every tensor of the last
# checkpoint, and the same losses in metrics.jsonl, each step once. Stopped by signals of a scheduler, by the time limit,
# and at the points of a save where a crash could lose something; tests/fault/test_kill.sh kills at random instants.
# Run: label full
# Run: timeout 300
# Run: cost 30
# Planted and caught: moments not read from the checkpoint; a resume with other readers refused.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

train=("$FLEXHPC" train tiny.yaml)
train2=(mpiexec -n 2 "${train[@]}")

make_data
: >out
expect 0 "${train2[@]}" --run unbroken
[ "$(wc -l <unbroken/metrics.jsonl)" -eq 24 ] || fail "not 24 lines of metrics"

# `start RUN OPTIONS...`: a job in the background, and the pids of its ranks once they train.
start() {
    local run=$1
    shift
    : >out
    "${train2[@]}" --run "$run" "$@" >out 2>err &
    job=$!
    until grep -q parameters out; do
        kill -0 "$job" 2>/dev/null || return 0 # it had nothing left to do
        sleep 0.02
    done
    mapfile -t ranks < <(pgrep -P "$job")
}

# The job's exit code.
finish() {
    code=0
    wait "$job" || code=$?
}

# ---- Asked to stop: by one signal to one rank or to all, and by the time limit.
for signal in TERM USR1; do
    start stopped
    until [ -s stopped/metrics.jsonl ]; do sleep 0.02; done
    case $signal in
    TERM) kill -TERM "${ranks[1]}" ;;
    USR1) kill -USR1 "${ranks[@]}" ;;
    esac
    finish
    [ "$code" -eq 75 ] || fail "$signal: exit code $code"
    grep -q 'saving and stopping' out || fail "$signal is not told"
done
expect 75 "${train2[@]}" --run stopped --time-limit 00:00:01
expect 0 "${train2[@]}" --run stopped --resume must --set data.readers=2 # how it is read is free to change
says out 'resume: data.readers: 1 -> 2$'
same_run unbroken stopped

# ---- Crashes at the worst instants of a save: the run comes back to it from the checkpoint before.
for point in after_write before_fsync before_rename before_latest; do
    code=0
    FX_STOP_AT=$point:step-00000008 timeout 60 "${train2[@]}" --run crashed >out 2>err || code=$?
    [ "$code" -ne 0 ] || fail "$point: the run did not stop"
    [ "$point" = after_write ] || grep -q "resumed from crashed/ckpt/step-00000004.h5" out || fail "$point: where from?"
    whole=$(find crashed/ckpt -name 'step-????????.h5' | sort)
    # shellcheck disable=SC2086
    [ -z "$whole" ] || expect 0 "$FLEXHPC" checkpoint verify $whole
done
expect 0 "${train2[@]}" --run crashed
same_run unbroken crashed
[ -z "$(find crashed -name '*.part')" ] || fail "left over: $(find crashed -name '*.part')"

# ---- A damaged newest checkpoint is told, and the one before is used. Any rank count reads it.
cp -r stopped damaged
/usr/bin/python3 - damaged/ckpt/step-00000024.h5 <<'PY'
import sys
import h5py
with h5py.File(sys.argv[1]) as f:
    at = f["moment1/encoder.time_embed.0.weight"].id.get_offset() + 5
with open(sys.argv[1], "r+b") as f:
    f.seek(at)
    byte = f.read(1)[0] ^ 16
    f.seek(at)
    f.write(bytes([byte]))
PY
cp -r damaged other
refused 1 "moment1/encoder.time_embed.0.weight: checksum differs" "$FLEXHPC" checkpoint verify damaged/ckpt/step-00000024.h5
expect 0 "${train2[@]}" --run damaged
grep -q 'flexhpc: warning: .*step-00000024.h5: moment1/encoder.time_embed.0.weight: checksum differs' err || fail "no warning"
grep -q 'resumed from damaged/ckpt/step-00000020.h5' out || fail "not from the one before"
same_run unbroken damaged
expect 0 "${train[@]}" --run other
grep -q 'step 20 (written by 2 ranks)' out || fail "one rank does not go on with two ranks' checkpoint"
[ "$(wc -l <other/metrics.jsonl)" -eq 24 ] || fail "metrics of two ranks, then of one: not 24 lines"

# ---- What is refused, and leaves the run as it was.
refused 2 "damaged/ckpt: the run has checkpoints already" "${train[@]}" --run damaged --resume never
refused 2 "none/ckpt: no checkpoint to resume from" "${train[@]}" --run none --resume must
refused 2 "--resume: \"maybe\"" "${train[@]}" --run damaged --resume maybe
refused 2 "train.learning_rate" "${train2[@]}" --run damaged --set train.learning_rate=2e-3
refused 2 "model.depth" "${train[@]}" --run damaged --set model.depth=3
refused 2 "seed" "${train[@]}" --run damaged --set seed=2
start held --set train.steps=1000
refused 1 "held: in use by pid " mpiexec -n 2 "$FLEXHPC" train tiny.yaml --run held
kill -TERM "${ranks[0]}"
finish
[ "$code" -eq 75 ] || fail "the holder ended with $code"
same_run unbroken damaged
echo "resumed runs end as the unbroken one"
