#!/usr/bin/env python3
"""compare.py: flexhpc's training step and sampling against PyTorch eager, in one run on one machine.

  python3 benchmarks/compare.py [--rows small-256,small-64,demo] [--steps 3] [--threads N] [--without-stock]

For each row it runs, one after another and never two at once: `flexhpc bench CONFIG`, PyTorch with tuned
memory settings, and PyTorch as it comes (benchmarks/peers/torch_step.py). It writes benchmarks/results/NAME.json, with
everything measured, and NAME.md, the table; NAME is cpu-DATE. What the words mean: benchmarks/TERMS.md. Exit code 1 when
a program fails; a ratio that misses its goal is written down, not hidden.
"""
import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PEER = os.path.join(HERE, "peers", "torch_step.py")

# Name: configuration and overrides of flexhpc; arguments of the peer.
ROWS = {
    "small-256": ("flex-small.yaml", ["data.patch=256", "train.global_batch=1"],
                  ["--model", "small", "--image", "256", "--batch", "1"]),
    "small-64": ("flex-small.yaml", ["data.patch=64", "train.global_batch=8"],
                 ["--model", "small", "--image", "64", "--batch", "8"]),
    "demo": ("demo.yaml", ["train.global_batch=16", "train.optimizer=lion", "contrast.weight=0"],
             ["--model", "demo", "--image", "32", "--batch", "16"]),
}
# Ratios a row is held to: peer over flexhpc in time, flexhpc over peer in bytes.
GOALS = {"step vs tuned": 1.15, "step vs stock": 3.0, "sampling vs tuned": 1.1}
LIMITS = {"saved vs tuned": 0.52, "resident vs tuned": 0.6, "resident with cheap recompute vs tuned": 0.5}
OURS = {"flexhpc": "flexhpc", "cheap": "flexhpc, cheap recompute"}


