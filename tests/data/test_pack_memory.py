#!/usr/bin/env python3
"""What packing holds in memory is pack.memory and a constant, whatever the size of the file: the resident set of packing a file
of 64 MiB on a budget of 24 MiB, against that of packing one of 1 MiB. Most of the file was never written: HDF5 gives zeros.
The same for a file whose x comes before its y (room to turn 16 MiB), and one of compressed chunks (two of them).

Planted in the code, caught here, removed: twice the snapshots that the budget holds; all rows of tiles whatever it holds; whole
slabs turned at once.
Run: label full
Run: cost 4
Run: timeout 300
"""
import os
import subprocess
import sys

import formats
from formats import FLEXHPC, run

import h5py
import numpy as np

BUDGET, SLACK = 24, 6  # MiB
# A process of its own, for a child's figure counts what forked it.
MEASURE = """import os, sys
code = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
sys.exit(code[1] >> 8) if code[1] else print("peak", code[2].ru_maxrss / 1024)"""


def packed(path, *words):
    words = [FLEXHPC, "pack", path, "--out", "pack", "--patch", 64, "--set", f"pack.memory={BUDGET}", *words]
    done = subprocess.run([sys.executable, "-S", "-c", MEASURE, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    subprocess.run(["rm", "-r", "pack"], check=True)
    return float(done.stdout.split("peak")[1])


def write(path, T, n, key="w", **storage):
    random = np.random.default_rng(T)
    with h5py.File(path, "w") as f:
        shape = (T, n, n) if key == "w" else (1, T, n, n, 1)
        d = f.create_dataset(key, shape, np.float32, **storage)
        for t in (0, T - 1):
            d[(t,) if key == "w" else (0, t)] = random.standard_normal(shape[-2:] if key == "w" else (n, n, 1))
        if key != "w":
            f["t"] = np.arange(T, dtype=np.float32)[None]


write("100_512_512_seed_1.h5", 1, 512)
write("100_512_512_seed_2.h5", 64, 512)
write("100_512_512_seed_3.h5", 64, 512, chunks=(2, 512, 512), compression=1)
write("turned.h5", 64, 512, "particles")
base = packed("100_512_512_seed_1.h5")
for path, more in (("100_512_512_seed_2.h5", 0), ("100_512_512_seed_3.h5", 4), ("turned.h5", 16)):
    for words in ([], ["--set", "pack.compress=1"]):
        peak = packed(path, *words)
        print(f"{path} {words}: {peak:.1f} MiB, a small file {base:.1f}")
        assert base + BUDGET / 2 < peak < base + BUDGET + more + SLACK, (path, words, peak, base)
# A snapshot larger than the budget: some rows of tiles at a time. A tile larger than it: two of them.
write("100_2048_2048_seed_4.h5", 2, 2048)
peak = packed("100_2048_2048_seed_4.h5", "--set", "pack.memory=2")
assert peak < base + 2 + SLACK, (peak, base)
write("100_1024_1024_seed_4.h5", 4, 1024)
peak = packed("100_1024_1024_seed_4.h5", "--patch", 1024, "--set", "pack.memory=1")
assert peak < base + 8 + SLACK, (peak, base)
# What it says itself is what the system counts.
said = run("pack", "100_512_512_seed_2.h5", "--out", "pack", "--patch", 64, "--set", f"pack.memory={BUDGET}").stdout
assert abs(float(said.split("largest resident set of a rank")[1].split()[0]) - base - BUDGET) < SLACK, said
formats.end()
