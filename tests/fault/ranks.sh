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

# Processes of this test's jobs that are still there.
left_over() {
    local process
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/exe")" = "$FLEXHPC" ] || continue
        [ "$(readlink "$process/cwd")" != "$scratch" ] || printf '%s ' "${process#/proc/}"
    done
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
    local pid
    for pid in $(left_over); do
        tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | sed -n "s/^OMPI_COMM_WORLD_RANK=\([0-9]*\)$/\1 $pid/p"
    done | sort -n | cut -d ' ' -f 2
}

# The pid of a rank that is stopped; nothing when none is.
stopped_rank() {
    local pid
    for pid in $(left_over); do
        ! grep -qs '^State:[[:space:]]*T' "/proc/$pid/status" || printf '%s' "$pid"
    done
}
