#!/usr/bin/env bash
# The C API from an installed prefix, as a solver uses it: a 20-line C program and a C++17 program, built by find_package and by
# pkg-config alone, open a run that was trained a few steps here and give the bits of `flexhpc sample` for the same seed; another
# seed and another member give another sample. unhappy.c: calls that can't be, and the caller's process afterwards.
# Planted and caught: the seed ignored; results in units of the network; a coarse field one pixel to the right, or in the place of the
# oldest snapshot; a whole field's second lead from the first one's snapshots; a function hidden by the version script; -lflexhpc left out of flexhpc.pc; the caller's number of OpenMP threads
# not given back; no include folder in flexhpcConfig.cmake after a first configuration.
# Run: label full
# Run: timeout 300
# Run: cost 15
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

here=$FX_TESTS_DIR/install
fields() {
    /usr/bin/python3 "$here/fields.py" "$@" 2>err || fail "fields.py $*"
}

# ---- A run, and what `flexhpc sample` makes of it: one patch at a time, and three.
sed -i 's/steps: 24/steps: 8/; s/every: 4/every: 8/' tiny.yaml
make_data
expect 0 "$FLEXHPC" train tiny.yaml --run run
expect 0 "$FLEXHPC" train tiny.yaml --run sharpener --set model.tasks=sr --set train.steps=2
mkdir -p empty/ckpt
expect 0 "$FLEXHPC" sample tiny.yaml --run run --out one.h5 --set eval.patches=4 --set seed=7 --set eval.batch=1
expect 0 "$FLEXHPC" sample tiny.yaml --run run --out three.h5 --set eval.patches=4 --set seed=7 --set eval.batch=3
fields inputs one.h5 200
fields broken run/ckpt/step-00000008.h5

# ---- The programs, from a prefix that is moved after the installation.
cmake --install "$FX_BINARY_DIR" --prefix "$scratch/first" >/dev/null
mv first prefix
expect 0 cmake -S "$here" -B by-cmake -DCMAKE_PREFIX_PATH="$scratch/prefix"
expect 0 cmake --build by-cmake
PKG_CONFIG_PATH=$(find "$scratch/prefix" -name pkgconfig -type d)
export PKG_CONFIG_PATH
read -ra flags < <(pkg-config --cflags --libs flexhpc)
flags+=("-Wl,-rpath,$(pkg-config --variable=libdir flexhpc)" -Wall -Wextra -Wpedantic -Wconversion -Werror)
mkdir by-pkgconfig
gcc -std=c11 "$here/superres.c" "${flags[@]}" -o by-pkgconfig/superres
g++ -std=c++17 "$here/forecast.cpp" "${flags[@]}" -o by-pkgconfig/forecast
gcc -std=gnu11 -fopenmp "$here/unhappy.c" "${flags[@]}" -pthread -lm -o unhappy

# ---- The same seed and member, the same bits.
for by in by-cmake by-pkgconfig; do
    for k in 0 2; do
        "$by/superres" run 200 7 "$k" <"coarse-$k.f32" >fine.f32 2>err || fail "$by/superres $k"
        fields equal one.h5 sr_model 200 fine.f32 "$k" 1
    done
    "$by/forecast" run 200 7 0 4 <past.f32 >next.f32 2>err || fail "$by/forecast"
    fields equal three.h5 fc_model 200 next.f32 0 4
done
by-cmake/superres run/ckpt/step-00000008.h5 200 7 2 <coarse-2.f32 >from-file.f32
cmp fine.f32 from-file.f32
# A model of the fields themselves, by a scale of its own.
expect 0 "$FLEXHPC" train tiny.yaml --run raw --set diffusion.residual=false --set diffusion.residual_scale=0 --set train.steps=2
expect 0 "$FLEXHPC" sample tiny.yaml --run raw --out raw.h5 --set eval.patches=4 --set seed=7 --set eval.batch=1
by-cmake/superres raw 200 7 2 <coarse-2.f32 >raw.f32 2>err || fail "superres of raw targets"
fields equal raw.h5 sr_model 200 raw.f32 2 1
for other in "200 8 2" "200 7 3" "4000 7 2"; do
    read -ra draw <<<"$other"
    by-cmake/superres run "${draw[@]}" <coarse-2.f32 >other.f32
    fields differ fine.f32 other.f32
done

# ---- Whole fields: those of `flexhpc sample`, here on 2 ranks.
for task in sr fc; do
    leads=$([ $task = sr ] && echo 0 || echo 2)
    expect 0 mpiexec -n 2 "$FLEXHPC" sample tiny.yaml --run run --out whole.h5 --set sample.source=fields/200_64_64_seed_2150.h5 \
        --set seed=7 --set sample.task=$task --set sample.members=2 --set sample.horizon=2 --set eval.batch=1
    fields whole whole.h5 $task
    by-cmake/field run 200 7 1 64 64 "$leads" <${task}_input.f32 >field.f32 2>err || fail "field $task"
    fields member whole.h5 $task 1 field.f32
done

# ---- What can't be, and a process that is left as it was.
expect 0 ./unhappy
says err ' checks hold$'
[ ! -s out ] || fail "the library prints"
expect 1 by-cmake/superres nowhere 200 7 0
says err '^superres: .*nowhere'
