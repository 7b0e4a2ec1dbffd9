#!/usr/bin/env python3
"""flexhpc data info and data check: what they say of files whose content is known.

Planted in the code, caught here, removed: values that are not finite kept in the statistics; the place of the first without its
row; the window forgotten; chunks counted along one axis alone; a compressed chunk counted in part; the last value that is not finite taken for the first;
a shard in one piece taken for chunks of 0 snapshots.
Run: label quick"""
import json
import os
import re

import numpy as np
import h5py

import formats
from formats import compare, pack, run

X = np.arange(64) * 2 * np.pi / 64


def info(*words):
    return run("data", "info", *words).stdout


def said(text, pattern):
    found = re.search(pattern, text, re.M)
    assert found, f"no {pattern} in:\n{text}"
    return found


# A wave of 4 lengths a side: all of its variance lies in the octave 4-7, the domain being periodic; a window spreads it to 3.
wave = np.tile(3 * np.sin(4 * X).astype(np.float32), (4, 64, 1))
with h5py.File("500_64_64_seed_7.h5", "w") as f:
    f["w"] = wave
text = info("500_64_64_seed_7.h5", "--preview", "wave.png")
said(text, r"^format +nskt: w \(time, y, x\) = \(4, 64, 64\)$")
said(text, r"^Re +500$")
said(text, r"^seed +7$")
said(text, r"^time +the file does not say")
said(text, r"^periodic +along y and x$")
said(text, r"^spectrum .* the domain's 64 pixels, 4 snapshots$")
shares = dict((low, float(share)) for low, share in re.findall(r"(\d+)(?:-\d+)?: (\S+) %", text))
assert set(shares) == {"1", "2", "4", "8", "16", "32"} and shares["4"] == 100 and sum(shares.values()) < 100.001, shares
with open("wave.png", "rb") as file:
    png = file.read()
assert png[:8] == b"\x89PNG\r\n\x1a\n" and png[16:24] == bytes([0, 0, 0, 64, 0, 0, 0, 64]), png[:24]
text = info("500_64_64_seed_7.h5", "--set", "source.periodic=neither")
said(text, r"of the middle 64 pixels, windowed, 4 snapshots")
assert 5 < float(said(text, r"2-3: (\S+) %")[1]) < 40, text

# A file that is read in bands of rows.
with h5py.File("500_2200_2048_seed_7.h5", "w") as f:
    f["w"] = np.zeros((1, 2200, 2048), np.float32)
    f["w"][0, 2150, 7] = np.nan
said(info("500_2200_2048_seed_7.h5"), r"1 not finite, the first at \(0, 2150, 7\)$")

# Runs, a rectangle, and numbers that are none: counted, first named, left out of statistics and spectrum.
fields = np.random.default_rng(4).standard_normal((3, 5, 40, 1100, 2)).astype(np.float32)  # (b, t, x, y, v)
fields[1, 2, 30, 20, 1] = np.nan
fields[2, 0, 0, 0, 1] = np.inf
with h5py.File("ns.h5", "w") as f:
    f.create_dataset("velocity", data=fields, chunks=(1, 2, 40, 64, 2), compression="lzf", shuffle=True)
    f["t"] = np.tile(0.5 + 0.25 * np.arange(5), (3, 1))
    f.attrs["config"] = "NU: 0.01"
text = info("ns.h5", "--channel", 1, "--preview", "ns.png")
good = fields[..., 1][np.isfinite(fields[..., 1])].astype(float)
said(text, r"^format +pdebench: velocity\[1\] \(run, time, y, x\) = \(3, 5, 1100, 40\)$")
said(text, r"^condition +100$")
said(text, r"^time +0\.5 to 1\.5 every 0\.25$")
said(text, r"^periodic +along neither axis$")
said(text, r"^ +2 not finite, in run 1, the first at \(2, 20, 30\)$")
said(text, r"of the middle 40 pixels, windowed, 15 snapshots$")
said(text, r"preview .* one pixel in 2 x 2$")
numbers = said(text, r"(\d+) values from (\S+) to (\S+), mean (\S+), std (\S+)")
assert int(numbers[1]) == good.size, (numbers[1], good.size)
wanted = [good.size, good.min(), good.max(), good.mean(), good.std()]
assert np.allclose([float(x) for x in numbers.groups()], wanted, rtol=1e-4, atol=1e-5), (numbers.groups(), wanted)
fields[...] = 7
with h5py.File("ns.h5", "r+") as f:
    f["velocity"][...] = fields
