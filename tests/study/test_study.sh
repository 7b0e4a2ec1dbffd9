#!/usr/bin/env bash
# test_study.sh: every study runs to its table at toy size, over one pool of runs; the table is what NumPy makes of the
# evaluations; killed, stopped or shared between jobs it ends in the same table; what is wrong is refused by name.
# Run: label full
# Run: timeout 300
# Run: cost 40
# Planted and caught: seeds averaged before samples are paired; finished runs trained again; a run of another configuration
# adopted; evaluations taken that were made with another scale, or of another pack of that name; what was trained on called
# unseen by the name of its pack; the limit of a tie from one arm's degrees of freedom; and, unplanted, evaluations of no member
# at all (a bool in place of their number), the last of two jobs not seeing what the other had done, and a run's lock let go between
# a job's first look at it and its training;
# percentages of other arms than they say; velocities of different steps averaged; an arm without validations left out;
# an arm's noise held against a pool that it is part of; the noise of the others taken for its own;
# a Reynolds number without finest scales counted among those that have some.
# Of targets: pairs of a sample with itself in the participation ratio; modes of a shell not counted; patches without a window; the
# variance of norms over all steps for that in windows; scales not asked; raw fields taken for residuals; a sample drawn twice that
# counts twice; the velocity expected by the configuration's schedule, not the runs'.
# shellcheck source=tests/fault/tiny.sh
. "$FX_TESTS_DIR/fault/tiny.sh"

cat >study.yaml <<'YAML'
run: {timeout: 60, probe: false, log_every: 1000}
model: {dropout: 0}
data: {path: pack, patch: 16, factor: 4}
train: {steps: 6, global_batch: 2, learning_rate: 1e-3, optimizer: adamw}
checkpoint: {every: 2}
generate: {path: fields, reynolds: [100, 200], grid: 64, start: 0, interval: 0.25, snapshots: 12, seed: 1}
pack: {source: fields, path: pack, patch: 16, strata: 320} # as many as samples: an epoch has each once
eval: {patches: 8, batch: 4}
study:
  seeds: [1, 2]
  heldout: pack-heldout
  unseen: pack-unseen
  mixture: pack-unseen
  foreign: pack-unseen
  steps: [1, 2, 4]
  members: 4
  samples: 320
  flex: model.preset=custom model.channels=32,32 model.blocks=1,1 model.depth=1 model.heads=2 model.mlp_ratio=1
  unet: model.preset=custom model.arch=unet model.channels=32,32 model.blocks=1,1 model.heads=2
  uvit: model.preset=custom model.arch=uvit model.embed_dim=32 model.patch=4 model.depth=1 model.heads=2 model.mlp_ratio=1
YAML

pack() { # NAME KEY=VALUE...
    local name=$1 set=()
    shift
    for key in "$@"; do set+=(--set "$key"); done
    expect 0 "$FLEXHPC" generate study.yaml --set generate.path="fields-$name" "${set[@]}"
    expect 0 "$FLEXHPC" pack study.yaml --set pack.source="fields-$name" --set pack.path="$name"
}

# `./study NAME FOLDER OPTIONS...`
cat >study <<'SH'
#!/bin/sh
name=$1 folder=$2
shift 2
exec "$FLEXHPC" study "$name" study.yaml --run "$folder" "$@"
SH
chmod +x study

check() { # NAME REFERENCE MEMBERS [FOLDER [SHIFT]]
    /usr/bin/python3 "$FX_TESTS_DIR/study/check_tables.py" "${4:-pool}" "$1" "$2" "$3" "${5:-1}" >out 2>err || fail "table of $1"
}

pack pack
pack pack-heldout generate.seed=2
pack pack-unseen generate.seed=2 generate.reynolds=50,150

# ---- Every study to its table. Later ones find the arms that earlier ones trained.
expect 0 ./study baselines pool
[ "$(grep -c ': training ' out)" -eq 6 ] || fail "six runs are trained"
check baselines flex 1
# One of uvit's runs has not learned: of three arms it is the one that is told, in both tasks.
cat >wide.py <<'PY'
import h5py
with h5py.File("pool/runs/uvit-s1/eval-pack-heldout-n2-m1.h5", "r+") as f:
    columns = [c.decode() if isinstance(c, bytes) else c for c in f["samples"].attrs["columns"]]
    f["samples"][:, columns.index("rfne")] *= 40
