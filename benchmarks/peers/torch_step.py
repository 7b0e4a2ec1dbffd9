#!/usr/bin/env python3
"""torch_step.py: the rival. Times a training step and two-step sampling of FLEX in PyTorch eager, fp32, on this machine's
cores, and prints one JSON object. The model is the second oracle's (tests/oracle/flex_torch.py), so both programs do the
same work: multi-task, dropout as configured, forward, backward, clip, Lion, EMA.

  torch_step.py --model small --image 256 --batch 1 --steps 3 --malloc tuned

--malloc stock runs as PyTorch comes. --malloc tuned starts itself again with glibc told to keep freed memory, and OpenBLAS
told the processor has AVX-512 where it has: on a virtual machine that takes page faults badly this alone is worth a factor
of three, so it is the run to beat. Every term of the output: benchmarks/TERMS.md.
"""
import argparse
import json
import os
import resource
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "oracle"))

MODELS = {
    "small": {"channels": (64, 128, 128, 256), "res_blocks": (2, 3, 3, 3), "depth": 13, "heads": 4, "mlp_ratio": 2.0},
    "medium": {"channels": (64, 128, 256, 512), "res_blocks": (2, 3, 3, 4), "depth": 13, "heads": 8, "mlp_ratio": 2.0},
    "demo": {"channels": (32, 32, 64, 64), "res_blocks": (1, 1, 1, 1), "depth": 3, "heads": 2, "mlp_ratio": 2.0},
}
DROPOUT = {"small": 0.1, "medium": 0.1, "demo": 0.0}
TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "268435456"}


def tuned_environment():
    """This process's environment with the settings of --malloc tuned."""
    env = {**os.environ, **TUNED}
    with open("/proc/cpuinfo") as f:
        if " avx512bw" in f.read():
            env["OPENBLAS_CORETYPE"] = "SkylakeX"
    return env


class Lion:
    """p -= lr sign(b1 m + (1 - b1) g), then m = b2 m + (1 - b2) g; and the EMA of the parameters."""

    def __init__(self, torch, parameters, lr, decay):
        self.torch, self.parameters, self.lr, self.decay = torch, parameters, lr, decay
        self.moments = [torch.zeros_like(p) for p in parameters]
        self.ema = [p.detach().clone() for p in parameters]

    def step(self):
        with self.torch.no_grad():
            for p, m, e in zip(self.parameters, self.moments, self.ema):
                p.add_(self.torch.sign(m.mul(0.9).add_(p.grad, alpha=0.1)), alpha=-self.lr)
                m.mul_(0.98).add_(p.grad, alpha=0.02)
                e.sub_((e - p).mul_(1 - self.decay))


def count_flops(model, nn, run):
    """FLOP of the convolutions and linear layers in one forward pass: 2 a multiply-add."""
    total = [0]

    def hook(module, inputs, output):
        per_output = module.in_channels * 9 if isinstance(module, nn.Conv2d) else module.in_features
        total[0] += 2 * per_output * output.numel()
    hooks = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    run()
    for h in hooks:
        h.remove()
    return total[0]


def saved_bytes(torch, model, forward):
    """Bytes that autograd keeps for backward after one forward pass, parameters apart, each storage once."""
    own = {p.storage().data_ptr() for p in model.parameters()} | {b.storage().data_ptr() for b in model.buffers()}
    seen = {}

    def pack(t):
        s = t.storage()
        if s.data_ptr() not in own:
            seen[s.data_ptr()] = s.nbytes()
        return t
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = forward()
    total = sum(seen.values())
    del loss
    return total


def sgemm_rate(torch):
    """GFLOP/s of a 2048^3 fp32 product: best of five."""
    a, best = torch.randn(2048, 2048), float("inf")
    for _ in range(6):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 2048 ** 3 / best / 1e9


def blas_library():
    """The file of the BLAS that this process has loaded: Debian's alternatives decide it, and it is worth a factor of 20."""
    with open("/proc/self/maps") as f:
        paths = {os.path.realpath(line.split()[-1]) for line in f if "blas" in line}
    return " ".join(sorted(paths)) or "built in"


def measure(options):
    import torch
    import flex_torch as flex
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    c = flex.Config(image_size=options.image, batch=options.batch, **MODELS[options.model])
    model = flex.Flex(c, dropout=DROPOUT[options.model]).train()
    parameters = list(model.parameters())
    lion = Lion(torch, parameters, 1e-5, 0.999)
    x = flex.hashed_inputs(c)

    def forward():
        x["t"], x["eps"] = torch.rand(c.batch), torch.randn_like(x["eps"])
        return flex.objective(model, c, x)["total"]

    def step():
        for p in parameters:
            p.grad = None
        marks = [time.perf_counter()]
        loss = forward()
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        lion.step()
        marks.append(time.perf_counter())
        return [marks[3] - marks[0]] + [b - a for a, b in zip(marks, marks[1:])]

    def sample():
        start = time.perf_counter()
        with torch.no_grad():
            flex.sample(model, c, x, "sr", 2)
        return time.perf_counter() - start

    out = {"program": "torch " + torch.__version__, "blas": blas_library(), "malloc": options.malloc, "model": options.model, "image": options.image,
           "batch": options.batch, "threads": options.threads, "parameters": sum(p.numel() for p in parameters)}
    times = [step() for _ in range(options.steps + 1)][1:]  # the first is cold
    best = min(times)
    out.update({"step_s": [t[0] for t in times], "forward_s": best[1], "backward_s": best[2], "update_s": best[3],
                "resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})
    for p in parameters:
        p.grad = None
    model.eval()
    out["sample_s"] = [sample() for _ in range(options.steps + 1)][1:]
    with torch.no_grad():
        out["flop"] = 3 * count_flops(model, torch.nn, forward)
    model.train()
    out["saved_bytes"] = saved_bytes(torch, model, forward)
    out["sgemm_gflops"] = sgemm_rate(torch)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(MODELS), default="small")
    parser.add_argument("--image", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3, help="warm steps, after one that is thrown away")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--malloc", choices=("stock", "tuned"), default="stock")
    options = parser.parse_args()
    if options.malloc == "tuned" and any(os.environ.get(k) != v for k, v in TUNED.items()):
        os.execve(sys.executable, [sys.executable] + sys.argv, tuned_environment())
    print(json.dumps(measure(options)))


if __name__ == "__main__":
    main()
