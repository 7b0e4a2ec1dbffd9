#!/usr/bin/env python3
"""The Well's files: fields, components, runs, boundaries, scalars, scale and damage.

Planted in the code, caught here, removed: rows and columns exchanged; the first run's Reynolds number given to all; a wall
that contradicts forgotten; the last component's root mean square taken, or another table's; x taken for the first axis
wherever it stands; links followed.
Run: label quick"""
import os

import numpy as np
import h5py

import formats
from formats import compare, damage, links, pack, refused, run, train_and_evaluate

B, T, W, H = 3, 5, 40, 36
random = np.random.default_rng(1)


def write(path, spatial=("x", "y"), boundaries=(("x", "PERIODIC"), ("y", "WALL")), samples=True):
    """As the_well's own script for test data writes, with h5py's strings and booleans."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    size = {"x": W, "y": H}
    shape = ((B,) if samples else ()) + (T,) + tuple(size[a] for a in spatial)
    tracer = random.standard_normal(shape).astype(np.float32)
    velocity = random.standard_normal(shape + (2,)).astype(np.float32)
    with h5py.File(path, "w") as f:
        f.attrs["dataset_name"] = "flow"
        f.attrs["grid_type"] = "cartesian"
        f.attrs["n_spatial_dims"] = 2
        f.attrs["n_trajectories"] = B if samples else 1
        f.attrs["simulation_parameters"] = ["Reynolds"]
        f.attrs["Reynolds"] = 1e4
        group = f.create_group("boundary_conditions")
        for i, (axis, kind) in enumerate(boundaries):
            sub = group.create_group(f"{axis}_{i}")
            sub.attrs["associated_dims"] = axis
            sub.attrs["associated_fields"] = []
            sub.attrs["bc_type"] = kind
            sub.attrs["sample_varying"] = sub.attrs["time_varying"] = False
            mask = np.zeros(size[axis], bool)
            mask[0] = mask[-1] = True
            sub["mask"] = mask
        group = f.create_group("dimensions")
        group.attrs["spatial_dims"] = list(spatial)
        for name, values in (("time", 2 + 0.25 * np.arange(T)), ("x", np.arange(W)), ("y", np.arange(H))):
            group[name] = values.astype(np.float32)
            group[name].attrs["sample_varying"] = group[name].attrs["time_varying"] = False
        group = f.create_group("scalars")
        group.attrs["field_names"] = ["Schmidt", "Reynolds", "heat"]
        group["Schmidt"] = 0.5
        group["Reynolds"] = 1000.0 * np.arange(1, B + 1) if samples else 1000.0
        group["heat"] = np.arange(T, dtype=float)
        for name in group:
            group[name].attrs["sample_varying"] = name == "Reynolds" and samples
            group[name].attrs["time_varying"] = name == "heat"
        for order, fields in enumerate(({"tracer": tracer}, {"velocity": velocity}, {})):
            group = f.create_group(f"t{order}_fields")
            group.attrs["field_names"] = list(fields)
            for name, values in fields.items():
                data = group.create_dataset(name, data=values)
                data.attrs["dim_varying"] = np.array([True, True])
                data.attrs["sample_varying"], data.attrs["time_varying"] = samples, True
    return tracer, velocity


def rows_first(field):
    """(T, x, y) as (T, y, x)."""
    return field.transpose(0, 2, 1)


path = "flow/data/train/flow_Re_1e4.hdf5"
tracer, velocity = write(path)

# The first scalar field, a source a run, the Reynolds number of each, walls along y.
m = pack(path)
compare(m, lambda s: rows_first(tracer[s.get("run", 0)]))
assert [(s["reynolds"], s.get("run", 0), s["start"], s["interval"]) for s in m["sources"]] == [
    (1000.0, 0, 2.0, 0.25), (2000.0, 1, 2.0, 0.25), (3000.0, 2, 2.0, 0.25)], m["sources"]
assert m["periodic"] is False and all(s["periodic"] == [False, True] for s in m["sources"]), m
assert all(s["field"] == "t0_fields/tracer" for s in m["sources"])
assert np.isclose(m["scale"], np.sqrt((tracer[:, :, :32, :32].astype(float) ** 2).mean()))
train_and_evaluate()

# A component of a vector, a run of its own Reynolds number, a condition of another scalar and of no scalar.
m = pack(path, source__key="velocity", source__channel=1, pack__reynolds=2000)
assert compare(m, lambda s: rows_first(velocity[1, ..., 1])) == 4 and m["sources"][0]["field"] == "t1_fields/velocity[1]"
m = pack(path, source__key="t1_fields/velocity", source__condition="Schmidt")
compare(m, lambda s: rows_first(velocity[s.get("run", 0), ..., 0]))
assert {s["reynolds"] for s in m["sources"]} == {0.5}
assert {s["reynolds"] for s in pack(path, source__condition=7)["sources"]} == {7}

# y before x; fields without a batch; both axes periodic; a wall that contradicts; nothing said; the user's word.
yx = "flow/data/train/yx.hdf5"
tracer_yx, _ = write(yx, ("y", "x"), (("x", "periodic"), ("y", "PERIODIC")), samples=False)
m = pack(yx)
compare(m, lambda s: tracer_yx)
assert m["periodic"] is True and "periodic" not in m["sources"][0]
write(yx, ("y", "x"), (("x", "periodic"), ("y", "WALL")))
assert pack(yx)["sources"][0]["periodic"] == [False, True]
write(yx, boundaries=(("x", "PERIODIC"), ("x", "OPEN"), ("y", "PERIODIC")))
assert pack(yx)["sources"][0]["periodic"] == [True, False]
write(yx, boundaries=())
assert pack(yx)["sources"][0]["periodic"] == [False, False]
assert pack(yx, source__periodic="x")["sources"][0]["periodic"] == [False, True]
assert pack(yx, source__periodic="y")["sources"][0]["periodic"] == [True, False]

# The scale of the data set: rms, or what mean and std make, where it has the field.
stats = "mean:\n  tracer: 3.0\n  velocity: [1.0, 2.0]\nstd:\n  tracer: 4.0\n  velocity: [1.0, 1.5]\n"
with open("flow/stats.yaml", "w") as text:
    text.write(stats)
assert pack(path)["scale"] == 5
assert pack(path, source__key="velocity", source__channel=1)["scale"] == 2.5
with open("flow/stats.yaml", "w") as text:
    text.write(stats + "rms:\n  velocity:\n  - 6.0\n  - 7.0\n  tracer: 8.0\nrms_delta:\n  tracer: 9.0\n")
assert pack(path)["scale"] == 8
assert pack(path, source__key="velocity", source__channel=1)["scale"] == 7
with open("flow/stats.yaml", "w") as text:
    text.write(stats + "rms: {velocity: [6.0, 7.0]}\nrms_delta: {tracer: 9.0}\n")
assert pack(path)["scale"] == 5
with open("flow/stats.yaml", "w") as text:
    text.write("mean: {other: 1.0}\n")
assert np.isclose(pack(path)["scale"], np.sqrt((tracer[:, :, :32, :32].astype(float) ** 2).mean()))

# A folder, of which files of no format are left out.
with h5py.File("flow/data/train/notes.h5", "w") as f:
    f["x"] = 1.0
os.rename(yx, yx + ".old")
done = run("pack", "--set", "pack.source=flow/data/train", "--out", "folder", "--patch", 16)
assert "notes.h5 is left out" in done.stderr and os.path.exists("folder/manifest.json"), done.stderr

# Damage.
refused("no field heat", path, code=2, source__key="heat")
refused("source.channel: 2", path, code=2, source__key="velocity", source__channel=2)
refused("no scalar Prandtl", path, code=2, source__condition="Prandtl")
refused("heat varies in time", path, source__condition="heat")


def set_attribute(key, name, value):
    def spoil(f):
        del f[key].attrs[name]
        if value is not None:
            f[key].attrs[name] = value
    return spoil


def replace(key, value, keep=()):
    def spoil(f):
        attributes = dict(f[key].attrs)
        del f[key]
        f[key] = value
        for name, a in attributes.items():
            f[key].attrs[name] = a
    return spoil


def poison(f):
    f["t0_fields/tracer"][1, 2, 3, 4] = np.nan


field = "t0_fields/tracer"
damage(path, [
    ("run 1: t0_fields/tracer[2, 4, 3] is nan", poison),
    ("n_trajectories is 4", set_attribute("/", "n_trajectories", 4)),
    ("3 spatial dimensions", set_attribute("dimensions", "spatial_dims", ["x", "y", "z"])),
    ("no attribute spatial_dims", set_attribute("dimensions", "spatial_dims", None)),
    ("is no list of names", set_attribute("dimensions", "spatial_dims", 3.5)),
    ("is no list of names", set_attribute("t0_fields", "field_names", ["n" * 5000])),
    ("no attribute time_varying", set_attribute(field, "time_varying", None)),
    ("doesn't vary in time", set_attribute(field, "time_varying", False)),
    ("is no list of truth values", set_attribute(field, "dim_varying", "yes")),
    ("is (3, 5, 40, 36), not (t, x, y)", set_attribute(field, "sample_varying", False)),
    ("holds integers", replace(field, np.zeros((B, T, W, H), int))),
    ("is (3, 0, 40, 36)", replace(field, np.zeros((B, 0, W, H), np.float32))),
    ("holds no numbers", replace(field, np.zeros((B, T, W, H), "S4"))),
    ("dimensions/time is (4)", replace("dimensions/time", np.zeros(4))),
    ("are no times", replace("dimensions/time", np.array([0, 1, np.nan, 3, 4]))),
    ("dimensions/time: no such dataset", lambda f: f.move("dimensions/time", "t")),
    ("scalars/Reynolds is no number of each", replace("scalars/Reynolds", np.ones(2))),
    ("condition -1", replace("scalars/Reynolds", np.array([1.0, -1.0, 2.0]))),
    ("bc_type: no such attribute", set_attribute("boundary_conditions/x_0", "bc_type", None)),
])
links(path, field)


def leave(f):
    f.move("t0_fields", "real")
    f["t0_fields"] = h5py.ExternalLink(os.path.abspath(path), "t0_fields")


damage(path, [("t0_fields: is a link, refused", leave), ("no format that is known here", lambda f: f.move("t0_fields", "t"))])
with open("cut.hdf5", "wb") as cut, open(path, "rb") as whole:
    cut.write(whole.read()[:3000])
refused("truncated", "cut.hdf5")
formats.end()