def run(command, threads, answer=None):
    """The program's JSON: the file `answer`, or the last line that it prints."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMPI_ALLOW_RUN_AS_ROOT": "1",
           "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    print("+", " ".join(command), flush=True)
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ends with exit code {done.returncode}")
    if answer is None:
        return json.loads(done.stdout.strip().splitlines()[-1])
    print(done.stdout, end="")
    with open(answer) as f:
        return json.load(f)


def run_flexhpc(flexhpc, config, overrides, steps, batch, threads):
    sets = [word for o in overrides + [f"bench.steps={steps}", "bench.warmup=1", f"bench.patches={batch}"]
            for word in ("--set", o)]
    with tempfile.TemporaryDirectory() as folder:
        answer = os.path.join(folder, "bench.json")
        return run([flexhpc, "bench", os.path.join(ROOT, "configs", config), "--json", answer] + sets, threads, answer)


def text_of(command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
    except OSError:
        return ""


def machine(flexhpc, threads):
    with open("/proc/cpuinfo") as f:
        cpu = [line.split(":", 1)[1].strip() for line in f if line.startswith(("model name", "flags"))]
    flags = [f for f in ("avx2", "avx512f", "avx512bw", "avx512_bf16", "amx_bf16") if f in cpu[1].split()] if cpu[1:] else []
    return {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "cpu": cpu[0] if cpu else platform.processor(), "isa": flags, "cores": os.cpu_count(), "threads": threads,
            "system": platform.platform(), "load": os.getloadavg()[0],
            "commit": text_of(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"]),
            "modified": bool(text_of(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no"])),
            "flexhpc": text_of([flexhpc, "info"]).replace(ROOT, ".").splitlines()}


def ratios(row):
    """What the row is judged by; only ratios whose two numbers were measured."""
    ours, found = row["flexhpc"], {}
    for name, peer in row.items():
        if name in OURS:
            continue
        for label, key, in (("step", "step_s"), ("sampling", "sample_s")):
            if ours.get(key) and peer.get(key):
                found[f"{label} vs {name}"] = min(peer[key]) / min(ours[key])
        for label, key in (("saved", "saved_bytes"), ("resident", "resident_bytes")):
            if ours.get(key) and peer.get(key):
                found[f"{label} vs {name}"] = ours[key] / peer[key]
    found["resident with cheap recompute vs tuned"] = row["cheap"]["resident_bytes"] / row["tuned"]["resident_bytes"]
    return found


def verdict(name, value):
    if name in GOALS:
        return f"at least {GOALS[name]}: {'holds' if value >= GOALS[name] else 'MISSED'}"
    if name in LIMITS:
        return f"at most {LIMITS[name]}: {'holds' if value <= LIMITS[name] else 'MISSED'}"
    return ""


def table(result):
    m = result["machine"]
    lines = [f"# Training step and sampling against PyTorch eager, {m['date']}", "",
             f"{m['cpu']} ({' '.join(m['isa'])}), {m['threads']} of {m['cores']} cores, load {m['load']:.1f} before the run, "
             f"commit {m['commit']}{' with local changes' if m['modified'] else ''}.",
             f"Command: `{result['command']}`. Words: [TERMS.md](../TERMS.md).", "",
             "| row | program | step s | samples/s | GFLOP/s | of sgemm | sampling s | saved MB | resident MB |",
             "|---|---|---|---|---|---|---|---|---|"]
    for row_name, row in result["rows"].items():
        flop = next((p["flop"] for p in row.values() if p.get("flop")), 0)
        sgemm = max((p.get("sgemm_gflops", 0) for p in row.values()), default=0)
        for name, p in row.items():
            step, rate = min(p["step_s"]), flop / min(p["step_s"]) / 1e9
            cell = lambda key: f"{p[key] / 1e6:.0f}" if p.get(key) else ""
            sampling = f"{min(p['sample_s']):.3f}" if p.get("sample_s") else ""
            lines.append(f"| {row_name} | {OURS[name] if name in OURS else p['program'] + ' ' + name} | "
                         f"{step:.3f} | {p['batch'] / step:.3f} | {rate:.0f} | {100 * rate / sgemm if sgemm else 0:.0f} % | "
                         f"{sampling} | {cell('saved_bytes')} | {cell('resident_bytes')} |")
    lines += ["", "| row | ratio | value | goal |", "|---|---|---|---|"]
    for row_name, row in result["rows"].items():
        for name, value in ratios(row).items():
            lines.append(f"| {row_name} | {name} | {value:.2f} | {verdict(name, value)} |")
        share = row["flexhpc"].get("outside_convolution")
        if share is not None:
            lines.append(f"| {row_name} | outside convolutions | {share:.3f} | at most 0.08: "
                         f"{'holds' if share <= 0.08 else 'MISSED'} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--without-stock", action="store_true", help="leave PyTorch with stock settings out: it is slow")
    parser.add_argument("--python", default="/usr/bin/python3", help="the interpreter that has torch")
    parser.add_argument("--flexhpc", default=os.path.join(ROOT, "build", "flexhpc"))
    parser.add_argument("--out", default=os.path.join(HERE, "results"))
    options = parser.parse_args()
    names = options.rows.split(",")
    unknown = [n for n in names if n not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")

    result = {"command": " ".join(["python3 benchmarks/compare.py"] + sys.argv[1:]),
              "machine": machine(options.flexhpc, options.threads), "rows": {}}
    for name in names:
        config, overrides, peer = ROWS[name]
        batch = peer[peer.index("--batch") + 1]
        row = {"flexhpc": run_flexhpc(options.flexhpc, config, overrides, options.steps, batch, options.threads),
               "cheap": run_flexhpc(options.flexhpc, config, overrides + ["model.recompute=cheap"], 1, batch, options.threads)}
        for malloc in ("tuned",) if options.without_stock else ("tuned", "stock"):
            row[malloc] = run([options.python, PEER, "--threads", str(options.threads), "--steps", str(options.steps),
                               "--malloc", malloc] + peer, options.threads)
        if row["flexhpc"]["batch"] != row["tuned"]["batch"] or row["flexhpc"]["parameters"] != row["tuned"]["parameters"]:
            raise RuntimeError(f"{name}: the two programs did not run the same model and batch")
        result["rows"][name] = row

    os.makedirs(options.out, exist_ok=True)
    stem = os.path.join(options.out, "cpu-" + result["machine"]["date"][:10])
    with open(stem + ".json", "w") as f:
        json.dump(result, f, indent=1)
    with open(stem + ".md", "w") as f:
        f.write(table(result))
    print(table(result))
    print(f"wrote {stem}.json and .md")


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, ValueError, OSError) as e:
        sys.exit(f"compare: {e}")
