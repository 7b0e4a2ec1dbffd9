"""flexhpc sample on whole fields: SR and forecasts of a network that returns 0 are what NumPy makes of the same tiles and noise,
so positions, wraps, walls, noise, blending and feedback are where they belong; with a trained network any number of ranks, of
members and of tiles a batch gives the same bits; coarse files give what fine ones do; the file is h5py's and says where it
comes from; where a value is not finite, what came before it is kept and told; and what can't be is refused in one line, with
nothing left behind.

Planted and caught: noise numbered from the tile's own corner, or by the first tile row's; a tile a column aside; the newest member's
field fed back for the mean; leads that share their noise; a coarse field read from row 1; the truth a snapshot late; the tiles of
two ranks taken for each other's; walls taken for periodic; a missing Reynolds number let through;
eval.scale or eval.condition not asked; the scale of a training on data sets with their own taken for all; where a value is not finite:
nothing kept; zeros for NaN beyond, in the model's, the truth's or the input's; the lead that failed counted, or of another member;
another lead named; a file without a result; ranks that don't wait for rank 0; a file left behind that could not be closed.

Run: label full
Run: timeout 600
Run: cost 35
"""
import os
import re
import sys
import tempfile
import time

import h5py
import numpy as np

try:
    import xarray
except ImportError:
    xarray = None

sys.path[:0] = [os.path.join(os.environ["FX_TESTS_DIR"], "train"), os.path.join(os.environ["FX_TESTS_DIR"], "ops")]
from flexhpc_command import command, settings
from interpolation import interpolate
from sampled_fields import blend, noise, zero_network_gain

SIDE, FACTOR, SEED, SCALE = 16, 4, 5, 2.0
CONFIG = f"""
seed: {SEED}
run: {{timeout: 60}}
model: {{preset: custom, channels: [32], blocks: [1], depth: 1, heads: 2, mlp_ratio: 1}}
data: {{path: pack, patch: {SIDE}, factor: {FACTOR}, scale: {SCALE}}}
train: {{steps: 1, global_batch: 4, learning_rate: 1e-3, optimizer: adamw}}
pack: {{source: fields, path: pack, patch: {SIDE}, strata: 4}}
"""


def smooth(height, width, times, seed):
    """Some waves that drift: periodic, (times, height, width)."""
    r = np.random.default_rng(seed)
    y, x = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    w = np.zeros((times, height, width))
    for _ in range(8):
        ky, kx, phase, speed = *r.integers(-3, 4, 2), *r.uniform(0, 6, 2)
        w += np.cos(2 * np.pi * (ky * y + kx * x) + phase + 0.1 * speed * np.arange(times)[:, None, None])
    return w.astype(np.float32)


def write(name, w):
    with h5py.File(name, "w") as file:
        file["w"] = w
    return name


def sample(run, source, ranks=0, **keys):
    """The file's datasets and attributes."""
    command("sample", "tiny.yaml", "--run", run, "--out", "out.h5", *settings({"sample__source": source, **keys}), ranks=ranks)
    assert not os.path.exists("out.h5.part")
    with h5py.File("out.h5") as file:
        return {name: file[name][()] for name in file}, dict(file.attrs)


def close(a, b, limit=2e-5):
    assert a.shape == b.shape and np.linalg.norm(a - b) <= limit * np.linalg.norm(b), np.linalg.norm(a - b) / np.linalg.norm(b)


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert np.array_equal(a[name], b[name], equal_nan=True), (name, np.abs(a[name] - b[name]).max())


