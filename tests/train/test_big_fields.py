#!/usr/bin/env python3
"""Full size, once: 8 snapshots of 2048 x 2048 at Re 16000 from the solver, packed in patches of 256, and 5 steps of FLEX small on
them, on 2 ranks. Prints the time of each command and the memory of its largest process.

Planted and caught, on a grid of 256: the last snapshot not written; a pack without the last column of patches; a model for
smaller patches than the pack's.

Run: label long
Run: timeout 7200
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

FLEXHPC = os.environ["FLEXHPC"]
CONFIG = os.path.join(os.environ["FX_TESTS_DIR"], "..", "configs", "flex-small.yaml")
SIZE, PATCH, SNAPSHOTS, STEPS, BATCH = 2048, 256, 8, 5, 4
PARAMETERS = 58316993


def command(*words):
    """Its output; in a process of its own, whose children's largest resident set is that of this command alone."""
    begun = time.monotonic()
    watch = ("import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
             "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(code)")
    done = subprocess.run([sys.executable, "-c", watch, "mpiexec", "-n", "2", FLEXHPC, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    peak = int(done.stderr.split("peak")[-1])
    print(f"{words[0]}: {time.monotonic() - begun:.0f} s, largest process {peak / 1024:.0f} MiB", flush=True)
    return done.stdout


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    command("generate", "--re", "16000", "--size", str(SIZE), "--seed", "1", "--t-start", "0.3", "--t-end", "0.37", "--dt-out",
            "0.01", "--out", "fields")
    path = f"fields/16000_{SIZE}_{SIZE}_seed_1.h5"
    with h5py.File(path) as file:
        w = file["w"]
        assert w.shape == (SNAPSHOTS, SIZE, SIZE) and w.dtype == np.float32, (w.shape, w.dtype)
        rms = [float(np.sqrt(np.mean(np.square(w[t], dtype=np.float64)))) for t in range(SNAPSHOTS)]
    print("root mean square of vorticity", " ".join(f"{x:.3f}" for x in rms))
    # Enstrophy 120.2 at the start (the initial condition's), and without forcing it only falls.
    assert all(10 < b < a < np.sqrt(2 * 121) for a, b in zip(rms, rms[1:])), rms

    told = command("pack", path, "--out", "pack", "--patch", str(PATCH))
    assert f"{(SIZE // PATCH) ** 2} patches of {PATCH} pixels" in told, told

    told = command("train", CONFIG, "--run", "run", "--set", "data.path=pack", "--set", f"train.steps={STEPS}", "--set",
                   f"train.global_batch={BATCH}", "--set", "contrast.weight=0.1", "--set", "run.timeout=3600")
    assert f"{PARAMETERS} parameters" in told, told
    print(told.strip().splitlines()[-1])
    lines = [json.loads(line) for line in open("run/metrics.jsonl")]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert all(0 < line["loss_sr"] < 10 and 0 < line["loss_fc"] < 10 and line["loss_contrastive"] > 0 for line in lines), lines
    subprocess.run([FLEXHPC, "checkpoint", "verify", f"run/ckpt/step-{STEPS:08d}.h5"], check=True)
