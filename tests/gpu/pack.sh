#!/usr/bin/env bash
# pack.sh [FILE]: a build for a machine that has a GPU, CUDA's libraries and nothing else of ours: program, libraries, tests,
# golden files and peers in one archive [build-gpu/pack.tar.xz], with what they load of MPI, HDF5, oneDNN and the rest, but
# without glibc and without CUDA's libraries. Built for x86-64 with AVX2, for the GPUs in FX_GPU [90]; with
# FX_GPU_BACKEND=STANDIN a rehearsal. Refuses to exceed 60 MiB. tests/gpu/first.sh and benchmarks/gpu.sh run what is inside.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${FLEXHPC_BUILD:-$root/build-gpu}
file=${1:-$build/pack.tar.xz}
most=$((60 << 20))

cmake -S "$root" -B "$build" -G Ninja -DFX_CUDA="${FX_GPU_BACKEND:-ON}" -DFLEXHPC_WERROR=ON -DFLEXHPC_MARCH=x86-64-v3 \
    -DCMAKE_CUDA_ARCHITECTURES="${FX_GPU:-90}"
cmake --build "$build"

# Libraries that `$@` load, by the names they are asked for, and their paths.
loaded() {
    ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u
}

pack=$build/pack
rm -rf "$pack"
mkdir -p "$pack"/{bin,lib,tests,configs,openmpi/lib,openmpi/share}
cp "$build/flexhpc" "$pack/bin/"
cp -L "$build"/libflexhpc.so.0 "$build"/libflexhpc_cuda.so "$pack/lib/"
if [ -e "$build/libfakecuda.so" ]; then cp -L "$build/libfakecuda.so" "$pack/lib/"; fi
# The tests that take their backend from FX_TEST_BACKEND and read no file, and those that are for a GPU alone.
for source in "$root"/tests/*/test_*.c "$root"/tests/*/test_*.cpp "$root"/tests/gpu/*.c "$root"/tests/gpu/*.cu; do
    name=$(basename "${source%.*}")
    case $source in
    */gpu/*) ;;
    */test_interpolate.c) continue ;; # reads a golden file in the source tree; `flexhpc verify` does as well
    *) grep -qE 'Run: (standin|gpu)$' "$source" || continue ;;
    esac
    [ ! -e "$build/tests/$name" ] || cp "$build/tests/$name" "$pack/tests/"
done
cp -r "$root/tests/golden" "$pack/golden"
cp "$root"/configs/*.yaml "$pack/configs/"
cp "$root"/tests/gpu/{first,env}.sh "$root"/benchmarks/gpu.{sh,py} "$pack/"
mkdir -p "$pack/peers" "$pack/scripts"
cp "$root"/tests/cuda/test_whole_model.sh "$pack/scripts/"
cp "$root"/benchmarks/peers/torch_{step,gpu}.py "$root"/tests/oracle/flex_torch.py "$pack/peers/"

# Open MPI opens its parts by folder, and they load more.
plugins=$(dirname "$(find /usr/lib "${OPAL_PREFIX:-/usr/lib}" -name mca_btl_self.so -print -quit)")
cp -r "$plugins/." "$pack/openmpi/lib/"
share=$(dirname "$(find /usr/share/openmpi "${OPAL_PREFIX:-/usr/share}" -name help-mpi-runtime.txt -print -quit)")
cp -r "$share" "$pack/openmpi/share/openmpi"

loaded "$build/flexhpc" "$build/libflexhpc.so" "$pack"/tests/* "$pack"/openmpi/lib/*.so | while read -r name path; do
    case $name in
    libc.so* | libm.so* | libpthread.so* | libdl.so* | librt.so* | libresolv.so* | ld-linux* | libutil.so*) ;;    # glibc
    libcud* | libcublas* | libnccl* | libcufft* | libnvrtc* | libflexhpc* | libfakecuda*) ;;                     # CUDA, ours
    *) cp -L "$path" "$pack/lib/$name" ;;
    esac
done
strip --strip-unneeded "$pack"/lib/* "$pack"/openmpi/lib/*.so
git -C "$root" describe --always --dirty --abbrev=12 >"$pack/commit" 2>/dev/null || echo unknown >"$pack/commit"
tar -C "$build" -cf - pack | xz -T0 -6 >"$file"

bytes=$(stat -c %s "$file")
[ "$bytes" -le "$most" ] || {
    echo "pack.sh: $file has $bytes bytes, more than $most" >&2
    exit 1
}
echo "$file: $((bytes >> 20)) MiB, commit $(cat "$pack/commit")"
