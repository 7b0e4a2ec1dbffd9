#!/usr/bin/env python3
"""The solver's files as strangers read them: h5py finds the published layout, and NumPy's FFT the physics.

Planted in the code, caught here, removed: u and v exchanged in the file; axes x and y exchanged.
"""
import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

program = os.path.join(os.environ["FX_BINARY_DIR"], "tests", "test_dns_output")
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([program, folder], check=True, stdout=subprocess.DEVNULL)
    names = sorted(n for n in os.listdir(folder) if n.endswith(".h5"))
    assert names == [f"{re}_32_32_seed_4.h5" for re in ("100", "250.5", "400", "50", "60")], names

    with h5py.File(os.path.join(folder, names[0]), "r", libver="latest", swmr=True) as f:
        w = f["w"]
        assert w.shape == (3, 32, 32) and w.dtype == np.float32 and w.chunks == (1, 32, 32), w
        assert np.isfinite(w[:]).all() and abs(w[:].mean()) < 1e-5
        assert f.attrs["Re"] == 100 and f.attrs["seed"] == 4 and f.attrs["nu"] == 0.01
        assert np.allclose(f["time"][:], [0.1, 0.15, 0.2], rtol=1e-15)
        energy, enstrophy = f["energy"][:], f["enstrophy"][:]
        assert (np.diff(energy) < 0).all() and (np.diff(enstrophy) < 0).all()
        budget = np.diff(energy) / (-2 * f.attrs["nu"] * 0.05 * (enstrophy[1:] + enstrophy[:-1]) / 2)
        assert np.allclose(budget, 1, atol=0.01), budget

    with h5py.File(os.path.join(folder, names[3]), "r") as f:
        assert f["w"].shape == (3, 3, 32, 32) and f["w"].chunks == (1, 3, 32, 32)
        u, v, w = f["w"][-1].astype(float)
        k = np.fft.fftfreq(32, 1 / 32)
        dx = lambda a: np.fft.ifft(1j * k * np.fft.fft(a, axis=1), axis=1).real
        dy = lambda a: np.fft.ifft(1j * k[:, None] * np.fft.fft(a, axis=0), axis=0).real
        rms = np.sqrt((w**2).mean())
        assert np.abs(dx(v) - dy(u) - w).max() < 1e-4 * rms
        assert np.abs(dx(u) + dy(v)).max() < 1e-4 * rms
    with h5py.File(os.path.join(folder, names[4]), "r") as f:  # between walls: at cell centres
        assert list(f.attrs["periodic"]) == [0, 0] and f["w"].shape == (3, 3, 32, 32)
        u, v, w = f["w"][-1].astype(float)
        assert abs(u[0]).max() < 0.5 * abs(u[8]).max() and abs(v[:, 0]).max() < 0.5 * abs(v[:, 8]).max()
print("h5py and NumPy agree with", len(names), "files")
