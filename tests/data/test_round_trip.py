#!/usr/bin/env python3
"""Every format packed, exported to The Well and to NSKT, and packed again: the same patches bit for bit, condition, times, scale and
periodic axes among them, walls as well as periodic boxes; what a pack and a data set can't say is refused.

Planted in the code, caught here, removed: axes swapped in what is written of them, and in what is read;
places on walls instead of between them; the first run written for all; NSKT without periodic, edges, scale, or a seed for each run; the name that a field had
before NSKT not read back.
Run: label quick"""
import os

import numpy as np
import h5py

import formats
from formats import pack, patches, run

T, H, W = 3, 32, 48
random = np.random.default_rng(11)


def noise(*shape):
    return random.standard_normal(shape).astype(np.float32)


def content(path, **keys):
    """{(run, tile): its field} of a pack of the file or folder, its sources and scale."""
    files = sorted(os.path.join(path, n) for n in os.listdir(path)) if os.path.isdir(path) else [path]
    m = pack(*files, **keys)
    names = sorted({s["name"] for s in m["sources"]})
    fields = {(s.get("run", 0) + (names.index(s["name"]) if len(names) > 1 else 0), tile): w.copy() for s, tile, w in patches(m)}
    return fields, m


def axes(m):
    return {tuple(s.get("periodic", [True, True])) for s in m["sources"]}


def close(a, b):  # The Well's times and scalars have single precision
    return np.allclose(a, b, rtol=1e-6)


def same(first, second, what, exact):
    (fields, m), (others, n) = first, second
    assert fields.keys() == others.keys() and len(fields) > 0, (what, fields.keys(), others.keys())
    for key, field in fields.items():
        assert field.tobytes() == others[key].tobytes(), (what, key)
    assert axes(m) == axes(n), (what, axes(m), axes(n))
    if exact:
        assert {s.get("field") for s in m["sources"]} == {s.get("field") for s in n["sources"]}, (what, m, n)
    for key in ("reynolds", "start", "interval"):
        a, b = ([s[key] for s in x["sources"]] for x in (m, n))
        assert a == b if exact else close(a, b), (what, key, a, b)
    assert close(m["scale"], n["scale"]), (what, m["scale"], n["scale"])


def round_trip(path, bound, **keys):
    """bound: for x and y what the export to The Well says, "periodic", "wall" or "open"."""
    sets = formats.sets(keys)
    first = content(path, **keys)
    run("data", "export", path, "well.hdf5", *sets)
    with h5py.File("well.hdf5") as f:
        assert sorted(f["boundary_conditions"]) == [f"x_{bound[0]}", f"y_{bound[1]}"], list(f["boundary_conditions"])
        for axis, kind in zip("xy", bound):
            b = f[f"boundary_conditions/{axis}_{kind}"]
            assert b.attrs["bc_type"] == kind.upper() and list(b.attrs["associated_dims"]) == [axis]
            at = f[f"dimensions/{axis}"]
            assert close(at[0], (kind == "wall") * 0.5 * (at[1] - at[0])), (axis, at[:2])  # cells' centres
    times = {s["interval"] for s in first[1]["sources"]}
    if 0 not in times:
        same(first, content("well.hdf5"), f"{path} as The Well", False)
    os.mkdir("nskt")
    run("data", "export", path, "nskt", *sets)
    same(first, content("nskt"), f"{path} as NSKT", True)
    done = run("data", "export", path, "nskt", *sets, code=1)
    assert "is there already" in done.stderr, done.stderr
    # And from one to the other.
    for name in sorted(os.listdir("nskt"))[:1]:
        run("data", "export", f"nskt/{name}", "again.hdf5")
        with h5py.File("again.hdf5") as f, h5py.File("well.hdf5") as once:
            assert list(f["t0_fields"]) == list(once["t0_fields"]), (path, list(f["t0_fields"]))
            assert sorted(f["boundary_conditions"]) == [f"x_{bound[0]}", f"y_{bound[1]}"], (path, list(f["boundary_conditions"]))
    formats.shutil.rmtree("nskt")
    return first[1]


# NSKT as published, (T, 3, H, W), without a word on times; then as our solver writes it.
with h5py.File("500_32_48_seed_7.h5", "w") as f:
    f["w"] = noise(T, 3, H, W)