PY
cp pool/runs/uvit-s1/eval-pack-heldout-n2-m1.h5 learned
/usr/bin/python3 wide.py
expect 0 ./study baselines pool
check baselines flex 1
for task in SR FC; do says pool/baselines/table.md "$task: seeds of uvit differ by .* may be too narrow"; done
[ "$(grep -c 'too narrow' pool/baselines/table.md)" -eq 2 ] || fail "arms that are told to have more noise than the others"
mv learned pool/runs/uvit-s1/eval-pack-heldout-n2-m1.h5
expect 0 ./study seeds pool
says out 'two arms of 2 seeds each and as much noise that differ by less than'
! grep -qE ': (training|evaluating) ' out || fail "what is there is made again"
check seeds - 1
expect 0 ./study steps pool
says pool/steps/table.md 'SR: 2 steps .* against 4: RFNE ratio [0-9.]+ \(at most 1.02: (holds|FAILS)\)'
says pool/steps/table.md 'flat or rising is expected'
# A Reynolds number whose dissipation the input resolves has no finest scales; the mean is over the others.
cat >finest.py <<'PY'
import glob, json, re, sys
import h5py, numpy as np
def columns(scores):
    return [c.decode() if isinstance(c, bytes) else c for c in scores.attrs["columns"]]
take = sys.argv[1:] == ["take"]
found = {}
for path in glob.glob("pool/runs/flex-s*/eval-pack-heldout-n*-m4.h5"):
    with h5py.File(path, "r+") as f:
        at, rows = columns(f["scores"]), f["scores"][:]
        if take:
            rows[rows[:, at.index("reynolds")] == 100, at.index("fine_scales")] = np.nan
            f["scores"][:] = rows
        for row in rows:
            key = ["SR", "FC"][int(row[at.index("task")])], int(re.search(r"-n(\d+)-", path)[1])
            found.setdefault(key, []).append(10 * np.log10(row[at.index("fine_scales")]))
if take:
    sys.exit()
with open("pool/steps/table.json") as f:
    table = json.load(f)["tables"]["steps"]
assert len(table) == len(found) == 6
for row in table:
    want = np.nanmean(found[row["task"], int(row["DDIM steps"])])
    assert abs(row["finest scales, dB"] - want) < 1e-3 * abs(want) + 1e-3, (row, want)
PY
/usr/bin/python3 finest.py || fail "energy of the finest scales"
/usr/bin/python3 finest.py take
expect 0 ./study steps pool
/usr/bin/python3 finest.py || fail "energy of the finest scales where one Reynolds number has none"
expect 0 ./study unseen pool
says pool/unseen/table.md 'SR, Re 50, outside the range trained on \(extrapolation\)'
says pool/unseen/table.md 'FC, Re 150, never seen: .*(carries over|worse|better)'
expect 0 ./study unseen pool --set study.unseen=pack # which the runs were trained on
! grep -q 'never seen' pool/unseen/table.md || fail "what was trained on is called unseen"
expect 0 ./study weak-levels pool
[ "$(grep -c ': training ' out)" -eq 6 ] || fail "three new arms of two seeds are trained"
check weak-levels flex 4
expect 0 ./study latent-patch pool
check latent-patch flex 1
expect 0 ./study tasks pool
check tasks flex 1
says pool/tasks/table.md 'SR: RFNE of sr-only against'
expect 0 ./study contrast pool
check contrast mix 1
expect 0 ./study zero-shot pool
says pool/zero-shot/table.md 'SR on pack-unseen, never trained on: .*(of use|worse than the floor|not told apart)'
expect 0 ./study parameterisation pool
[ "$(grep -c ': training ' out)" -eq 16 ] || fail "eight new arms of two seeds are trained"
check parameterisation flex 1
flex=$(sed -n 's/^  flex: //p' study.yaml)
spaces=(./study residual-space spaces --set validate.every=3 --set validate.patches=2 --set "study.flex=$flex diffusion.shift=2")
expect 0 "${spaces[@]}"
[ "$(grep -c ': training ' out)" -eq 6 ] || fail "three arms of two seeds are trained"
check residual-space flex 1 spaces 2
expect 0 "${spaces[@]}" --set study.samples=640 # twice as many as there are
check residual-space flex 1 spaces 2
expect 0 "${spaces[@]}" --set study.samples=2
says spaces/residual-space/table.md 'SR: the residual has .* as far as these samples tell: a tie'
says spaces/residual-space/table.md 'FC: the residual has 0\.[0-9]+ of the raw field.s mean square: it is smaller; and a participation ratio of'
# A run that another study trained without validations has no velocities: said, not left out, and the others' are told.
cat >forget.py <<'PY'
import json, sys
with open(sys.argv[1]) as f:
    rows = [json.loads(line) for line in f]
