"""flexhpc_io: reads what flexhpc writes, with h5py and NumPy alone.

    import flexhpc_io as fx
    run = fx.metrics("runs/demo/metrics.jsonl")        # {"step": array, "loss": array, ...}
    weights = fx.tensors(fx.latest("runs/demo"))       # {"encoder.input_blocks.0.weight": array, ...}
    fx.attributes(fx.latest("runs/demo"))["step"]
    fx.names("samples.h5")                             # {"sr_model": ((48, 64, 64), dtype('float32')), ...}
    fx.tensors("weights.safetensors")                  # what `flexhpc export` wrote; attributes() has its metadata

An array's name is its path in the HDF5 file without the leading slash; parameters keep their published names.
"""
import json
import os

import h5py
import numpy as np


def names(path, under="/"):
    """Every dataset below the group `under`: {name: (shape, dtype)}, in the order of the file. Reads no data."""
    found = {}
    with h5py.File(path, "r") as file:
        file[under].visititems(
            lambda name, item: found.update({name: (item.shape, item.dtype)}) if isinstance(item, h5py.Dataset) else None)
    return found


def tensors(path, under="/", match=""):
    """The datasets below the group `under` whose names hold `match`, read: {name: array}."""
    if str(path).endswith(".safetensors"):
        return {name: array for name, array in _safetensors(path)[0].items() if match in name}
    with h5py.File(path, "r") as file:
        return {name: file[under][name][()] for name in names(path, under) if match in name}


def attributes(path, of="/"):
    """The attributes of a group or dataset: {name: value}; text as str, one number as a Python number."""
    if str(path).endswith(".safetensors"):
        return _safetensors(path)[1]
    with h5py.File(path, "r") as file:
        return {key: _plain(value) for key, value in file[of].attrs.items()}


def _safetensors(path):
    with open(path, "rb") as file:
        header, data = json.loads(file.read(int.from_bytes(file.read(8), "little"))), file.read()
    metadata = header.pop("__metadata__", {})
    return {name: np.frombuffer(data[slice(*e["data_offsets"])], "<f4").reshape(e["shape"]) for name, e in header.items()}, metadata


def _plain(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        return value.item() if value.size == 1 and value.ndim < 2 else value
    return value.item() if isinstance(value, np.generic) else value


def metrics(path):
    """A metrics.jsonl as columns: {key: array} of one length, a row a line. Null, and a key that a line lacks, is NaN in a
    column of numbers and None in others. A last line that is cut (the run is being written) is left out."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    rows = [json.loads(line) for line in lines[:-1] if line.strip()]
    columns = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        number = all(v is None or isinstance(v, (int, float)) for v in values)
        columns[key] = np.array([np.nan if v is None and number else v for v in values], None if number else object)
    return columns


def latest(run):
    """The path of the newest whole checkpoint of a run folder, as its `ckpt/latest` names it."""
    folder = os.path.join(run, "ckpt")
    with open(os.path.join(folder, "latest"), encoding="utf-8") as file:
        return os.path.join(folder, os.path.basename(file.read().strip()))
