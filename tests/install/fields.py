"""fields.py: the arrays that a solver has, and those that `flexhpc sample` made of the same ones.
fields.py inputs SAMPLES RE: finds each sample's tile in fields/, writes coarse-K.f32 (S/4, S/4) and past.f32 (count, 2, S, S)
fields.py equal SAMPLES DATASET RE FILE FIRST COUNT: FILE holds samples FIRST and on of the Reynolds number, to the bit
fields.py whole FIELDS TASK: writes TASK_input of a file of whole fields to TASK_input.f32
fields.py member FIELDS TASK MEMBER FILE: FILE holds this member of TASK_model, to the bit
fields.py differ FILE OTHER: by more than rounding
fields.py broken CHECKPOINT: writes reshaped.h5, lacking.h5 and flipped.h5, each spoiled in one tensor"""
import glob
import shutil
import sys

import h5py
import numpy as np

FACTOR = 4


def samples_of(path, dataset, reynolds):
    with h5py.File(path) as file:
        return file[dataset][file["reynolds"][:] == reynolds]


def tiles_of(reynolds, side):
    (path,) = glob.glob(f"fields/{reynolds:.0f}_*.h5")
    with h5py.File(path) as file:
        fields = file["w"][:].astype(np.float32)
    t, n = fields.shape[0], fields.shape[1] // side
    return fields.reshape(t, n, side, n, side).transpose(1, 3, 0, 2, 4).reshape(n * n, t, side, side)


def inputs(path, reynolds):
    truth = samples_of(path, "sr_truth", reynolds)
    tiles = tiles_of(reynolds, truth.shape[-1])
    past = []
    for k, wanted in enumerate(truth):
        error = np.abs(tiles - wanted).max(axis=(2, 3))
        tile, t = np.unravel_index(error.argmin(), error.shape)
        assert error.min() < 1e-5 * np.abs(wanted).max(), f"sample {k} is no tile of the fields"
        tiles[tile, t, ::FACTOR, ::FACTOR].tofile(f"coarse-{k}.f32")
        past.append(tiles[tile, t - 1:t + 1])
    np.stack(past).tofile("past.f32")


def equal(path, dataset, reynolds, name, first, count):
    wanted = samples_of(path, dataset, reynolds)[first:first + count]
    got = np.fromfile(name, np.float32).reshape(wanted.shape)
    given = samples_of(path, dataset.replace("model", "input"), reynolds)[first:first + count]
    assert np.abs(wanted - given).max() > 1e-3 * np.abs(given).max(), "the model adds nothing: no test"
    assert got.tobytes() == wanted.tobytes(), f"{name}: differs by {np.abs(got - wanted).max()}"


def whole(path, task):
    with h5py.File(path) as file:
        file[f"{task}_input"][:].tofile(f"{task}_input.f32")


def member(path, task, k, name):
    with h5py.File(path) as file:
        wanted = file[f"{task}_model"][k]
    got = np.fromfile(name, np.float32).reshape(wanted.shape)
    assert np.array_equal(got, wanted), f"{name}: {np.abs(got - wanted).max()} from member {k} of {path}"


def differ(name, other):
    a, b = np.fromfile(name, np.float32), np.fromfile(other, np.float32)
    assert np.abs(a - b).max() > 1e-4 * np.abs(a).max(), f"{name} and {other} are equal"


def broken(checkpoint):
    for name in "reshaped.h5", "lacking.h5", "flipped.h5":
        shutil.copy(checkpoint, name)
        with h5py.File(name, "r+") as file:
            group = file["ema"]
            tensor = sorted(group)[0]
            values, mark = group[tensor][:], group[tensor].attrs["xxh64"]
            if name == "flipped.h5":
                group[tensor][...] = -values
                continue
            del group[tensor]
            if name == "reshaped.h5":
                group.create_dataset(tensor, data=np.zeros(values.size + 1, np.float32)).attrs["xxh64"] = mark


if sys.argv[1] == "inputs":
    inputs(sys.argv[2], float(sys.argv[3]))
elif sys.argv[1] == "equal":
    equal(sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5], int(sys.argv[6]), int(sys.argv[7]))
elif sys.argv[1] == "whole":
    whole(sys.argv[2], sys.argv[3])
elif sys.argv[1] == "member":
    member(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
elif sys.argv[1] == "differ":
    differ(sys.argv[2], sys.argv[3])
else:
    broken(sys.argv[2])
