#!/usr/bin/env bash
# What both recipes of this folder run, on Debian 12 with the source in /src. `build.sh build` installs the libraries of
# bootstrap.sh and builds into /opt/flexhpc, for any x86-64 with AVX2; `build.sh run` installs what that needs to run, and
# an MPI launcher.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
prefix=/opt/flexhpc
needed=$prefix/share/flexhpc/debian-packages

# The packages of the shared libraries that the installed files are linked with, one a line.
libraries() {
    ldd "$prefix/bin/flexhpc" "$prefix"/lib/libflexhpc.so | awk '$2 == "=>" && $3 ~ "^/" {print $3}' | sort -u |
        while read -r library; do
            case $library in "$prefix"/*) continue ;; esac
            dpkg -S "*/$(basename "$(realpath "$library")")" | cut -d: -f1
        done | sort -u
}

case ${1-} in
    build)
        # shellcheck source=bootstrap.sh
        source /src/bootstrap.sh
        install_packages "${packages[@]}"
        cmake -S /src -B /tmp/build -G Ninja -DFX_CUDA=OFF -DFLEXHPC_TESTS=OFF -DFLEXHPC_MARCH="${FLEXHPC_MARCH-x86-64-v3}" \
            -DCMAKE_INSTALL_PREFIX="$prefix"
        cmake --build /tmp/build
        cmake --install /tmp/build
        libraries >"$needed"
        ;;
    run)
        apt-get update
        mapfile -t packages <"$needed"
        apt-get install -y --no-install-recommends openmpi-bin "${packages[@]}"
        rm -rf /var/lib/apt/lists/*
        ;;
    *)
        echo "usage: build.sh build|run" >&2
        exit 2
        ;;
esac