with open(sys.argv[1], "w") as f:
    f.writelines(json.dumps({k: v for k, v in row.items() if not k.startswith("val_")}) + "\n" for row in rows)
PY
cp spaces/runs/unit-s1/metrics.jsonl validated
/usr/bin/python3 - spaces/runs/unit-s1/metrics.jsonl <<'PY'
import json, sys
with open(sys.argv[1]) as f:
    rows = [json.loads(line) for line in f]
for key in [k for k in rows[2] if k.startswith("val_")]: # as if step 2 had been validated, not step 3
    rows[1][key] = rows[2].pop(key)
with open(sys.argv[1], "w") as f:
    f.writelines(json.dumps(row) + "\n" for row in rows)
PY
expect 0 "${spaces[@]}"
grep -q 'class="dots s1" d="M446.0 [0-9.]*h0"' spaces/residual-space/chart-3.svg || fail "velocities of different steps are averaged"
cp validated spaces/runs/unit-s1/metrics.jsonl
/usr/bin/python3 forget.py spaces/runs/unit-s1/metrics.jsonl
expect 0 "${spaces[@]}"
says spaces/residual-space/table.md 'velocities of unit are known of 1 of its 2 runs: they are measured by validations \(validate.every\)'
says spaces/residual-space/table.md '^\| unit \| SR \| 1 \|'
[ "$(grep -c 'velocities of' spaces/residual-space/table.md)" -eq 1 ] || fail "arms that are told to lack velocities"
cp spaces/runs/unit-s2/metrics.jsonl validated-2
/usr/bin/python3 forget.py spaces/runs/unit-s2/metrics.jsonl
expect 0 "${spaces[@]}"
says spaces/residual-space/table.md 'velocities of unit are known of 0 of its 2 runs'
! grep -q 'velocity of the network of raw against unit' spaces/residual-space/table.md || fail "velocities of no run are compared"
mv validated spaces/runs/unit-s1/metrics.jsonl
mv validated-2 spaces/runs/unit-s2/metrics.jsonl

# ---- Killed in the middle of a save, stopped by time, and shared by two jobs: the same runs and table.
expect 137 env FX_STOP_AT=before_rename:flex-s2/ckpt/step-00000004 ./study seeds again
expect 75 ./study seeds again --time-limit 9 # a start's ten seconds for its end: after the first step of the run
[ ! -e again/seeds ] || fail "a table of runs that are not done"
expect 0 ./study seeds again
says out 'training flex-s2 from step 3 to 6'
cmp pool/seeds/table.json again/seeds/table.json || fail "another table after a kill"
./study seeds shared --part 1/2 >first 2>&1 &
expect 0 ./study seeds shared --part 2/2
wait $! || fail "the other part: $(tail -1 first)"
[ "$(cat first out | grep -c ': training ')" -eq 2 ] || fail "two runs by two jobs"
cmp pool/seeds/table.json shared/seeds/table.json || fail "another table from two jobs"

