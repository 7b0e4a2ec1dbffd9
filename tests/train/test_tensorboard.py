#!/usr/bin/env python3
"""The event files in a run's tb/ folder, read by the format's rules and nothing of ours: every record's framing and both its
checksums, the protobuf fields, and that the curves are those of metrics.jsonl, also after a stop and a resume, when the newer
file hides what the older one says of later steps.

Planted and caught: CRC-32 instead of CRC-32C; checksums not masked; big-endian numbers; the value's key for the tag; the
session's start at the checkpoint's step; no start at all; a scalar left out; step and wall time exchanged; a session's start in
the pictures' file, which hides the curves; a wrong height; the length of a summary without its value's head; the error's
picture without its minus; of validations: a picture at the end alone; the truth for what the model makes; another sample than the
evaluation's first.

Run: label full
"""
import glob
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.environ["FX_TESTS_DIR"], "report"))
import pictures as png_pictures

FLEXHPC = os.environ["FLEXHPC"]
CONFIG = """
model: {preset: custom, channels: [32], blocks: [1], depth: 1, heads: 2, mlp_ratio: 1}
data: {path: pack, patch: 16, factor: 4}
train: {steps: 5, global_batch: 4, learning_rate: 1e-3, optimizer: adamw}
validate: {every: 2, patches: 2}
eval: {batch: 2}
checkpoint: {every: 3}
generate: {path: fields, reynolds: [50, 100], grid: 64, start: 0, interval: 0.1, snapshots: 6}
pack: {source: fields, path: pack, patch: 16, strata: 4}
"""
TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def masked(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    while data:
        (length,), (check,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        assert masked(data[:8]) == check, "checksum of a length"
        body, (check,) = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])
        assert len(body) == length and masked(body) == check, "checksum of a record"
        yield body
        data = data[16 + length :]


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at


def fields(message):
    """[(field, wire type, value)] of a protobuf message."""
    at, found = 0, []
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 0:
            value, at = varint(message, at)
        else:
            size, at = (8, at) if key & 7 == 1 else (4, at) if key & 7 == 5 else varint(message, at)
            assert at + size <= len(message), "a field beyond its message"
            value, at = message[at : at + size], at + size
        found.append((key >> 3, key & 7, value))
    return found


def events(path):
    """[(wall time, step, {tag: value} | "start")], after the version record."""
    with open(path, "rb") as f:
        bodies = list(records(f.read()))
    first = {number: value for number, _, value in fields(bodies[0])}
    assert set(first) == {1, 3} and first[3] == b"brain.Event:2", first
    told = []
    for body in bodies[1:]:
        found = {number: value for number, _, value in fields(body)}
        wall = struct.unpack("<d", found[1])[0]
        if 7 in found:
            assert fields(found[7]) == [(1, 0, 1)], "a session that does not start"
            told.append((wall, found[2], "start"))
            continue
        scalars = {}
        if 4 in [number for number, _, _ in fields(fields(found[5])[0][2])]:  # a picture
            told.append((wall, found[2], "picture"))
            continue
        for number, kind, value in fields(found[5]):
            assert (number, kind) == (1, 2)
            (_, _, tag), (_, _, x) = sorted(fields(value))
            assert [row[:2] for row in sorted(fields(value))] == [(1, 2), (2, 5)], fields(value)
            scalars[tag.decode()] = struct.unpack("<f", x)[0]
        told.append((wall, found[2], scalars))
    return told


def four(png):
    """The four pictures of a row, as rows of bytes."""
    _, rows = png_pictures.decode(png)
    return [[row[3 * 130 * i : 3 * (130 * i + 128)] for row in rows] for i in range(4)]


def pictures(path, among=False):
    """[(tag, step, height, width, PNG)] of a file of pictures, or of a file that has some among its curves."""
    with open(path, "rb") as f:
        bodies = list(records(f.read()))
    told = []
    for body in bodies[1:]:
        found = {number: value for number, _, value in fields(body)}
        if among and (7 in found or 4 not in [number for number, _, _ in fields(fields(found[5])[0][2])]):
            continue
        assert set(found) == {1, 2, 5}, found.keys()
        ((number, kind, value),) = fields(found[5])
        value = {number: (kind, inner) for number, kind, inner in fields(value)}
        assert (number, kind) == (1, 2) and set(value) == {1, 4}
        image = {number: inner for number, _, inner in fields(value[4][1])}
        assert set(image) == {1, 2, 3, 4} and image[3] == 3
        told.append((value[1][1].decode(), found[2], image[1], image[2], image[4]))
    return told


