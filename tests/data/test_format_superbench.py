#!/usr/bin/env python3
"""SuperBench's and minFLEX's files: (N, C, H, W), what their folders say, ERA5's last row, damage.

Planted in the code, caught here, removed: the first channel taken for w; all 721 rows of the globe; the folder's name looked
for in the path as given; minFLEX's last channel taken.
Run: label quick"""
import os

import numpy as np
import h5py

import formats
from formats import compare, damage, links, pack, refused, train_and_evaluate

random = np.random.default_rng(3)


def write(path, shape, key="fields", kind=np.float32):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    fields = random.standard_normal(shape).astype(kind)
    with h5py.File(path, "w") as f:
        f[key] = fields
    return fields.astype(np.float32)


# Turbulence: the last of u, v, w, doubly periodic, the Reynolds number of the folder, from anywhere.
path = "nskt_16k/train/nskt.h5"
fields = write(path, (8, 3, 32, 48))
m = pack(path)
assert compare(m, lambda s: fields[:, 2]) == 6
s = m["sources"][0]
assert m["periodic"] is True and s["reynolds"] == 16000 and s["field"] == "fields[2]" and s["interval"] == 0, m
train_and_evaluate()
os.chdir("nskt_16k/train")
assert pack("nskt.h5")["sources"] == m["sources"]
os.chdir("../..")
compare(pack(path, source__channel=0), lambda s: fields[:, 0])
assert pack(path, source__condition=5)["sources"][0]["reynolds"] == 5

# With low resolution of its own beside the fields: those are read as any dataset.
simulated = "nskt_32k_sim_4_v7/test_1/nskt.h5"
fields = write(simulated, (5, 3, 64, 64), kind=">f8")
low = random.standard_normal((5, 3, 16, 16)).astype(np.float32)
with h5py.File(simulated, "r+") as f:
    f["LR_fields"] = low
m = pack(simulated)
compare(m, lambda s: fields[:, 2])
assert m["sources"][0]["reynolds"] == 32000
assert compare(pack(simulated, source__key="LR_fields"), lambda s: low[:, 2]) == 1

# The globe: one row less, periodic along x, its channel must be given.
globe = "era5/train/2008.h5"
fields = write(globe, (2, 3, 721, 1440))
refused("which of the 3 channels", globe, code=2)
m = pack(globe, source__channel=1, patch=120)
assert compare(m, lambda s: fields[:, 1, :-1]) == 6 * 12
assert m["sources"][0]["periodic"] == [False, True] and m["sources"][0]["reynolds"] == 0

# A folder that says nothing, and one channel.
fields = write("cosmo/train/a.h5", (3, 1, 32, 32))
m = pack("cosmo/train/a.h5")
compare(m, lambda s: fields[:, 0])
assert m["sources"][0]["periodic"] == [False, False] and m["sources"][0]["field"] == "fields"

# minFLEX, of both ranks.
for shape in ((7, 2, 32, 48), (7, 32, 48)):
    fields = write("2013_subregion.h5", shape)
    m = pack("2013_subregion.h5")
    compare(m, lambda s: fields[:, 0] if fields.ndim == 4 else fields)
    s = m["sources"][0]
    assert s["periodic"] == [False, False] and s["reynolds"] == 0 and s["field"] == "fields[0]" * (len(shape) == 4) + \
        "fields" * (len(shape) == 3), s
train_and_evaluate()
fields = write("renamed.h5", (7, 2, 32, 48))
compare(pack("renamed.h5", source__format="minflex"), lambda s: fields[:, 0])


def replace(value):
    def spoil(f):
        del f["fields"]
        f["fields"] = value
    return spoil


# Other files of the same names.
damage("cosmo/train/a.h5", [
    ("fields is (3, 32, 32), not (t, c, y, x)", replace(np.zeros((3, 32, 32), np.float32)), {"source__format": "superbench"}),
    ("fields is (3, 1, 0, 32), not (t, c, y, x)", replace(np.zeros((3, 1, 0, 32), np.float32))),
    ("holds integers", replace(np.zeros((3, 1, 32, 32), np.int16))),
    ("holds no numbers", replace(np.zeros((3, 1, 32, 32), bool))),
    ("fields[1, 4, 5] is nan", lambda f: f["fields"].__setitem__((1, 0, 4, 5), np.nan)),
    ("pack.patch: 16 pixels do not fit", replace(np.zeros((3, 1, 15, 32), np.float32)), {"code": 2}),
    ("so none named nu", lambda f: None, {"source__condition": "nu", "code": 2}),
    ("source.channel: 3, but", lambda f: None, {"source__channel": 3, "code": 2}),
])
links("cosmo/train/a.h5", "fields")
os.symlink(os.path.abspath("nskt_16k"), "linked")  # the user's own links outside a file are followed
pack("linked/train/nskt.h5")
formats.end()
