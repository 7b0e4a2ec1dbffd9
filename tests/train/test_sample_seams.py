"""flexhpc sample on whole fields measures the seams of its tiles: its numbers are NumPy's, on fields with seams that are planted, through
the input of a network that returns it as its forecast, the signature fires, on the log, in the file and in the report, and on smooth
ones it does not; against the truth where the source has one, against the places between borders where not; seams that the truth
has as well are none. SR by interpolation of tiles that don't overlap has seams of its own; with the overlap of the default, none.

Planted and caught: borders where tiles begin alone, or a pixel aside; a truth beyond the source's end taken for known; leads taken for
the first; columns as many as a strip has at most; the comb not held against the truth's; the error of the model's borders alone; what
files in the run's folder say not shown; a missing truth there not taken for elsewhere; a bad file there named twice;
the truth's words where there is none; a file's seams told without its name, or as those of all files; a file of an older step
told as the run's fault; a failed look at the seams told as nothing. Not planted: one that ends the file, a bad file that
ends the report.

Run: label full
Run: timeout 300
Run: cost 15
"""
import html
import os
import re
import shutil
import subprocess
import tempfile

import h5py
import numpy as np

from flexhpc_command import command, settings

FLEXHPC, SIDE, FACTOR, SIZE = os.environ["FLEXHPC"], 16, 4, 160
# A network that learnt nothing returns 0: a forecast is the newest snapshot, SR is interpolation; noise is scaled down to nothing.
CONFIG = f"""
run: {{timeout: 60}}
model: {{preset: custom, channels: [32], blocks: [1], depth: 1, heads: 2, mlp_ratio: 1}}
data: {{path: pack, patch: {SIDE}, factor: {FACTOR}}}
train: {{steps: 1, global_batch: 4, learning_rate: 0, optimizer: adamw}}
eval: {{scale: "1e-4", batch: 25}}
sample: {{steps: 1}}
pack: {{source: fields, path: pack, patch: {SIDE}, strata: 4}}
"""

warned = []


def turbulence(seed, times, size=SIZE, kd=32.0):
    """Random phases that drift, energy falling as k^-3 and faster near dissipation: (times, size, size)."""
    rng = np.random.default_rng(seed)
    ky, kx = np.meshgrid(np.fft.fftfreq(size, 1 / size), np.fft.fftfreq(size, 1 / size), indexing="ij")
    k = np.hypot(ky, kx)
    amplitude = np.where(k > 0, np.maximum(k, 1) ** -1.0 * np.exp(-(k / kd * 1.3) ** 2), 0)
    w = amplitude * np.fft.fft2(rng.standard_normal((size, size)))
    w = np.array([np.fft.ifft2(w * np.exp(0.02j * t * kx)).real for t in range(times)])
    return (w / w.std()).astype(np.float32)


def measured(fields, rows, columns, side, periodic):
    """Jump across borders over elsewhere, of each border as well, and the comb, of the mean over fields."""
    jumps, borders = [], []
    for axis, first, wraps in ((1, rows, periodic[0]), (2, columns, periodic[1])):
        length = fields.shape[axis]
        of = np.abs(fields.astype(float) - np.roll(fields.astype(float), 1, axis)).mean((0, 3 - axis))
        there = np.zeros(length, bool)
        there[[f % length for f in first] + [(f + side) % length for f in first]] = True
        jumps.append(of if wraps else of[1:])
        borders.append(there if wraps else there[1:])
    jumps, borders = np.concatenate(jumps), np.concatenate(borders)
    return jumps[borders] / jumps[~borders].mean()


