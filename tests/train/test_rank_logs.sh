#!/usr/bin/env bash
# The logs of a run's ranks: run/log/rank-NNNN.log holds what each rank said, with UTC time, rank, host and level, start after
# start; --log-level says how much; standard output is rank 0's and has none of these; the last words of every rank that
# failed stand in its own log, also where another rank spoke for all; a log that can't be is one line.
# Planted and caught: one file for all ranks; files written anew; local time; the host left out; info of other ranks not
# kept; the level not taken from the configuration; last words left out, of the rank that speaks and of the others.
# Run: label full
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

train=(mpiexec -n 2 "$FLEXHPC" train tiny.yaml --set train.steps=3 --set checkpoint.every=0 --run)
make_data

# `logs RUN RANK PATTERN COUNT`: so many lines of its log match.
logs() {
    local found
    found=$(grep -cE -- "$3" "$1/log/rank-000$2.log" || true)
    [ "$found" -eq "$4" ] || fail "$found lines of $1/log/rank-000$2.log match $3, not $4: $(cat "$1/log/rank-000$2.log")"
}

before=$(date -u +%FT%T.000Z)
TZ=Asia/Tokyo expect 0 "${train[@]}" run --log-level debug
cp out said
after=$(date -u +%FT%T.999Z)
[ "$(cd run/log && echo ./*)" = "./rank-0000.log ./rank-0001.log" ] || fail "$(ls run/log)"
for rank in 0 1; do
    logs run $rank "^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z rank $rank/2 $(hostname) (debug|info |warn )  [^ ]" \
        "$(wc -l <run/log/rank-000$rank.log)"
    logs run $rank ' debug  step [0-9]+: [0-9.]+ s, [0-9.]+ s of them by itself, [0-9.]+ s waiting for data$' 3
    logs run $rank ' info   [0-9]+ parameters; ' 1
    first=$(head -n 1 run/log/rank-000$rank.log | cut -d' ' -f1)
    last=$(tail -n 1 run/log/rank-000$rank.log | cut -d' ' -f1)
    [[ ! $first < $before && ! $last < $first && ! $after < $last ]] || fail "rank $rank: $before, $first, $last, $after"
done
# What rank 0 said is what its log holds.
sed -E 's/^[^ ]+ rank 0\/2 [^ ]+ [a-z]+ +//' run/log/rank-0000.log | cmp -s - said || fail "rank 0's log and output differ"

# ---- A second start adds to them; without debug the steps are left out; with warn nothing is said.
expect 0 "${train[@]}" run
logs run 1 ' debug  step ' 3
logs run 1 ' info   resumed from run/ckpt/step-00000003.h5' 1
expect 0 "${train[@]}" quiet --set run.log_level=warn
if [ -s out ] || [ -s quiet/log/rank-0000.log ] || [ ! -e quiet/log/rank-0001.log ]; then fail "told below warn"; fi

# ---- Last words: rank 0 speaks for both, each has its own.
refused 2 "train.learning_rate" "${train[@]}" run --set train.learning_rate=2e-3
for rank in 0 1; do
    logs run $rank " rank $rank/2 [^ ]+ error  .*train\.learning_rate" 1
done

mkdir bad
touch bad/log
refused 1 "bad/log: is no folder" "${train[@]}" bad
echo "every rank's log holds what it said"
