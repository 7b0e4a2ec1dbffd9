#!/usr/bin/env python3
"""PDEBench's incompressible Navier-Stokes files: x before y, channels last, a batch of simulations, shuffle and LZF as h5py
writes them, unfinished files, walls, damage.

Planted in the code, caught here, removed: copies of LZF one byte off; the first simulation read for all; latestIndex not
looked at; LZF's size not compared. Not caught: a stream that makes too little taken for a chunk, for HDF5 1.10.8 refuses it too.
Run: label quick"""
import struct

import numpy as np
import h5py

import formats
from formats import compare, damage, links, pack, refused, train_and_evaluate

B, T, X, Y = 2, 6, 48, 32
random = np.random.default_rng(2)
CONFIG = "sim_name: ns_sim_2d\ndimension: 2\nNU: 0.002\nBUO_Y: 0.0\nDT: 5.0e-05\n"
STOCK = {"compression": "lzf", "shuffle": True}


def write(path, latest=T - 1, storage=STOCK):
    """As its generator writes: chunks of one snapshot, all of it float32. Fields of few values compress; noise does not, and is
    stored as it is."""
    x, y = np.arange(X)[:, None, None], np.arange(Y)[None, :, None]
    b, t = np.arange(B)[:, None, None, None, None], np.arange(T)[None, :, None, None, None]
    velocity = (np.round(4 * np.sin(0.1 * x + 0.2 * t) * np.cos(0.3 * y + b)) * np.array([1, -3])).astype(np.float32)
    bits = random.integers(0, 1 << 32, (X, Y, 2), np.uint32) & np.uint32(0xBFFFFFFF)  # of finite numbers
    velocity[1, 2] = bits.view(np.float32)
    particles = random.standard_normal((B, T, X, Y, 1)).astype(np.float32)
    with h5py.File(path, "w") as f:
        f.attrs["config"] = CONFIG
        f.attrs["latestIndex"] = latest
        for name, values in (("velocity", velocity), ("particles", particles)):
            f.create_dataset(name, data=values, chunks=(1, 1) + values.shape[2:], **storage)
        f.create_dataset("force", data=np.zeros((B, X, Y, 2), np.float32), chunks=(1, X, Y, 2), **storage)
        f["t"] = np.tile(5e-3 * np.arange(T), (B, 1)).astype(np.float32)
    return velocity, particles


def rows_first(field):
    return field.transpose(0, 2, 1)


path = "ns_incom_inhom_2d_512-0.h5"
velocity, particles = write(path)
with h5py.File(path) as f:  # both kinds of chunk are there
    stored = [f["velocity"].id.get_chunk_info(i) for i in range(B * T)]
    filters = [f["velocity"].id.get_create_plist().get_filter(i)[0] for i in range(2)]
    assert filters == [h5py.h5z.FILTER_SHUFFLE, 32000] and {c.filter_mask for c in stored} == {0, 2}, (filters, stored)
m = pack(path)
assert compare(m, lambda s: rows_first(velocity[s.get("run", 0), ..., 0])) == B * 6
for s in m["sources"]:
    assert s["reynolds"] == 500 and s["start"] == 0 and np.isclose(s["interval"], 5e-3) and s["field"] == "velocity[0]", s
    assert s["periodic"] == [False, False]
train_and_evaluate()
compare(pack(path, source__channel=1, pack__memory=0.002), lambda s: rows_first(velocity[s.get("run", 0), ..., 1]))
m = pack(path, source__key="particles", source__condition=0)
compare(m, lambda s: rows_first(particles[s.get("run", 0), ..., 0]))
assert m["sources"][0]["reynolds"] == 0 and m["sources"][0]["field"] == "particles"

# Other filters; a checksum behind LZF; a scalar field without an axis of channels, of a file that names nothing as PDEBench does.
for storage in ({"compression": "lzf"}, {"compression": "gzip", "shuffle": True}, {"compression": "lzf", "fletcher32": True}, {}):
    velocity, _ = write("other.h5", storage=storage)
    compare(pack("other.h5"), lambda s: rows_first(velocity[s.get("run", 0), ..., 0]))
with h5py.File("plain.h5", "w") as f:
    f["Vx"] = velocity[..., 1]
compare(pack("plain.h5", source__format="pdebench", source__key="Vx"), lambda s: rows_first(velocity[s.get("run", 0), ..., 1]))

# A file whose writer was stopped.
velocity, _ = write("unfinished.h5", latest=3)
refused("latestIndex is 3 of 6 snapshots", "unfinished.h5")
compare(pack("unfinished.h5", source__unfinished="trim"), lambda s: rows_first(velocity[s.get("run", 0), :4, ..., 0]))
write("unfinished.h5", latest=-1)
refused("latestIndex is -1", "unfinished.h5", source__unfinished="trim")


def filtered(number, values):
    """velocity behind another filter, its chunks empty."""
    def spoil(f):
        shape = f["velocity"].shape
        del f["velocity"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 1) + shape[2:])
        plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, values)
        h5py.h5d.create(f.id, b"velocity", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), plist)
    return spoil


def chunk(data):
    """The first chunk of velocity is these bytes, as if shuffle and LZF had made them."""
    return lambda f: f["velocity"].id.write_direct_chunk((0,) * 5, data)


def replace(name, value):
    def spoil(f):
        del f[name]
        f[name] = value
    return spoil


def huge(f):
    del f["velocity"]
    f.create_dataset("velocity", (1, 1, 1 << 14, 1 << 14, 2), np.float32, chunks=(1, 1, 1 << 14, 1 << 14, 2))


bytes_ = X * Y * 2 * 4
damage(path, [
    ("uses filter 32015 (", filtered(32015, (3,))),
    ("has chunks of 2048 MiB", huge),
    ("velocity: read", chunk(b"\x00\x01\xff\xff\xff\xff")),  # a copy from before the beginning
    ("velocity: read", chunk(b"\x1f" + b"a" * 31)),  # more bytes promised than are there
    ("velocity: read", chunk(b"\x00a\xe0\xff\x00")),  # 266 bytes, not a chunk
    ("velocity: read", chunk(b"\x00a" + b"\xe0\xff\x00" * (bytes_ // 264 + 1))),  # more than a chunk
    ("velocity is (2, 6, 48), not (b, t, x, y, c) or (b, t, x, y)", replace("velocity", np.zeros((B, T, X), np.float32))),
    ("holds integers", replace("velocity", np.zeros((B, T, X, Y, 2), int))),
    ("t is (2, 3), not times", replace("t", np.zeros((B, 3)))),
    ("start nan", replace("t", np.full((B, T), np.nan))),
    ("condition 1e+30", lambda f: f.attrs.modify("config", "NU: 1e-30\n")),
    ("attribute is no text, or too long", lambda f: f.attrs.modify("config", "x" * 20000)),
    ("run 0: velocity[0][1, 2, 3] is inf", lambda f: f["velocity"].__setitem__((0, 1, 3, 2, 0), np.inf)),
])
links(path, "velocity")

# LZF whose parameter says less than a chunk: HDF5 would read on behind what the filter made.
with open(path, "rb") as file:
    whole = file.read()
mine = struct.pack("<3I", 4, 0x105, bytes_)
assert mine in whole
with open("lying.h5", "wb") as file:
    file.write(whole.replace(mine, struct.pack("<3I", 4, 0x105, bytes_ - 4)))
refused("velocity: has LZF of another size than its chunks", "lying.h5")
formats.end()
