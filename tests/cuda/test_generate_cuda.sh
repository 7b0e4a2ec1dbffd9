#!/usr/bin/env bash
# `flexhpc generate` on the CUDA backend: snapshots travel and are written while the flow goes on, so in whatever order
# the device works the file is the same, and a disk that fills up (when the file is made, in a snapshot, in the flush, in
# the close) ends the run with the one line that it has on the CPU, and leaves no file; a run after it makes the whole one.
# Run: standin only
# Run: label full
# Run: cost 5
# Planted and caught: what the writing thread failed of forgotten; the last snapshot not waited for.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
same=(generate tiny.yaml --set generate.reynolds=100 --set generate.velocity=true --set generate.interval=0.01)
faulty=(env LD_PRELOAD="$FX_BINARY_DIR/tests/libinject.so" "FX_INJECT_LOG=$scratch/calls")

for schedule in order random; do
    expect 0 env FX_FAKE_SCHEDULE=$schedule "$FLEXHPC" "${same[@]}" --set backend=cuda --set generate.path=$schedule
done
cmp order/100_64_64_seed_*.h5 random/100_64_64_seed_*.h5 || fail "another order of work, another file"

# `full N GRID TEXT`: at the N-th write, which fails of TEXT. Lines are compared without HDF5's clock and addresses.
full() {
    local backend
    rm -rf full
    for backend in cpu cuda; do
        refused 1 "full/100_$2_$2_seed_2150.h5.part: $3: " "${faulty[@]}" FX_INJECT="write full/100_ $1 ENOSPC" "$FLEXHPC" \
            "${same[@]}" --set generate.path=full --set "backend=$backend" --set "generate.grid=$2"
        our_lines | sed 's/time = [^,]*,//; s/0x[0-9a-f]*//g' >"line-$backend"
        [ -z "$(find full -name '*.h5*')" ] || fail "left behind: $(ls full)"
    done
    cmp line-cpu line-cuda || fail "other lines: $(cat line-cpu line-cuda)"
}
expect 0 "${faulty[@]}" FX_INJECT="write full/100_ 1000000 COUNT" "$FLEXHPC" "${same[@]}" --set generate.path=full --set backend=cuda
writes=$(wc -l <calls)
full 1 64 create
full $((writes / 2)) 64 flush
full "$writes" 64 close
# A snapshot above a megabyte is not kept in HDF5's cache. Two steps of it take the stand-in a second.
same+=(--set generate.snapshots=3 --set generate.interval=0.001)
full 2 512 "w: write"
same+=(--set generate.grid=64 --set generate.path=full)
expect 0 "$FLEXHPC" "${same[@]}" --set backend=cuda
[ -s full/100_64_64_seed_2150.h5 ] || fail "no file after a full disk"