def comb(fields, rows, columns, periodic):
    """NaN where no axis has tiles equally far apart all around."""
    logs = []
    for axis, first, wraps in ((1, rows, periodic[0]), (2, columns, periodic[1])):
        tiles, length = len(first), fields.shape[axis]
        if not wraps or tiles < 3 or length % tiles or list(first) != list(range(0, length, length // tiles)):
            continue
        energy = (np.abs(np.fft.rfft(fields.astype(float), axis=axis)) ** 2).sum((0, 3 - axis))
        logs += [np.log(2 * energy[k] / (energy[k - 1] + energy[k + 1])) for k in range(tiles, length // 2, tiles)]
    return np.exp(np.mean(logs)) if logs else np.nan


def write(name, w, **attributes):
    with h5py.File(name, "w") as file:
        file["w"] = w.astype(np.float32)
    return name


def sample(source, out="out.h5", environment={}, **keys):
    """(attributes, datasets, what was said); `warned` has the warnings."""
    done = subprocess.run([FLEXHPC, "sample", "tiny.yaml", "--run", "run", "--out", out, *settings({"sample__source": source, **keys})],
                          capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done
    told = done.stdout
    warned[:] = [line for line in done.stderr.splitlines() if "warning" in line]
    with h5py.File(out) as file:
        return dict(file.attrs), {name: file[name][()] for name in file}, told


def check(name, fires, source, truth=True, combs=False, **keys):
    about, data, told = sample(source, **keys)
    task = "sr" if "sr_model" in data else "fc"
    rows, columns, side, periodic = about["tile_rows"], about["tile_columns"], about["tile_side"], about["periodic"]
    model, known = data[task + "_model"], data.get(task + "_truth")
    if truth:
        frames = np.isfinite(known).all((1, 2))
        model, known = model[:, frames], known[frames]
        of = measured(known, rows, columns, side, periodic)
    model = model.reshape(-1, *model.shape[2:])
    at = measured(model, rows, columns, side, periodic)
    excess = at - (of if truth else 1)
    error = excess.std(ddof=1) / np.sqrt(len(excess))
    limit = min(3 * error, 0.05)
    close = lambda a, b: abs(a - b) <= 1e-5 * max(1, abs(b))
    assert close(about["seam_jump"], at.mean()) and close(about["seam_error"], error) and close(about["seam_limit"], limit), (name, about)
    assert close(about["seam_truth"], of.mean()) if truth else np.isnan(about["seam_truth"]), (name, about["seam_truth"])
    line = re.search(r"seams: jumps .* (-?[\d.]+) of those elsewhere, (.*) ([\d.]+): (-?[\d.]+) above, limit ([\d.]+)", told)
    assert line and line[2] == ("the truth's" if truth else "without a truth against"), told
    assert abs(float(line[4]) - excess.mean()) < 6e-5 and abs(float(line[5]) - limit) < 6e-5, (line, excess.mean(), limit)
    at = rows, columns, periodic
    wanted = comb(model, *at) / (comb(known, *at) if truth else 1)
    assert close(about["comb"], wanted) or np.isnan(about["comb"]) and np.isnan(wanted), (name, about["comb"], wanted)
    assert about["comb_limit"] == 1.5 and (wanted > 1.5) == combs, (name, wanted)
    assert f"jump across borders, above {'those elsewhere' if truth else 'the truth'}" not in told, told
    named = {m for m in ("jump across borders", "energy at the tiles' wave numbers") if f"seams between tiles: {m}" in told}
    print(f"{name:34s} {excess.mean():8.4f} above, limit {limit:.4f}, comb {about['comb']:.3f}: {'named' if named else '-'}")
    assert ("jump across borders" in named) == fires == (excess.mean() > limit), (name, told)
    assert ("energy at the tiles' wave numbers" in named) == combs, (name, told)


TORN = f"200_{SIZE}_{SIZE}_seed_7%d.h5"
OFFSETS = np.kron(np.array([[1, -1] * 5, [-1, 1] * 5] * 5), np.ones((SIDE, SIDE)))
RAMP = np.tile(np.add.outer(np.arange(SIDE), np.arange(SIDE)) / (SIDE - 1) - 1, (SIZE // SIDE, SIZE // SIDE))
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    os.mkdir("fields")
    write(f"fields/200_{SIZE}_{SIZE}_seed_1.h5", turbulence(1, 7))
    open("tiny.yaml", "w").write(CONFIG)
    command("pack", "tiny.yaml")
    command("train", "tiny.yaml", "--run", "run")
    alone = dict(sample__task="fc", sample__overlap=0)
    for seed in (2, 3):
        w = turbulence(seed, 4)
        step = np.abs(np.diff(w[1], axis=0)).mean()
        source = write(f"200_{SIZE}_{SIZE}_seed_{seed}.h5", w)
        check(f"smooth, seed {seed}", False, source, **alone)
        check("smooth, three leads", False, source, sample__horizon=3, **alone)
        check("smooth, no truth", False, source, truth=False, sample__snapshot=3, **alone)
        wide = write(f"200_152_148_seed_{seed}.h5", w[:, :152, :148])
        check("smooth, walls, no whole tiles", False, wide, source__periodic="neither", **alone)
        check("two noisy members, two snapshots", True, wide, source__periodic="x", sample__snapshots=2, sample__members=2,
              sample__overlap=0, eval__scale=1)
        check("smooth, overlaps", False, source, sample__task="fc")
        gentle = write(f"300_{SIZE}_{SIZE}_seed_{seed}.h5", turbulence(seed, 1, kd=10))
        check("smooth, SR in tiles that overlap", False, gentle)
        check("SR in tiles that do not", True, gentle, sample__overlap=0)
        # Both snapshots that the forecast starts from have a seam, or what comes after has it too.
        for what, plant, of in (("offsets", 0.5 * step * OFFSETS, False), ("ramps", 3 * step * RAMP, True)):
            torn = w.copy()
            torn[:2] += plant.astype(np.float32)
            check(f"{what}", True, write(TORN % 1, torn), combs=of, **alone)
            check(f"{what}, no truth", True, write(TORN % 2, torn[:2]), truth=False, combs=of, **alone)
            check(f"{what}, the truth's too", False, write(TORN % 3, w + plant.astype(np.float32)), **alone)
    # In the report of the run whose folder holds the file.
    source = write(f"700_{SIZE}_{SIZE}_seed_9.h5", w)
    assert "seams" not in command("report", "run") and "seams between" not in open("run/report.html").read()
    sample(source, "run/sample-fc.h5", **alone)
    command("report", "run")
    assert "seams between" not in open("run/report.html").read()
    sample(source, "run/sample-sr.h5", sample__overlap=0)
    command("report", "run")
    page = open("run/report.html").read()
    bad, note = ([html.unescape(x) for x in re.findall(rf'<li class="{mark}">.*?</span><span>(.*?)</span></li>', page)]
                 for mark in ("bad", "note"))
    (said,) = [x for x in bad if "seams between tiles at" in x]
    assert re.fullmatch(r"Super-resolution: seams between tiles at Re 700 in sample-sr\.h5, of step 1: jump across borders, above the "
                        r"truth's, [\d.]+, limit [\d.]+; try a larger sample\.overlap\.", said), said
    assert page.count("seams between tiles at") == 1 and not [x for x in note if "seams" in x]
    # Each file is told by itself: those of one Reynolds number, and numbers against a truth and against other places.
    shutil.copy("run/sample-sr.h5", "run/sample-sr-again.h5")
    sample(TORN % 2, "run/sample-end.h5", **alone)
    command("report", "run")
    page = html.unescape(open("run/report.html").read())
    for number in ("jump across borders, above those elsewhere, 1.9", "energy at the tiles' wave numbers, 4"):
        assert f"Forecast: seams between tiles at Re 200 in sample-end.h5, of step 1: {number}" in page, number
    for name in ("sample-sr", "sample-sr-again"):
        assert page.count(f"Super-resolution: seams between tiles at Re 700 in {name}.h5, of step 1: jump across") == 1, name
    os.remove("run/sample-sr-again.h5")
    # A field of weights that the run has left behind is no fault of the run's, and says whose it is.
    with h5py.File("run/sample-sr.h5", "r+", libver="latest") as file:
        file.attrs["step"] = np.int64(0)
    command("report", "run")
    page = html.unescape(open("run/report.html").read())
    old = [x for x in re.findall(r'<li class="(\w+)">.*?</span><span>(.*?)</span></li>', page) if "sample-sr.h5" in x[1]]
    assert len(old) == 1 and old[0][0] == "note" and "in sample-sr.h5, of step 0 (the newest checkpoint is of 1): jump" in old[0][1], old
    assert len(re.findall(r'<li class="bad">.*?seams between tiles at Re 200 in sample-end.h5, of step 1: ', page)) == 2
    # A file there that is none, or that lacks one of the numbers, is left out; it is named, once, and the report is made of the others.
    with h5py.File("run/sample-end.h5", "r+", libver="latest") as file:
        del file.attrs["seam_error"]
    for name, words in (("end", "seam_error"), ("bad", "open: ")):
        if name == "bad":
            open("run/sample-bad.h5", "w").write("no HDF5")
        os.remove("run/report.html")
        done = subprocess.run([FLEXHPC, "report", "run"], capture_output=True, text=True)
        said = [x for x in done.stderr.splitlines() if x.startswith("flexhpc: ")]
        path = f"run/sample-{name}.h5"
        assert done.returncode == 0 and len(said) == 1 and said[0].startswith("flexhpc: warning: "), done
        assert f"left out of the report: {path}: " in said[0] and words in said[0] and said[0].count(path) == 1, said
        page = open("run/report.html").read()
        assert page.count(f"Left out: {path}: ") == 1 and page.count(path) == 1 and "Re 700 in sample-sr.h5" in page
        os.remove(path)
    # What reads the file back fails: the file is kept, whole, without these numbers, and a warning says it.
    inject = dict(LD_PRELOAD=os.environ["FX_BINARY_DIR"] + "/tests/libinject.so", FX_INJECT_LOG="reads")
    _, whole, _ = sample(source, "torn.h5", {**inject, "FX_INJECT": "read torn.h5.part 100000 COUNT"}, **alone)
    last = len(open("reads").readlines())  # HDF5 reads while it writes, too
    about, torn, told = sample(source, "torn.h5", {**inject, "FX_INJECT": f"read torn.h5.part {last} EIO"}, **alone)
    assert not [name for name in about if "seam" in name or "comb" in name] and not os.path.exists("torn.h5.part"), about
    assert all(np.array_equal(whole[name], torn[name], equal_nan=True) for name in whole) and whole.keys() == torn.keys()
    assert len(warned) == 1 and "torn.h5: kept, but its seams were not measured: " in warned[0] and "sample again" in warned[0], warned
    sample(source, "torn.h5", **alone)
    # A field of one tile that does not wrap has no seams, and says nothing of them.
    about, _, told = sample(write("200_16_16_seed_1.h5", w[:, :SIDE, :SIDE]), source__periodic="neither")
    assert "seam_jump" not in about and "seams" not in told
print("seams are found where they are")
