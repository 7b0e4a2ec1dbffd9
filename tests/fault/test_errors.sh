#!/usr/bin/env bash
# Every unhappy path that a user can take: the exit code, and exactly one line of ours on standard error that names the
# file, key, option or dataset. Nothing is lost: what was there before is there afterwards.
# Run: label full
# Run: timeout 200
# Run: cost 11
# Planted errors, seen caught and removed: a folder with a colon not refused; data written collectively, as it was until this test (a full disk on one rank
# hung the other in HDF5); every command taking the CPU backend, whatever backend says.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
make_data
fx=$FLEXHPC
fx2=(mpiexec -n 2 "$FLEXHPC")

# `flip FILE`: changes one byte in the first element of its largest dataset.
flip() {
    /usr/bin/python3 - "$@" <<'PY'
import sys
import h5py
path = sys.argv[1]
with h5py.File(path) as f:
    d = max((f[name] for name in f if isinstance(f[name], h5py.Dataset)), key=lambda d: d.size)
    at = d.id.get_chunk_info(0).byte_offset if d.chunks else d.id.get_offset()
with open(path, "r+b") as f:
    f.seek(at + 5)
    byte = f.read(1)[0] ^ 16
    f.seek(at + 5)
    f.write(bytes([byte]))
PY
}

# ---- The command line and the configuration.
refused 2 "did you mean train?" "$fx" trian tiny.yaml
refused 2 "--runn is no option" "$fx" train tiny.yaml --runn here
refused 2 "--run needs a value" "$fx" train tiny.yaml --run
refused 2 "train: usage: flexhpc train CONFIG" "$fx" train --run here
refused 2 "train: --run DIR" "$fx" train tiny.yaml
refused 2 "in:word: several ranks can't write there" mpiexec -n 2 "$fx" train tiny.yaml --run in:word
for limit in soon 1:00@ 1:00@x 1:00@-5 @5; do refused 2 "--time-limit: \"$limit\"" "$fx" train tiny.yaml --run here --time-limit "$limit"; done
refused 2 "absent.yaml" "$fx" train absent.yaml --run here
sed 's/learning_rate/learnin_rate/' tiny.yaml >wrong.yaml
refused 2 "wrong.yaml:4: train.learnin_rate: no such key; did you mean train.learning_rate?" "$fx" train wrong.yaml --run here
refused 2 "command line: train.step: no such key; did you mean train.steps?" "$fx" plan tiny.yaml --set train.step=3
refused 2 'train.steps: "many"' "$fx" train tiny.yaml --run here --set train.steps=many
refused 2 "train.global_batch: 5 does not divide into 2 ranks" "${fx2[@]}" train tiny.yaml --run here --set train.global_batch=5
refused 2 "contrast.group: 3: 2 ranks do not divide into groups of 3" \
    "${fx2[@]}" train tiny.yaml --run here --set contrast.weight=1 --set contrast.group=3
refused 2 'contrast.group: "some" is none of global, node' "$fx" train tiny.yaml --run here --set contrast.weight=1 --set contrast.group=some
refused 2 "contrast.group: with train.reduce: fixed" \
    "${fx2[@]}" train tiny.yaml --run here --set contrast.weight=1 --set contrast.group=1 --set train.reduce=fixed
refused 2 "contrast.exchange: features: with train.reduce: fixed" \
    "${fx2[@]}" train tiny.yaml --run here --set contrast.weight=1 --set contrast.exchange=features --set train.reduce=fixed
refused 2 "contrast.group: node: a plan does not know" "$fx" plan tiny.yaml --ranks 4 --set contrast.weight=1 --set contrast.group=node
refused 2 "data.patch" "$fx" train tiny.yaml --run here --set data.patch=18 --set model.channels=32,32 --set model.blocks=1,1
refused 2 "data.path" "$fx" train tiny.yaml --run here --set data.path=
refused 2 "generate.path" "$fx" generate tiny.yaml --set generate.path=
refused 2 "pack.source" "$fx" pack tiny.yaml --set pack.source=
refused 2 "eval: --run DIR" "$fx" eval tiny.yaml
without=$("$fx" info | sed -n 's/^no CUDA: /backend: /p') # nothing where a GPU answers: then there is nothing to refuse
[ -n "$without" ] || "$fx" info | grep -q 'backend cuda' || fail "info does not say why there is no CUDA"
for command in "plan tiny.yaml" "bench tiny.yaml" "train tiny.yaml --run here" "eval tiny.yaml --run here"; do
    # shellcheck disable=SC2086 # words of a command
    [ -z "$without" ] || refused 1 "$without" "$fx" $command --set backend=cuda
