"""make_golden.py: writes golden files with the oracle of flex_torch.py, and compares existing ones with it.

  python3 tests/oracle/make_golden.py OUT.h5 key=value...   e.g. image_size=32 channels=32,64 res_blocks=1,1 tag=7
  python3 tests/oracle/make_golden.py --compare FILE...     deviations of the oracle from the files

The layout is that of tests/golden: attributes give the configuration, `out/` the results, `grad/{name,shape,l2,dot}` the
gradients, `train/` a trajectory where the attribute train_steps is there. Attributes beyond the published files: `tasks`
(both | sr | fc), `latent_patch`, `strong_scale`, `decoder_channels`; absent means the neutral value. With one task,
`out/` has that task's rows and samples only and no loss_contrastive. Shapes are (B, C, H, W).
"""
import math
import sys

import h5py
import numpy as np
import torch

import flex_torch as flex

FORMAT = "flex-golden-1"
TRAINING = {"train_steps": 0, "optimizer": "adamw", "learning_rate": 1e-4, "warmup_steps": 0, "total_steps": 0,
            "clip_norm": 1.0, "ema_decay": 0.999}
# Relative tolerances of fp32, by quantity: norm of the difference over the norm.
TOLERANCE = {"out": 2e-5, "out/latent": 5e-6, "out/loss": 5e-6, "out/loss_l1": 5e-6, "out/loss_contrastive": 3e-5,
             "grad": 2e-4, "train": 2e-5, "train/loss_contrastive": 1e-3, "train/grad_norm": 1e-3, "up": 1e-6}


def new_model(c):
    model = flex.Flex(c)
    flex.set_hashed_weights(model, c.tag)
    return model.eval()  # golden files are made with dropout off


def gradients(model, tag):
    """Rows in the files' order of networks, which is not the published order of parameters."""
    networks = ("encoder", "superres_encoder", "forecast_encoder", "decoder")
    rows = sorted(((name, p.grad) for name, p in model.named_parameters()), key=lambda r: networks.index(r[0].split(".")[0]))
    text = h5py.string_dtype()
    probe = lambda name, g: flex.hashed("probe:" + name, tuple(g.shape), 1.0, tag)
    return {
        "grad/name": np.array([name for name, _ in rows], dtype=text),
        "grad/shape": np.array([",".join(map(str, g.shape)) for _, g in rows], dtype=text),
        "grad/l2": np.array([g.double().norm().item() for _, g in rows]),
        "grad/dot": np.array([(g.double() * probe(name, g).double()).sum().item() for name, g in rows]),
    }


