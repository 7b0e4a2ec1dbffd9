#!/usr/bin/env bash
# `flexhpc checkpoint verify` holds a checkpoint against the configuration inside: a tensor of any kind that is missing, of
# another shape or type, or unknown, and attributes that are gone or changed, are named in one line; what trainings of every
# kind of model and imports write is whole. A run goes on from the checkpoint before.
# Run: label full
# Run: timeout 300
# Run: cost 8
# Planted errors, each seen caught and removed: unknown tensors taken; moments wanted by what is there, AdamW's second one not at all, or of
# an import; type or dimensions not compared; the number of moments outside the attributes' checksum; the end at the
# first damaged file of several; exit code 0 where the last one is whole.
# The damages, some 160, are looked at by one process a file (verify_files.c), since a start of the program each cost most of the
# time, the more so under AddressSanitizer. The command itself sees some of every sort.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
fx=$FLEXHPC
make_data
train=("$fx" train tiny.yaml --set run.probe=false)

# `is_damaged FILE KIND...`: every damage to a copy of a file with these kinds of tensors is named by fx_checkpoint_verify, and by
# `checkpoint verify` in one line.
is_damaged() {
    /usr/bin/python3 - "$@" <<'PY' || fail "see above"
import os
import shutil
import subprocess
import sys
import h5py
import numpy as np

whole, kinds = sys.argv[1], sys.argv[2:]
names = {kind: [] for kind in kinds}
with h5py.File(whole) as f:
    assert set(f) == set(kinds), set(f)
    for kind in kinds:
        f[kind].visititems(lambda name, o: names[kind].append(name) if isinstance(o, h5py.Dataset) else None)
    w = min(n for n in names["ema"] if f["value/" + n].ndim == 4)
buffer = min(set(names["value"]) - set(names["ema"]))
done = 0
verifier = subprocess.Popen([os.environ["FX_BINARY_DIR"] + "/tests/verify_files"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def verified(path):
    """What fx_checkpoint_verify says."""
    print(path, file=verifier.stdin, flush=True)
    return verifier.stdout.readline().rstrip("\n")


def finds(words, change, command=False):
    """`change` spoils the open copy: one line names the file and has the words; the command's, with exit code 1, is the same."""
    global done
    bad = f"bad-{done}.h5"  # another file each time: nothing that a look at one leaves behind answers for the next
    shutil.copy(whole, bad)
    with h5py.File(bad, "r+", libver="latest") as f:
        change(f)
    line = verified(bad)
    if not line.startswith(f"{bad}: ") or words not in line:
        sys.exit(f"not \"{words}\": {line}")
    if command:
        said = subprocess.run([os.environ["FLEXHPC"], "checkpoint", "verify", bad], capture_output=True, text=True)
        if said.returncode != 1 or said.stdout or said.stderr != f"flexhpc: {line}\n":
            sys.exit(f"not \"{line}\": {said}")
    os.remove(bad)
    done += 1


def again(f, name, values):
    attributes = dict(f[name].attrs)
    del f[name]
    f[name] = values
    f[name].attrs.update(attributes)


def raise_one(f, name):
    f[name][0, 0, 0, 0] += 1


def deeper(f, name):
    f.move(name, "kept")
    f[name + "/deeper"] = f["kept"][()]
    del f["kept"]


def drop(f, *names):
    for name in names:
        del f[name]


def put(f, name, values=np.zeros(3, "f4")):
    f[name] = values


# One tensor of each kind, and all of a kind.
for kind in kinds:
    name = f"{kind}/{w}"
    finds(f"{name}: missing", lambda f: drop(f, name), command=kind == kinds[-1])
    finds(f"{name}: of another shape than the model's (", lambda f: again(f, name, f[name][()].transpose(1, 0, 2, 3)))
    finds(f"{name}: of another shape than the model's (", lambda f: again(f, name, f[name][()].reshape(-1)))
    for other in ("f8", "i4"):
        finds(f"{name}: of another type than float32", lambda f: again(f, name, f[name][()].astype(other)))
    finds(f"{name}: checksum differs", lambda f: raise_one(f, name), command=kind == "ema")
    finds(f"{name}: without a checksum", lambda f: f[name].attrs.pop("xxh64"))
    finds(f"{name}/deeper: no tensor of this model", lambda f: deeper(f, name))
    finds(": missing", lambda f: drop(f, kind))
    finds(f"{kind}/renamed: no tensor of this model", lambda f: f.move(name, f"{kind}/renamed"))
finds(f"value/{buffer}: missing", lambda f: drop(f, f"value/{buffer}"))
if "moment1" in kinds:
    finds(": missing", lambda f: drop(f, *(kind for kind in kinds if kind.startswith("moment"))))

# What the model does not have.
for name in ("value/encoder.more.weight", "other/x", "x", f"moment1/{buffer}", f"moment2/{w}" if "moment2" not in kinds else "y"):
    finds(f"{name}: no tensor of this model", lambda f: put(f, name), command=name == "x")

# Where the run is (generator and loader follow from its step and its seed), what it was trained on, its configuration.
for name in ("format", "step", "ranks", "data_scale", "loss", "config", "xxh64"):
    finds(name, lambda f: f.attrs.pop(name), command=name == "config")
for name in ("moments", "condition_mean"):
    finds("attributes: checksum differs", lambda f: f.attrs.pop(name))
for name in ("step", "ranks", "moments", "data_scale", "loss", "condition_least", "condition_mean", "xxh64"):
    finds("attributes: checksum differs", lambda f: f.attrs.modify(name, f.attrs[name] + 1), command=name == "step")
finds("attributes: checksum differs", lambda f: f.attrs.modify("config", np.bytes_(bytes(f.attrs["config"]).replace(b"heads: 2", b"heads: 4"))))
if verified(whole) != "whole":
    sys.exit("a whole file after damaged ones is not whole")
rest = verifier.communicate()
if verifier.returncode != 0 or rest != ("", ""):
    sys.exit(f"verify_files: {verifier.returncode}, {rest}")
print(whole, done, "damages named")
PY
}

expect 0 "${train[@]}" --run run --set train.steps=8
expect 0 "$fx" checkpoint verify run/ckpt/step-0000000{4,8}.h5
[ "$(cat out)" = "run/ckpt/step-00000004.h5: whole"$'\n'"run/ckpt/step-00000008.h5: whole" ] || fail "said: $(cat out)"
is_damaged run/ckpt/step-00000008.h5 value ema moment1 moment2

# ---- All of several files are looked at, with a line each.
cp run/ckpt/step-00000008.h5 torn.h5
truncate -s 5000 torn.h5
/usr/bin/python3 - <<'PY'
import h5py
import shutil
shutil.copy("run/ckpt/step-00000008.h5", "lacks.h5")
with h5py.File("lacks.h5", "r+") as f:
    del f["moment1/encoder.time_embed.0.weight"]
PY
expect 1 "$fx" checkpoint verify torn.h5 run/ckpt/step-00000004.h5 none.h5 lacks.h5 run/ckpt/step-00000008.h5
sed 's/^\(torn\.h5: \).*/\1damaged/; s/: .*\(missing\|No such file\).*/: \1/' out >lines
diff lines - <<'END' || fail "said: $(cat out)"
torn.h5: damaged
run/ckpt/step-00000004.h5: whole
none.h5: No such file
lacks.h5: missing
run/ckpt/step-00000008.h5: whole
END
[ "$(cat err)" = "flexhpc: 3 of 5 checkpoints are not whole, the first: $(head -n 1 out)" ] || fail "said: $(cat err)"

# ---- A checkpoint that lacks a tensor is passed over: the run goes on from the one before, with its bits.
cp -r run lost
/usr/bin/python3 - <<'PY'
import h5py
with h5py.File("lost/ckpt/step-00000008.h5", "r+") as f:
    del f["moment2/encoder.time_embed.0.weight"]
PY
expect 0 "${train[@]}" --run lost --set train.steps=8
says err '^flexhpc: warning: .*lost/ckpt/step-00000008\.h5: moment2/encoder\.time_embed\.0\.weight: missing; an older checkpoint is tried$'
says out '^resumed from lost/ckpt/step-00000004\.h5'
same_run run lost

# ---- Whole is what trainings write, whatever the model, the optimizer and the ranks, and what imports do.
model() {
    local name=$1
    shift
    expect 0 "${train[@]}" --run "$name" --set train.steps=1 "$@"
    expect 0 "$fx" checkpoint verify "$name/ckpt/step-00000001.h5"
}
model lion --set train.optimizer=lion
is_damaged lion/ckpt/step-00000001.h5 value ema moment1
model sr --set model.tasks=sr
model fc --set model.tasks=fc --set train.optimizer=lion
model options --set model.latent_patch=2 --set model.weak_levels=0 --set contrast.weight=0.1 --set data.lowres_noise=0.1
model bf16 --set precision=bf16 --set model.recompute=all
sed 's/^model: .*/model: {arch: unet, preset: custom, heads: 2, channels: [32, 32], blocks: [1, 1], attention_sides: [8]}/' tiny.yaml >unet.yaml
sed 's/^model: .*/model: {arch: uvit, preset: custom, heads: 2, embed_dim: 32, depth: 3, mlp_ratio: 2, patch: 4}/' tiny.yaml >uvit.yaml
for arch in unet uvit; do
    expect 0 "$fx" train $arch.yaml --run $arch --set run.probe=false --set train.steps=1
    expect 0 "$fx" checkpoint verify $arch/ckpt/step-00000001.h5
done
expect 0 mpiexec -n 2 "${train[@]}" --run shared --set train.steps=1 --set train.shard_optimizer=true
expect 0 "$fx" checkpoint verify shared/ckpt/step-00000001.h5
expect 0 "$fx" export run weights.safetensors
expect 0 "$fx" import weights.safetensors --run imported
expect 0 "$fx" checkpoint verify imported/ckpt/step-00000008.h5
is_damaged imported/ckpt/step-00000008.h5 value ema
echo "a checkpoint is what its configuration says"
