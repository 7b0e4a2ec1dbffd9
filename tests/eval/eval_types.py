"""libflexhpc.so and the structs of eval.h, for the tests in Python; skipped where the library can't be loaded."""
import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.environ["FX_TESTS_DIR"], "data"))
import library

fx = library.load()
f32p, f64, i64 = ctypes.POINTER(ctypes.c_float), ctypes.c_double, ctypes.c_int64
FLOORS, METRICS, STATISTICS = 2, 19, 26


class SampleScore(ctypes.Structure):
    _fields_ = [("index", i64), ("block", i64), ("reynolds", f64), ("rfne", f64), ("floor", f64 * FLOORS),
                ("correlation", f64), ("loss", f64), ("target", f64), ("output", f64), ("task", ctypes.c_int),
                ("value", f64 * METRICS), ("place", i64)]


class Details(ctypes.Structure):
    _fields_ = [("shells", i64), ("dk", f64), ("nyquist", f64), ("lowres_nyquist", f64), ("values", ctypes.c_bool),
                ("members", ctypes.c_int), ("leads", ctypes.c_int)]


class Scores(ctypes.Structure):
    _fields_ = [("row", ctypes.POINTER(SampleScore)), ("count", i64), ("capacity", ctypes.c_size_t), ("details", Details),
                ("numbers", ctypes.POINTER(f64)), ("details_capacity", ctypes.c_size_t)]


class Score(ctypes.Structure):
    _fields_ = [("task", ctypes.c_int), ("reynolds", f64), ("count", i64), ("blocks", i64), ("rfne", f64), ("rfne_error", f64),
                ("rfne_low", f64), ("rfne_high", f64), ("floor", f64 * FLOORS), ("ratio", f64), ("ratio_low", f64),
                ("ratio_high", f64), ("correlation", f64), ("loss", f64), ("target", f64), ("output", f64),
                ("value", f64 * STATISTICS), ("low", f64 * STATISTICS), ("high", f64 * STATISTICS), ("published", f64),
                ("natural95", f64)]
