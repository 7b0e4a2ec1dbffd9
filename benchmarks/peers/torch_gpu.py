#!/usr/bin/env python3
"""torch_gpu.py: the rival on a GPU. Times a training step and two-step sampling of FLEX in PyTorch and prints one JSON
object. The model is the second oracle's (flex_torch.py), so both programs do the same work: multi-task, dropout, forward,
backward, clip, Lion, EMA; the optimizer works on all tensors in few launches (torch._foreach).

  torch_gpu.py --model small --image 256 --batch 8 --mode eager|autocast|compile [--device cuda]

eager: fp32, TF32 off. autocast: bf16 autocast, activations in channels_last. compile: torch.compile of the latter. PyTorch 2
is needed. Every term of the output: benchmarks/TERMS.md.
"""
import argparse
import contextlib
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "tests", "oracle")]
import torch_step  # noqa: E402


class Lion(torch_step.Lion):
    """The same for all tensors in few launches."""

    def step(self):
        t = self.torch
        with t.no_grad():
            gradients = [p.grad for p in self.parameters]
            t._foreach_add_(self.parameters, [u.sign_() for u in t._foreach_add(t._foreach_mul(self.moments, 0.9), gradients,
                                                                                alpha=0.1)], alpha=-self.lr)
            t._foreach_mul_(self.moments, 0.98)
            t._foreach_add_(self.moments, gradients, alpha=0.02)
            t._foreach_lerp_(self.ema, self.parameters, 1 - self.decay)


def measure(options):
    import torch
    import flex_torch as flex
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    c = flex.Config(image_size=options.image, batch=options.batch, **torch_step.MODELS[options.model])
    model = flex.Flex(c, dropout=torch_step.DROPOUT[options.model]).train().to(options.device)
    x = {k: v.to(options.device) if torch.is_tensor(v) else v for k, v in flex.hashed_inputs(c).items()}
    torch.set_default_device(options.device)
    half = options.mode != "eager"
    if half:
        model = model.to(memory_format=torch.channels_last)
    parameters = list(model.parameters())
    lion = Lion(torch, parameters, 1e-5, 0.999)
    casts = torch.autocast(options.device, torch.bfloat16) if half else contextlib.nullcontext()

    def plain():
        return flex.objective(model, c, x)["total"]
    loss_of = torch.compile(plain) if options.mode == "compile" else plain
    sample_of = torch.compile(flex.sample) if options.mode == "compile" else flex.sample

    def now():
        if options.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def step():
        start = now()
        for p in parameters:
            p.grad = None
        x["t"], x["eps"] = torch.rand(c.batch), torch.randn_like(x["eps"])
        with casts:
            loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        lion.step()
        return now() - start

    def sample():
        start = now()
        with torch.no_grad(), casts:
            sample_of(model, c, x, "sr", 2)
        return now() - start

    for _ in range(3):  # cold: libraries choose, the compiler compiles
        step()
    device = torch.cuda.get_device_name() if options.device == "cuda" else options.device
    out = {"program": "torch " + torch.__version__, "device": device, "mode": options.mode, "model": options.model, "image": options.image,
           "batch": options.batch, "parameters": sum(p.numel() for p in parameters),
           "step_s": [step() for _ in range(options.steps)]}
    for p in parameters:
        p.grad = None
    model.eval()
    for _ in range(2):
        sample()
    out["sample_s"] = [sample() for _ in range(options.steps)]
    with torch.no_grad(), casts:
        out["flop"] = 3 * torch_step.count_flops(model, torch.nn, plain)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("small", "medium", "demo"), default="small")
    parser.add_argument("--image", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--mode", choices=("eager", "autocast", "compile"), default="eager")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
