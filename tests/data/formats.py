"""What the tests of formats share: files are written with h5py, in the layout that their authors publish; the program packs
them; the shards are read back with h5py and compared with the arrays that went in. Skips where h5py or NumPy is missing."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

FLEXHPC = os.environ["FLEXHPC"]
PATCH = 16
TINY = """run: {timeout: 60}
model: {preset: custom, channels: [32], blocks: [1], depth: 1, heads: 2, mlp_ratio: 1, TASKS}
data: {path: pack, patch: 16, factor: 4}
train: {steps: 20, global_batch: 4, learning_rate: 1e-3, optimizer: adamw}
checkpoint: {every: 20}
eval: {patches: 4, batch: 4}
"""

scratch = tempfile.mkdtemp()
os.chdir(scratch)


def run(*words, code=0, ranks=1):
    start = ["mpiexec", "-n", str(ranks)] if ranks > 1 else []
    done = subprocess.run([*start, FLEXHPC, *map(str, words)], capture_output=True, text=True)
    if done.returncode != code:
        sys.exit(f"exit code {done.returncode}, not {code}: {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done


def sets(keys):
    return [word for key, value in keys.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


def pack(*files, out="pack", patch=PATCH, **keys):
    """Packs files, with keys such as source__channel=1; returns the manifest."""
    shutil.rmtree(out, ignore_errors=True)
    run("pack", *files, "--out", out, "--patch", patch, *sets({"pack__strata": 4, "pack__shard_patches": 2, **keys}))
    with open(f"{out}/manifest.json") as text:
        return json.load(text)


def patches(manifest, out="pack"):
    """(source, tile, its field (T, S, S)) of every patch."""
    for shard in manifest["shards"]:
        with h5py.File(f"{out}/{shard['name']}") as f:
            for i in range(shard["patches"]):
                yield manifest["sources"][shard["source"]], shard["tile"] + i, f["w"][i]


def compare(manifest, field, out="pack"):
    """Every patch is the tile of field(source), (T, H, W), that its number says; returns how many there are."""
    count, side = 0, manifest["patch"]
    for source, tile, got in patches(manifest, out):
        whole = field(source)
        T, H, W = whole.shape
        assert (source["snapshots"], source["height"], source["width"]) == (T, H, W), (source, whole.shape)
        row, column = tile // (W // side) * side, tile % (W // side) * side
        want = whole[:, row:row + side, column:column + side]
        assert got.shape == want.shape and (got == want).all(), (source, tile, np.abs(got - want).max())
        count += 1
    tiles = sum(s["height"] // side * (s["width"] // side) for s in manifest["sources"])
    assert count == tiles > 0, (count, tiles)
    return count


def refused(text, *files, code=1, **keys):
    """Packing fails with one line that has the text and the file's name in it, and leaves no pack."""
    shutil.rmtree("refused", ignore_errors=True)
    done = run("pack", *files, "--out", "refused", "--patch", PATCH, *sets(keys), code=code)
    lines = [line for line in done.stderr.splitlines() if line.startswith("flexhpc: ")]
    assert len(lines) == 1 and text in lines[0] and os.path.basename(str(files[0])) in lines[0], f"not \"{text}\": {done.stderr}"
    assert not os.path.exists("refused/manifest.json")


def damage(path, cases):
    """Each case is (text of the refusal, function that spoils an open copy of the file, further keys)."""
    name = os.path.join("damaged", os.path.basename(path))
    os.makedirs("damaged", exist_ok=True)
    for text, spoil, *keys in cases:
        shutil.copy(path, name)
        with h5py.File(name, "r+") as f:
            spoil(f)
        keys = dict(keys[0]) if keys else {}
        refused(text, name, code=keys.pop("code", 1), **keys)


def links(path, key):
    """Nothing behind a link or in another file is read: `key` becomes each kind of it."""
    folder, leaf = os.path.split(key)

    def replaced(make):
        def spoil(f):
            shape, kind = f[key].shape, f[key].dtype
            f.move(key, "elsewhere")
            make(f[folder or "/"], leaf, shape, kind)
        return spoil

    def soft(group, name, shape, kind):
        group[name] = h5py.SoftLink("/elsewhere")

    def external(group, name, shape, kind):
        group[name] = h5py.ExternalLink(os.path.abspath(path), key)

    def virtual(group, name, shape, kind):
        layout = h5py.VirtualLayout(shape, kind)
        layout[...] = h5py.VirtualSource(os.path.abspath(path), key, shape)
        group.create_virtual_dataset(name, layout)

    def outside(group, name, shape, kind):
        group.create_dataset(name, shape, kind, external=[(os.path.abspath(path), 0, h5py.h5f.UNLIMITED)])

    attributes = None
    with h5py.File(path) as f:
        attributes = dict(f[key].attrs)

    def with_attributes(make):
        def spoil(group, name, shape, kind):
            make(group, name, shape, kind)
            for attribute, value in attributes.items():
                group[name].attrs[attribute] = value
        return spoil

    damage(path, [(f"{key}: is a link, refused", replaced(soft)), (f"{key}: is a link, refused", replaced(external)),
                  ("is virtual, refused", replaced(with_attributes(virtual))),
                  ("lies in other files, refused", replaced(with_attributes(outside)))])


def train_and_evaluate(tasks="tasks: mt"):
    """20 steps of a tiny model on the pack, and its evaluation, which must be finite."""
    with open("tiny.yaml", "w") as text:
        text.write(TINY.replace("TASKS", tasks))
    shutil.rmtree("run", ignore_errors=True)
    run("train", "tiny.yaml", "--run", "run")
    with open("run/metrics.jsonl") as lines:
        losses = [row["loss"] for row in map(json.loads, lines) if "loss" in row]
    assert losses and np.isfinite(losses).all(), losses
    return run("eval", "tiny.yaml", "--run", "run").stdout


def end():
    os.chdir("/")
    shutil.rmtree(scratch)
    print("ok")
