#!/usr/bin/python3
"""random_patches.py FLEXHPC FOLDER: random patches from shards against the same from files of whole fields, in one run. The peer
is h5py as the published loader uses it: files open lazily, of each sample a random file and a random window whose corner lies
at even positions, one read of `cond` snapshots and one of the future, then the division by the scale. The files are written
here, contiguous and in chunks of a snapshot (plain; shuffled and LZF, as PDEBench has them), and packed by FLEXHPC. Cold: each
file is dropped from the page cache (POSIX_FADV_DONTNEED) before; warm: the same samples once more. Rounds take ours and the
peers in turn; the table has medians over them. One rank on each side; one thread on the peer's, --readers threads on ours. FOLDER needs 5 times the data's size."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import h5py
import numpy as np

PATCH, COND, AHEAD, SCALE = 256, 2, 1, 5.4574137
PEERS = {
    "contiguous": {},
    "snapshot-chunks": {"chunks": True},
    "snapshot-chunks-lzf": {"chunks": True, "shuffle": True, "compression": "lzf"},
}


def field(side, seed):
    """A smooth field (side, side) with the k^-3 energy spectrum of two-dimensional turbulence, so that LZF has its usual work."""
    k = np.hypot(np.fft.fftfreq(side, 1 / side)[:, None], np.fft.rfftfreq(side, 1 / side)[None])
    wave = np.fft.rfft2(np.random.default_rng(seed).standard_normal((side, side)))
    w = np.fft.irfft2(wave * np.where(k > 0, (1 + (k / 8) ** 2) ** -0.5, 0) * np.exp(-((3 * k / side) ** 2)))
    return (SCALE * w / w.std()).astype("f4")


def write(folder, peer, options, side, snapshots, count):
    """`count` files of (snapshots, side, side); returns their paths. Snapshots are one field, moved on."""
    os.makedirs(f"{folder}/{peer}", exist_ok=True)
    paths = [f"{folder}/{peer}/{1000 * 2**i}_{side}_{side}_seed_{i}.h5" for i in range(count)]
    for i, path in enumerate(paths):
        w = field(side, i)
        if options.get("chunks"):
            options = {**options, "chunks": (1, side, side)}
        with h5py.File(path, "w", libver="latest") as f:
            data = f.create_dataset("w", (snapshots, side, side), "f4", **options)
            for t in range(snapshots):
                data[t] = np.roll(w, (3 * t, 5 * t), (0, 1))
        os.sync()
    return paths


def drop(paths):
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def read_peer(paths, samples, seed):
    """Seconds of so many samples."""
    draw = np.random.default_rng(seed)
    start = time.perf_counter()
    files = [h5py.File(path, "r", libver="latest", swmr=True)["w"] for path in paths]
    snapshots, side, _ = files[0].shape
    for _ in range(samples):
        t = int(draw.integers(COND - 1, snapshots - AHEAD))
        row, column = (2 * int(draw.integers(0, (side - PATCH) // 2 + 1)) for _ in "yx")
        data = files[draw.integers(len(files))]
        patch = data[t - COND + 1 : t + 1, row : row + PATCH, column : column + PATCH]
        future = data[t + AHEAD, row : row + PATCH, column : column + PATCH][None]
        patch, future = patch / np.float32(SCALE), future / np.float32(SCALE)
    seconds = time.perf_counter() - start
    for data in files:
        data.file.close()
    return seconds


def flexhpc(*words):
    subprocess.run([o.flexhpc, *words], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


def read_ours(pack, samples, batch):
    """Samples/s, cold and warm, of `flexhpc bench io`: the loader without its thread, every snapshot's checksum compared."""
    with open(f"{pack}.yaml", "w") as text:
        text.write(f"model: {{cond: {COND}}}\ndata: {{path: {pack}, patch: {PATCH}, scale: {SCALE}, forecast_step: {AHEAD}, readers: {o.readers}}}\n"
                   f"train: {{global_batch: {batch}}}\nbench: {{steps: {samples // batch}}}\n")
    flexhpc("bench", "io", f"{pack}.yaml", "--json", f"{pack}.json")
    with open(f"{pack}.json") as text:
        return {row["pass"]: row["samples_per_s"] for row in json.load(text)["rows"]}


def main():
    rates, loads = {}, []
    paths = {peer: write(o.folder, peer, options, o.side, o.snapshots, o.files) for peer, options in PEERS.items()}
    pack = f"{o.folder}/pack"
    flexhpc("pack", *paths["contiguous"], "--out", pack, "--patch", str(PATCH))
    os.sync()
    size = sum(os.path.getsize(path) for path in paths["contiguous"]) / 2**30
    for round_ in range(o.rounds):
        loads.append(os.getloadavg()[0])
        for name, rate in read_ours(pack, o.samples, o.batch).items():
            rates.setdefault(("shards", name), []).append(rate)
        for peer in PEERS:
            drop(paths[peer])
            for name in ("cold", "warm"):
                samples = o.samples // 8 if "lzf" in peer else o.samples  # of which each costs a tenth of a second
                rates.setdefault((peer, name), []).append(samples / read_peer(paths[peer], samples, round_))
    with open("/proc/cpuinfo") as text:
        cpu = next(line.split(":")[1].strip() for line in text if line.startswith("model name"))
    print(f"{o.files} files of ({o.snapshots}, {o.side}, {o.side}), {size:.1f} GiB; windows of {COND} + 1 snapshots of {PATCH} x {PATCH}; {o.rounds} "
          f"rounds of {o.samples} samples,\nours in batches of {o.batch} by {o.readers} threads. {cpu}, {os.cpu_count()} CPUs; h5py {h5py.__version__}, HDF5 "
          f"{h5py.version.hdf5_version}, Linux {platform.release()}; load before the\nrounds {min(loads):.1f} to {max(loads):.1f}.\n")
    print("| read from | pass | samples/s, median | least to most | shards against it |\n|---|---|---|---|---|")
    for (source, name), rate in sorted(rates.items(), key=lambda row: (row[0][1], row[0][0] != "shards")):
        median = statistics.median(rate)
        gain = f"{statistics.median(rates['shards', name]) / median:.1f}" if source != "shards" else ""
        print(f"| {source} | {name} | {median:.0f} | {min(rate):.0f} to {max(rate):.0f} | {gain} |")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("flexhpc")
parser.add_argument("folder")
for key, default in {"side": 2048, "snapshots": 40, "files": 3, "rounds": 5, "samples": 1024, "batch": 8, "readers": 1}.items():
    parser.add_argument(f"--{key}", type=int, default=default)
o = parser.parse_args()
sys.exit(main())