def check_zero_network(name, w, periodic):
    """SR and forecasts of the untrained network on fields of any shape; periodic along (y, x)."""
    word = {(1, 1): "both", (0, 0): "neither", (0, 1): "x", (1, 0): "y"}[periodic]
    shape, gain = w.shape[1:], SCALE * zero_network_gain(2)
    out, about = sample("untrained", name, sample__members=2, sample__snapshot=1, source__periodic=word)
    rows, columns = about["tile_rows"], about["tile_columns"]
    for length, first, wraps in ((shape[0], rows, periodic[0]), (shape[1], columns, periodic[1])):
        assert first[0] == 0 and (first % FACTOR == 0).all() and (np.diff(first) <= SIDE - 4).all(), first
        assert first[-1] + SIDE >= length + 4 if wraps else first[-1] + SIDE == length, (first, word)
    wrapped = np.pad(w[1], ((0, SIDE), (0, SIDE)), "wrap")
    base = blend(shape, SIDE, 4, rows, columns, lambda r, c: interpolate("bicubic", wrapped[r:r + SIDE, c:c + SIDE], FACTOR))
    assert np.array_equal(out["sr_truth"][0], w[1]) and np.array_equal(out["sr_input"][0], w[1][::FACTOR, ::FACTOR])
    for member in range(2):
        close(out["sr_model"][member, 0], base + gain * noise(shape, SEED, 0, member, 1))

    for feedback in ("member", "mean"):
        out, about = sample("untrained", name, sample__task="fc", sample__members=2, sample__horizon=3, sample__snapshot=2,
                            sample__feedback=feedback, source__periodic=word)
        assert out["fc_model"].shape == (2, 3, *shape) and np.array_equal(out["fc_input"], w[1:3])
        assert np.array_equal(out["fc_truth"], w[3:6] if len(w) > 5 else np.concatenate([w[3:], np.full((6 - len(w), *shape), np.nan)]),
                              equal_nan=True)
        drawn = gain * np.array([[noise(shape, SEED, 1, m, lead) for lead in (1, 2, 3)] for m in range(2)])
        total = drawn.cumsum(1)
        before = np.concatenate([np.zeros_like(total[:, :1]), total[:, :-1]], 1)
        want = w[2] + (total if feedback == "member" else before.mean(0) + drawn)
        close(out["fc_model"], want)
        assert about["feedback"].decode() == feedback


def check_equal_bits(source):
    one, about = sample("trained", source, sample__members=3, sample__snapshots=2)
    assert np.abs(one["sr_model"][0] - one["sr_model"][1]).mean() > 0.01
    assert np.abs(one["sr_model"] - sample("untrained", source, sample__members=3, sample__snapshots=2)[0]["sr_model"]).max() > 1e-4
    for ranks, batch in ((2, 8), (3, 2)):
        same(one, sample("trained", source, ranks, sample__members=3, sample__snapshots=2, eval__batch=batch)[0])
    alone, _ = sample("trained", source, sample__snapshots=2)
    assert np.array_equal(alone["sr_model"][0], one["sr_model"][0])
    coarse = write("200_12_16_seed_9.h5", one["sr_input"])
    given, _ = sample("trained", coarse, sample__input="coarse", sample__snapshots=2)
    assert np.array_equal(given["sr_model"], alone["sr_model"]) and "sr_truth" not in given
    for feedback in ("member", "mean"):
        keys = dict(sample__task="fc", sample__horizon=2, sample__members=2, sample__feedback=feedback)
        same(sample("trained", source, **keys)[0], sample("trained", source, 2, **keys)[0])
    return about


def check_units(source, w):
    """eval.scale divides and multiplies, eval.condition is told; with scales by data set one has to be given."""
    keys = dict(sample__task="fc", sample__snapshot=2)
    ours, other = (sample("untrained", source, **keys, eval__scale=scale) for scale in ("checkpoint", 3 * SCALE))
    close(other[0]["fc_model"] - w[2], 3 * (ours[0]["fc_model"] - w[2]), 1e-5)
    assert other[1]["data_scale"] == 3 * SCALE
    own = sample("trained", source)[0]["sr_model"]
    assert np.array_equal(own, sample("trained", source, eval__condition=200)[0]["sr_model"])
    assert np.abs(own - sample("trained", source, eval__condition=5000)[0]["sr_model"]).max() > 1e-6
    os.remove("out.h5")
    refused('eval.scale: "pack" is none of checkpoint, a number above 0, which whole fields', eval__scale="pack")
    refused('eval.scale: "-1" is none of', eval__scale=-1)
    refused('eval.condition: "warm" is none of pack, mean', eval__condition="warm")
    command("pack", "tiny.yaml", *settings(dict(pack__path="named", pack__dataset="alpha")))
    command("train", "tiny.yaml", "--run", "named-run", *settings(dict(data__path="named", data__scale=0)))
    refused("was trained on data sets with scales of their own (alpha=", run="named-run")
    sample("named-run", source, eval__scale=SCALE)


def ends_early(words, complete, ranks, **keys):
    """The datasets of out.h5 where the program must end for a value that is not finite: NaN beyond `complete`, and nowhere else."""
    told = command("sample", "tiny.yaml", "--run", "untrained", "--out", "out.h5", *settings(keys), ranks=ranks, code=1)
    (line,) = [line for line in told.splitlines() if line.startswith("flexhpc: ")]
    assert "out.h5: ends early, what came before is kept" in line and re.search(words, line) and not os.path.exists("out.h5.part"), line
    with h5py.File("out.h5") as file:
        data, about = {name: file[name][()] for name in file}, dict(file.attrs)
    assert re.search(words, about["ended"].decode()) and list(about["complete"]) == complete and "seam_jump" not in about, about
    for of, frames in zip(data["sr_model" if "sr_model" in data else "fc_model"], complete):
        assert np.isfinite(of[:frames]).all() and np.isnan(of[frames:]).all(), [np.isfinite(x).mean() for x in of]
    return data


