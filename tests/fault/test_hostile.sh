#!/usr/bin/env bash
# HDF5 files and links that somebody made on purpose: what leads out of a checkpoint or a shard, or is none of the few things
# that these hold, is refused by the program in one line that names file and object. What lies outside is a pipe that nobody
# writes to: whoever opens it hangs, and the test fails by its time-out.
# Run: label full
# Run: timeout 200
# Run: cost 15
# Planted errors, each seen caught and removed: links not looked for by checkpoint verify (it called such a file whole, until
# this test); named types, long strings, virtual datasets (a hang) and external storage (a hang) not refused.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
fx=$FLEXHPC
make_data
train=(train tiny.yaml --set train.steps=4)
expect 75 "$fx" "${train[@]}" --run run --time-limit 0.01
checkpoint=$(echo run/ckpt/step-*.h5)
mkfifo outside.h5

# `hostile KIND FILE`: changes the dataset of FILE that it prints: of a checkpoint a tensor, of a shard the fields.
hostile() {
    /usr/bin/python3 - "$@" <<'PY'
import sys
import h5py
import numpy as np
kind, path = sys.argv[1:]
with h5py.File(path, "r+", libver="latest") as f:
    shard = "w" in f
    names = []
    f.visititems(lambda name, o: names.append(name) if isinstance(o, h5py.Dataset) and o.ndim > 0 else None)
    name = "w" if shard else min(n for n in names if n.startswith("value/"))
    old = f[name]
    shape, values, attributes = old.shape, old[...], dict(old.attrs)
    del old
    group, last = ("/", name) if shard else name.rsplit("/", 1)

    def made(parent=f[group], **how):
        del f[name]
        d = parent.create_dataset(last, shape, **how)
        for key, value in attributes.items():
            d.attrs[key] = value
        return d

    if kind == "external-link":
        del f[name]
        f[name] = h5py.ExternalLink("outside.h5", "/w")
    elif kind == "soft-link":
        f.move(name, "elsewhere")
        f[name] = h5py.SoftLink("/elsewhere")
    elif kind == "middle-link":
        f.move("value", "elsewhere")
        f["value"] = h5py.SoftLink("/elsewhere")
    elif kind == "middle-external":
        f.move("value", "elsewhere")
        f["value"] = h5py.ExternalLink("outside.h5", "/value")
    elif kind == "external-storage":
        made(dtype="<f4", external=[("outside.h5", 0, values.nbytes)])
    elif kind == "virtual":
        layout = h5py.VirtualLayout(shape, "<f4")
        layout[...] = h5py.VirtualSource("outside.h5", "w", shape)
        del f[name]
        f.create_virtual_dataset(name, layout)
    elif kind == "lzf":
        made(dtype="<f4", chunks=shape, compression="lzf")[...] = values
    elif kind == "unknown-filter":
        del f[name]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(shape)
        plist.set_filter(32123, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(f.id, name.encode(), h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), plist)
    elif kind == "compound":
        made(dtype=np.dtype([("a", "<f4"), ("b", "<i8")]))
    elif kind == "named-type":
        f["type"] = np.dtype("<f4")
        made(dtype=f["type"])[...] = values
    elif kind == "strings":
        made(dtype=h5py.string_dtype())
    elif kind == "long-string":
        name = "source" if shard else "config"
        f.attrs[name] = "x" * 5000
print(name)
PY
}

# What each kind is refused with.
kinds=(
    "external-link|is a link, refused"
    "soft-link|is a link, refused"
    "middle-link|is a link, refused"
    "middle-external|is a link, refused"
    "external-storage|lies in other files, refused"
    "virtual|is virtual, refused"
    "lzf|uses filter 32000"
    "unknown-filter|uses filter 32123"
    "compound|holds no numbers"
    "named-type|is of a type with a name, refused"
    "strings|holds no numbers"
    "long-string|attribute is no text, or too long"
)

# `refused_by_us FILE WORDS COMMAND...`: code 1, and one line that names the file, the object and the reason.
refused_by_us() {
    local file=$1 words=$2
    shift 2
    refused 1 "$words" "$@"
    our_lines | grep -q "$file: .*$words" || fail "the line does not name $file: $*"
}

# ---- Checkpoints: by the command that looks at them, and by one that reads weights.
for row in "${kinds[@]}"; do
    cp "$checkpoint" bad.h5
    object=$(hostile "${row%%|*}" bad.h5)
    words=${row#*|}
    [[ ${row%%|*} != middle-* ]] || object=value
    refused_by_us bad.h5 "$words" "$fx" checkpoint verify bad.h5
    our_lines | grep -qF "bad.h5: $object: " || fail "the line does not name $object: ${row%%|*}"
    refused_by_us bad.h5 "$words" "$fx" sample tiny.yaml --run bad.h5 --out sample.h5
done

# ---- Shards, in a manifest that agrees with them about their sizes.
for row in "${kinds[@]}"; do
    [[ ${row%%|*} != middle-* ]] || continue # nothing of a shard lies in a group
    rm -rf broken
    cp -r pack broken
    for shard in broken/shard-*.h5; do hostile "${row%%|*}" "$shard" >/dev/null; done
    /usr/bin/python3 - broken <<'PY'
import json
import os
import sys
path = os.path.join(sys.argv[1], "manifest.json")
with open(path) as f:
    manifest = json.load(f)
for shard in manifest["shards"]:
    shard["bytes"] = os.path.getsize(os.path.join(sys.argv[1], shard["name"]))
with open(path, "w") as f:
    json.dump(manifest, f)
PY
    refused_by_us 'broken/shard-[0-9]*\.h5' "${row#*|}" "$fx" train tiny.yaml --run new --set data.path=broken
done

# ---- Links in a folder that others may write to: nothing is written through them.
echo mine >victim
cp -r run shared
for planted in sample.h5.part shared/ckpt/step-00000004.h5.part; do ln -s "$scratch/victim" "$planted"; done
refused 1 "sample.h5.part: is a symbolic link, refused" "$fx" sample tiny.yaml --run run --out sample.h5
refused 1 "step-00000004.h5.part: is a symbolic link, refused" \
    "$fx" "${train[@]}" --run shared --resume must
ln -sf "$scratch/victim" shared/ckpt/step-00000004.h5.part
refused 1 "step-00000004.h5.part: is a symbolic link, refused" \
    mpiexec -n 2 "$fx" "${train[@]}" --run shared --resume must
[ "$(cat victim)" = mine ] || fail "the victim was written to"
printf 'half' >shared/ckpt/step-00000004.h5.part # of a killed run
expect 0 "$fx" "${train[@]}" --run shared --resume must

# ---- A run of imported weights is no run to resume: the line says what to do instead.
expect 0 "$fx" export run weights.safetensors
expect 0 "$fx" import weights.safetensors --run imported
refused 2 "start another run from its weights by train.init_from" "$fx" "${train[@]}" --run imported --resume auto
