#!/usr/bin/env python3
"""Published FLEX checkpoints (.pt) to safetensors files that `flexhpc import` reads, and back. Needs NumPy; back, PyTorch too.

    python3 flex_pt_to_safetensors.py checkpoint.pt weights.safetensors
    python3 flex_pt_to_safetensors.py --to-pt weights.safetensors checkpoint.pt

A published checkpoint is a dictionary with the state dictionaries `encoder`, `decoder`, `superres_encoder` and
`forecast_encoder` (those that the model has) and `ema`, whose `shadow_params` is a list without names, in the order of the
parameters. In the safetensors file they are `encoder.NAME` and so on, and the moving averages `ema.encoder.NAME`. It carries no
configuration, so `flexhpc import` wants one: flexhpc import CONFIG weights.safetensors --run DIR --set data.scale=5.4574137.

--to-pt takes a file with `ema.` names (`flexhpc export --weights both`); without them the weights stand for the average too. It
knows FLEX's order of parameters alone. Optimiser, schedule and best loss are not in such a file: what comes out can be
evaluated, sampled and fine-tuned from, not resumed.

A .pt file is a zip archive of a pickle and of raw numbers. It is read here without PyTorch, as tensors, texts and numbers:
whatever else the pickle names is neither looked up nor called.
"""
import argparse
import collections
import json
import math
import os
import pickle
import re
import struct
import sys
import zipfile

import numpy as np

NETWORKS = ("encoder", "decoder", "superres_encoder", "forecast_encoder")  # as the published model registers them
BUFFER = re.compile(r"\.(freqs|phases)$")
# Parts of names in the order in which the published modules register them.
ORDER = {part: i for i, part in enumerate((
    "pos_embed", "MPFourier", "time_embed", "input_blocks", "cond_embed", "patch_embed", "tr_blocks", "norm", "patch_unembed",
    "mid_block", "output_blocks", "final_layer", "in_layers", "emb_layers", "out_layers", "skip_connection", "norm1", "attn",
    "norm2", "mlp", "skip_linear", "qkv", "proj", "fc1", "fc2", "weight", "bias", "freqs", "phases"))}
STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "<u2", "LongStorage": "<i8"}


class Ignored:
    """In the place of whatever a checkpoint holds besides."""

    def __init__(self, *_, **__):
        pass

    def ignore(self, *_):
        pass

    __setstate__ = __setitem__ = append = extend = ignore


