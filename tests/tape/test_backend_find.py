#!/usr/bin/env python3
"""What `flexhpc info` says of the CUDA backend, and that the program goes on without it, for every way in which it can
be missing: no library, a file that is none, one of another build, no driver. A build without CUDA has the first two only.

Run: label quick
Planted and caught, in src/tape/backend.c: the build id not compared; any backend taken where cuda is asked for. In
cuda/cuda.cmake: the driver linked.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ["FX_BINARY_DIR"]
FLEXHPC = os.environ["FLEXHPC"]
DEMO = os.path.join(os.environ["FX_TESTS_DIR"], "../configs/demo.yaml")
CUDA = "libflexhpc_cuda.so"


def run(folder, *arguments):
    environment = dict(os.environ, LD_LIBRARY_PATH=folder)
    return subprocess.run([FLEXHPC, *arguments], env=environment, capture_output=True, text=True, check=False)


def cuda_line(folder):
    """The line on CUDA; the CPU's must be there as well."""
    got = run(folder, "info")
    lines = [line for line in got.stdout.splitlines() if re.match("no CUDA: |flexhpc .*, backend cuda", line)]
    if got.returncode != 0 or "backend cpu" not in got.stdout or len(lines) != 1:
        sys.exit(f"info gave {got.returncode}: {got.stdout}{got.stderr}")
    return lines[0]


def expect(what, pattern, line):
    print(f"{what}: {line}")
    if not re.search(pattern, line):
        sys.exit(f"{what}: wanted {pattern}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(f"{BUILD}/libflexhpc.so.0", folder)
        place = f"{folder}/{CUDA}"
        expect("no library", f"^no CUDA: built without CUDA: there is no {place}$", cuda_line(folder))
        refused = run(folder, "plan", DEMO, "--set", "backend=cuda")
        expect("asked for", "there is no", refused.stderr)
        if refused.returncode == 0:
            sys.exit("a backend that is not there was taken")

        with open(place, "w", encoding="ascii") as f:
            f.write("not a library\n")
        expect("not a library", f"^no CUDA: .*{CUDA}: .*(header|short)", cuda_line(folder))

        if os.path.exists(f"{BUILD}/{CUDA}"):
            with open(f"{BUILD}/{CUDA}", "rb") as f:
                library = f.read()
            with open(f"{BUILD}/libflexhpc.so.0", "rb") as f:
                ids = set(re.findall(rb"\0([0-9a-f]{12})\0", f.read())) & set(re.findall(rb"\0([0-9a-f]{12})\0", library))
            if len(ids) != 1:
                sys.exit(f"no build id in both libraries: {ids}")
            build = ids.pop()
            with open(place, "wb") as f:
                f.write(library.replace(build, b"0123456789ab"))
            expect("other build", f"is of build 0123456789ab, this program of build {build.decode()}$", cuda_line(folder))
            with open(place, "wb") as f:
                f.write(library)
            expect("this build", r"^no CUDA: (no driver \(libcuda.so.1\): |the driver, for CUDA \d+\.\d+, says: ).|"
                   "^flexhpc .*, backend cuda, .*compute capability", cuda_line(folder))
            needed = subprocess.run(["readelf", "-d", place], capture_output=True, text=True, check=True).stdout
            if "libcuda.so" in needed or "libflexhpc.so" not in needed:
                sys.exit(f"the driver's library is linked, which a login node has not: {needed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
