#!/usr/bin/env bash
# flexhpc config diff: which keys, which values, which exit code, for files and for run folders; --version; and what help says
# of exit codes and environment.
# Planted and caught: 0 whatever differs; the second configuration compared with itself; a folder's file not looked for; only
# given keys compared; --version without the number; train's exit codes left out.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

printf 'seed: 5\ntrain: {steps: 40, optimizer: adamw}\n' >a.yaml
printf 'seed: 5\ntrain:\n  optimizer: adamw # the same\n  steps: 40\n' >b.yaml
mkdir run
printf 'seed: 6\ntrain: {steps: 40, optimizer: lion}\ndata: {path: "x y"}\n' >run/config.yaml

expect 0 "$FLEXHPC" config diff a.yaml b.yaml
[ ! -s out ] || fail "equal configurations differ"
expect 1 "$FLEXHPC" config diff a.yaml run
printf 'seed: 5 -> 6\ndata.path:  -> x y\ntrain.optimizer: adamw -> lion\ntrain.beta2: 0.999 -> 0.98\n' >wanted
cmp -s out wanted || fail "a.yaml and run"
[ ! -s err ] || fail "a difference is told as an error"
expect 1 "$FLEXHPC" config diff run/ b.yaml
[ "$(head -n 1 out)" = "seed: 6 -> 5" ] || fail "run and b.yaml"
expect 0 "$FLEXHPC" config diff run run/config.yaml

expect 2 "$FLEXHPC" config diff a.yaml nowhere
grep -q 'nowhere' err || fail "the missing file is not named"
expect 2 "$FLEXHPC" config diff a.yaml
printf 'train: {stepz: 1}\n' >wrong.yaml
expect 2 "$FLEXHPC" config diff wrong.yaml a.yaml
grep -q 'wrong\.yaml:1: train\.stepz: no such key' err || fail "the unknown key is not named"

expect 0 "$FLEXHPC" --version
grep -qE '^flexhpc [0-9]+\.[0-9]+\.[0-9]+ \(.+\)$' out || fail "version"
expect 0 "$FLEXHPC" help
grep -q '^Exit codes: 0 done, 1 error, 2 .*, 75 .*, 130 ' out || fail "help's exit codes"
expect 0 "$FLEXHPC" train --help
grep -q '^Exit codes: 0 .*, 75 .*, 130 ' out || fail "train's exit codes"
grep -q '^Environment: OMP_NUM_THREADS' out || fail "environment"
expect 0 "$FLEXHPC" help config diff
grep -q '^Exit codes: 0 equal, 1 different' out || fail "config diff's exit codes"
echo "configurations are compared key by key"
