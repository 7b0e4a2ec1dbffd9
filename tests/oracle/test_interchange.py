#!/usr/bin/env python3
"""Weights to and from PyTorch. Velocities are compared on the inputs of golden files, by tests/train/test_import.c on our side.

  in       the published weights of golden files (functions of their names), written as safetensors and imported, give the
           published velocity: FLEX, U-Net, UViT; and for further FLEX models that of flex_torch.py with the same weights
  out      a run that was trained from there, exported, read by flex_torch.py, gives the same velocity as the run
  package  Hugging Face's own safetensors package reads what we write and writes what we read; without it, and always
           beside it, plain_safetensors.py, which holds the files against the format's description
  .pt      a checkpoint as published code saves it becomes safetensors, becomes a run, and back; every tensor the same

Without PyTorch, the models of golden files and the files are still checked. The limit is 2e-4 of the velocity's norm; seen: 1e-6.

Planted errors, each caught: the networks of a published checkpoint in another order than its averages have, a class that a .pt
file names looked up, a tensor taken beyond its numbers, a view taken from the begin of its storage,
a tensor that repeats one number without end, a file written through a planted link.
Run: label full
Run: timeout 600
Run: cost 12
"""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "python")]
import hashed
import plain_safetensors as plain

try:
    import torch
    import flex_torch
except ImportError as missing:
    torch = None
    print(f"without PyTorch ({missing}; Debian: python3-torch): golden files and files alone")
try:
    from safetensors import numpy as package, safe_open
except ImportError as missing:
    package = None
    print(f"without the safetensors package ({missing}; pip install safetensors): plain_safetensors.py alone")

FLEXHPC, GOLDEN, LIMIT = os.environ["FLEXHPC"], os.path.join(HERE, "..", "golden"), 2e-4
MAKER = os.path.join(os.environ["FX_BINARY_DIR"], "tests", "test_import")
CONVERTER = os.path.join(HERE, "..", "..", "src", "python", "flex_pt_to_safetensors.py")
SMALL = {"format": "flex-golden-1", "image_size": 32, "batch": 2, "channels": (32, 32, 64), "res_blocks": (1, 1, 1), "depth": 3,
         "heads": 2, "mlp_ratio": 2.0, "cond_snapshots": 2, "logsnr_shift": 1.0, "contrastive_weight": 0.0,
         "contrastive_temperature": 0.01, "tag": 90}
FURTHER = [{}, {"tasks": "sr"}, {"latent_patch": 2, "image_size": 64, "decoder_channels": (64, 32, 32), "weak_levels": 1}]


def run(*arguments, code=0):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (arguments, done.returncode, done.stdout[-2000:], done.stderr)
    return done.stdout + done.stderr


def save(path, tensors, metadata=None):
    """By the package where there is one."""
    if package:
        package.save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path, metadata)
    else:
        plain.write(path, tensors, metadata)


def load(path):
    """By both readers, which agree."""
    tensors, metadata = plain.read(path)
    if package:
        theirs = package.load_file(path)
        assert set(theirs) == set(tensors) and all(np.array_equal(theirs[n], tensors[n]) for n in theirs)
        with safe_open(path, "np") as file:
            assert file.metadata() == metadata
    return tensors, metadata


