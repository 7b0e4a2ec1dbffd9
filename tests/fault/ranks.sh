# shellcheck shell=bash
# ranks.sh: sourced by tests of jobs of several ranks after tiny.sh: jobs whose ranks can be made to fail, stopped and
# killed one by one.
# shellcheck disable=SC2034,SC2154 # faulty is the caller's, scratch tiny.sh's

# `faulty_job RANKS RANK "CALL TEXT N WHAT" ARGUMENTS...`: puts the words of a job into `faulty`, in which RANK (or all)
# runs under tests/fault/inject.c. Every rank adds its exit code to the file codes.
faulty_job() {
    local ranks=$1 rank=$2
    local victim=(LD_PRELOAD="$FX_BINARY_DIR/tests/libinject.so" FX_INJECT="$3" "FX_INJECT_LOG=$scratch/calls")
    shift 3
    rm -f codes calls
    [ "$rank" = all ] || victim+=(FX_INJECT_RANK="$rank")
    # shellcheck disable=SC2016 # for the rank's shell
    faulty=(mpiexec -n "$ranks" bash -c 'code=0; env "${@:2:$1}" "${@:$1 + 2}" || code=$?; echo "$code" >>codes; exit "$code"' rank
        "${#victim[@]}" "${victim[@]}" "$FLEXHPC" "$@")
}

# Processes of this test's jobs that are still there. No process is started for it: a hundred lie in /proc.
left_over() {
    local process
    for process in /proc/[0-9]*; do
        [ "$process/exe" -ef "$FLEXHPC" ] && [ "$process/cwd" -ef "$scratch" ] && printf '%s ' "${process#/proc/}"
    done
    return 0
}

# Waits at most SECONDS until none is.
all_gone() {
    local tries
    for ((tries = 0; tries < 10 * $1; tries++)); do
        [ -n "$(left_over)" ] || return 0
        sleep 0.1
    done
    return 1
}

# The pids of a running job's ranks, in the order of ranks.
pids_of_ranks() {
    local pid word
    for pid in $(left_over); do
        while IFS= read -r -d '' word; do
            [[ $word != OMPI_COMM_WORLD_RANK=* ]] || printf '%s %s\n' "${word#*=}" "$pid"
        done 2>/dev/null <"/proc/$pid/environ" || true
    done | sort -n | cut -d ' ' -f 2
}

# The pid of a rank that is stopped; nothing when none is.
stopped_rank() {
    local pid word state
    for pid in $(left_over); do
        while read -r word state _; do
            [ "$word $state" != "State: T" ] || printf '%s' "$pid"
        done 2>/dev/null <"/proc/$pid/status" || true
    done
}

# `some_steps_on RANKS`: waits until the training $job in run/ is some steps on; `$pids` are then its ranks'.
some_steps_on() {
    until [ "$(wc -l 2>/dev/null <run/metrics.jsonl)" -ge 3 ] 2>/dev/null; do
        kill -0 "$job" 2>/dev/null || fail "ended by itself"
        sleep 0.05
    done
    mapfile -t pids < <(pids_of_ranks)
    [ "${#pids[@]}" -eq "$1" ] || fail "${#pids[@]} of $1 ranks found"
}
