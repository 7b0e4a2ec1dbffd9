#!/usr/bin/env python3
"""gpu.py: flexhpc's training step and sampling on a GPU against PyTorch on the same GPU, in one run.

  benchmarks/gpu.sh [--rows small:8,small:16,...] [--steps 5] [--seconds 500]     from inside a pack, see tests/gpu/pack.sh

A row is a preset and a batch of 256 x 256 samples. For each: `flexhpc bench` in tf32 and bf16, and PyTorch eager in fp32
(TF32 off), eager under bf16 autocast in channels_last, and torch.compile of the latter, one after another. What does not
fit, fails, or finds no time left is a row that says so. Writes gpu.json and gpu.md. What the words mean: TERMS.md.
"""
import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

OURS = ("fp32", "tf32", "bf16")
PEERS = ("eager", "autocast", "compile")
RIVAL = "the fastest PyTorch"


class Memory:
    """The most memory in use on the GPU while a command runs, MiB, less what was in use before."""

    def __init__(self):
        self.most, self.done = 0, threading.Event()
        self.before = self.used()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    @staticmethod
    def used():
        try:
            text = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
            return int(text.split()[0])
        except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
            return 0

    def watch(self):
        while not self.done.wait(0.2):
            self.most = max(self.most, self.used())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def taken(self):
        return max(0, self.most - self.before)


def run(command, limit, answer=None):
    """The program's JSON, or {"error": why}."""
    print("+", " ".join(command), flush=True)
    if limit < 10:
        return {"error": "no time left"}
    with Memory() as memory:
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return {"error": f"cut off after {limit:.0f} s"}
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        why = next((line for line in lines if "out of memory" in line), lines[-1] if lines else "")
        return {"error": f"exit code {done.returncode}: {why[:200]}"}
    if answer:
        with open(answer, encoding="utf-8") as f:
            result = json.load(f)
    else:
        result = json.loads(done.stdout.strip().splitlines()[-1])
    result["gpu_mib"] = memory.taken()
    return result


def ours(options, preset, batch, precision, limit):
    with tempfile.TemporaryDirectory() as folder:
        answer = os.path.join(folder, "bench.json")
        sets = ["backend=" + options.backend, "precision=" + precision, "data.patch=" + str(options.image),
                f"train.global_batch={batch}", f"bench.steps={options.steps}", f"bench.patches={batch}"]
        command = [options.program, "bench", os.path.join(options.configs, f"flex-{preset}.yaml"), "--json", answer]
        return run(command + [word for s in sets for word in ("--set", s)], limit, answer)


def peer(options, preset, batch, mode, limit):
    return run([sys.executable, options.peer, "--model", preset, "--image", str(options.image), "--batch", str(batch),
                "--mode", mode, "--steps", str(options.steps), "--device", options.device], limit)


def device_line():
    try:
        return subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
                              stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no GPU"


def table(result):
    lines = [f"# Training step and sampling against PyTorch on a GPU, {result['date']}", "",
             f"{result['device']}; commit {result['commit']}. Command: `{result['command']}`. Words: [TERMS.md](../TERMS.md).",
             "", "| row | program | step ms | samples/s | TFLOP/s | sampling ms | GPU MiB |", "|---|---|---|---|---|---|---|"]
    for name, row in result["rows"].items():
        flop = next((p["flop"] for p in row.values() if p.get("flop")), 0)
        for program, p in row.items():
            if "error" in p:
                lines.append(f"| {name} | {program} | {p['error']} | | | | |")
                continue
            step, sample = min(p["step_s"]), min(p["sample_s"])
            lines.append(f"| {name} | {program} | {1e3 * step:.2f} | {row_batch(name) / step:.1f} | {flop / step / 1e12:.1f} "
                         f"| {1e3 * sample:.2f} | {p['gpu_mib']} |")
    lines += ["", "| row | ratio | value |", "|---|---|---|"]
    for name, row in result["rows"].items():
        for label, key in (("step", "step_s"), ("sampling", "sample_s")):
            peers = [min(p[key]) for n, p in row.items() if not n.startswith("flexhpc") and key in p]
            for program, p in row.items():
                if program.startswith("flexhpc") and key in p and peers:
                    lines.append(f"| {name} | {label}, {program} against {RIVAL} | {min(peers) / min(p[key]):.2f} |")
    return "\n".join(lines) + "\n"


def row_batch(name):
    return int(name.split(":")[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="small:8,small:16,medium:8,small:32,medium:16")
    parser.add_argument("--image", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=500, help="for all rows together")
    parser.add_argument("--precisions", default=",".join(OURS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--device", default="cuda", help="of PyTorch")
    for name in ("program", "configs", "peer", "commit", "out"):
        parser.add_argument("--" + name, required=True)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    result = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "device": device_line(),
              "commit": options.commit, "command": f"benchmarks/gpu.sh --rows {options.rows} --steps {options.steps}", "rows": {}}
    for name in options.rows.split(","):
        preset, batch = name.split(":")[0], row_batch(name)
        row = result["rows"][name] = {}
        for precision in options.precisions.split(","):
            row["flexhpc " + precision] = ours(options, preset, batch, precision, min(120, end - time.monotonic()))
        for mode in [m for m in options.peers.split(",") if m]:
            row["torch " + mode] = peer(options, preset, batch, mode, min(150, end - time.monotonic()))
        with open(os.path.join(options.out, "gpu.json"), "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
        with open(os.path.join(options.out, "gpu.md"), "w", encoding="utf-8") as f:
            f.write(table(result))
    print(table(result), end="")
    return 0 if any("step_s" in p for row in result["rows"].values() for p in row.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
