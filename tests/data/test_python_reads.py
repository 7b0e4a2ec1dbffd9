#!/usr/bin/python3
"""h5py and xarray read a shard as anybody's HDF5: names of dimensions, coordinates, values. The pack is made by
test_data_pack, asked to keep one.

Planted in the code, caught here, removed:
  DIMENSION_LIST in reverse order          dimensions
  `row` taken for the tile's number        corners
Run: label quick"""
import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
    import xarray
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)


def value(reynolds, t, y, x):
    return np.float32(reynolds / 4096 + (t * 4096 + y * 64 + x) - 30000)


with tempfile.TemporaryDirectory() as folder:
    maker = os.path.join(os.environ["FX_BINARY_DIR"], "tests", "test_data_pack")
    subprocess.run([maker, folder], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shard = os.path.join(folder, "pack", "shard-0001.h5")  # patches 2 and 3 of 3 x 2 tiles of 8 pixels, Re 500

    with h5py.File(shard) as f:
        assert f["w"].shape == (2, 5, 8, 8) and f["w"].dtype == "<f4", f["w"]
        assert f["w"].chunks == (1, 5, 8, 8), f["w"].chunks
        assert f.attrs["Re"] == 500 and f.attrs["seed"] == 2, dict(f.attrs)
        assert [f["w"].dims[i].keys()[0] for i in range(4)] == ["patch", "time", "y", "x"]
        assert f["w"][1, 3, 2, 5] == value(500, 3, 8 + 2, 8 + 5)

    with xarray.open_dataset(shard, engine="h5netcdf") as d:
        assert d.w.dims == ("patch", "time", "y", "x"), d.w.dims
        assert np.allclose(d.time, 2.5 + 0.25 * np.arange(5)), d.time
        assert list(d.patch) == [2, 3] and list(d.row) == [8, 8] and list(d.column) == [0, 8], d
        t, y, x = np.meshgrid(np.arange(5), np.arange(8), np.arange(8), indexing="ij")
        for p in range(2):
            want = value(500, t, y + int(d.row[p]), x + int(d.column[p]))
            assert (d.w[p].values == want).all()
print("ok")
