#!/usr/bin/env python3
"""A pack, and an addition to one, that SIGKILL ends and the same command starts again: the folder is then, byte for byte, the one
of a pack that nothing broke off; shards that were finished are the same files as before; and a pack that is added to is whole
after the kill: the old one, or the new one.

The instants are calls of the system on the pack's folder, counted by tests/fault/inject.c: the n-th write, fsync, rename or
unlink. FX_INSTANTS=20: as many at random of all of them for each of pack and pack.add, on one rank and on two, of which one, by
chance, is killed and the launcher kills the other. Otherwise a few that matter, on one rank.

Planted in the code, caught here, removed: the old manifest gone before the new one comes; finished shards packed again; a source
that is in the pack refused, so that a kill after the new manifest ends for good; notes left when the manifest is there.
Run: label full
Run: cost 6
Run: timeout 300
Run: long FX_INSTANTS=20
"""
import filecmp
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

FLEXHPC, INJECT = os.environ["FLEXHPC"], os.environ["FX_BINARY_DIR"] + "/tests/libinject.so"
INSTANTS = int(os.environ.get("FX_INSTANTS", 0))
SEED = int(os.environ.get("FX_SEED", os.getpid()))
CALLS = ("write", "fsync", "rename", "unlink")
LOCK = "run.lock"  # tells who holds the folder: no part of a pack
os.environ["OMPI_MCA_odls_base_sigkill_timeout"] = "0"
chance = random.Random(SEED)
scratch = tempfile.mkdtemp()
os.chdir(scratch)


def write(path, snapshots):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with h5py.File(path, "w") as f:
        f["w"] = np.random.default_rng(snapshots).standard_normal((snapshots, 48, 48)).astype(np.float32)


write("fields/100_48_48_seed_1.h5", 5)
write("fields/200_48_48_seed_1.h5", 4)
write("more/150_48_48_seed_1.h5", 6)
KEYS = ["--out", "packed", "--patch", 16, "--set", "pack.shard_patches=2", "--set", "pack.strata=4", "--set", "pack.memory=0.01"]
PACK = ["pack", *KEYS, "--set", "pack.source=fields"]
ADD = ["pack", *KEYS, "--set", "pack.source=more", "--set", "pack.add=true"]


def run(words, ranks=1, inject=None, rank=0):
    """The exit code and what was said; with `inject`, "CALL TEXT N WHAT", on one rank."""
    launcher = ["mpiexec", "-n", ranks] if ranks > 1 else []
    environment = dict(os.environ)
    if inject:
        environment["FX_INJECT"], environment["FX_INJECT_RANK"] = inject, str(rank)
        environment["FX_INJECT_LOG"] = f"{scratch}/calls"
        launcher += ["env", f"LD_PRELOAD={INJECT}"]
    words = [str(w) for w in [*launcher, FLEXHPC, *words]]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout + done.stderr


def succeed(words, ranks=1):
    code, said = run(words, ranks)
    assert code == 0, (code, said)
    return said


def calls(words, kind, ranks, rank):
    """How many calls of a kind the command makes in the pack's folder."""
    if os.path.exists("calls"):
        os.remove("calls")
    code, said = run(words, ranks, f"{kind} packed/ 1000000 COUNT", rank)
    assert code == 0, said
    with open("calls") as log:
        return sum(1 for _ in log)


def start_from(folder):
    shutil.rmtree("packed", ignore_errors=True)
    if folder:
        subprocess.run(["cp", "-a", folder, "packed"], check=True)


def files(folder):
    return sorted(set(os.listdir(folder)) - {LOCK}) if os.path.isdir(folder) else []


def same(folder, other, names):
    return all(filecmp.cmp(f"{folder}/{n}", f"{other}/{n}", shallow=False) for n in names)


def finished():
    """Shards with a note, or of the manifest: their names and inodes."""
    names = {n[:-4] for n in files("packed") if n.endswith(".h5.sum")}
    if "manifest.json" in files("packed"):
        with open("packed/manifest.json") as text:
            names |= {s["name"] for s in json.load(text)["shards"]}
    return {n: os.stat(f"packed/{n}").st_ino for n in names if os.path.exists(f"packed/{n}")}


