#!/usr/bin/env python3
"""gpu_plans.py: what the CUDA backend plans for one GPU of 80 GB, and the least time that a step can take there.

  python3 benchmarks/gpu_plans.py [--build build-standin] [--out docs/gpu-plans.md]

Asks `flexhpc plan CONFIG --set backend=cuda --set train.global_batch=N` for the published presets. No GPU is needed: in a build
with -DFX_CUDA=STANDIN the backend is the whole of cuda/ on the stand-in for CUDA's libraries, and its convolutions are planned by
the real cuDNN, where it is installed, for an H100's properties (tests/cuda/devices/h100.json). With a GPU, --build build.
A variant that the program refuses is left out of the tables, and the program's own words say why.
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
    "bf16, optimizer state over 8 ranks": (["precision=bf16", "train.shard_optimizer=true"], 8),
}
CARD, ASIDE = 80e9, 6e9  # bytes; what context, libraries, NCCL's buffers and fragments may take
PRODUCTS, STRICT, MEMORY = 798e12, 67e12, 3.0e12  # FLOP/s of an H100: bf16 tensor cores, fp32 without; bytes/s
PUBLISHED = 8  # samples a GPU and step


class Refused(Exception):
    pass


class Planner:
    """The plans of one preset in one variant, by samples a rank; each is asked for once."""

    def __init__(self, program, preset, variant):
        self.program, self.preset = program, preset
        self.keys, self.ranks = VARIANTS[variant]
        self.known = {}

    def ask(self, batch, *more):
        keys = ["backend=cuda", "data.patch=256", f"train.global_batch={batch * self.ranks}"] + self.keys
        command = [self.program, "plan", os.path.join(ROOT, "configs", f"flex-{self.preset}.yaml"), *more]
        command += [word for key in keys for word in ("--set", key)]
        if self.ranks > 1:
            command = ["mpiexec", "-n", str(self.ranks)] + command
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Refused(done.stderr.strip().splitlines()[-1])
        return done.stdout

    def held(self, batch):
        """Bytes a rank, one number for each recompute option."""
        if batch not in self.known:
            line = re.search(r"^in all +(.*)$", self.ask(batch), re.M)
            self.known[batch] = [float(mib) * 2**20 for mib in line.group(1).split()]
        return self.known[batch]

    def largest(self, option, room):
        """The largest batch that fits, found from a line through two plans; it fits, and one sample more does not."""
        low, high = self.held(2)[option], self.held(4)[option]
        batch = max(1, int(2 + (room - low) / ((high - low) / 2)))
        while batch > 0 and self.held(batch)[option] > room:
            batch -= 1
        while self.held(batch + 1)[option] <= room:
            batch += 1
        return batch

    def entries(self, batch):
        """(op, FLOP, bytes) of every entry of the step."""
        with tempfile.TemporaryDirectory() as folder:
            nodes = os.path.join(folder, "nodes")
            self.ask(batch, "--out", nodes)
            with open(nodes) as f:
                lines = f.readlines()
        found = [re.match(r" *\d+ \S+ +(\S+) .* flop (\d+) bytes (\d+)$", line) for line in lines]
        return [(m.group(1), float(m.group(2)), float(m.group(3))) for m in found]


def fits(planner, variant):
    room = CARD - ASIDE
    batches = [planner.largest(i, room) for i in range(len(OPTIONS))]
    held = [planner.held(PUBLISHED)[i] / 1e9 for i in range(len(OPTIONS))]
    row = [planner.preset, variant] + [str(b) for b in batches] + [f"{h:.1f}" for h in held]
    return "| " + " | ".join(row) + " |"


def floors(planner, variant):
    entries = planner.entries(PUBLISHED)
    flop, moved = sum(e[1] for e in entries), sum(e[2] for e in entries)
    serial = sum(max(e[1] / PRODUCTS, e[2] / MEMORY) for e in entries)
    bound = sum(e[2] / MEMORY for e in entries if e[2] / MEMORY > e[1] / PRODUCTS)
    times = [flop / PRODUCTS, moved / MEMORY, serial, bound]
    row = [planner.preset, variant, f"{flop / 1e12:.2f}", f"{moved / 1e9:.1f}"] + [f"{1e3 * t:.1f}" for t in times]
    strict = f"{1e3 * flop / STRICT:.0f}" if variant == "fp32" else ""
    return "| " + " | ".join(row + [f"{PUBLISHED / serial:.0f}", strict, str(len(entries))]) + " |"


def page(program, build):
    memory, time, refused = [], [], []
    for variant in VARIANTS:
        for preset in PRESETS:
            planner = Planner(program, preset, variant)
            print(f"{preset}, {variant}", flush=True)
            try:
                memory.append(fits(planner, variant))
                time.append(floors(planner, variant))
            except Refused as reason:
                refused.append(f"- {variant}: not planned: `{reason}`")
                break
    head = ["preset", "stored"] + OPTIONS + [f"{o}, GB" for o in OPTIONS]
    limbs = ["preset", "stored", "TFLOP", "GB", "products, ms", "memory, ms", "serial, ms", "of it memory-bound",
             "samples/s", "products without tensor cores, ms", "entries"]
    rule = lambda columns: "|" + "---|" * len(columns)
    return f"""# Plans for one GPU

Made by `python3 benchmarks/gpu_plans.py --build {build}` on {datetime.date.today()}, from `flexhpc plan` with `backend: cuda`. Counted;
nothing here was measured on a GPU. FLEX as published: both tasks, 256 x 256, Lion, EMA; a sample is one of each task.

## Largest batch on 80 GB
Samples a step, by `model.recompute`, where {ASIDE / 1e9:.0f} GB of the {CARD / 1e9:.0f} are set aside for what the plan does not know (the
context, libraries, NCCL's buffers: assumed). One sample more does not fit. On the right: GB in all with the published {PUBLISHED}.

| {" | ".join(head)} |
{rule(head)}
{os.linesep.join(memory)}

## Floors of a step of {PUBLISHED} samples on an H100
Products: FLOP over {PRODUCTS / 1e12:.0f} TFLOP/s, what bf16 tensor cores reach. Memory: bytes over {MEMORY / 1e12:.1f} TB/s, every tensor that an
entry of the step reads or writes counted once an entry, as if nothing stayed in a cache from one entry to the next. Serial: the sum
over entries of the longer of the two; no step is faster unless caches help or entries overlap. Entries: those of the step's list,
the sums over ranks among them; an entry is one kernel or several, and all are started by one graph launch.
`model.recompute: none`.

| {" | ".join(limbs)} |
{rule(limbs)}
{os.linesep.join(time)}

{os.linesep.join(["Left out:", ""] + refused + [""]) if refused else ""}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build-standin", help="folder of the build")
    parser.add_argument("--out", default=os.path.join(ROOT, "docs", "gpu-plans.md"))
    args = parser.parse_args()
    text = page(os.path.join(args.build, "flexhpc"), args.build)
    with open(args.out, "w") as f:
        f.write(text.rstrip() + "\n")


main()