# ---- An evaluation that was made otherwise, or of another pack of that name, is made again; the runs are kept.
evaluates() { # COUNT OPTIONS...
    local count=$1
    shift
    expect 0 ./study seeds again "$@"
    ! grep -q ': training ' out || fail "trained again: $*"
    [ "$(grep -c ': evaluating ' out)" -eq "$count" ] || fail "not $count evaluations: $*"
}
for set in eval.scale=1.5 eval.condition=mean eval.reynolds=100; do evaluates 2 --set "$set"; done
evaluates 2
evaluates 0
cp -r pack-heldout kept
rm -r pack-heldout
evaluates 0 # as far as can be told
rm -r fields-pack-heldout
pack pack-heldout generate.seed=3
evaluates 2
rm -r pack-heldout
mv kept pack-heldout

# ---- What is left out is said, and what another job has is left alone.
expect 0 ./study baselines part --arm flex --seed 1
says out 'no table yet, 2 of 3 runs are not done: unet-s1, uvit-s1'
expect 0 ./study baselines part --seed 1 --set study.train=false
says part/baselines/table.md 'Not there yet, and not compared: unet-s1, uvit-s1'
exec 9>>part/runs/flex-s1/run.lock
flock 9
expect 0 ./study unseen part --seed 1
exec 9>&-
says out 'flex-s1 is left alone: .*in use by'
says out 'no table yet, 1 of 1 runs are not done: flex-s1'

# A job keeps a run's lock from its first look at it to the end of the training: nobody comes in between.
mkdir -p race/runs/flex-s1
(
    until grep -q pid race/runs/flex-s1/run.lock 2>/dev/null; do sleep 0.02; done
    flock -w 30 race/runs/flex-s1/run.lock sleep 5
) &
expect 0 env LD_PRELOAD="$FX_BINARY_DIR/tests/libinject.so" FX_INJECT="open race/runs/flex-s1/run.lock 2 SLOW3000" \
    ./study baselines race --arm flex --seed 1
says out 'training flex-s1 from step 0'
wait
expect 0 ./study unseen part --seed 1
says part/unseen/table.md 'Re 150, never seen'
exec 9>>part/unseen/run.lock
flock 9
expect 0 ./study unseen part --seed 1
exec 9>&-
says out 'part/unseen: in use by .*; the table is left to them, who write it now'
expect 0 ./study baselines part --seed 1
says part/baselines/table.md 'unet against flex: .*: (not known from one seed|a tie)'

# ---- Unhappy paths.
refused 2 'flex-s1/ckpt/step-00000006.h5 was made with other settings: train.learning_rate: 0.001 -> 0.002' \
    ./study seeds pool --set train.learning_rate=2e-3
refused 2 'made with other settings: train.steps: 6 -> 4' ./study seeds pool --set train.steps=4
refused 2 'study.arms: the study baselines has no arm unett; did you mean unet?' ./study baselines pool --arm unett
refused 2 'study.part: "3/2" is no I/N' ./study seeds pool --part 3/2
refused 2 'study.heldout: the study seeds needs this pack' ./study seeds pool --set study.heldout=
refused 2 'study.foreign: other/pack-unseen and pack-unseen (study.foreign) have one name' \
    ./study zero-shot pool --set 'study.foreign=pack-unseen other/pack-unseen'
refused 2 'study.unseen: other/pack-heldout and pack-heldout (study.heldout) have one name' \
    ./study unseen pool --set study.unseen=other/pack-heldout
refused 2 'validate.every: the study residual-space needs validations' ./study residual-space none
refused 2 'study.seeds: 1 stands there twice' ./study seeds pool --seed 1,1
refused 2 'study.seeds: the study seeds needs two or more' ./study seeds pool --seed 1
refused 2 'study.steps: whole numbers that rise' ./study steps pool --set study.steps=5,2
refused 2 'study.train is false, and none of 2 runs is there' ./study seeds none --set study.train=false
refused 2 'arm flex (study.flex)' ./study seeds none --set study.flex=model.chanels=32
refused 2 'study seed: no such command; did you mean study seeds?' "$FLEXHPC" study seed study.yaml --run pool
refused 2 '--run DIR' "$FLEXHPC" study seeds study.yaml
[ ! -e none ] || fail "a refused study leaves a folder"
