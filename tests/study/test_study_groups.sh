#!/usr/bin/env bash
# test_study_groups.sh: a study in groups of ranks (study.ranks) is the study of as many ranks alone: the same table byte for byte,
# the same checkpoints and evaluations; killed or stopped by time it goes on to them; and a run that fails, at its start or in a
# step, is named in the end while the others are done, in one group and in several.
# Run: label full
# Run: timeout 300
# Run: cost 15
# Planted and caught: every group takes every run; all runs for the first group; what other groups did, or that a run of theirs
# failed, not heard; the first failure ends the study; a failed run's log without its reason; evaluations at the cost of one
# Reynolds number; an arm of unknown cost ends the study.
# shellcheck source=tests/fault/tiny.sh
. "$FX_TESTS_DIR/fault/tiny.sh"
make_data
sed -i 's/timeout: 60/timeout: 60, probe: false/; s/steps: 24, global_batch: 4/steps: 3, global_batch: 2/; s/every: 4/every: 1/' tiny.yaml
cat >>tiny.yaml <<'YAML'
eval: {patches: 2, batch: 2}
study:
  seeds: [3, 4]
  heldout: pack
  mixture: pack
YAML
study() { # CODE RANKS NAME FOLDER OPTIONS...
    local code=$1 ranks=$2 name=$3 folder=$4
    shift 4
    expect "$code" mpiexec -n "$ranks" "$FLEXHPC" study "$name" tiny.yaml --run "$folder" "$@"
}

same_as_alone() { # FOLDER
    cmp alone/contrast/table.json "$1/contrast/table.json" || fail "$1: another table.json"
    cmp alone/contrast/table.md "$1/contrast/table.md" || fail "$1: another table.md"
    for run in alone/runs/*; do
        same_run "$run" "$1/runs/${run##*/}"
        expect 0 "$FLEXHPC" checkpoint compare "$run/ckpt/step-00000003.h5" "$1/runs/${run##*/}/ckpt/step-00000003.h5"
    done
}

# ---- Two ranks, one run after the other; then four, two runs at a time.
study 0 2 contrast alone
study 0 4 contrast pool --ranks 2
says out '^study contrast: 4 runs are open, for 2 groups of 2 ranks$'
for run in mix-s3 mix-s4 mix-contrast-s3 mix-contrast-s4; do
    says out "^$run: step 3/3 "
    [ "$(grep -c '^rank ./2 on ' "pool/runs/$run/env.txt")" -eq 2 ] || fail "$run: not by two ranks"
done
same_as_alone pool

# ---- A part of the runs, stopped by time; all of them, killed in one group's save; and on to the end.
study 75 4 contrast cut --ranks 2 --part 2/2 --time-limit 9 # a start's ten seconds for its end: after the first step of each run
[ "$(ls cut/runs)" = $'mix-contrast-s3\nmix-contrast-s4' ] || fail "runs of part 2/2: $(ls cut/runs)"
code=0
timeout 60 env FX_STOP_AT=before_rename:mix-contrast-s4/ckpt/step-00000002 \
    mpiexec -n 4 "$FLEXHPC" study contrast tiny.yaml --run cut --ranks 2 >out 2>err || code=$?
[ "$code" -ne 0 ] || fail "killed, and exit code 0"
[ ! -e cut/contrast ] || fail "a table of runs that are not done"
study 0 4 contrast cut --ranks 2
says out 'training mix-contrast-s4 from step 1 to 3'
same_as_alone cut

# ---- An evaluation costs as much as it has Reynolds numbers: three of them and a training of three steps are two for each group,
# while at the cost of one Reynolds number the other three would all be the second group's.
mkdir -p balance
cp -r alone/runs balance
rm -r balance/runs/mix-contrast-s4
study 0 2 contrast balance --ranks 1 --set eval.patches=6
[ "$(grep -c ': evaluating ' out)" -eq 4 ] || fail "not four evaluations"
[ "$(sed 's/ on .*/;/' balance/runs/*/run.lock | tr ';' '\n' | grep . | sort | uniq -c | awk '{print $1}')" = $'2\n2' ] ||
    fail "unequal groups: $(cat balance/runs/*/run.lock)"

# ---- A run that can't begin: the others are done, by two groups, then by one. Then it can. The costliest runs, both tasks with and
# without contrast, are different groups'.
mkdir -p bad/runs/fc-only-s3/metrics.jsonl
for ranks in 1 2; do
    study 1 2 tasks bad --ranks $ranks --seed 3
    says err '^flexhpc: (rank 0/2 on .*: )?study tasks: 1 of 4 runs failed: fc-only-s3: .*bad/runs/fc-only-s3/metrics.jsonl'
    says out 'no table yet, 1 of 4 runs are not done: fc-only-s3$'
    [ "$(cat bad/runs/*/ckpt/latest | sort | uniq -c)" = '      3 step-00000003.h5' ] || fail "groups of $ranks: others are not done"
done
pid_of() { sed -n 's/^rank .* pid \([0-9]*\),.*/\1/p' "bad/runs/$1-s3/env.txt"; }
[ "$(pid_of flex)" != "$(pid_of contrast)" ] || fail "one group has both runs of both tasks"
rmdir bad/runs/fc-only-s3/metrics.jsonl
study 0 2 tasks bad --seed 3
[ "$(grep -c ': training ' out)" -eq 1 ] || fail "trained again"
[ -s bad/tasks/table.md ] || fail "no table"

# ---- One that fails in a step: its log says why, and so does `flexhpc status`.
sed -i '/^model: /d' tiny.yaml
cat >>tiny.yaml <<'YAML'
  flex: model.preset=custom model.channels=32 model.blocks=1 model.depth=1 model.heads=2 model.mlp_ratio=1
  unet: model.preset=custom model.arch=unet model.channels=32 model.blocks=1 model.heads=2 data.scale=1e-38
  uvit: model.preset=custom model.arch=uvit model.embed_dim=32 model.patch=4 model.depth=1 model.heads=2 model.mlp_ratio=1
YAML
study 1 2 baselines nan --ranks 1 --seed 3
says err '^flexhpc: (rank 0/2 on .*: )?study baselines: 1 of 3 runs failed: unet-s3: step 1: .* not finite'
[ "$(cat nan/runs/{flex,uvit}-s3/ckpt/latest | sort -u)" = step-00000003.h5 ] || fail "the others are not done"
expect 0 "$FLEXHPC" status nan/runs
says out 'not finite; weights are those of step'

# ---- One that can't be planned, whose cost is not known: the others are done all the same.
study 2 2 baselines odd --ranks 1 --seed 3 --set 'study.unet=model.preset=custom model.arch=unet model.channels=32 model.blocks=1 model.heads=5'
says err '^flexhpc: warning: (rank 0/2 on .*: )?unet-s3: what it costs is not known: .*heads'
says err '^flexhpc: (rank 0/2 on .*: )?study baselines: 1 of 3 runs failed: unet-s3: .*heads'
[ "$(cat odd/runs/{flex,uvit}-s3/ckpt/latest | sort -u)" = step-00000003.h5 ] || fail "the others are not done"

refused 2 'study.ranks: 4 ranks do not divide into groups of 3' mpiexec -n 4 "$FLEXHPC" study tasks tiny.yaml --run pool --ranks 3
refused 2 'study.ranks: 1 ranks do not divide into groups of 2' "$FLEXHPC" study tasks tiny.yaml --run pool --ranks 2
echo "groups of ranks share a study"