def check_keeping(**keys):
    """Rank 0 may take longer over what is kept than a failed rank waits for its peers; where it fails, nothing is left."""
    inject = dict(LD_PRELOAD=os.environ["FX_BINARY_DIR"] + "/tests/libinject.so", FX_INJECT_RANK="0", FX_INJECT_LOG="writes")
    words = "member 2, lead 5: row "
    before = dict(os.environ)
    try:
        os.environ.update(inject, FX_INJECT="write out.h5.part 100000 COUNT")
        whole = ends_early(words, [4] * 3, 2, **keys)
        last = len(open("writes").readlines())
        os.environ["FX_INJECT"] = f"write out.h5.part {last - 4} SLOW1000"
        started = time.monotonic()
        same(whole, ends_early(words, [4] * 3, 2, **keys))
        assert time.monotonic() - started > 5
        os.remove("out.h5")
        os.environ["FX_INJECT"] = f"write out.h5.part {last} ENOSPC"
        refused("is not finite; what came before was not kept: ", "untrained", keys.pop("sample__source"), ranks=2, code=1, **keys)
    finally:
        os.environ.clear()
        os.environ.update(before)


def check_early_end(w):
    """Forecasts from near the largest float of a network that returns 0 leave the floats at a member, lead and point that NumPy finds
    too; a source with NaN at a later snapshot ends super-resolution there."""
    unit, members, leads, shape = 3e37, 3, 5, (48, 64)
    drawn = zero_network_gain(2) * np.array([[noise(shape, SEED, 1, m, lead + 1) for lead in range(leads)] for m in range(members)])
    total = drawn.cumsum(1)
    mean = drawn + np.concatenate([np.zeros_like(total[:1, :1]), total.mean(0)[None, :-1]], 1)
    # The start leaves room for all that is to be kept, and not for what comes next.
    for feedback, want, (member, lead), complete in (("member", total, (1, 3), [leads, 3, 0]), ("mean", mean, (2, 4), [4] * members)):
        kept = [want[m, frame].max() for m in range(members) for frame in range(complete[m])]
        below, top = max(kept), want[member, lead].max()
        assert top > 1.05 * below, (feedback, want.max((2, 3)))
        start = np.finfo("f4").max - (below + top) / 2 * unit
        source = write("200_48_64_seed_3.h5", np.full((4, *shape), start))
        row, column = np.unravel_index(want[member, lead].argmax(), shape)
        for ranks in (0, 2):
            data = ends_early(f"member {member}, lead {lead + 1}: row {row}, column {column} is not finite", complete, ranks,
                              sample__source=source, source__periodic="both", eval__scale=unit, sample__task="fc",
                              sample__horizon=leads, sample__members=members, sample__feedback=feedback)
            for m, frames in enumerate(complete):
                close(data["fc_model"][m, :frames] / unit, start / unit + want[m, :frames])
            assert np.isfinite(data["fc_truth"][:2]).all() and np.isfinite(data["fc_input"]).all()
    check_keeping(sample__source=source, source__periodic="both", eval__scale=unit, sample__task="fc", sample__horizon=leads,
                  sample__members=members, sample__feedback="mean")

    w = w[:5].copy()
    w[2, 20, 33] = np.nan
    source = write("200_48_64_seed_3.h5", w)
    for ranks in (0, 2):
        data = ends_early(r"w\[2, 20, 33\] is nan", [2, 2], ranks, sample__source=source, sample__snapshots=4, sample__members=2)
        whole, _ = sample("untrained", source, sample__snapshots=2, sample__members=2)
        for name in ("sr_truth", "sr_input"):
            assert np.isnan(data[name][2:]).all() and np.array_equal(data[name][:2], whole[name]), name
        assert np.array_equal(data["sr_model"][:, :2], whole["sr_model"])


