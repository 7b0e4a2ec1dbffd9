#!/usr/bin/env python3
"""gpu_plans.py: what the CUDA backend plans for one GPU of 80 GB, and the least time that a step can take there.

  python3 benchmarks/gpu_plans.py [--build build-standin] [--standin build-standin] [--out docs/gpu-plans.md]

Asks `flexhpc plan CONFIG --set backend=cuda --set train.global_batch=N` for the published presets. No GPU is needed: in a build
with -DFX_CUDA=STANDIN the backend is the whole of cuda/ on the stand-in for CUDA's libraries, and its convolutions are planned by
the real cuDNN, where it is installed, for an H100's properties (tests/cuda/devices/h100.json). With a GPU, --build build; what a
step starts is counted by tests/launches of the stand-in's build in either case.
"""
import argparse
import datetime
import os
import re
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRESETS = ["small", "medium", "big"]
OPTIONS = ["none", "cheap", "resblock", "all"]
# Name: keys, ranks.
VARIANTS = {
    "fp32": (["precision=fp32"], 1),
    "bf16": (["precision=bf16"], 1),
    "bf16, ZeRO-1 over 8 ranks": (["precision=bf16", "train.shard_optimizer=true"], 8),
}
CARD, ASIDE = 80e9, 6e9  # bytes; what context, libraries, NCCL's buffers and fragments may take
PRODUCTS, STRICT, MEMORY = 798e12, 67e12, 3.0e12  # FLOP/s of an H100: bf16 tensor cores, fp32 without; bytes/s
PUBLISHED = 8  # samples a GPU and step
REFUSAL = "cuDNN: none of"  # has an engine for one of the convolutions

# Ops of a step's list, by what they are in IDEAL.
GROUPS = {
    "convolutions": ["conv"],
    "norms, pooling": ["group_norm", "layer_norm", "pool"],
    "sums": ["add", "add_token"],
    "linear, attention": ["linear", "attention", "silu"],
    "optimizer": ["clip", "update"],
}
# ms a sample of the published step of 8 samples, bf16, on an H100 by the same two limits, counted once from the published model
# apart from this program: every convolution pass by itself; a norm with all that its elements go through in one kernel, which
# reads once and writes once, its backward taking in the gradients that meet there; sums of features written by whoever makes
# them; 32 bytes a parameter for clip, Lion, EMA and bf16 copy.
IDEAL = {
    "small": {"convolutions": 3.237, "norms, pooling": 1.428, "sums": 0.150, "linear, attention": 0.075, "optimizer": 0.078},
    "medium": {"convolutions": 5.998, "norms, pooling": 1.679, "sums": 0.176, "linear, attention": 0.177, "optimizer": 0.312},
    "big": {"convolutions": 24.352, "norms, pooling": 3.381, "sums": 0.355, "linear, attention": 1.181, "optimizer": 1.453},
}


def config_of(preset):
    return os.path.join(ROOT, "configs", f"flex-{preset}.yaml")


def keys_of(batch):
    return ["backend=cuda", "data.patch=256", f"train.global_batch={batch}"]


