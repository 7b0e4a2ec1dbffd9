#!/usr/bin/env python3
"""flexhpc data verify: each kind of damage to a pack is named by file, patch and snapshots, with exit code 1; the lines are the
same on any number of ranks.

Planted in the code, caught here, removed: checksums not compared; every other round left out; other ranks' findings left out; the
snapshot behind a run counted; a patch numbered within its shard; the end at the first damage; statistics not compared, or not the
least value; low-resolution fields left out; lines without end (a crash); damage with exit code 0.
Run: label quick
Run: timeout 300
Run: cost 6"""
import json
import os
import re
import shutil

import numpy as np
import h5py

from formats import end, pack, run

T = 6
rng = np.random.default_rng(7)
for reynolds, seed in ((500, 1), (1000, 2)):
    with h5py.File(f"{reynolds}_32_48_seed_{seed}.h5", "w") as f:
        f["w"] = rng.standard_normal((T, 32, 48)).astype(np.float32)
FILES = ("500_32_48_seed_1.h5", "1000_32_48_seed_2.h5")  # 2 x 3 tiles each, two a shard: six shards


def fresh(whole="whole", copy="pack"):
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)


def flip(path, byte):
    with open(path, "r+b") as f:
        f.seek(byte)
        value = f.read(1)[0]
        f.seek(byte)
        f.write(bytes([value ^ 0x10]))