done
[ ! -e here ] || fail "a refused command made a run folder"

# ---- Data that is missing, of another shape, or damaged.
refused 1 "absent/manifest.json" "${fx2[@]}" train tiny.yaml --run here --set data.path=absent
refused 2 "data.patch" "$fx" train tiny.yaml --run here --set data.patch=32
shard=$(find pack -name '*.h5' | sort | head -n 1)
name=$(basename "$shard")
cp -r pack truncated
truncate -s 5000 "truncated/$name"
refused 1 "truncated/$name" "${fx2[@]}" train tiny.yaml --run run-truncated --set data.path=truncated
cp -r pack short
rm "short/$name"
refused 1 "short/$name" "$fx" train tiny.yaml --run run-short --set data.path=short
cp -r pack flipped
for file in flipped/*.h5; do flip "$file"; done
refused 1 "flipped/" "${fx2[@]}" train tiny.yaml --run run-flipped --set data.path=flipped
our_lines | grep -q "checksum" || fail "a flipped byte is not called a checksum"
cp -r fields poisoned
source=$(find poisoned -name '*.h5' | sort | head -n 1)
/usr/bin/python3 - "$source" <<'PY'
import sys
import h5py
with h5py.File(sys.argv[1], "r+") as f:
    f["w"][3, 7, 9] = float("nan")
PY
refused 1 "$source" "${fx2[@]}" pack tiny.yaml --set pack.source=poisoned --set pack.path=pack-poisoned
[ ! -e pack-poisoned/manifest.json ] || fail "a pack with NaN was completed"
mkdir empty
refused 2 "pack.source: no file of a known format" "$fx" pack tiny.yaml --set pack.source=empty --set pack.path=pack-empty
refused 2 "no-run: no checkpoint, and no run that has one" "$fx" eval tiny.yaml --run no-run
refused 1 "no-run" "$fx" report no-run
refused 1 "$shard" "$fx" checkpoint verify "$shard"
refused 1 "tiny.yaml" "$fx" verify tiny.yaml

# ---- A disk that is full during a save: here a limit on the size of a file, which any user can set.
limited=(bash -c 'trap "" XFSZ; ulimit -f 4000; exec "$@"' limited)

cut=(train tiny.yaml --run cut --set train.steps=4)
expect 75 "$fx" "${cut[@]}" --time-limit 0.01
saved=$(sha256sum cut/ckpt/*)
refused 1 "cut/ckpt/step-00000004.h5" "${limited[@]}" "$fx" "${cut[@]}"
refused 1 "cut/ckpt/step-00000004.h5" mpiexec -n 2 "${limited[@]}" "$fx" "${cut[@]}"
[ "$(sha256sum cut/ckpt/*)" = "$saved" ] || fail "a failed save changed the folder: $(ls cut/ckpt)"
expect 0 "$fx" "${cut[@]}" --resume must

# ---- A disk that is full before a save: a small file system of memory, where we may mount one.
mkdir full
if ! mount -t tmpfs -o size=72m tmpfs full 2>/dev/null; then
    echo "all but a full disk before a save: a small file system can't be mounted here"
    exit 77
fi
trap 'umount "$scratch/full" || true; rm -rf "$scratch"' EXIT
expect 75 "$fx" train tiny.yaml --run full/run --time-limit 0.01
saved=$(sha256sum full/run/ckpt/*)
dd if=/dev/zero of=full/ballast bs=1M count=48 2>/dev/null
refused 1 "full/run/ckpt: a checkpoint needs" "${fx2[@]}" train tiny.yaml --run full/run --set train.steps=24
[ "$(sha256sum full/run/ckpt/*)" = "$saved" ] || fail "a save without room changed what was there"
rm full/ballast
expect 0 "$fx" train tiny.yaml --run full/run --resume must
echo "every refusal is one line"