# The reader by known records: a version at time 1, a scalar at time 2.
VERSION = bytes.fromhex("1800000000000000a37f4b2209000000000000f03f1a0d627261696e2e4576656e743a3286bf577a")
SCALAR = bytes.fromhex("1a00000000000000129bd82d09000000000000004010072a0d0a0b0a046c6f7373150000003fc33fc24a")
assert [fields(body) for body in records(VERSION + SCALAR)][0][1] == (3, 2, b"brain.Event:2")
assert masked(b"123456789") == 0xC78AB0E5

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    with open("tiny.yaml", "w") as f:
        f.write(CONFIG)
    with open("known", "wb") as f:
        f.write(VERSION + SCALAR)
    assert events("known") == [(2.0, 7, {"loss": 0.5})]

    def flexhpc(*words, code=0):
        run = subprocess.run([FLEXHPC, *words], capture_output=True, text=True)
        assert run.returncode == code, (words, run)

    began = time.time()
    flexhpc("generate", "tiny.yaml")
    flexhpc("pack", "tiny.yaml")
    # Stopped after step 1, then to the end, then once more from step 3, the end's checkpoint being lost.
    flexhpc("train", "tiny.yaml", "--run", "run", "--time-limit", "0.001", code=75)
    flexhpc("train", "tiny.yaml", "--run", "run")
    os.remove("run/ckpt/step-00000005.h5")
    flexhpc("train", "tiny.yaml", "--run", "run")

    files = sorted(glob.glob("run/tb/events.out.tfevents.*"), key=lambda name: (os.stat(name).st_mtime_ns, name))
    assert len(files) == 3, files
    curves = {}
    last = began
    for path, start in zip(files, (1, 2, 4)):
        rows = events(path)
        assert rows[0][1:] == (start, "start"), (path, rows[0])
        curves = {step: row for step, row in curves.items() if step < start}
        newest = start - 1
        for wall, step, scalars in rows[1:]:
            if scalars == "picture":  # of the validation, behind its step and before the next
                assert step == newest and step in (2, 4, 5), (path, step, newest)
                continue
            newest = step
            assert last <= wall <= time.time() and step not in curves, (path, wall, step)
            last = wall
            curves[step] = scalars

    with open("run/metrics.jsonl") as f:
        lines = [json.loads(line) for line in f]
    assert sorted(curves) == [line["step"] for line in lines] == list(range(1, 6)), sorted(curves)
    for line in lines:
        scalars = curves[line["step"]]
        assert set(scalars) == set(line) - {"schema", "step"}, scalars.keys()
        for name, value in scalars.items():
            assert math.isclose(value, line[name], rel_tol=1e-6, abs_tol=1e-30), (name, value, line[name])

    # Of every validation a picture a task, of the largest Reynolds number: input and truth stay, what the model makes changes.
    shown = {}
    for path in files:
        for tag, step, height, width, png in pictures(path, among=True):
            shown[tag, step] = png  # step 4 was made twice, the same
    assert sorted(shown) == [(f"validation/{task}_re100", step) for task in ("fc", "sr") for step in (2, 4, 5)], shown.keys()
    for task in ("sr", "fc"):
        parts = [four(shown[f"validation/{task}_re100", step]) for step in (2, 4, 5)]
        assert all(p[0] == parts[0][0] and p[2] == parts[0][2] for p in parts), task
        assert len({str(p[1]) for p in parts}) == 3, task

    # The examples of an evaluation: a file that hides nothing, a PNG of four pictures for each task.
    known = set(glob.glob("run/tb/*"))
    flexhpc("eval", "tiny.yaml", "--run", "run", "--set", "eval.patches=2", "--set", "eval.batch=2")
    (path,) = set(glob.glob("run/tb/*")) - known
    told = pictures(path)
    assert [tag for tag, *_ in told] == [f"pack/{task}_re{re}" for task in ("sr", "fc") for re in (50, 100)], told
    for tag, step, height, width, png in told:
        assert (step, height, width) == (5, 128, 4 * 128 + 6) and struct.unpack(">II", png[16:24]) == (width, height), (tag, step)
        assert png[:8] == b"\x89PNG\r\n\x1a\n" and png[-8:-4] == b"IEND", tag
        parts = four(png)
        assert parts[3] not in parts[:3] and parts[1] != parts[2] and len(set(parts[3])) > 8, tag
        # Of the last step the validation had the same sample, noise and weights.
        assert tag.endswith("_re50") or png == shown[tag.replace("pack", "validation"), 5], tag
print("5 steps of", len(scalars), "curves,", len(shown), "pictures of validations,", len(told), "of an evaluation")