said(info("ns.h5"), r"^spectrum +constant$")

# What a sample costs: 3 snapshots of 16 x 16, out of chunks of 2 snapshots, 40 columns, 64 rows, both components.
check = run("data", "check", "ns.h5", "--patch", 16).stdout
said(check, r"^velocity\[0\] +chunks of 2 time x 2 channel x 64 y x 40 x, filters: shuffle lzf; ")
needed = 3 * 16 * 16 * 4
read, fewer = float(said(check, r"MiB: (\S+) MiB are read and expanded for it$")[1]), float(said(check, r"(\S+) times less$")[1])
chunk = 2 * 2 * 64 * 40 * 4
assert 2 * chunk <= read * 2**20 * 1.01 and read * 2**20 <= 4 * chunk * 1.01, read  # 2 chunks in time, 1 or 2 along y
assert abs(fewer - read * 2**20 / needed) < 0.01 * fewer
assert float(said(check, r" (\S+) ms, ")[1]) > 0 and float(said(check, r"(\S+) MiB/s of samples")[1]) > 0
check = run("data", "check", "500_64_64_seed_7.h5", "--patch", 16).stdout
said(check, r"^w +contiguous, filters: none; 0\.1 MiB in the file")
said(check, r"0\.00293 MiB are read for it$")
said(check, r" 1 times less$")
pack("500_64_64_seed_7.h5")
said(run("data", "check", "pack").stdout, r"^one sample +3 snapshots of 16 x 16 pixels, 0\.00293 MiB: 0\.00293 MiB are read for it$")
said(run("data", "check", "pack").stdout, r"^8 shards +chunks of one patch and 4 of its snapshots, not compressed; (\S+) MiB in the files, \1 MiB of values$")

# A shard whose fields another program wrote in one piece.
with h5py.File("pack/shard-0000.h5", "r+") as f:
    values = f["w"][...]
    del f["w"]
    f["w"] = values
with open("pack/manifest.json", "r+") as text:
    manifest = json.load(text)
    manifest["shards"][0]["bytes"] = os.path.getsize("pack/shard-0000.h5")
    text.seek(0)
    text.truncate()
    json.dump(manifest, text)
said(run("data", "check", "pack").stdout, r"^8 shards +chunks of one patch and 4 of its snapshots, not compressed; ")

# Compressed shards, which h5py reads as they are; 3 snapshots at 0 or 1 of 4 touch both chunks of 2.
assert compare(pack("500_64_64_seed_7.h5", pack__compress=2, pack__window=2), lambda s: wave) == 16
with h5py.File("pack/shard-0000.h5") as f:
    assert f["w"].chunks == (1, 2, 16, 16) and f["w"].compression == "gzip" and f["w"].compression_opts == 2 and f["w"].shuffle
check = run("data", "check", "pack").stdout
line = said(check, r"^8 shards +chunks of one patch and 2 of its snapshots, shuffle and deflate 2; (\S+) MiB in the files, 0\.1 MiB of values$")
assert float(line[1]) < 0.05, line[0]
said(check, r"^one sample +3 snapshots of 16 x 16 pixels, 0\.00293 MiB: 0\.00391 MiB are read for it$")
pack("500_64_64_seed_7.h5", pack__compress=1)
said(run("data", "check", "pack").stdout, r"^one sample .*: 0\.00293 MiB are read for it$")
assert "pack.patch: 256 pixels do not fit" in run("data", "check", "500_64_64_seed_7.h5", code=2).stderr
assert "no patch has the 5 snapshots" in run("data", "check", "pack", "--set", "model.cond=4", code=2).stderr
formats.end()