class Planner:
    """The plans of one preset in one variant, by samples a rank; each is asked for once."""

    def __init__(self, program, preset, variant):
        self.program, self.preset = program, preset
        self.keys, self.ranks = VARIANTS[variant]
        self.known = {}

    def ask(self, batch, *more):
        command = [self.program, "plan", config_of(self.preset), "--ranks", str(self.ranks), *more]
        command += [word for key in keys_of(batch * self.ranks) + self.keys for word in ("--set", key)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0 and REFUSAL not in done.stderr:
            raise SystemExit(done.stderr.strip())
        return done.stdout if done.returncode == 0 else None

    def held(self, batch):
        """Bytes a rank, one number for each recompute option; infinite where the library computes no such batch."""
        if batch not in self.known:
            text = self.ask(batch)
            line = re.search(r"^in all +(.*)$", text, re.M) if text else None
            self.known[batch] = [float(mib) * 2**20 for mib in line.group(1).split()] if line else [float("inf")] * len(OPTIONS)
        return self.known[batch]

    def largest(self, option, room):
        """The largest batch that fits, found from a line through two plans; it fits, and one sample more does not. With a star
        where what is missing for one more is not memory."""
        low, high = self.held(2)[option], self.held(4)[option]
        batch = max(1, int(2 + (room - low) / ((high - low) / 2)))
        while batch > 0 and self.held(batch)[option] > room:
            batch -= 1
        while self.held(batch + 1)[option] <= room:
            batch += 1
        return f"{batch}{' *' if self.held(batch + 1)[option] == float('inf') else ''}"

    def entries(self, batch):
        """(op, FLOP, bytes) of every entry of the step."""
        with tempfile.TemporaryDirectory() as folder:
            nodes = os.path.join(folder, "nodes")
            self.ask(batch, "--out", nodes)
            with open(nodes) as f:
                lines = f.readlines()
        found = [re.match(r" *\d+ \S+ +(\S+) .* flop (\d+) bytes (\d+)$", line) for line in lines]
        return [(m.group(1), float(m.group(2)), float(m.group(3))) for m in found]


def least(entry):
    """Seconds that an entry takes at least."""
    return max(entry[1] / PRODUCTS, entry[2] / MEMORY)


def row(*cells):
    return "| " + " | ".join(str(c) for c in cells) + " |"


def table(head, rows):
    return os.linesep.join([row(*head), "|" + "---|" * len(head)] + rows)


def fits(planner, variant):
    room = CARD - ASIDE
    batches = [planner.largest(i, room) for i in range(len(OPTIONS))]
    return row(planner.preset, variant, *batches, *[f"{planner.held(PUBLISHED)[i] / 1e9:.1f}" for i in range(len(OPTIONS))])


def floors(planner, variant, entries):
    flop, moved = sum(e[1] for e in entries), sum(e[2] for e in entries)
    serial = sum(least(e) for e in entries)
    bound = sum(e[2] / MEMORY for e in entries if e[2] / MEMORY > e[1] / PRODUCTS)
    times = [flop / PRODUCTS, moved / MEMORY, serial, bound]
    strict = f"{1e3 * flop / STRICT:.0f}" if variant == "fp32" else ""
    return row(planner.preset, variant, f"{flop / 1e12:.2f}", f"{moved / 1e9:.1f}", *[f"{1e3 * t:.1f}" for t in times],
               f"{PUBLISHED / serial:.0f}", strict)


def against_ideal(preset, entries):
    ideal, serial = IDEAL[preset], 1e3 * sum(least(e) for e in entries) / PUBLISHED
    cells = []
    for group, ops in GROUPS.items():
        ours = 1e3 * sum(least(e) for e in entries if e[0] in ops) / PUBLISHED
        cells.append(f"{ours:.2f} / {ideal[group]:.2f}")
    ratio = serial / sum(ideal.values())
    return row(preset, f"{serial:.2f}", f"{sum(ideal.values()):.2f}", f"{ratio:.2f}", *cells, f"{70 * ratio:.0f} %")


def launches(program, preset):
    command = [program, config_of(preset), *keys_of(PUBLISHED), "precision=bf16"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr.strip())
    counted = [line.split() for line in done.stdout.splitlines()]
    *ops, (_, _, entries, kernels, calls) = counted
    norms = sum(int(r[3]) for r in ops if r[0] == "group_norm")
    return row(preset, entries, kernels, norms, calls, int(kernels) + int(calls))


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"], capture_output=True,
                          text=True)
    return done.stdout.strip() or "unknown"


