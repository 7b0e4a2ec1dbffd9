#!/usr/bin/env bash
# What `cmake --install` puts down, and where: under a prefix of one's own and below DESTDIR, no file naming either; the header
# in C11 and in C++17, the library with its SONAME and no other names than its own, the binary from any folder, the jobs. The
# headers of the source tree, each by itself. tests/install/test_api.sh uses the library.
# Run: label full
# Planted errors, seen caught and removed: flexhpc.h left out of install(); `Libs:` without -lflexhpc; a header that used
# `new` as a parameter's name; the version script without its `local: *`; `prefix=` in flexhpc.pc made absolute; SOVERSION left out;
# a function of flexhpc.h hidden.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

cmake --install "$FX_BINARY_DIR" --prefix "$scratch/here" >/dev/null
DESTDIR=$scratch/stage cmake --install "$FX_BINARY_DIR" --prefix /opt/flexhpc-1 >/dev/null
diff -r here stage/opt/flexhpc-1 || fail "DESTDIR and a prefix put down other files"
[ "$(find stage -mindepth 1 -maxdepth 2)" = "$(printf 'stage/opt\nstage/opt/flexhpc-1')" ] || fail "files beside the prefix"
! grep -rIlF -e "$scratch" -e /opt/flexhpc-1 -e "$FX_BINARY_DIR" here || fail "these files name where they were built or put"

PKG_CONFIG_PATH=$(find "$scratch/here" -name pkgconfig -type d)
export PKG_CONFIG_PATH
read -ra flags < <(pkg-config --cflags --libs flexhpc)
[[ " ${flags[*]} " == *" -lflexhpc "* ]] || fail "flexhpc.pc doesn't link the library"
version=$(pkg-config --modversion flexhpc)

# `alone HEADER FLAGS...`: it needs no other before it.
alone() {
    printf '#include "%s"\n' "$1" >one.c
    gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "${@:2}" one.c
    g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ "${@:2}" one.c
}
alone flexhpc.h "${flags[@]}"
for header in "$FX_TESTS_DIR"/../include/flexhpc/*.h; do
    name=$(basename "$header")
    [ "$name" = oplist.h ] || alone "flexhpc/$name" -I"$FX_TESTS_DIR/../include" # oplist.h: a list, not a header
done

library=$(pkg-config --variable=libdir flexhpc)/libflexhpc.so
[ "$(readlink "$library") $(readlink "$library.0")" = "libflexhpc.so.0 libflexhpc.so.$version" ] || fail "links of $library"
[ "$(objdump -p "$library" | sed -n 's/^ *SONAME *//p')" = libflexhpc.so.0 ] || fail "SONAME"
nm -D --defined-only "$library" | awk '$2 != "A" {print $3}' >names
! grep -v '@@FLEXHPC_0$\|@@FLEXHPC_PRIVATE$' names || fail "names that are not ours"
grep -o 'flexhpc_[a-z_]*(' here/include/flexhpc.h | tr -d '(' | sort -u >promised
sed -n 's/@@FLEXHPC_0$//p' names | sort | diff promised - || fail "flexhpc.h and the library promise other functions"

[ "$(cd / && "$scratch/here/bin/flexhpc" --version)" = "$("$FLEXHPC" --version)" ] || fail "the binary"
for file in flexhpc/configs/demo.yaml flexhpc/jobs/train.sbatch doc/flexhpc/README.md man/man1/flexhpc.1 \
    bash-completion/completions/flexhpc; do
    [ -s "here/share/$file" ] || fail "no share/$file"
done
echo "installed files are usable"
