#!/usr/bin/env bash
# What bash completes after flexhpc, with the words that readline makes of a line: commands, families, options, their words,
# files, keys and theirs; --name=value and --set KEY=VALUE, whose `=` is a word. Every command and key is there, because every
# one is asked for. And flexhpc(1): man and mandoc have nothing to say against it, and it names every command, option and key.
# Run: label quick
# Planted and caught: a command's last option left out of the completion, and of the page; the first key left out of the page; words of
# a key never offered; a family's case begun again for each of its words.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

"$FLEXHPC" completion >flexhpc.bash
bash -n flexhpc.bash
! command -v shellcheck >/dev/null || shellcheck flexhpc.bash || fail "shellcheck"
# shellcheck source=/dev/null
source flexhpc.bash
[ "$(complete -p flexhpc)" = "complete -F _flexhpc flexhpc" ] || fail "not registered"
mkdir runs
touch demo.yaml demo.h5

# `completes LINE`: what is offered at its end, sorted, on one line.
completes() {
    local line=${1//=/ = }
    read -ra COMP_WORDS <<<"$line"
    [ "${1: -1}" != ' ' ] || COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _flexhpc 2>err
    [ ! -s err ] || fail "$1: $(<err)"
    printf '%s\n' "${COMPREPLY[@]}" | sort | paste -sd ' '
}

# `offers LINE WORDS`: these and no others.
offers() {
    local got
    got=$(completes "$1")
    [ "$got" = "$2" ] || fail "$1: offers \"$got\", not \"$2\""
}

offers 'flexhpc tra' 'train'
offers 'flexhpc benc' 'bench'
offers 'flexhpc nothing' ''
offers 'flexhpc help tra' 'train'
offers 'flexhpc conf' 'config'
offers 'flexhpc config ' 'diff keys show'
offers 'flexhpc help checkpoint v' 'verify'
offers 'flexhpc config show --or' '--origin'
offers 'flexhpc train --time' '--time-limit'
offers 'flexhpc train demo' 'demo.h5 demo.yaml'
offers 'flexhpc train demo.yaml --resume m' 'must'
offers 'flexhpc train --run r' 'runs'
offers 'flexhpc train --run=r' 'runs'
offers 'flexhpc train --run d' ''
offers 'flexhpc sample --out d' 'demo.h5 demo.yaml'
offers 'flexhpc train --log-level ' 'debug info warn'
offers 'flexhpc train --log-level=d' 'debug'
offers 'flexhpc train --set train.opt' 'train.optimizer='
offers 'flexhpc train --set train.optimizer=' 'adamw lion'
offers 'flexhpc train --set train.optimizer=a' 'adamw'
offers 'flexhpc train --set=train.optimizer=a' 'adamw'
offers 'flexhpc train --set train.steps=d' ''
offers 'flexhpc train --set cuda.eager=t' 'true'

"$FLEXHPC" man >flexhpc.1
if command -v man >/dev/null; then
    LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -l flexhpc.1 >page 2>err
    [ ! -s err ] || fail "man: $(<err)"
fi
if command -v mandoc >/dev/null; then
    mandoc -Tlint flexhpc.1 >lint || true # its exit code counts notes on style
    # no date, so that the page is a function of the program; lines as the tables have them
    ! grep -v 'missing date\|input text line longer' lint || fail "mandoc"
fi
sed 's/\\-/-/g; s/\\&//g' flexhpc.1 >plain

while read -r key _; do
    offers "flexhpc train --set $key" "$(compgen -W "$(_flexhpc_keys)" -S = -- "$key" | sort | paste -sd ' ')"
    [[ " $(completes "flexhpc train --set $key") " == *" $key= "* ]] || fail "$key is not offered"
    grep -qF -- "\\fB$key\\fR" plain || fail "$key is not in the page"
done < <("$FLEXHPC" config keys)
"$FLEXHPC" help | sed -n 's/^  \([a-z]*\) \([a-z]*\) .*/\1 \2/p' | sed 's/ *$//' >commands
[ "$(wc -l <commands)" -gt 10 ] || fail "help lists no commands"
while read -r command; do
    grep -qE "^\.SS flexhpc $command( |\$)" plain || fail "$command is not in the page"
    [[ " $(completes "flexhpc $command") " == *" ${command##* } "* ]] || fail "$command is not offered"
    read -ra words <<<"$command"
    "$FLEXHPC" "${words[@]}" --help | sed -n 's/^  \(--[a-z-]*\) .*/\1/p' >options
    while read -r option; do
        [ "$(completes "flexhpc $command $option")" = "$option" ] ||
            [[ " $(completes "flexhpc $command $option") " == *" $option "* ]] || fail "$command $option is not offered"
        grep -qF -- "\\fB$option\\fR" plain || fail "$option is not in the page"
    done <options
done <commands
echo "$(wc -l <commands) commands and $("$FLEXHPC" config keys | wc -l) keys are described"