def check(words, before, unbroken, kind, n, ranks=1, rank=0):
    """Kills at the n-th call, looks at what is left, starts again and compares; how many shards were kept. `before` is what lies
    there first: for ADD the pack that is added to."""
    instant = f"{kind} {n} of rank {rank} of {ranks}"
    start_from(before)
    code, said = run(words, ranks, f"{kind} packed/ {n} KILL", rank)
    assert code != 0, (instant, said)
    assert ranks > 1 or code == -9, (instant, code, said)
    kept = finished()
    if words is ADD:  # the pack that was there is whole, or the new one is
        assert same("packed", before, set(files(before)) - {"manifest.json"}), instant
        assert same("packed", before, ["manifest.json"]) or same("packed", unbroken, ["manifest.json"]), instant
    said = succeed(words, ranks)
    assert files("packed") == files(unbroken), (instant, files("packed"))
    assert same("packed", unbroken, files(unbroken)), instant
    if before and words is not ADD:
        return 0
    moved = [n for n, inode in kept.items() if os.stat(f"packed/{n}").st_ino != inode]
    assert not moved, (instant, moved)
    told = re.search(r"(\d+) of (\d+) shards were finished and are kept", said)
    new = len(kept) - (sum(n.endswith(".h5") for n in files(before)) if before else 0)
    if not before or not same("packed", unbroken, ["manifest.json"]):
        assert (int(told.group(1)) if told else 0) == new, (instant, told and told.group(), kept)
    return new


def instants(words, before, ranks):
    """How many calls there are of each kind and rank."""
    count = {}
    for kind in CALLS:
        for rank in range(ranks):
            start_from(before)
            count[kind, rank] = calls(words, kind, ranks, rank)
    return count


start_from(None)
succeed([*PACK, "--set", "pack.shard_patches=1"])
os.rename("packed", "larger")
start_from(None)
succeed(PACK)
os.rename("packed", "whole")
start_from("whole")
succeed(ADD)
os.rename("packed", "added")
assert sum(n.endswith(".h5") for n in files("added")) == 15 and len(files("added")) == 16, files("added")

# An older pack of 18 shards is replaced by one of 10.
start_from("larger")
removed = calls(PACK, "unlink", 1, 0)
assert files("packed") == files("whole") and removed >= 8 + 10 + 1, removed
for n in (1, 2, 6):
    check(PACK, "larger", "whole", "unlink", n)

for title, words, before, unbroken in (("pack", PACK, None, "whole"), ("pack.add", ADD, "whole", "added")):
    if not INSTANTS:
        count = instants(words, before, 1)
        last = {kind: count[kind, 0] for kind in CALLS}
        assert min(last.values()) > 0, last
        # The first byte; a shard in the middle, its sync, its name, its note's; the last note; the manifest; the notes after it.
        chosen = [("write", 1), ("write", last["write"] // 2), ("fsync", last["fsync"] // 2), ("rename", 3), ("rename", 4),
                  ("rename", last["rename"]), ("unlink", last["unlink"])]
        kept = [check(words, before, unbroken, kind, n) for kind, n in chosen]
        print(f"{title}: killed at {', '.join(f'{k} {n}' for k, n in chosen)}; shards kept {kept}")
        continue
    for ranks in (1, 2):
        count = instants(words, before, ranks)
        every = [(kind, n + 1, rank) for (kind, rank), most in count.items() for n in range(most)]
        chosen = sorted(chance.sample(every, INSTANTS))
        print(f"{title} on {ranks} ranks, FX_SEED={SEED}: {len(every)} calls, killed at {INSTANTS}:")
        for kind, n, rank in chosen:
            kept = check(words, before, unbroken, kind, n, ranks, rank)
            print(f"  {kind} {n} of {count[kind, rank]} on rank {rank}: {kept} new shards kept, ends as the unbroken one")
shutil.rmtree(scratch)
print("a killed pack goes on, and ends as one that was not")