def page(program, counter, build):
    memory, time, ideal = [], [], []
    for variant in VARIANTS:
        for preset in PRESETS:
            planner = Planner(program, preset, variant)
            print(f"{preset}, {variant}", flush=True)
            memory.append(fits(planner, variant))
            entries = planner.entries(PUBLISHED)
            if planner.ranks == 1:
                time.append(floors(planner, variant, entries))
            if variant == "bf16":
                ideal.append(against_ideal(preset, entries))
    starred = "" if not any("*" in line for line in memory) else f"""
A star: one sample more would fit, but cuDNN has no engine for it within the budget of workspace: a tensor would have
2^31 elements or more. The decoder runs two images a sample: {2**31 // (256 * 256 * 192)} images of the 192 channels that `small` and `medium` have at
256 x 256, {2**31 // (256 * 256 * 384)} of the 384 of `big`.
"""
    head = ["preset", "stored"] + OPTIONS + [f"{o}, GB" for o in OPTIONS]
    limbs = ["preset", "stored", "TFLOP", "GB", "products, ms", "memory, ms", "serial, ms", "of it memory-bound",
             "samples/s", "products without tensor cores, ms"]
    return f"""# Plans for one GPU

Made by `python3 benchmarks/gpu_plans.py --build {build}` on {datetime.date.today()} at commit {commit()},
from `flexhpc plan` with `backend: cuda`. Counted; nothing here was measured on a GPU. FLEX as published: both tasks, 256 x 256, Lion, EMA; a sample is one of each task.

## Largest batch on 80 GB
Samples a step and rank, by `model.recompute`, where {ASIDE / 1e9:.0f} GB of the {CARD / 1e9:.0f} are set aside for what the plan does not
know (the context, libraries, NCCL's buffers: assumed). One sample more does not fit. On the right: GB in all with the published
{PUBLISHED}. The last variant is one rank of eight with `train.shard_optimizer`.

{table(head, memory)}
{starred}
## Floors of a step of {PUBLISHED} samples on an H100
Products: FLOP over {PRODUCTS / 1e12:.0f} TFLOP/s, what bf16 tensor cores reach. Memory: bytes over {MEMORY / 1e12:.1f} TB/s, every tensor that an
entry of the step reads or writes counted once an entry, as if nothing stayed in a cache from one entry to the next. Serial: the sum
over entries of the longer of the two; no step is faster unless caches help or entries overlap. `model.recompute: none`.

{table(limbs, time)}

## The serial floor against an ideal one
ms a sample in bf16, ours / ideal: what our step's list needs at least, and what a step needs whose every tensor goes through memory
as seldom as dependences allow (counted apart from the program; `IDEAL` in the script says how). The goal, 70 % of the ideal
floor's speed, is the share of our own floor's in the last column.

{table(["preset", "ours", "ideal", "ratio"] + list(GROUPS) + ["goal"], ideal)}

The difference is in the sums: those of weak conditioning and of the decoder's features are entries of their own, which read two
tensors and write one, and read and write gradients again on the way back; the ideal hides them in the kernels before and behind
them. A convolution's backward is one entry here and two passes there, which changes little, since arithmetic binds. Norms come
out below the ideal because gradients that meet there are added by those sums.

## What a step of {PUBLISHED} samples starts
Counted, in bf16: the step is recorded, planned and walked on the stand-in as for training, nothing runs, and what each entry puts
into streams is counted (`tests/cuda/launches.c`). Kernels are ours; a library call is one of cuDNN's or cuBLASLt's, which starts
one kernel or a few. All are nodes of one graph, which the host starts by one call; one rank has no sums over ranks. Entries: those
of the step's list.

{table(["preset", "entries", "kernels", "of them group norms'", "library calls", "kernels and calls"],
       [launches(counter, p) for p in PRESETS])}

A group norm is one kernel a pass: its blocks wait for each other (`cuda/group_norm_work.cuh`). What a node of a graph costs on the
device is not in the floors above, and not known here: every microsecond of it would be a millisecond a step for each thousand nodes.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build-standin", help="folder of the build")
    parser.add_argument("--standin", default="build-standin", help="folder of the build with the stand-in")
    parser.add_argument("--out", default=os.path.join(ROOT, "docs", "gpu-plans.md"))
    args = parser.parse_args()
    text = page(os.path.join(args.build, "flexhpc"), os.path.join(args.standin, "tests", "launches"), args.build)
    with open(args.out, "w") as f:
        f.write(text.rstrip() + "\n")


main()
