#!/usr/bin/env bash
# Data and disks that are wrong, seen by two ranks: one line that names file and dataset, no rank ends with 0, nothing that
# was there is lost. Beside tests/fault/test_errors.sh, which has every refusal on one rank.
# Run: label full
# Run: timeout 200
# Run: cost 27
# Planted errors, each seen caught and removed: NaN and infinity not looked for; a snapshot's checksum not compared; a
# shard's size not compared with the manifest's; a full disk not called so; peers of the rank that speaks ending with 0;
# a run lock that two jobs can hold.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"

# `refused_by_all CODE TEXT ARGUMENTS...`: as refused, on two ranks, of which none ends with 0.
refused_by_all() {
    local code=$1 text=$2 grace=0
    shift 2
    faulty_job 2 none "open none 1 COUNT" "$@"
    [ "$code" -ne 2 ] || grace=2 # all ranks end by themselves: the launcher is to wait for the last
    OMPI_MCA_odls_base_sigkill_timeout=$grace refused "$code" "$text" "${faulty[@]}"
    ! grep -qsx 0 codes || fail "a rank ends with 0: $*"
    all_gone 5 || fail "left over $(left_over): $*"
}

# `change FILE CODE`: Python CODE on the open file f.
change() {
    /usr/bin/python3 -c "
import sys, h5py, numpy
with h5py.File(sys.argv[1], 'r+') as f:
    $2" "$1"
}

make_data
train=(train tiny.yaml --run run)
pack=(pack tiny.yaml --set pack.source=wrong --set pack.path=packed)

# ---- Sources of a pack.
source_like() {
    rm -rf wrong
    cp -r fields wrong
    bad=$(find wrong -name '200_*.h5')
    change "$bad" "$1"
}
source_like "f.move('w', 'vorticity')"
refused_by_all 1 "$bad: w: no such dataset" "${pack[@]}"
source_like "w = f['w'][0]; del f['w']; f['w'] = w"
refused_by_all 1 "$bad: w" "${pack[@]}"
source_like "w = f['w'][...].astype('i4'); del f['w']; f['w'] = w"
refused_by_all 1 "$bad: w holds integers" "${pack[@]}"
source_like "f['w'][5, 3, 7] = numpy.nan"
refused_by_all 1 "$bad: w[5, 3, 7] is nan" "${pack[@]}"
source_like "f['w'][0, 0, 0] = numpy.inf"
refused_by_all 1 "$bad: w[0, 0, 0] is inf" "${pack[@]}"
truncate -s 20000 "$bad"
refused_by_all 1 "$bad" "${pack[@]}"
[ ! -e packed/manifest.json ] || fail "a pack of wrong sources was completed"

# ---- Shards of a pack that is trained on.
pack_like() {
    rm -rf broken
    cp -r pack broken
}
for shard in pack/shard-*.h5; do shards+=("$(basename "$shard")"); done
pack_like
for shard in "${shards[@]}"; do change "broken/$shard" "f.move('w', 'vorticity')"; done
refused_by_all 1 "broken/shard-" "${train[@]}" --set data.path=broken
pack_like
for shard in "${shards[@]}"; do # the same size, so that only its content tells
    change "broken/$shard" "w = f['w']; f['w'][0, 0, 0, 0] = float('nan')"
done
refused_by_all 1 "broken/shard-" "${train[@]}" --set data.path=broken
our_lines | grep -q 'w\[.*the checksum differs' || fail "the dataset of a changed value is not named"
pack_like
for shard in "${shards[@]}"; do truncate -s -1 "broken/$shard"; done
refused_by_all 1 "the manifest says" "${train[@]}" --set data.path=broken
pack_like
rm broken/shard-*.h5
refused_by_all 1 "broken/shard-" "${train[@]}" --set data.path=broken
refused_by_all 2 "does not divide into 2 ranks" "${train[@]}" --set train.global_batch=5
refused_by_all 2 "no such key; did you mean train.steps?" "${train[@]}" --set train.step=5

# ---- A run folder in use.
mpiexec -n 2 "$FLEXHPC" train tiny.yaml --run held --set train.steps=100000 >/dev/null 2>&1 &
job=$!
until [ -s held/metrics.jsonl ]; do sleep 0.05; done
holders=$(left_over)
refused 1 "held: in use by pid " mpiexec -n 2 "$FLEXHPC" train tiny.yaml --run held
[ "$(left_over)" = "$holders" ] || fail "ranks of the refused run are left"
# shellcheck disable=SC2086 # several pids
kill -TERM $holders
code=0
wait "$job" || code=$?
[ "$code" -eq 75 ] || fail "the holder ended with $code"

# ---- A disk that is full in the middle of a save: rank 0 stops at its first write of it, and the disk is filled.
mkdir full
if ! mount -t tmpfs -o size=64m tmpfs full 2>/dev/null; then
    echo "all but a full disk: a small file system can't be mounted here"
    exit 77
fi
trap 'umount "$scratch/full" || true; rm -rf "$scratch"' EXIT
train=(train tiny.yaml --run full/run --set train.steps=8)
expect 75 "$FLEXHPC" "${train[@]}" --time-limit 0.01
saved=$(sha256sum full/run/ckpt/*.h5 full/run/ckpt/latest)
for rank in 0 1; do
    faulty_job 2 "$rank" "write step-00000004.h5 1 STOP" "${train[@]}"
    "${faulty[@]}" >out 2>err &
    job=$!
    until stopped=$(stopped_rank) && [ -n "$stopped" ]; do
        kill -0 "$job" 2>/dev/null || fail "ended by itself"
        sleep 0.05
    done
    sleep 0.3 # what the other rank can write without this one
    dd if=/dev/zero of=full/ballast bs=64k 2>/dev/null || true
    kill -CONT "$stopped"
    code=0
    wait "$job" || code=$?
    [ "$code" -ne 0 ] || fail "a save on a full disk succeeds"
    [ "$(our_lines | wc -l)" -eq 1 ] || fail "not one line"
    our_lines | grep -q "full/run/ckpt/step-00000004.h5" || fail "the checkpoint is not named"
    our_lines | grep -qi "no space left" || fail "a full disk is not called so"
    ! grep -qsx 0 codes || fail "a rank ends with 0"
    all_gone 5 || fail "left over $(left_over)"
    rm full/ballast
    [ "$(sha256sum full/run/ckpt/*.h5 full/run/ckpt/latest)" = "$saved" ] || fail "a failed save changed what was there"
done
expect 0 mpiexec -n 2 "$FLEXHPC" "${train[@]}"
echo "wrong data and full disks are told, and lose nothing"
