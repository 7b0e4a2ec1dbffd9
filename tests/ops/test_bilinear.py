#!/usr/bin/env python3
"""The low-resolution input by `flexhpc verify` against NumPy: a golden file of bilinear interpolation, as PyTorch's
interpolate without align_corners does it, is written here. The NumPy code first proves itself: its bicubic against the
committed golden file, which PyTorch made, and where PyTorch is installed both kinds against it.

Run: label quick
Planted and caught: in taps.h the two taps of bilinear exchanged; their centre half a pixel off; edges that repeat the last
but one pixel; in interpolate.c the stride left out of the rows.
"""
import os
import subprocess
import sys
import tempfile
import zlib

try:
    import h5py
    import numpy as np
except ImportError as e:
    print(f"skipped: {e} (Debian: python3-h5py)")
    sys.exit(77)

from interpolation import antialiased, interpolate

SIDE, TAG = 64, 11


def numbers(name, tag, count, amplitude):
    """The golden files' numbers: splitmix64 of (crc32(name), index) and the file's tag, in [-amplitude, amplitude)."""
    with np.errstate(over="ignore"):
        gold = np.uint64(0x9E3779B97F4A7C15)
        z = np.uint64(zlib.crc32(name.encode())) << np.uint64(32) | np.arange(count, dtype=np.uint64)
        z = (z ^ np.uint64(tag) * gold) + gold
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        return ((2 * ((z >> np.uint64(11)) * 2.0**-53) - 1) * amplitude).astype(np.float32)


def off(a, b):
    return np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b)


def check_numpy():
    with h5py.File(os.path.join(os.environ["FX_TESTS_DIR"], "golden/bicubic_a.h5")) as f:
        x = numbers("patch", f.attrs["tag"], f.attrs["side"] ** 2, 1.5).reshape(f.attrs["side"], -1)
        for factor in (2, 4, 8):
            error = off(interpolate("bicubic", x, factor), f[f"up/{factor}"][:])
            assert error < 1e-6, (factor, error)
    try:
        import torch
    except ImportError:
        print("no PyTorch: bilinear rests on the formula alone")
        return
    for kind in ("bicubic", "bilinear"):
        for factor in (2, 4, 8):
            small = torch.from_numpy(np.ascontiguousarray(x[::factor, ::factor]))[None, None]
            up = torch.nn.functional.interpolate(small, scale_factor=factor, mode=kind, align_corners=False)
            error = off(interpolate(kind, x, factor), up[0, 0].numpy())
            assert error < 1e-6, (kind, factor, error)
    for factor in (2, 4, 8):
        down = torch.nn.functional.interpolate(torch.from_numpy(x)[None, None], scale_factor=1 / factor, mode="bicubic",
                                               align_corners=False, antialias=True)
        error = off(antialiased(x, factor), down[0, 0].numpy())
        assert error < 1e-6, ("antialiased", factor, error)


def verify(path):
    run = subprocess.run([os.environ["FLEXHPC"], "verify", path, "--backend", "cpu", "--precision", "fp32"],
                         capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout + run.stderr


def main():
    check_numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bilinear.h5")
        x = numbers("patch", TAG, SIDE * SIDE, 1.5).reshape(SIDE, SIDE)
        with h5py.File(path, "w") as f:
            f.attrs.update({"format": "flex-golden-bilinear-1", "tag": TAG, "side": SIDE})
            for factor in (2, 4, 8):
                f[f"up/{factor}"] = interpolate("bilinear", x, factor)
        code, said = verify(path)
        assert code == 0, said
        with h5py.File(path, "r+") as f: # verify looks at the values
            f["up/4"][:] = interpolate("bicubic", x, 4)
        code, said = verify(path)
        assert code == 1 and "up/4" in said, said


main()