class Reader(pickle.Unpickler):
    """Arrays for tensors; floats of any width become float32."""

    def __init__(self, archive):
        names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError("an archive, but not of PyTorch's")
        self.archive, self.folder = archive, names[0][:-len("data.pkl")]
        super().__init__(archive.open(names[0]))

    def find_class(self, module, name):
        if module == "torch" and name in STORAGES:
            return name
        return {("collections", "OrderedDict"): collections.OrderedDict, ("torch._utils", "_rebuild_tensor_v2"): self.tensor,
                ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor}.get((module, name), Ignored)

    def persistent_load(self, identity):
        _, kind, key, *_ = identity
        entry = self.archive.getinfo(f"{self.folder}data/{key}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"data/{key} is compressed: PyTorch writes none so")
        return np.frombuffer(self.archive.read(entry), STORAGES[kind]), kind

    @staticmethod
    def tensor(storage, offset, shape, stride, *_):
        numbers, kind = storage
        reach = offset + sum((n - 1) * s for n, s in zip(shape, stride)) if all(shape) else -1
        if offset < 0 or min((*shape, *stride, 0)) < 0 or reach >= len(numbers) or math.prod(shape) > len(numbers):
            raise ValueError(f"a tensor {tuple(shape)} goes beyond its numbers")
        array = np.lib.stride_tricks.as_strided(numbers[offset:], shape, [s * numbers.itemsize for s in stride])
        if kind == "BFloat16Storage":
            array = (array.astype("<u4") << np.uint32(16)).view("<f4")
        return array if kind == "LongStorage" else np.ascontiguousarray(array, "<f4").reshape(shape)


def read_pt(path):
    if not zipfile.is_zipfile(path):
        raise ValueError("no archive as PyTorch writes since 1.6")
    with zipfile.ZipFile(path) as archive:
        checkpoint = Reader(archive).load()
    if not isinstance(checkpoint, dict):
        raise ValueError("no dictionary: no published checkpoint")
    return checkpoint


def state_of(checkpoint, network):
    """A network's state dictionary, without what distributed training puts before names; None: it has none."""
    state = checkpoint.get(network)
    if state is not None and not (isinstance(state, dict) and all(isinstance(v, np.ndarray) for v in state.values())):
        raise ValueError(f"{network}: no state dictionary of tensors")
    return state and {name[7:] if name.startswith("module.") else name: value for name, value in state.items()}


def named(checkpoint):
    """{name: array}: weights, buffers, and moving averages under `ema.`."""
    states = {network: state_of(checkpoint, network) for network in NETWORKS}
    tensors = {f"{network}.{name}": value for network, state in states.items() if state for name, value in state.items()}
    if not tensors:
        raise ValueError(f"none of {', '.join(NETWORKS)} is in it: no published checkpoint")
    parameters = [name for name in tensors if not BUFFER.search(name)]
    averages = (checkpoint.get("ema") or {}).get("shadow_params")
    if averages is None:
        return tensors
    if len(averages) != len(parameters):
        raise ValueError(f"ema.shadow_params: {len(averages)} tensors for {len(parameters)} parameters")
    for name, average in zip(parameters, averages):
        if average.shape != tensors[name].shape:
            raise ValueError(f"ema.shadow_params: {average.shape} in the place of {name}, {tensors[name].shape}")
        tensors["ema." + name] = average
    return tensors


def created(path):
    """A new file in the place of what an earlier try left; never through a link that somebody put there."""
    if os.path.islink(path):
        raise ValueError(f"{path}: is a symbolic link, refused")
    if os.path.exists(path):
        os.remove(path)
    return open(path, "xb")


def write_safetensors(path, tensors, metadata):
    """F32 in the order of names; to a temporary file first."""
    header, at = {"__metadata__": metadata}, 0
    for name in sorted(tensors):
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [at, at + 4 * tensors[name].size]}
        at += 4 * tensors[name].size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with created(path + ".part") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            file.write(np.ascontiguousarray(tensors[name], "<f4").tobytes())
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)


def read_safetensors(path):
    """Of a file that `flexhpc export` wrote: F32 only."""
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"{name}: dtype {entry['dtype']}, not F32")
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return tensors


def place(name):
    """What sorts names as the published modules register them."""
    network, *parts = name.split(".")
    try:
        return NETWORKS.index(network), [(0, int(part)) if part.isdigit() else (1, ORDER[part]) for part in parts]
    except (KeyError, ValueError):
        raise ValueError(f"{name}: no name of FLEX's") from None


def published(tensors):
    """The dictionary that published code loads, from what `named` makes."""
    from torch import from_numpy
    averages = {name[4:]: value for name, value in tensors.items() if name.startswith("ema.")}
    weights = {name: value for name, value in tensors.items() if not name.startswith("ema.")}
    names = sorted(weights, key=place)
    checkpoint = {network: collections.OrderedDict() for network in dict.fromkeys(name.split(".")[0] for name in names)}
    for name in names:
        network, rest = name.split(".", 1)
        checkpoint[network][rest] = from_numpy(weights[name].copy())
    parameters = [name for name in names if not BUFFER.search(name)]
    missing = [name for name in parameters if averages and name not in averages]
    if missing:
        raise ValueError(f"ema.{missing[0]}: missing, and {len(missing) - 1} more")
    shadow = [from_numpy((averages or weights)[name].copy()) for name in parameters]
    ema = {"decay": 0.999, "num_updates": 0, "shadow_params": shadow, "collected_params": None}
    return {**checkpoint, "ema": ema, "epoch": 0, "loss": float("inf")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to-pt", action="store_true", help="from safetensors to .pt")
    parser.add_argument("source")
    parser.add_argument("target")
    arguments = parser.parse_args()
    try:
        if arguments.to_pt:
            import torch
            with created(arguments.target + ".part") as file:
                torch.save(published(read_safetensors(arguments.source)), file)
            os.replace(arguments.target + ".part", arguments.target)
        else:
            metadata = {"format": "pt", "step": "0", "source": os.path.basename(arguments.source)}
            write_safetensors(arguments.target, named(read_pt(arguments.source)), metadata)
    except Exception as error:  # damaged files fail in many ways
        said = str(error).split("\n")[0] or type(error).__name__
        sys.exit(f"flex_pt_to_safetensors: {arguments.source}: {said}")


if __name__ == "__main__":
    main()