def configuration(attributes):
    """A golden file's model as our configuration."""
    text = lambda value: ",".join(map(str, value)) if hasattr(value, "__len__") else f"{value:g}"
    plain_names = {"image_size": "data.patch", "cond_snapshots": "model.cond", "channels": "model.channels",
                   "res_blocks": "model.blocks", "depth": "model.depth", "heads": "model.heads", "mlp_ratio": "model.mlp_ratio",
                   "latent_patch": "model.latent_patch", "decoder_channels": "model.decoder_channels",
                   "weak_levels": "model.weak_levels", "embed_dim": "model.embed_dim", "patch_size": "model.patch"}
    arch = attributes.get("arch", "flex")
    absent = {"unet": ("depth", "mlp_ratio"), "uvit": ("channels", "res_blocks")}.get(arch, ())
    keys = {plain_names[name]: text(value) for name, value in attributes.items() if name in plain_names and name not in absent}
    if "attention_downsampling" in attributes:
        keys["model.attention_sides"] = text([attributes["image_size"] // d for d in attributes["attention_downsampling"]])
    keys.update({"model.arch": arch, "model.preset": "custom", "data.scale": "2.5", "backend": "cpu", "data.factor": "4",
                 "model.tasks": {"both": "mt"}.get(attributes.get("tasks", "both"), attributes.get("tasks"))})
    return [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]


def velocity(golden, folder):
    """(rows, S, S), of the EMA weights of the run's newest checkpoint."""
    with open(os.path.join(folder, "ckpt", "latest"), encoding="utf-8") as file:
        checkpoint = os.path.join(folder, "ckpt", file.read().strip())
    run(MAKER, golden, checkpoint, "velocity.h5")
    with h5py.File("velocity.h5") as file:
        return file["velocity"][()]


def agrees(what, mine, theirs):
    theirs = np.asarray(theirs).reshape(mine.shape)
    size = np.linalg.norm(theirs)
    deviation = np.linalg.norm(mine - theirs) / size
    print(f"{what:44} {deviation:.1e} of {LIMIT:.0e}")
    assert size > 1 and deviation < LIMIT, (what, size, deviation)


def torch_velocity(attributes, tensors):
    c = flex_torch.Config.from_attributes(attributes)
    model = flex_torch.Flex(c).eval()
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}, strict=True)
    with torch.no_grad():
        return flex_torch.objective(model, c, flex_torch.hashed_inputs(c))["velocity"].numpy()


def golden_tensors(file):
    """The published names and shapes, and the buffers of the file's architecture."""
    attributes = dict(file.attrs)
    shapes = {name.decode(): tuple(map(int, shape.decode().split(","))) for name, shape in zip(file["grad/name"], file["grad/shape"])}
    arch = attributes.get("arch", "flex")
    width = attributes["embed_dim"] if arch == "uvit" else attributes["channels"][0 if arch == "unet" else -1]
    for network in ("encoder", "decoder") + ("superres_encoder", "forecast_encoder") * (arch == "unet"):
        for leaf in ("freqs", "phases"):
            shapes[f"{network}.{'emb' if arch == 'unet' else 'MPFourier'}.{leaf}"] = (int(width),)
    return attributes, {name: hashed.weight(name, shape, int(attributes["tag"])) for name, shape in shapes.items()}


def golden_models():
    """In, and out again: the same names, shapes and values."""
    for name in ("flex_a", "unet_a", "uvit_a"):
        path = os.path.join(GOLDEN, name + ".h5")
        with h5py.File(path) as file:
            attributes, tensors = golden_tensors(file)
            published = file["out/velocity"][()]
        save(name + ".safetensors", tensors)
        run(FLEXHPC, "import", name + ".safetensors", "--run", "none", code=2)
        open("empty.yaml", "w").close()
        run(FLEXHPC, "import", "empty.yaml", name + ".safetensors", "--run", name, *configuration(attributes))
        agrees(f"in: {name}, published velocity", velocity(path, name), published)
        run(FLEXHPC, "export", name, name + "-again.safetensors")
        again, metadata = load(name + "-again.safetensors")
        assert set(again) == set(tensors) and all(np.array_equal(again[n], tensors[n]) for n in tensors)
        assert metadata["arch"] == attributes.get("arch", "flex") and metadata["weights"] == "ema", metadata


