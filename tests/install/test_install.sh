#!/usr/bin/env bash
# What `cmake --install` puts down can be used from there: the library by pkg-config alone, every public header by itself
# in C11 and in C++17, the binary from any folder.
# Run: label full
# Planted errors, seen caught and removed: include/flexhpc left out of install(); `Libs:` without -lflexhpc; a header
# that used `new` as a parameter's name.
set -euo pipefail
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install "$FX_BINARY_DIR" --prefix "$prefix" >/dev/null
cd "$prefix"

PKG_CONFIG_PATH=$(find "$prefix" -name pkgconfig -type d)
export PKG_CONFIG_PATH
read -ra flags < <(pkg-config --cflags --libs flexhpc)

for header in include/flexhpc/*.h; do
    [ "$(basename "$header")" != oplist.h ] || continue # a list, not a header
    printf '#include "flexhpc/%s"\n' "$(basename "$header")" >one.c
    gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only "${flags[@]}" one.c
    g++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only -x c++ "${flags[@]}" one.c
done

cat >user.c <<'C'
#include <stdio.h>
#include "flexhpc/error.h"
#include "flexhpc/str.h"
int main(void)
{
    (void)fx_fail(FX_EARG, "crc32 %08x", fx_crc32("flexhpc"));
    return puts(fx_error_message()) < 0;
}
C
gcc -std=c11 user.c "${flags[@]}" -Wl,-rpath,"$(pkg-config --variable=libdir flexhpc)" -o user
[ "$(./user)" = "crc32 $(/usr/bin/python3 -c 'import zlib; print(format(zlib.crc32(b"flexhpc"), "08x"))')" ]

[ ! -e "$FX_BINARY_DIR/flexhpc" ] || (cd / && "$prefix/bin/flexhpc" --version)
[ -s share/flexhpc/configs/demo.yaml ] && [ -s share/doc/flexhpc/README.md ]
echo "installed files are usable"
