"""plain_safetensors.py: the safetensors format by its description alone, for tests: a strict reader, and a writer that puts
tensors in the order of names. NumPy arrays of float32."""
import json
import struct

import numpy as np


def read(path):
    """({name: array}, metadata). Fails where the file breaks the format."""
    with open(path, "rb") as file:
        data = file.read()
    length, = struct.unpack("<Q", data[:8])
    text = data[8:8 + length]
    assert len(text) == length <= 100_000_000 and text[:1] == b"{" and length % 8 == 0, "the header's length"

    def once(pairs):
        assert len(dict(pairs)) == len(pairs), "a name twice"
        return dict(pairs)

    header, at, tensors = json.loads(text.decode("utf-8"), object_pairs_hook=once), 0, {}
    metadata = header.pop("__metadata__", {})
    assert all(isinstance(value, str) for value in metadata.values()), "metadata that is no text"
    for name, entry in header.items():  # their order in the file is that of the values
        begin, end = entry["data_offsets"]
        assert set(entry) == {"dtype", "shape", "data_offsets"} and entry["dtype"] == "F32", (name, entry)
        assert begin == at and end - begin == 4 * int(np.prod(entry["shape"])), (name, entry)
        tensors[name] = np.frombuffer(data, "<f4", (end - begin) // 4, 8 + length + begin).reshape(entry["shape"])
        at = end
    assert 8 + length + at == len(data), "the end of the file"
    assert list(tensors) == sorted(tensors, key=lambda name: name.encode()), "the reference writer's order"
    return tensors, metadata


def write(path, tensors, metadata=None):
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    names = sorted(tensors, key=lambda name: name.encode())
    for name in names:
        end = at + 4 * tensors[name].size
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            file.write(np.ascontiguousarray(tensors[name], "<f4").tobytes())