def further_models():
    for number, changes in enumerate(FURTHER):
        attributes = {**SMALL, **changes}
        with h5py.File("further.h5", "w") as file:
            for key, value in attributes.items():
                file.attrs[key] = value
            attributes = dict(file.attrs)
        model = flex_torch.Flex(flex_torch.Config.from_attributes(attributes))
        flex_torch.set_hashed_weights(model, SMALL["tag"])
        tensors = {name: value.detach().numpy() for name, value in model.state_dict().items()}
        save("further.safetensors", tensors, {"format": "pt"})
        run(FLEXHPC, "import", "empty.yaml", "further.safetensors", "--run", f"further{number}", *configuration(attributes))
        mine = velocity("further.h5", f"further{number}")
        agrees(f"in: flex_torch, {changes}", mine, torch_velocity(attributes, tensors))


def trained_model():
    """A run that began with the weights of flex_a: its average differs from them and from its last weights."""
    path = os.path.join(GOLDEN, "flex_a.h5")
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
    with open("data.yaml", "w", encoding="utf-8") as file:
        file.write("generate: {path: fields, reynolds: [100], grid: 64, start: 0, interval: 0.1, snapshots: 5}\n"
                   "pack: {source: fields, path: pack, patch: 64, strata: 1}\n")
    run(FLEXHPC, "generate", "data.yaml")
    run(FLEXHPC, "pack", "data.yaml")
    start = [name for name in os.listdir("flex_a/ckpt") if name.endswith(".h5")][0]
    run(FLEXHPC, "train", "empty.yaml", "--run", "trained", *configuration(attributes), "--set", "data.path=pack", "--set",
        "train.steps=3", "--set", "train.global_batch=1", "--set", "train.learning_rate=1e-2", "--set", "run.probe=false",
        "--set", f"train.init_from=flex_a/ckpt/{start}")
    for weights in ("ema", "raw", "both"):
        run(FLEXHPC, "export", "trained", f"{weights}.safetensors", "--weights", weights)
    (ema, metadata), (raw, _), (both, _) = (load(f"{w}.safetensors") for w in ("ema", "raw", "both"))
    assert metadata["step"] == "3" and metadata["format"] == "pt" and "scale: 2.5" in metadata["config"], metadata
    assert all(np.array_equal(both[n], raw[n]) for n in raw) and set(ema) == set(raw)
    assert all(np.array_equal(both["ema." + n], ema[n]) for n in ema if "MPFourier" not in n) and "ema.encoder.MPFourier.freqs" not in both
    assert not np.array_equal(ema["decoder.final_layer.2.weight"], raw["decoder.final_layer.2.weight"])
    agrees("out: a trained run's EMA in flex_torch", velocity(path, "trained"), torch_velocity(attributes, ema))
    run(FLEXHPC, "import", "raw.safetensors", "--run", "raw")
    agrees("out: its raw weights", velocity(path, "raw"), torch_velocity(attributes, raw))
    return both


