# shellcheck shell=bash
# tiny.sh: sourced by tests of the whole program: a scratch folder with a tiny configuration and its data, and what to
# expect of a command. Uses FLEXHPC.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
# Open MPI's launcher gives ranks that are left two seconds between SIGTERM and SIGKILL.
export OMPI_MCA_odls_base_sigkill_timeout=0

# A model of 300 thousand parameters in 145 tensors on patches of 16 pixels from two files of a 64-point grid.
cat >tiny.yaml <<'YAML'
run: {timeout: 60}
model: {preset: custom, channels: [32], blocks: [1], depth: 1, heads: 2, mlp_ratio: 1}
data: {path: pack, patch: 16, factor: 4}
train: {steps: 24, global_batch: 4, learning_rate: 1e-3, optimizer: adamw}
checkpoint: {every: 4}
generate: {path: fields, reynolds: [100, 200], grid: 64, start: 0, interval: 0.1, snapshots: 6}
pack: {source: fields, path: pack, patch: 16, strata: 4}
YAML

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    for file in out err; do
        [ ! -e "$scratch/$file" ] || sed "s/^/  $file: /" "$scratch/$file" >&2
    done
    exit 1
}

make_data() {
    "$FLEXHPC" generate tiny.yaml >out 2>err || fail "generate"
    "$FLEXHPC" pack tiny.yaml >out 2>err || fail "pack"
}

# `expect CODE COMMAND...`: its exit code; what it writes goes to the files out and err.
expect() {
    local wanted=$1 code=0
    shift
    timeout 60 "$@" >out 2>err || code=$?
    [ "$code" -eq "$wanted" ] || fail "exit code $code, not $wanted: $*"
}

# `says FILE PATTERN`: a line of it matches.
says() {
    grep -qE -- "$2" "$1" || fail "no line of $1 matches $2"
}

# Our own lines on standard error: the launcher adds some of its own.
our_lines() {
    grep '^flexhpc: ' err || true
}

# `refused CODE TEXT COMMAND...`: fails with the code, and with exactly one line of ours, which has the text in it.
refused() {
    local code=$1 text=$2
    shift 2
    expect "$code" "$@"
    [ "$(our_lines | wc -l)" -eq 1 ] || fail "not one line: $*"
    our_lines | grep -qF -- "$text" || fail "the line does not say \"$text\": $*"
    # without a launcher there is nothing else
    [ "$1" != "$FLEXHPC" ] || [ "$(wc -l <err)" -eq 1 ] || fail "more than one line: $*"
}

# `same_run RUN OTHER`: OTHER ends as RUN does, to the bit.
same_run() {
    /usr/bin/python3 "$FX_TESTS_DIR/fault/same_run.py" "$1" "$2" 2>err || fail "$2 ends other than $1"
}