round_trip("500_32_48_seed_7.h5", ("periodic", "periodic"))
with h5py.File("600_32_48_seed_7.h5", "w") as f:
    f["w"] = noise(T, H, W)
    f.attrs["Re"], f.attrs["start"], f.attrs["interval"], f.attrs["periodic"] = 600.0, 2.0, 0.1, [1, 0]
assert axes(round_trip("600_32_48_seed_7.h5", ("wall", "periodic"))) == {(True, False)}

# SuperBench: a folder's Reynolds number.
os.makedirs("nskt_16k/train")
with h5py.File("nskt_16k/train/nskt.h5", "w") as f:
    f["fields"] = noise(T, 3, H, W)
m = round_trip("nskt_16k/train/nskt.h5", ("periodic", "periodic"))
assert m["sources"][0]["reynolds"] == 16000

# PDEBench: two runs between walls, x first.
with h5py.File("ns.h5", "w") as f:
    f.attrs["config"] = "NU: 0.002\n"
    f["velocity"], f["t"] = noise(2, T, W, H, 2), np.tile(5e-3 * np.arange(T, dtype=np.float32), (2, 1))
m = round_trip("ns.h5", ("wall", "wall"), source__channel=1)
assert len(m["sources"]) == 2 and m["sources"][0]["reynolds"] == 500 and axes(m) == {(False, False)}

# minFLEX: part of a larger domain; no Reynolds number, so none to name a file of NSKT after.
with h5py.File("2013_subregion.h5", "w") as f:
    f["fields"] = noise(T, H, W)
done = run("data", "export", "2013_subregion.h5", ".", code=1)
assert "2013_subregion.h5: condition 0 and seed 0 make no name" in done.stderr, done.stderr
round_trip("2013_subregion.h5", ("open", "open"), source__condition=7)

# The Well: the runs' own scalars, a wall along y alone, the scale of its data set, which NSKT's keeps.
os.makedirs("flow/data/train")
with open("flow/stats.yaml", "w") as text:
    text.write("rms:\n  vorticity: 2.5\n")
path = "flow/data/train/a.hdf5"
run("data", "export", "600_32_48_seed_7.h5", path, "--set", "source.periodic=x", "--set", "source.edges=open")
with h5py.File(path, "r+") as f:
    field = f["t0_fields/vorticity"]
    attributes = dict(field.attrs)
    del f["t0_fields/vorticity"], f["scalars/Reynolds"]
    f["t0_fields/vorticity"], f["scalars/Reynolds"] = noise(2, T, W, H), [100.0, 200.5]
    f["t0_fields/vorticity"].attrs.update(attributes)
    f["scalars/Reynolds"].attrs["sample_varying"], f["scalars/Reynolds"].attrs["time_varying"] = True, False
    f.attrs["n_trajectories"] = 2
first = content(path)
assert first[1]["scale"] == 2.5 and axes(first[1]) == {(False, True)}
os.mkdir("nskt")
run("data", "export", path, "nskt")
assert sorted(os.listdir("nskt")) == ["100_32_48_seed_0.h5", "200.5_32_48_seed_1.h5"], os.listdir("nskt")
same(first, content("nskt"), "The Well as NSKT", True)
run("data", "export", path, "flow/data/train/b.hdf5")
same(first, content("flow/data/train/b.hdf5"), "The Well as The Well", False)
with h5py.File("nskt/100_32_48_seed_0.h5", "r+") as f:
    f.attrs["scale"] = -1.0
formats.refused("attribute scale is -1", "nskt/100_32_48_seed_0.h5")
with h5py.File("nskt/200.5_32_48_seed_1.h5", "r+") as f:
    f.attrs["edges"] = [0, 3]
formats.refused("attribute edges is not two of 0 to 2", "nskt/200.5_32_48_seed_1.h5")
formats.shutil.rmtree("nskt")

# What bounds a channel of neither: the user says it, or nobody.
os.makedirs("cosmo")
with h5py.File("cosmo/a.h5", "w") as f:
    f["fields"] = noise(T, 1, H, W)
done = run("data", "export", "cosmo/a.h5", "no.hdf5", code=1)
assert "cosmo/a.h5: is not periodic along y, and what bounds it is not known" in done.stderr, done.stderr
assert not os.path.exists("no.hdf5")
round_trip("cosmo/a.h5", ("wall", "wall"), source__edges="wall", source__condition=1)
formats.end()