def check_file(about):
    """`out.h5` of the last forecast, as xarray reads it where it is there, and what it says of itself."""
    with h5py.File("out.h5") as file:
        model = file["fc_model"]
        assert [model.dims[i].keys()[0] for i in range(4)] == ["member", "lead", "y", "x"] and model.dtype == "<f4"
        assert [file["fc_input"].dims[i].keys()[0] for i in range(3)] == ["past", "y", "x"]
        assert list(file["lead"]) == [1, 2] and list(file["past"]) == [0, 1] and list(file["member"]) == [0, 1]
        assert model.attrs["units"] == b"1" and b"w: model" == model.attrs["long_name"]
        values = model[:]
    if xarray:
        with xarray.open_dataset("out.h5", engine="h5netcdf") as d:
            assert d.fc_model.dims == ("member", "lead", "y", "x") and list(d.lead.values) == [1, 2], d.fc_model
            assert np.array_equal(d.fc_model.sel(lead=2, member=1).values, values[1, 1]) and d.attrs["step"] == 3, d.attrs
    text = {key: value.decode() for key, value in about.items() if isinstance(value, bytes)}
    assert text["Conventions"] == "CF-1.8" and text["checkpoint"] == "trained/ckpt/step-00000003.h5" and about["step"] == 3
    assert text["source"] == "fields/200_48_64_seed_1.h5" and text["source_field"] == "w" and about["Re"] == 200
    assert "sample tiny.yaml --run trained" in text["command"] and "sample:" in text["config"] and len(text["date"]) == 20
    assert len(text["checkpoint_xxh64"]) == 16 and text["flexhpc"] == command("--version").split("flexhpc ")[1].strip()
    assert about["tile_side"] == SIDE and about["tile_overlap"] == 4 and about["seed"] == SEED


def refused(text, run="trained", source="fields/200_48_64_seed_1.h5", ranks=0, code=2, out="out.h5", **keys):
    told = command("sample", "tiny.yaml", "--run", run, "--out", out, *settings({"sample__source": source, **keys}), ranks=ranks,
                   code=code)
    lines = [line for line in told.splitlines() if line.startswith("flexhpc: ")]
    assert len(lines) == 1 and text in lines[0], (text, told)
    assert not os.path.exists(out) and not os.path.exists(out + ".part"), out


def check_refusals(w):
    os.remove("out.h5")
    hole = w[:3].copy()
    hole[1, 20, 33] = np.nan
    refused("smaller than the model's patch of 16 x 16", source=write("200_8_8_seed_1.h5", w[:3, :8, :8]))
    refused("66 pixels: sides must be multiples of the factor 4", source=write("200_48_66_seed_1.h5", smooth(48, 66, 3, 1)))
    for ranks in (0, 2):
        refused("w[1, 20, 33] is nan", source=write("200_48_64_seed_2.h5", hole), ranks=ranks, code=1, sample__task="fc")
    refused("out.h5: not written: 200_48_64_seed_2.h5: w[1, 20, 33] is nan", source="200_48_64_seed_2.h5", code=1, sample__snapshot=1)
    refused("sample.horizon", sample__horizon=0)
    refused('"nowcast" is none of sr|fc', sample__task="nowcast")
    refused("sample.snapshot: 7 to 7, but fields/200_48_64_seed_1.h5 has 7 snapshots", sample__snapshot=7)
    refused("so 1 is the first", sample__task="fc", sample__snapshot=0)
    refused("sample.run: 1, but", sample__run=1)
    refused("No such file", source="nothing.h5", code=1)
    refused("out.h5.part", out="nowhere/out.h5", code=1)
    refused("is not trained for it", run="ahead")
    refused("those between are nobody's", run="ahead", sample__task="fc", sample__horizon=2)
    with h5py.File("region.h5", "w") as file:
        file["fields"] = w[:3]
    refused("source.condition: region.h5 does not say its Reynolds number", source="region.h5")
    refused("patches are sampled by one", source="", ranks=2)
    sample("trained", "region.h5", source__condition=150)


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    os.mkdir("fields")
    w = smooth(48, 64, 7, 1)
    source = write("fields/200_48_64_seed_1.h5", w)
    open("tiny.yaml", "w").write(CONFIG)
    command("pack", "tiny.yaml")
    command("train", "tiny.yaml", "--run", "untrained", "--set", "train.learning_rate=0")
    command("train", "tiny.yaml", "--run", "trained", "--set", "train.steps=3")
    command("train", "tiny.yaml", "--run", "ahead", "--set", "data.forecast_step=2", "--set", "model.tasks=fc")
    check_zero_network(source, w, (1, 1))
    check_zero_network(source, w, (1, 0))
    odd = smooth(28, 20, 5, 2)
    check_zero_network(write("300_28_20_seed_1.h5", odd), odd, (0, 0))
    check_equal_bits(source)
    check_units(source, w)
    check_file(sample("trained", source, sample__task="fc", sample__horizon=2, sample__members=2)[1])
    check_early_end(w)
    check_refusals(w)
print("whole fields are what NumPy makes of them, on any number of ranks")