def published_checkpoint(both):
    """What published code saves (torch.save of state dictionaries and of torch_ema's state), by a model with these weights."""
    with h5py.File(os.path.join(GOLDEN, "flex_a.h5")) as file:
        model = flex_torch.Flex(flex_torch.Config.from_attributes(dict(file.attrs)))
    model.load_state_dict({n: torch.from_numpy(v.copy()) for n, v in both.items() if not n.startswith("ema.")})
    shadow = [torch.from_numpy(both["ema." + name].copy()) for name, _ in model.named_parameters()]
    networks = ("encoder", "superres_encoder", "forecast_encoder", "decoder")
    moments = {i: {"exp_avg": torch.zeros_like(p)} for i, p in enumerate(shadow)}
    checkpoint = {name: getattr(model, name).state_dict() for name in networks}
    checkpoint.update(ema={"decay": 0.999, "num_updates": 3, "shadow_params": shadow, "collected_params": None},
                      optimizer={"state": moments, "param_groups": [{"lr": 1e-5, "params": list(range(len(shadow)))}]},
                      epoch=4, loss=0.25, sched={"last_epoch": 3})
    torch.save(checkpoint, "published.pt")
    run(sys.executable, CONVERTER, "published.pt", "published.safetensors")
    tensors, _ = load("published.safetensors")
    assert set(tensors) == set(both) and all(np.array_equal(tensors[n], both[n]) for n in both)
    run(FLEXHPC, "import", "trained/config.yaml", "published.safetensors", "--run", "published")
    run(FLEXHPC, "export", "published", "back.safetensors", "--weights", "both")
    run(sys.executable, CONVERTER, "--to-pt", "back.safetensors", "back.pt")
    back = torch.load("back.pt")
    for name in networks:
        assert list(back[name]) == list(checkpoint[name]), name
        assert all(torch.equal(back[name][n], checkpoint[name][n]) for n in checkpoint[name]), name
    assert len(back["ema"]["shadow_params"]) == len(shadow)
    assert all(torch.equal(a, b) for a, b in zip(back["ema"]["shadow_params"], shadow))

    # A half and a bf16 tensor, one that is a view, and what only PyTorch knows, beside the rest.
    narrow = {**checkpoint, "sched": torch.device("cpu"), "decoder": dict(checkpoint["decoder"])}
    weight = checkpoint["decoder"]["final_layer.2.bias"]
    narrow["decoder"]["final_layer.2.bias"] = torch.cat([torch.zeros(3), weight]).to(torch.bfloat16)[3:]
    narrow["decoder"]["norm.bias"] = checkpoint["decoder"]["norm.bias"].half()
    torch.save(narrow, "narrow.pt")
    run(sys.executable, CONVERTER, "narrow.pt", "narrow.safetensors")
    tensors, _ = load("narrow.safetensors")
    assert np.array_equal(tensors["decoder.final_layer.2.bias"], weight.to(torch.bfloat16).float())
    assert np.array_equal(tensors["decoder.norm.bias"], checkpoint["decoder"]["norm.bias"].half().float())

    # What is no such file, in one line; what it would execute is not.
    class Evil:
        def __reduce__(self):
            return os.mkdir, ("executed",)

    class Wide:  # a tensor of more numbers than it brings
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (torch.zeros(2).storage(), 0, (1 << 20,), (1,), False, {})
    class Repeated:  # the same number for ever
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (torch.zeros(2).storage(), 0, (1 << 20,), (0,), False, {})
    for name, bad, words in (("evil", {"encoder": Evil()}, "encoder: no state dictionary"), ("list", [Evil()], "no dictionary"),
                             ("wide", {"encoder": {"x": Wide()}}, "goes beyond its numbers"),
                             ("repeated", {"encoder": {"x": Repeated()}}, "goes beyond its numbers"),
                             ("other", {"model": {}}, "no published checkpoint"),
                             ("short", {**checkpoint, "ema": {"shadow_params": shadow[1:]}}, "tensors for"),
                             ("mixed", {**checkpoint, "ema": {"shadow_params": shadow[::-1]}}, "in the place of")):
        torch.save(bad, name + ".pt")
        said = run(sys.executable, CONVERTER, name + ".pt", name + ".safetensors", code=1)
        assert words in said and said.count("\n") == 1 and not os.path.exists(name + ".safetensors"), said
    assert not os.path.exists("executed")
    said = run(sys.executable, CONVERTER, "back.safetensors", "none.safetensors", code=1)
    assert "no archive as PyTorch writes" in said, said
    with open("victim", "w") as file:
        file.write("mine")
    os.symlink("victim", "linked.part")
    for arguments in (("published.pt",), ("--to-pt", "back.safetensors")):
        said = run(sys.executable, CONVERTER, *arguments, "linked", code=1)
        assert "linked.part: is a symbolic link, refused" in said and open("victim").read() == "mine", said


with tempfile.TemporaryDirectory() as scratch:
    os.chdir(scratch)
    golden_models()
    if torch:
        torch.set_num_threads(1)
        further_models()
        published_checkpoint(trained_model())
    os.chdir("/")
print("ok")
