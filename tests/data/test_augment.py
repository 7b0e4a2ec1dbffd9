#!/usr/bin/env python3
"""The eight symmetries that data.augment applies, against NumPy: they are the rotations by numpy.rot90 and those of the
array mirrored by numpy.flip, each once, and exactly the mirrored ones are called reflections.
Planted and caught: the transposition left out; both flips of the same axis; rotations by 90 degrees called reflections; the sign
left out.
"""
import ctypes
import sys

try:
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

from library import load

library = load()
library.fx_is_reflection.restype = ctypes.c_bool
pointer = np.ctypeslib.ndpointer(np.float32, flags="C")
library.fx_symmetry_apply.argtypes = [ctypes.c_uint, ctypes.c_float, ctypes.c_int64, pointer, pointer]
library.fx_symmetry_apply.restype = None

field = np.random.default_rng(1).standard_normal((6, 6)).astype("f4")
found = {}
for symmetry in range(8):
    out = np.zeros_like(field)
    library.fx_symmetry_apply(symmetry, -2, 6, field, out)
    for mirrored in (False, True):
        for turns in range(4):
            want = np.rot90(np.flip(field, 1) if mirrored else field, turns)
            if np.array_equal(out, -2 * want):
                found[mirrored, turns] = symmetry
                assert library.fx_is_reflection(symmetry) == mirrored, (symmetry, mirrored)
assert sorted(found.values()) == list(range(8)), found
print("eight symmetries as NumPy's")
