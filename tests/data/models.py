"""Tiny models for tests of what goes into a model and comes out: trained on a pack, sampled by the program and by the C API.
Imported after formats, whose scratch folder they lie in."""
import ctypes
import json

import numpy as np
import h5py

import formats
from formats import run, sets
from library import load

random = np.random.default_rng(5)


def smooth(*shape):
    """Periodic fields with some structure, of root mean square about 1."""
    x = np.fft.rfft2(random.standard_normal(shape))
    ky, kx = np.fft.fftfreq(shape[-2]) * shape[-2], np.arange(shape[-1] // 2 + 1)
    x *= np.exp(-(ky[:, None] ** 2 + kx**2) / 100)
    y = np.fft.irfft2(x, s=shape[-2:])
    return (y / y.std()).astype(np.float32)


def train(name, ranks=1, **keys):
    with open("tiny.yaml", "w") as f:
        f.write(formats.TINY.replace("TASKS", "tasks: mt"))
    run("train", "tiny.yaml", "--run", name, *sets({"train__steps": 2, "checkpoint__every": 2, **keys}), ranks=ranks)


def sampled(name, **keys):
    """Inputs, results and truths of super-resolution, (sample, y, x)."""
    run("sample", "tiny.yaml", "--run", name, "--out", "sample.h5", *sets(keys))
    with h5py.File("sample.h5") as f:
        return f["sr_input"][:], f["sr_model"][:], f["sr_truth"][:]


def losses(name):
    with open(f"{name}/metrics.jsonl") as lines:
        return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


library = load()
library.flexhpc_error.restype = ctypes.c_char_p


class Draw(ctypes.Structure):
    _fields_ = [("reynolds", ctypes.c_double), ("seed", ctypes.c_uint64), ("member", ctypes.c_uint32)]


def superres(name, coarse, draw):
    """The sharp field, or the error's text."""
    handle, fine = ctypes.c_void_p(), np.zeros((16, 16), np.float32)
    coarse = np.ascontiguousarray(coarse)
    pointer = lambda a: a.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    assert library.flexhpc_open(name.encode(), None, ctypes.byref(handle)) == 0, library.flexhpc_error()
    code = library.flexhpc_superres(handle, ctypes.byref(draw), ctypes.c_int64(1), ctypes.c_int64(4), ctypes.c_int64(4),
                                    pointer(coarse), pointer(fine))
    library.flexhpc_close(ctypes.byref(handle))
    return fine if code == 0 else library.flexhpc_error().decode()
