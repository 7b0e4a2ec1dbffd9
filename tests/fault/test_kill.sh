#!/usr/bin/env bash
# A run killed with SIGKILL at 20 random instants, one rank or all of them, and resumed each time, ends as the unbroken run
# does: the same bits in every tensor of the last checkpoint, and the same metrics, each step once. The instants fall into
# start-up, steps and saves; a checkpoint every other step makes saves a good part of the time.
# Run: label full
# Run: timeout 300
# Run: alone
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"
KILLS=20 MOST=40 # MOST: until every phase has had one
RANDOM=${FX_SEED:-$$}
echo "random instants: FX_SEED=$RANDOM"
train=(mpiexec -n 2 "$FLEXHPC" train tiny.yaml --set train.steps=24 --set checkpoint.every=2)

milliseconds() {
    printf '%d' $(($(date +%s%N) / 1000000))
}

make_data
begun=$(milliseconds)
: >out
"${train[@]}" --run unbroken >out 2>err &
job=$!
until grep -q parameters out; do sleep 0.01; done
start_up=$(($(milliseconds) - begun))
wait "$job" || fail "the unbroken run"
steps=$(($(milliseconds) - begun - start_up))
echo "start-up $start_up ms, 24 steps and 12 saves $steps ms"

declare -A killed=([start-up]=0 [step]=0 [save]=0)
kills=0 ends=0
while [ "$kills" -lt "$KILLS" ] || { [ "$kills" -lt "$MOST" ] && [[ " ${killed[*]} " == *" 0 "* ]]; }; do
    : >out
    "${train[@]}" --run killed >out 2>err &
    job=$!
    # every fourth while it starts; otherwise up to a third of the way
    if [ $((RANDOM % 4)) -eq 0 ]; then
        wait_for=$((start_up * RANDOM / 32768))
    else
        wait_for=$((start_up + steps * RANDOM / 98304))
    fi
    sleep "$(printf '%d.%03d' $((wait_for / 1000)) $((wait_for % 1000)))"
    mapfile -t ranks < <(pids_of_ranks)
    victims=("${ranks[@]}")
    [ $((RANDOM % 2)) -eq 0 ] || victims=("${ranks[RANDOM % (${#ranks[@]} > 0 ? ${#ranks[@]} : 1)]:-}")
    code=0
    if [ "${#ranks[@]}" -gt 0 ] && kill -KILL "${victims[@]}" 2>/dev/null; then
        wait "$job" || code=$?
        if [ "$code" -ne 0 ]; then
            phase=step
            [ -z "$(find killed -name 'step-*.part' 2>/dev/null)" ] || phase=save
            grep -q parameters out || phase=start-up
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
