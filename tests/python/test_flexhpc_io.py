"""flexhpc_io against files made here with h5py and json.

Run: label quick
Planted errors, each caught: the cut last line parsed, null as 0, the group left out of the path, text attributes left as bytes,
`latest` resolved in the current folder, a tensor's bytes taken from the file's begin instead of the header's end.
"""
import json
import os
import sys
import tempfile

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "src", "python")]
import flexhpc_io as fx
import plain_safetensors

with tempfile.TemporaryDirectory() as run:
    os.mkdir(os.path.join(run, "ckpt"))
    checkpoint = os.path.join(run, "ckpt", "step-00000007.h5")
    weight = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    with h5py.File(checkpoint, "w") as file:
        file["weights/encoder.input_blocks.0.weight"] = weight
        file["weights/decoder.out.bias"] = np.zeros(3, np.float32)
        file["ema/decoder.out.bias"] = np.ones(3, np.float32)
        file.attrs["step"] = np.int64(7)
        file.attrs["commit"] = np.bytes_(b"abc")
        file.attrs["name"] = "demo"
        file.attrs["channels"] = np.array([32, 64])
        file["weights"].attrs["scale"] = np.array([2.5])
    with open(os.path.join(run, "ckpt", "latest"), "w") as file:
        file.write("step-00000007.h5\n")

    assert fx.latest(run) == checkpoint
    assert fx.names(checkpoint)["weights/encoder.input_blocks.0.weight"] == ((2, 3, 4), np.dtype("float32"))
    assert len(fx.names(checkpoint)) == 3 and set(fx.names(checkpoint, "ema")) == {"decoder.out.bias"}
    read = fx.tensors(checkpoint, "weights")
    assert np.array_equal(read["encoder.input_blocks.0.weight"], weight) and read["decoder.out.bias"].sum() == 0
    assert fx.tensors(checkpoint, "ema")["decoder.out.bias"].sum() == 3
    assert list(fx.tensors(checkpoint, match="encoder")) == ["weights/encoder.input_blocks.0.weight"]
    root = fx.attributes(checkpoint)
    assert root["step"] == 7 and root["commit"] == "abc" and root["name"] == "demo", root
    assert list(root["channels"]) == [32, 64] and fx.attributes(checkpoint, "weights") == {"scale": 2.5}

    weights = os.path.join(run, "weights.safetensors")
    plain_safetensors.write(weights, {"encoder.w": weight, "decoder.b": weight[0, 0]}, {"step": "7"})
    read = fx.tensors(weights)
    assert np.array_equal(read["encoder.w"], weight) and np.array_equal(read["decoder.b"], weight[0, 0]) and len(read) == 2
    assert list(fx.tensors(weights, match="decoder")) == ["decoder.b"] and fx.attributes(weights) == {"step": "7"}

    metrics = os.path.join(run, "metrics.jsonl")
    with open(metrics, "w") as file:
        file.write("".join(json.dumps(row) + "\n" for row in (
            {"schema": 1, "step": 1, "loss": 0.5, "kind": "train"}, {"schema": 1, "step": 2, "loss": None, "kind": "train"},
            {"schema": 1, "step": 2, "rfne": 0.3, "kind": "validate"})) + '{"schema": 1, "ste')
    columns = fx.metrics(metrics)
    assert list(columns) == ["schema", "step", "loss", "kind", "rfne"]
    assert columns["step"].tolist() == [1, 2, 2] and columns["kind"].tolist() == ["train", "train", "validate"]
    assert columns["loss"][0] == 0.5 and np.isnan(columns["loss"][1:]).all() and columns["rfne"].dtype == float
    open(metrics, "w").close()
    assert fx.metrics(metrics) == {}
print("flexhpc_io reads checkpoints and metrics")
