#!/usr/bin/env bash
# One rank of several fails in a system call, in every phase of every command that runs on ranks: within seconds the job
# is over, one line of ours names the file, no rank ends with 0, no process stays, and the run goes on afterwards from
# what it had.
# Run: label full
# Run: timeout 300
# Run: cost 50
# Planted errors, each seen caught and removed: the file not synced before its name; a written checkpoint not verified;
# `latest` written before the file has its name; a failed write inside H5Fclose that fx_agree_soon doesn't hear of (the job
# hangs); the message of the reading thread lost; the number of another rank in the line.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"
rows=0

# `row RANK "CALL TEXT N WHAT" SAID COMMAND...`: SAID is in the line.
row() {
    local rank=$1 plan=$2 said=$3 code=0 begun=$SECONDS
    shift 3
    faulty_job 2 "$rank" "$plan" "$@"
    timeout 40 "${faulty[@]}" >out 2>err || code=$?
    [ "$code" -ne 124 ] || fail "hangs: rank $rank, $plan: $*"
    [ "$code" -ne 0 ] || fail "no failure: rank $rank, $plan: $*"
    [ $((SECONDS - begun)) -lt 20 ] || fail "takes $((SECONDS - begun)) s: rank $rank, $plan: $*"
    [ "$(our_lines | grep -vc 'flexhpc: warning: ')" -eq 1 ] || fail "not one line: rank $rank, $plan: $*"
    our_lines | grep -qF -- "$said" || fail "the line does not say \"$said\": rank $rank, $plan: $*"
    our_lines | grep -q "rank $rank/2 on" || fail "rank $rank is not named: $plan: $*"
    ! grep -qsx 0 codes || fail "a rank ends with 0: rank $rank, $plan: $*"
    all_gone 5 || fail "left over $(left_over): rank $rank, $plan: $*"
    rows=$((rows + 1))
}

# `calls_of RANK "CALL TEXT" COMMAND...`: how many such calls the rank makes when nothing fails.
calls_of() {
    local rank=$1 plan=$2
    shift 2
    faulty_job 2 "$rank" "$plan 1000000 COUNT" "$@"
    expect 0 "${faulty[@]}"
    wc -l <calls
}

make_data
train=(train tiny.yaml --run run --set train.steps=8)

# ---- Before the first step.
for rank in 0 1; do
    row $rank "open tiny.yaml 1 EIO" tiny.yaml "${train[@]}"
    row $rank "open pack/manifest.json 1 EIO" pack/manifest.json "${train[@]}"
    row $rank "open pack/manifest.json 2 EIO" pack/manifest.json "${train[@]}"
done
row 0 "open run/run.lock 1 EIO" run/run.lock "${train[@]}"
row 0 "rename run/config.yaml 1 EIO" run/config.yaml "${train[@]}"
row 0 "open run/metrics.jsonl 1 ENOSPC" run/metrics.jsonl "${train[@]}"

# ---- Data, read by the thread that runs ahead.
row 1 "open pack/shard- 1 ENOENT" pack/shard- "${train[@]}"
row 0 "read pack/shard- 5 EIO" pack/shard- "${train[@]}"
reads=$(calls_of 1 "read pack/shard-" train tiny.yaml --run counted --set train.steps=8 --set checkpoint.every=0)
row 1 "read pack/shard- $((reads / 2)) EIO" pack/shard- "${train[@]}"

# ---- A save: after it the run has the checkpoint that it had.
[ ! -e run/ckpt ] || fail "a checkpoint where none was made: $(ls run/ckpt)"
rm -rf run
"$FLEXHPC" train tiny.yaml --run run --set train.steps=8 --time-limit 0.01 >out 2>err || [ $? -eq 75 ] || fail "first step"
saved=$(sha256sum run/ckpt/*)
# The first write, any, and the last: data comes first, then HDF5's own blocks, in the flush and the close.
for rank in 0 1; do
    writes=$(calls_of $rank "write step-00000004.h5" train tiny.yaml --run "other$rank" --set train.steps=4)
    [ "$writes" -gt 100 ] || fail "rank $rank writes $writes times in a save"
    for n in 1 $((1 + RANDOM % writes)) "$writes"; do
        row $rank "write step-00000004.h5 $n EIO" run/ckpt/step-00000004.h5 "${train[@]}"
    done
done
row 1 "write step-00000004.h5 $((writes - 5)) EIO" run/ckpt/step-00000004.h5 "${train[@]}" # in the flush
# HDF5's own fsync comes first, ours of the whole file last.
syncs=$(calls_of 0 "fsync step-00000004.h5" train tiny.yaml --run synced --set train.steps=4)
row 0 "fsync step-00000004.h5 1 EIO" run/ckpt/step-00000004.h5 "${train[@]}"
row 0 "fsync step-00000004.h5 $syncs EIO" "run/ckpt/step-00000004.h5.part: fsync: " "${train[@]}"
row 0 "read step-00000004.h5.part 10 EIO" run/ckpt/step-00000004.h5 "${train[@]}"
row 0 "rename step-00000004.h5 1 EIO" run/ckpt/step-00000004.h5 "${train[@]}"
[ "$(sha256sum run/ckpt/* | grep -v part)" = "$saved" ] || fail "a failed save changed what was there: $(ls run/ckpt)"

# ---- A checkpoint that can't be read is not a reason to begin afresh.
row 0 "read step-00000001.h5 1 EIO" "run/ckpt: no checkpoint of 1 is whole" "${train[@]}"
[ "$(sha256sum run/ckpt/* | grep -v part)" = "$saved" ] || fail "an unreadable checkpoint was replaced"

# ---- Evaluation, packing and the solver.
row 1 "read pack/shard- 5 EIO" pack/shard- eval tiny.yaml --run run --set eval.patches=8 --set eval.batch=2
row 0 "write run/eval-pack.h5 1 EIO" run/eval-pack.h5 eval tiny.yaml --run run --set eval.patches=8
row 1 "read fields/200_ 5 EIO" fields/200_ pack tiny.yaml --set pack.path=packed
row 1 "write packed/shard- 3 EIO" packed/shard- pack tiny.yaml --set pack.path=packed
row 0 "rename packed/manifest.json 1 EIO" packed/manifest.json pack tiny.yaml --set pack.path=packed
row 1 "write dealt/200_ 1 EIO" dealt/200_ generate tiny.yaml --set generate.path=dealt
shared=(generate tiny.yaml --set generate.path=shared --set generate.reynolds=100)
row 1 "write shared/100_ 1 EIO" shared/100_ "${shared[@]}"
row 0 "write shared/100_ 3 EIO" shared/100_ "${shared[@]}"
row 0 "rename shared/100_ 1 EIO" shared/100_ "${shared[@]}"

# ---- Nothing of it stays in the way.
expect 0 mpiexec -n 2 "$FLEXHPC" "${train[@]}"
expect 0 mpiexec -n 2 "$FLEXHPC" eval tiny.yaml --run run --set eval.patches=8
expect 0 mpiexec -n 2 "$FLEXHPC" pack tiny.yaml --set pack.path=packed
expect 0 mpiexec -n 2 "$FLEXHPC" "${shared[@]}"
[ -z "$(find run packed shared -name '*.part')" ] || fail "left over: $(find run packed shared -name '*.part')"
diff -r -x run.lock pack packed >out || fail "a pack finished after failures is another"
echo "$rows failures of one rank: one line each"
