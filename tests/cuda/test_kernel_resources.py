#!/usr/bin/env python3
"""What ptxas gives every kernel of cuda/: registers, stack, spills, static shared memory; one line a kernel, and a failure
for any that keeps something in local memory. A stack frame is an array that is indexed at run time, a spill is a value that
found no register: both are traffic to device memory that the source does not show. Shared memory is dynamic everywhere
(cuda/device.cuh), so static shared memory is a mistake; the limits of dynamic memory are checked at each launch.

Needs nvcc and no GPU: the build's own commands, device code alone, for one architecture.

Run: label full
Run: timeout 600
Run: cost 20
Planted and caught: a value of silu.cu in an array indexed at run time; 1024 threads and two blocks asked of every kernel of
group_norm.cu, which then spill; a static shared array in layer_norm.cu; an allowed stack of a kernel that is not there.
"""
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

ARCHITECTURE = "sm_90"
# Bytes of stack that a kernel may have: CUDA's sine, cosine and tangent in double keep digits there, for angles above 1e5
# which never come.
ALLOWED = {"diffuse": 40, "fourier": 40}

FUNCTION = re.compile(r"Compiling entry function '(\w+)'")
MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")


def commands():
    """The nvcc commands of the build: [(source, folder, words)], without what belongs to host code and output."""
    with open(os.path.join(os.environ["FX_BINARY_DIR"], "compile_commands.json"), encoding="utf-8") as f:
        entries = [e for e in json.load(f) if e["file"].endswith(".cu")]
    found = []
    for entry in entries:
        words, kept = shlex.split(entry["command"]), []
        if any(w.endswith("ccache") for w in words[:1]):
            words = words[1:]
        if os.path.basename(words[0]) != "nvcc":
            continue
        skip = 0
        for word in words:
            if skip:
                skip -= 1
            elif word in ("-o", "-MF", "-MT"):
                skip = 1
            elif word not in ("-c", "-MD", "-x", "cu", entry["file"]) and not re.match("--generate-code|-arch|-gencode", word):
                kept.append(word)
        found.append((entry["file"], entry["directory"], kept))
    return found


def resources(command):
    """[(file, kernel, registers, stack, spilled bytes, static shared bytes)] of one source."""
    source, folder, words = command
    with tempfile.NamedTemporaryFile(suffix=".cubin") as out:
        got = subprocess.run([*words, "-cubin", "-arch", ARCHITECTURE, "-Xptxas", "-v", "-o", out.name, source], cwd=folder,
                             capture_output=True, text=True, check=False)
    if got.returncode != 0:
        sys.exit(f"{source}: {got.stderr}")
    rows, kernel, memory = [], None, None
    for line in got.stderr.splitlines():
        if m := FUNCTION.search(line):
            kernel = m[1]
        elif (m := MEMORY.search(line)) and kernel:
            memory = [int(v) for v in m.groups()]
        elif (m := USED.search(line)) and kernel:
            rows.append((os.path.basename(source), kernel, int(m[1]), memory[0], memory[1] + memory[2], int(m[2] or 0)))
            kernel = memory = None
    return rows


def plain(names):
    """Kernel names as the source has them, without their arguments."""
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return [re.sub(r"\(.*", "", re.sub(r"^void |\(anonymous namespace\)::", "", line)) for line in text.splitlines()]


def main():
    found = commands()
    if not found:
        print("no CUDA backend by nvcc in this build")
        return 77
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        rows = [row for part in pool.map(resources, found) for row in part]
    bad = []
    print(f"{'file':20} {'registers':>9} {'stack':>6} {'spilled':>8} {'shared':>7}  kernel ({ARCHITECTURE})")
    names = plain([row[1] for row in rows])
    for (source, _, registers, stack, spilled, shared), name in zip(rows, names):
        print(f"{source:20} {registers:9} {stack:6} {spilled:8} {shared:7}  {name}")
        if stack > ALLOWED.get(name.split("<")[0], 0) or spilled or shared:
            bad.append(f"{source}: {name}: {stack} bytes of stack, {spilled} spilled, {shared} of static shared memory")
    unused = set(ALLOWED) - {name.split("<")[0] for name in names}
    bad += [f"{name} is allowed a stack, and is no kernel" for name in unused]
    print(f"{len(rows)} kernels in {len(found)} files; {len(bad)} bad")
    print("\n".join(bad))
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