def place_of(path, place, t):
    """The first byte of a snapshot."""
    with h5py.File(path) as f:
        w = f["w"]
        window = w.chunks[1]
        chunk = w.id.get_chunk_info_by_coord((place, t // window * window, 0, 0))
        return chunk.byte_offset + t % window * 16 * 16 * 4


def verify(code=1, ranks=1, folder="pack"):
    """Lines of standard output, but for the last; that; the one line of ours on standard error."""
    done = run("data", "verify", folder, code=code, ranks=ranks)
    lines, ours = done.stdout.splitlines(), [x for x in done.stderr.splitlines() if x.startswith("flexhpc: ")]
    assert len(ours) == (code != 0), done.stderr
    return lines[:-1], lines[-1], ours[0] if ours else ""


def edit(change):
    with open("pack/manifest.json") as f:
        manifest = json.load(f)
    change(manifest)
    with open("pack/manifest.json", "w") as f:
        json.dump(manifest, f, sort_keys=True, indent=1)


def names(lines, *patterns):
    """As many lines as patterns, and each matches."""
    assert len(lines) == len(patterns) and all(re.search(p, x) for p, x in zip(patterns, lines)), "\n".join(lines)


# ---- Whole: all of its bytes are read, whoever reads them.
manifest = pack(*FILES, out="whole")
assert len(manifest["shards"]) == 6
size = sum(shard["bytes"] for shard in manifest["shards"])
for ranks in (1, 3):
    lines, last, _ = verify(0, ranks, "whole")
    assert not lines and re.fullmatch(rf"whole: 6 shards, {size / 2**20:.1f} MiB in \S+ s, \d+ MiB/s, {ranks} ranks?: whole", last), last

# ---- A flipped byte in two snapshots that follow each other, and one in another patch.
fresh()
for place, t in ((0, 5), (1, 2), (1, 3)):
    flip("pack/shard-0001.h5", place_of("pack/shard-0001.h5", place, t) + 77)
flipped = (r"^pack/shard-0001\.h5: XXH64 [0-9a-f]{16}, the manifest says " + manifest["shards"][1]["xxh64"] + "$",
           r"^  patch 2 of the pack: w\[0\], snapshots 5 to 5$", r"^  patch 3 of the pack: w\[1\], snapshots 2 to 3$")
lines, last, error = verify()
names(lines, *flipped)
assert last.endswith("damaged") and re.search(r"pack: damaged in 1 places, first pack/shard-0001\.h5: XXH64", error), (last, error)

# ---- Where no snapshot is touched: a time, which nothing but the file's checksum guards; metadata, which HDF5's own do.
fresh()
with h5py.File("pack/shard-0002.h5") as f:
    flip("pack/shard-0002.h5", f["time"].id.get_offset() + 3)
names(verify()[0], r"^pack/shard-0002\.h5: XXH64 ", r"^  outside the fields: every snapshot has its checksum$")
fresh()
flip("pack/shard-0002.h5", 60)
names(verify()[0], r"^pack/shard-0002\.h5: ")

# ---- A truncated shard, and one that is missing.
fresh()
os.truncate("pack/shard-0003.h5", manifest["shards"][3]["bytes"] - 1)
os.remove("pack/shard-0005.h5")
broken = (rf"^pack/shard-0003\.h5: {manifest['shards'][3]['bytes'] - 1} bytes, the manifest says {manifest['shards'][3]['bytes']}$",
          r"^pack/shard-0005\.h5: .*No such file")
lines, _, error = verify()
names(lines, *broken)
assert "damaged in 2 places, first pack/shard-0003.h5: " in error, error

# ---- Several at once: every shard is looked at, and ranks change nothing.
flip("pack/shard-0001.h5", place_of("pack/shard-0001.h5", 0, 5) + 77)
for t in (2, 3):
    flip("pack/shard-0001.h5", place_of("pack/shard-0001.h5", 1, t) + 77)
for ranks in (1, 3):
    names(verify(ranks=ranks)[0], *flipped, *broken)

# ---- A manifest that names more than there is: a shard, a patch, a snapshot; and another source's.
fresh()
edit(lambda m: m["shards"].append({**m["shards"][5], "name": "shard-0006.h5"}))
names(verify()[0], r"^pack/shard-0006\.h5: .*No such file")
fresh()
edit(lambda m: m["shards"][0].update(patches=3))
names(verify()[0], r"^pack/shard-0000\.h5: w is \(2, 6, 16, 16\) .*, the manifest makes it \(3, 6, 16, 16\)")
fresh()
edit(lambda m: m["sources"][1].update(snapshots=T + 1))
names(verify()[0], *[rf"^pack/shard-000{i}\.h5: w is \(2, 6, 16, 16\) .*, the manifest makes it \(2, 7, 16, 16\)" for i in (3, 4, 5)])
fresh()
edit(lambda m: m["sources"][0].update(seed=9))
names(verify()[0], *[rf"^pack/shard-000{i}\.h5: holds tile " for i in (0, 1, 2)])

# ---- Statistics in the manifest that are not those of the shards.
for key in ("mean", "std", "min", "max", "count"):
    fresh()
    edit(lambda m: m["reynolds"][1].update({key: m["reynolds"][1][key] + 1}))
    names(verify()[0], r"^pack/manifest\.json: Re 1000: ")

# ---- Compressed: what can't be expanded is named as well.
pack(*FILES, out="small", pack__compress=4)
fresh("small")
with h5py.File("pack/shard-0004.h5") as f:
    chunk = f["w"].id.get_chunk_info_by_coord((1, 4, 0, 0))
flip("pack/shard-0004.h5", chunk.byte_offset + chunk.size // 2)
names(verify()[0], r"^pack/shard-0004\.h5: XXH64 ", r"^  patch 9 of the pack: w\[1\], snapshots 4 to 4$")

# ---- More damage than anybody reads: the lines end, and so does the reading.
with h5py.File("500_16_16_seed_3.h5", "w") as f:
    f["w"] = rng.standard_normal((400, 16, 16)).astype(np.float32)
pack("500_16_16_seed_3.h5", out="pack")
for t in range(0, 400, 2):
    flip("pack/shard-0000.h5", place_of("pack/shard-0000.h5", 0, t))
lines = verify()[0]
assert 50 < len(lines) < 200 and lines[-1] == "  ..." and lines[-2] == f"  patch 0 of the pack: w[0], snapshots {2 * len(lines) - 6} to {2 * len(lines) - 6}", lines

# ---- Low-resolution fields inside the pack are part of it.
fresh()
shutil.copytree("whole", "pack/lowres")
assert " 12 shards, " in verify(0)[1]
os.remove("pack/lowres/shard-0000.h5")
names(verify(ranks=2)[0], r"^pack/lowres/shard-0000\.h5: .*No such file")

# ---- No pack at all.
os.mkdir("empty")
done = run("data", "verify", "empty", code=1)
assert "empty/manifest.json: " in done.stderr and not done.stdout, (done.stdout, done.stderr)
run("data", "verify", code=2)
end()
