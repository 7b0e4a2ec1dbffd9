#!/usr/bin/env bash
# Shards on a node's own disk (data.stage, `flexhpc data stage`): the same bits of training, read from the copies; copies
# that are there and right are kept, wrong ones replaced; no room, a damaged source and a folder that can't be are told in
# one line, and with `auto` the run goes on without. Which shards a node needs, and several nodes: tests/slurm.
# Run: label full
# Run: timeout 240
# Run: cost 10
# Planted and caught: the copies never read; a copy of the right size kept whatever is in it; the copy's checksum not looked
# at; room not looked for; with `auto` a node that could not copy read from its folder; the pack's own disk taken.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
train=(mpiexec -n 2 "$FLEXHPC" train tiny.yaml --set train.steps=3)

# `spoil FILE`: another byte in its middle.
spoil() {
    /usr/bin/python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(0, 2), f.seek(f.tell() // 2)
    byte = f.read(1)[0]
    f.seek(-1, 1), f.write(bytes([byte ^ 1]))' "$1"
}

make_data
cp -r pack spare
expect 0 "${train[@]}" --run plain
expect 0 "${train[@]}" --run staged --set data.stage=disk
says out '^staged on 1 of 1 nodes: of 2 shards each, 2 copied in all and 0 there already, [0-9.]+ MiB in [0-9.]+ s, [0-9]+ MB/s on the slowest, '
same_run plain staged
copy=$(echo disk/pack-*)
diff -r -x run.lock pack "$copy" >out || fail "the copy is another pack"

# ---- It is the copies that are read, and none is made again.
for file in pack/shard-*.h5; do
    size=$(stat -c %s "$file")
    truncate -s 0 "$file"
    truncate -s "$size" "$file"
done
expect 0 "${train[@]}" --run kept --set data.stage=disk
says out ' 0 copied in all and 2 there already, '
same_run plain kept

# ---- A damaged copy is replaced, a damaged source is not copied.
cp -r spare/. pack
spoil "$copy/shard-0001.h5"
expect 0 "$FLEXHPC" data stage pack disk
says out ' 1 copied in all and 1 there already, '
[ "$(tail -n 1 out)" = "$copy" ] || fail "not the folder of the copy: $(tail -n 1 out)"
cmp -s spare/shard-0001.h5 "$copy/shard-0001.h5" || fail "still damaged"
expect 0 "$FLEXHPC" data info "$copy"
spoil pack/shard-0000.h5
refused 1 "pack/shard-0000.h5: XXH64 " "$FLEXHPC" data stage pack other
[ -z "$(find other -name 'shard*')" ] || fail "left over: $(find other)"
refused 1 "data.stage: " "${train[@]}" --run refused --set data.stage=tiny.yaml
cp -r spare/. pack

# ---- auto: a disk that Slurm or the site names, when it is another one.
TMPDIR=$scratch expect 0 "${train[@]}" --run auto --set data.stage=auto
says out '^not staged: no node has a disk of its own'
if [ "$(id -u)" -eq 0 ] && mkdir small && mount -t tmpfs -o size=200k tmpfs small 2>/dev/null; then
    trap 'umount "$scratch/small"; rm -rf "$scratch"' EXIT
    refused 1 "of shards to copy, 0.2 MiB are free" "$FLEXHPC" data stage pack small
    SLURM_TMPDIR=$scratch/small expect 0 "${train[@]}" --run auto2 --set data.stage=auto
    says err 'warning: .*data.stage: small|warning: .*data.stage: .*/small/pack-.* are free; read from pack'
    says out '^not staged: '
    same_run plain auto2
    mount -o remount,size=2m small
    SLURM_TMPDIR=$scratch/small expect 0 "${train[@]}" --run auto3 --set data.stage=auto
    says out '^staged on 1 of 1 nodes: '
    same_run plain auto3
fi
echo "staged shards are the pack's"