def train(c, t):
    """The trajectory: update k (from 0) on the inputs named "step{k}:..."."""
    model, kept = new_model(c), {k: [] for k in ("loss", "loss_contrastive", "grad_norm", "lr", "ema_decay")}
    parameters = list(model.parameters())
    ema = [p.detach().clone() for p in parameters]
    moments = [torch.zeros_like(p) for p in parameters]
    adamw = torch.optim.AdamW(parameters, lr=1.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    for k in range(t["train_steps"]):
        w, n = t["warmup_steps"], t["total_steps"]
        lr = t["learning_rate"] * (k / w if k < w else 0.5 * (1 + math.cos(math.pi * (k - w) / (n - w))))
        model.zero_grad()
        out = flex.objective(model, c, flex.hashed_inputs(c, f"step{k}:"))
        out["total"].backward()
        norm = math.sqrt(sum(p.grad.double().pow(2).sum().item() for p in parameters))
        decay = min(t["ema_decay"], (2 + k) / (11 + k))
        with torch.no_grad():
            for p in parameters:
                p.grad.mul_(min(1.0, t["clip_norm"] / (norm + 1e-6)))
            if t["optimizer"] == "adamw":
                adamw.param_groups[0]["lr"] = lr
                adamw.step()
            else:
                for p, m in zip(parameters, moments):
                    p.sub_(lr * torch.sign(0.9 * m + 0.1 * p.grad))
                    m.mul_(0.98).add_(p.grad, alpha=0.02)
            for p, e in zip(parameters, ema):
                e.sub_((1 - decay) * (e - p))
        for name, value in (("loss", out["loss"].item()), ("loss_contrastive", out["loss_contrastive"].item()),
                            ("grad_norm", norm), ("lr", lr), ("ema_decay", decay)):
            kept[name].append(value)
    x = flex.hashed_inputs(c)
    with torch.no_grad():
        kept["final_loss"] = [flex.objective(model, c, x)["loss"].item()]
        for p, e in zip(parameters, ema):
            p.copy_(e)
        kept["final_loss_ema"] = [flex.objective(model, c, x)["loss"].item()]
    return {"train/" + name: np.array(values) for name, values in kept.items()}


def bicubic(side, tag):
    patch = flex.hashed("patch", (1, 1, side, side), 1.5, tag)
    return {f"up/{k}": flex.F.interpolate(patch[:, :, ::k, ::k], size=side, mode="bicubic", align_corners=False)[0, 0].numpy()
            for k in (2, 4, 8)}


def results(attributes):
    """Every dataset that a file with these attributes holds, by path."""
    if "side" in attributes:
        return bicubic(int(attributes["side"]), int(attributes["tag"]))
    c = flex.Config.from_attributes(attributes)
    model, x = new_model(c), flex.hashed_inputs(c)
    out = flex.objective(model, c, x)
    out["total"].backward()
    plain = c.predict == "v" and c.criterion == "l1" and not c.sigmoid_weight
    names = {"alpha", "sigma", "z", "latent", "velocity", "loss", "loss_contrastive"} & out.keys()
    data = {"out/" + ("loss_l1" if name == "loss" and plain else name): out[name].detach().numpy() for name in names}
    data.update(gradients(model, c.tag))
    with torch.no_grad():
        for task, steps in (("sr", 2), ("fc", 2), ("sr", 5)):
            if task in c.names:
                data[f"out/ddim{steps}_{task}"] = flex.sample(model, c, x, task, steps).numpy()
    training = {k: type(v)(flex_value(attributes[k])) if k in attributes else v for k, v in TRAINING.items()}
    if training["train_steps"]:
        data.update(train(c, training))
    return data


def flex_value(v):
    return v.decode() if isinstance(v, bytes) else v


def write(path, attributes):
    """Makes a golden file. `attributes`: numbers, text, or tuples of integers."""
    torch.manual_seed(0)
    with h5py.File(path, "w") as f:
        f.attrs["format"] = FORMAT
        for name, value in attributes.items():
            f.attrs[name] = np.array(value, dtype=np.int64) if isinstance(value, tuple) else value
        for name, value in results({k: f.attrs[k] for k in f.attrs}).items():
            f[name] = value


def deviation(name, mine, theirs, largest):
    """Relative norm of the difference; gradients relative to each gradient's own norm, where that is large enough."""
    if name in ("grad/l2", "grad/dot"):
        seen = largest > 1e-5 * largest.max()
        return (np.abs(mine - theirs)[seen] / largest[seen]).max()
    size = np.linalg.norm(np.asarray(theirs, dtype=np.float64))
    return np.linalg.norm(np.asarray(mine, dtype=np.float64) - theirs) / (size or 1.0)


def compare(path):
    """Prints the oracle's deviations from a golden file; True when all are within tolerance."""
    good = True
    with h5py.File(path, "r") as f:
        mine, found = results(dict(f.attrs)), []
        f.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        if set(found) != set(mine):
            print(f"{path}: datasets differ: {sorted(set(found) ^ set(mine))}")
            good = False
        for name in sorted(set(found) & set(mine)):
            theirs = f[name][()]
            if name in ("grad/name", "grad/shape"):
                same = [flex_value(v) for v in theirs] == list(mine[name])
                print(f"{path} {name:22} {'same' if same else 'DIFFERS'}")
                good = good and same
                continue
            d = deviation(name, mine[name], theirs, f["grad/l2"][()] if "grad" in f else None)
            limit = TOLERANCE.get(name, TOLERANCE[name.split("/")[0]])
            print(f"{path} {name:22} {d:9.2e} of {limit:.0e}{'' if d <= limit else '  TOO FAR'}")
            good = good and d <= limit
    return good


def parse(text):
    key, value = text.split("=", 1)
    items = value.split(",")
    if key in ("channels", "res_blocks", "decoder_channels"):
        return key, tuple(int(v) for v in items)
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            pass
    return key, value


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if sys.argv[1] == "--compare":
        sys.exit(0 if all([compare(path) for path in sys.argv[2:]]) else 1)
    write(sys.argv[1], dict(parse(a) for a in sys.argv[2:]))
