"""flex_torch.py: a second statement of FLEX, in PyTorch, written from the paper (arXiv 2505.17351) and the published names
alone and sharing nothing with the C code. It is the oracle of tests/oracle and the rival of benchmarks/peers.

Layout is (B, C, H, W). S: image side, L = len(channels): levels, D = channels[-1]: embedding width, T: tokens. Parameter
names are the published state_dict's. Weights and inputs of the checks are hash-defined by their names (`hashed`);
make_golden.py compares them with golden files and writes further ones.
"""
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import hashed as numbers


@dataclass
class Config:
    """The attributes of a golden file; a field left alone has the neutral value that an absent attribute means."""
    image_size: int
    batch: int
    channels: tuple
    res_blocks: tuple
    depth: int
    heads: int
    mlp_ratio: float
    cond_snapshots: int = 2
    tag: int = 0
    logsnr_shift: float = 1.0
    contrastive_weight: float = 0.0
    contrastive_temperature: float = 0.01
    predict: str = "v"
    criterion: str = "l1"
    sigmoid_weight: int = 0
    sigmoid_shift: float = -1.0
    weak_levels: int = 4
    tasks: str = "both"
    latent_patch: int = 1
    strong_scale: float = 1.0
    decoder_channels: tuple = ()

    @classmethod
    def from_attributes(cls, attributes):
        def plain(v):
            if isinstance(v, bytes):
                return v.decode()
            return tuple(int(x) for x in v) if isinstance(v, np.ndarray) else v.item() if hasattr(v, "item") else v
        return cls(**{k: plain(v) for k, v in attributes.items() if k in cls.__dataclass_fields__})

    @property
    def names(self):
        return {"both": ("sr", "fc"), "sr": ("sr",), "fc": ("fc",)}[self.tasks]

    @property
    def latent_side(self):
        return self.image_size // 2 ** len(self.channels)

    @property
    def tokens(self):
        return (self.latent_side // self.latent_patch) ** 2


def groups32(channels):
    return nn.GroupNorm(32, channels, eps=1e-5)


def conv3x3(cin, cout):
    return nn.Conv2d(cin, cout, 3, padding=1)


def embedding(width, inputs):
    return nn.Sequential(nn.Linear(inputs, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))


class MPFourier(nn.Module):
    """sqrt(2) cos(t freqs + phases); freqs and phases are buffers."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * torch.randn(width))
        self.register_buffer("phases", 2 * math.pi * torch.rand(width))

    def forward(self, t):
        return math.sqrt(2) * torch.cos(t[:, None] * self.freqs + self.phases)


class ResBlock(nn.Module):
    """`joined`: the input is [x, skip]; then there is a skip convolution whatever the widths. In the published model they
    differ there anyway; with decoder_channels they can be equal by accident."""

    def __init__(self, cin, cout, width, resample=None, dropout=0.1, joined=False):
        super().__init__()
        self.resample = resample
        self.in_layers = nn.Sequential(groups32(cin), nn.SiLU(), conv3x3(cin, cout))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * cout))
        self.out_layers = nn.Sequential(groups32(cout), nn.SiLU(), nn.Dropout(dropout), conv3x3(cout, cout))
        self.skip_connection = conv3x3(cin, cout) if cin != cout or joined else nn.Identity()

    def resampled(self, x):
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return F.avg_pool2d(x, 2) if self.resample == "down" else x

    def forward(self, x, emb):
        norm, silu, conv = self.in_layers
        h = conv(self.resampled(silu(norm(x))))
        scale, shift = self.emb_layers(emb)[:, :, None, None].chunk(2, dim=1)
        norm, silu, drop, conv = self.out_layers
        h = conv(drop(silu(norm(h) * (1 + scale) + shift)))
        return self.skip_connection(self.resampled(x)) + h


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(d // self.heads), dim=-1)
        return self.proj((a @ v).transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x), approximate="tanh"))))


class TransformerBlock(nn.Module):
    def __init__(self, width, heads, ratio, skip, dropout):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, int(width * ratio), dropout)
        self.skip_linear = nn.Linear(2 * width, width) if skip else None

    def forward(self, x, skip=None):
        if self.skip_linear is not None:
            x = self.skip_linear(torch.cat([x, skip], dim=-1))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def input_blocks(c, cin, dropout):
    """The blocks of an encoder, and the level that each counts to for weak conditioning."""
    width, blocks, level_of, now = c.channels[-1], [nn.ModuleList([conv3x3(cin, c.channels[0])])], [0], c.channels[0]
    for level, (channels, count) in enumerate(zip(c.channels, c.res_blocks)):
        for _ in range(count):
            blocks.append(nn.ModuleList([ResBlock(now, channels, width, None, dropout)]))
            now = channels
        blocks.append(nn.ModuleList([ResBlock(now, now, width, "down", dropout)]))
        level_of += [level] * (count + 1)
    return nn.ModuleList(blocks), level_of


def run_block(block, x, emb):
    for part in block:
        x = part(x, emb) if isinstance(part, ResBlock) else part(x)
    return x


class TaskEncoder(nn.Module):
    def __init__(self, c, cin, dropout):
        super().__init__()
        self.input_blocks, _ = input_blocks(c, cin, dropout)
        self.cond_embed = embedding(c.channels[-1], 1)

    def forward(self, x, re):
        emb, skips = self.cond_embed(re[:, None]), []
        for block in self.input_blocks:
            x = run_block(block, x, emb)
            skips.append(x)
        return skips


class Encoder(nn.Module):
    """z (R, 1, S, S), t, re (R), the task's skips -> mid_block output (R, 1 + T, D), skips, transformer skips."""

    def __init__(self, c, dropout):
        super().__init__()
        width = c.channels[-1]
        self.c = c
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + c.tokens, width))
        self.MPFourier = MPFourier(width)
        self.time_embed = embedding(width, width)
        self.input_blocks, self.level_of = input_blocks(c, 1, dropout)
        self.cond_embed = embedding(width, 1)
        if c.latent_patch > 1:
            self.patch_embed = nn.Linear(c.latent_patch ** 2 * width, width)
        block = lambda: TransformerBlock(width, c.heads, c.mlp_ratio, False, dropout)
        self.tr_blocks = nn.ModuleList([block() for _ in range(c.depth // 2)])
        self.mid_block = block()

    def tokens_of(self, x):
        b, d, s, _ = x.shape
        p = self.c.latent_patch
        x = x.view(b, d, s // p, p, s // p, p).permute(0, 2, 4, 3, 5, 1).reshape(b, (s // p) ** 2, p * p * d)
        return self.patch_embed(x) if p > 1 else x

    def forward(self, x, t, re, task_skips):
        emb, skips, token_skips = self.cond_embed(re[:, None]) + self.time_embed(self.MPFourier(t)), [], []
        for block, level, task in zip(self.input_blocks, self.level_of, task_skips):
            x = run_block(block, x, emb)
            if level < self.c.weak_levels:
                x = x + task
            skips.append(x)
        x = torch.cat([emb[:, None], self.tokens_of(x)], dim=1) + self.pos_embed
        for block in self.tr_blocks:
            x = block(x)
            token_skips.append(x)
        return self.mid_block(x), skips, token_skips


class Decoder(nn.Module):
    def __init__(self, c, dropout):
        super().__init__()
        width, side, self.c = c.channels[-1], c.decoder_channels or c.channels, c
        self.MPFourier = MPFourier(width)
        self.time_embed = embedding(width, width)
        self.cond_embed = embedding(width, 1)
        self.tr_blocks = nn.ModuleList([TransformerBlock(width, c.heads, c.mlp_ratio, True, dropout)
                                        for _ in range(c.depth // 2)])
        self.norm = nn.LayerNorm(width, eps=1e-5)
        if c.latent_patch > 1:
            self.patch_unembed = nn.Linear(width, c.latent_patch ** 2 * width)
        skips = [c.channels[0]] + [ch for ch, n in zip(c.channels, c.res_blocks) for _ in range(n + 1)]
        blocks, now = [nn.ModuleList([ResBlock(width + skips.pop(), side[-1], width, "up", dropout, True)])], side[-1]
        for level in reversed(range(len(side))):
            for i in range(c.res_blocks[level] + 1):
                block, now = [ResBlock(now + skips.pop(), side[level], width, None, dropout, True)], side[level]
                if level > 0 and i == c.res_blocks[level]:
                    block.append(ResBlock(now, now, width, "up", dropout))
                blocks.append(nn.ModuleList(block))
        self.output_blocks = nn.ModuleList(blocks)
        self.final_layer = nn.Sequential(groups32(side[0]), nn.SiLU(), conv3x3(side[0], 1))

    def image_of(self, x):
        b, n, _ = x.shape
        p, s, d = self.c.latent_patch, self.c.latent_side, self.c.channels[-1]
        x = self.patch_unembed(x) if p > 1 else x
        return x.view(b, s // p, s // p, p, p, d).permute(0, 5, 1, 3, 2, 4).reshape(b, d, s, s)

    def forward(self, x, t, re, skips, token_skips, task_skips):
        emb, scale = self.time_embed(self.MPFourier(t)) + self.cond_embed(re[:, None]), self.c.strong_scale
        x = torch.cat([x[:, :1] + emb[:, None], x[:, 1:]], dim=1)
        for block, skip in zip(self.tr_blocks, reversed(token_skips)):
            x = block(x, skip)
        x = self.image_of(self.norm(x)[:, 1:]) + scale * task_skips[-1]
        for block, skip, task in zip(self.output_blocks, reversed(skips), reversed(task_skips)):
            x = run_block(block, torch.cat([x, skip + scale * task], dim=1), emb)
        return self.final_layer(x)


class Flex(nn.Module):
    def __init__(self, c, dropout=0.1):
        super().__init__()
        self.c = c
        self.encoder = Encoder(c, dropout)
        self.decoder = Decoder(c, dropout)
        if "sr" in c.names:
            self.superres_encoder = TaskEncoder(c, 1, dropout)
        if "fc" in c.names:
            self.forecast_encoder = TaskEncoder(c, c.cond_snapshots, dropout)

    def conditions(self, lowres, snapshots, re, names=None):
        """The task encoders' skips over the rows of all named tasks, SR rows first. They do not depend on t."""
        parts = [self.superres_encoder(lowres, re) if name == "sr" else self.forecast_encoder(snapshots, re)
                 for name in names or self.c.names]
        return [torch.cat(skip) for skip in zip(*parts)]

    def forward(self, z, t, re, task_skips):
        """z (R, 1, S, S); t, re (R) -> velocity (R, 1, S, S), latent (R, 1 + T, D)."""
        latent, skips, token_skips = self.encoder(z, t, re, task_skips)
        return self.decoder(latent, t, re, skips, token_skips, task_skips), latent


def schedule(t, shift):
    """alpha, sigma, logsnr in double: cosine log-SNR between -20 and 20, the tangent times `shift`."""
    b = math.atan(math.exp(-10))
    a = math.atan(math.exp(10)) - b
    logsnr = -2 * torch.log(torch.tan(a * torch.as_tensor(t, dtype=torch.float64) + b) * shift)
    return torch.sqrt(torch.sigmoid(logsnr)), torch.sqrt(torch.sigmoid(-logsnr)), logsnr


def objective(model, c, x):
    """Everything of one step. x: lowres, snapshots, future, eps, t, re. Returns a dictionary; "total" is what is trained."""
    n, rows = len(c.names), lambda v: v.repeat(len(c.names), *[1] * (v.dim() - 1))
    last = x["snapshots"][:, -1:]
    residual = {"sr": last - x["lowres"], "fc": x["future"] - last}
    r, eps = torch.cat([residual[name] for name in c.names]), rows(x["eps"])
    alpha64, sigma64, logsnr = schedule(x["t"], c.logsnr_shift)
    alpha, sigma = (rows(v.float())[:, None, None, None] for v in (alpha64, sigma64))
    z = alpha * r + sigma * eps
    output, latent = model(z, rows(x["t"]), rows(x["re"]), model.conditions(x["lowres"], x["snapshots"], x["re"]))
    bias = math.exp(-c.sigmoid_shift)
    estimate, target, weight = {
        "v": (output, alpha * eps - sigma * r, 1 / (alpha64 ** 2 * bias + sigma64 ** 2)),
        "x": (output, r, torch.ones_like(logsnr)),
        "eps": (alpha * output + sigma * z, eps, torch.sigmoid(c.sigmoid_shift - logsnr)),
    }[c.predict]
    point = {"l1": F.l1_loss, "mse": F.mse_loss, "huber": F.huber_loss}[c.criterion](estimate, target, reduction="none")
    loss = (point * rows(weight.float())[:, None, None, None]).mean() if c.sigmoid_weight else point.mean()
    out = {"alpha": alpha64.float(), "sigma": sigma64.float(), "z": z, "latent": latent, "velocity": output, "loss": loss,
           "total": loss}
    if n == 2:
        out["loss_contrastive"] = contrast(*latent.chunk(2), c.contrastive_temperature)
        if c.contrastive_weight:
            out["total"] = loss + c.contrastive_weight * out["loss_contrastive"]
    return out


def contrast(sr, fc, temperature):
    """Symmetric cross-entropy between the two tasks' flattened, normalised latents, matching samples on the diagonal."""
    e = [F.normalize(latent.flatten(1), dim=1, eps=1e-12) for latent in (sr, fc)]
    logits, labels = e[0] @ e[1].t() / temperature, torch.arange(len(sr))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2


def sample(model, c, x, task, steps):
    """DDIM with eta 0 from x["x_T"], for one task."""
    z, base = x["x_T"], x["lowres"] if task == "sr" else x["snapshots"][:, -1:]
    task_skips = model.conditions(x["lowres"], x["snapshots"], x["re"], (task,))
    for k in range(steps, 0, -1):
        (alpha, sigma, _), (alpha1, sigma1, _) = (schedule(i / steps, c.logsnr_shift) for i in (k, k - 1))
        output, _ = model(z, torch.full_like(x["re"], k / steps), x["re"], task_skips)
        if c.predict == "x":
            mean, e = output, (z - float(alpha) * output) / float(sigma)
        else:
            mean, e = float(alpha) * z - float(sigma) * output, float(alpha) * output + float(sigma) * z
        z = float(alpha1) * mean + float(sigma1) * e
    return mean + base


def hashed(*arguments, **keys):
    return torch.from_numpy(numbers.hashed(*arguments, **keys))


def set_hashed_weights(model, tag):
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *model.named_buffers()]:
            p.copy_(torch.from_numpy(numbers.weight(name, tuple(p.shape), tag)))


def hashed_inputs(c, prefix=""):
    image = lambda name, channels, amplitude: hashed(prefix + name, (c.batch, channels, c.image_size, c.image_size),
                                                     amplitude, c.tag)
    x = {"lowres": image("lowres", 1, 1.5), "snapshots": image("snapshots", c.cond_snapshots, 1.5),
         "future": image("future", 1, 1.5), "eps": image("eps", 1, 1.7320508)}
    if not prefix:
        x["x_T"] = image("x_T", 1, 1.7320508)
    for name in ("t", "re"):
        x[name] = hashed(prefix + name, (c.batch,), 1, c.tag, signed=False)
    return x
