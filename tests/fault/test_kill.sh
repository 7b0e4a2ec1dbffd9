#!/usr/bin/env bash
# A run killed with SIGKILL at random instants, one rank or all of them, and resumed each time, ends as the unbroken run
# does: the same bits in every tensor of the last checkpoint, and the same metrics, each step once. The kills aim at
# start-up, steps and saves in turn, at a random instant of each, and go on until each of the three was hit.
# Run: label full
# Run: timeout 200
# Run: cost 16
# Run: long FX_KILLS=20
# Planted errors, each seen caught and removed: metrics not cut back on resume (steps 3 and 4 twice); random counters that
# begin at 0 again after a resume; the step counter one too far after a resume (576 of 580 tensors differ).
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"
KILLS=${FX_KILLS:-6} PHASES=(start-up step save)
MOST=$((KILLS + 20)) # until every phase has had one
RANDOM=${FX_SEED:-$$}
echo "random instants: FX_SEED=$RANDOM"
train=(mpiexec -n 2 "$FLEXHPC" train tiny.yaml --set train.steps=16 --set checkpoint.every=2)

milliseconds() {
    printf '%d' $(($(date +%s%N) / 1000000))
}

# `pause MOST`: a random time of at most so many milliseconds.
pause() {
    local wait_for=$(($1 * RANDOM / 32768))
    sleep "$(printf '%d.%03d' $((wait_for / 1000)) $((wait_for % 1000)))"
}

# `until_job CONDITION...`: waits until it holds or the job is over.
until_job() {
    until "$@" || ! kill -0 "$job" 2>/dev/null; do sleep 0.005; done
}

trains() {
    grep -q parameters out
}

saves() {
    [ -n "$(find killed/ckpt -name 'step-*.part' -newer begun 2>/dev/null)" ]
}

steps_on() {
    ! saves
}

make_data
begun=$(milliseconds)
: >out
"${train[@]}" --run unbroken >out 2>err &
job=$!
until_job trains
start_up=$(($(milliseconds) - begun))
wait "$job" || fail "the unbroken run"
steps=$(($(milliseconds) - begun - start_up))
echo "start-up $start_up ms, 16 steps and 8 saves $steps ms"

declare -A killed=([start-up]=0 [step]=0 [save]=0)
kills=0 ends=0 tries=0
while [ "$kills" -lt "$KILLS" ] || { [ "$kills" -lt "$MOST" ] && [[ " ${killed[*]} " == *" 0 "* ]]; }; do
    : >out
    : >begun
    "${train[@]}" --run killed >out 2>err &
    job=$!
    case ${PHASES[tries++ % 3]} in
    start-up) pause "$start_up" ;;
    step)
        until_job trains
        pause $((steps / 3))
        until_job steps_on
        ;;
    save)
        until_job saves
        pause $((steps / 16))
        ;;
    esac
    mapfile -t ranks < <(pids_of_ranks)
    victims=("${ranks[@]}")
    [ $((RANDOM % 2)) -eq 0 ] || victims=("${ranks[RANDOM % (${#ranks[@]} > 0 ? ${#ranks[@]} : 1)]:-}")
    code=0
    if [ "${#ranks[@]}" -gt 0 ] && kill -KILL "${victims[@]}" 2>/dev/null; then
        wait "$job" || code=$?
        if [ "$code" -ne 0 ]; then
            phase=step
            ! saves || phase=save
            trains || phase=start-up
            killed[$phase]=$((killed[$phase] + 1))
            kills=$((kills + 1))
        fi
    else
        wait "$job" || code=$?
    fi
    all_gone 10 || fail "left over: $(left_over)"
    if [ "$code" -eq 0 ]; then # it came to its end: once more from the beginning
        same_run unbroken killed
        rm -r killed
        ends=$((ends + 1))
    fi
done
expect 0 "${train[@]}" --run killed
same_run unbroken killed
for phase in "${!killed[@]}"; do echo "killed in $phase: ${killed[$phase]}"; done
echo "$kills kills, $((ends + 1)) ends as the unbroken one"
[[ " ${killed[*]} " != *" 0 "* ]] || fail "a phase was never hit"
