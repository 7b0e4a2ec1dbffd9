#!/usr/bin/env python3
"""Lint of the source tree: the order of the layers, and rules that a compiler doesn't know.

  layers       core -> comm -> io -> config -> tape -> ops -> model -> diffusion -> data, dns -> eval -> report -> train
               -> study -> api, cli: a file includes its own layer and those to its left; data and dns are neighbours,
               strangers to each other, and so are api and cli. mpi/ and cuda/ implement interfaces of include/ and are included by nobody.
  oplist       an op is src/ops/NAME.c and a line FX_OP(NAME) in oplist.h, both or neither
  allocation   memory comes from src/core/mem.c alone
  determinism  no OpenMP sum over float or double: its order is not fixed
  primitives   kernels use what cuda/device.cuh lists and nothing else of the device; cuda/launch.cuh alone starts them
  unfinished   no note of work left undone
  private      no path of a developer's machine, no registry host
  length       no file of code above 500 lines
  documents    a path or link that a document names is there

Run: label quick
Planted errors: every rule is first tried on small trees, made here, that break it once; a rule that misses its error, or
finds one in the tree that is sound, fails the test. Seen to fail for real with the `layers` rank of eval and report
exchanged, and with the comment stripper made the identity.
"""
import os
import re
import sys
import tempfile

# Rows of design order; a row holds layers that are strangers to each other.
ORDER = [["core"], ["comm"], ["io"], ["config"], ["tape"], ["ops"], ["model"], ["diffusion"], ["data", "dns"], ["eval"],
         ["report"], ["train"], ["study"], ["api", "cli"]]
RANK = {layer: row for row, layers in enumerate(ORDER) for layer in layers}

# Layers of the public headers. A header that is not named here belongs to the layer of its own name, if there is one.
HEADERS = {
    "core": "error.h log.h mem.h rng.h str.h tensor.h thread.h clock.h",
    "comm": "comm.h heartbeat.h launch.h",
    "io": "io.h fs.h h5.h json.h png.h powercap.h safetensors.h tfevents.h",
    "config": "config.h keys.def",
    "tape": "attrs.h op.h oplist.h params.h tape.h program.h backend.h flow.h",
    "ops": "schedule.h taps.h",
    "model": "layers.h model.h",
    "data": "data.h tiles.h",
    "eval": "eval.h ensemble.h eval_file.h measure.h signatures.h compare.h",
    "report": "report.h scaling.h",
    "train": "train.h trained.h field.h bench.h checkpoint.h interchange.h watch.h watchdog.h",
}
LAYER_OF_HEADER = {name: layer for layer, names in HEADERS.items() for name in names.split()}

# Folders outside src/: the rightmost layer whose public headers they may include. They own private headers only.
OUTSIDE = {"mpi": "config", "cuda": "ops"}

CODE = (".c", ".h", ".cu", ".cuh", ".cpp", ".def")
SKIPPED_FOLDERS = {".git", "__pycache__", "runs", "data"}
MAX_LINES = 500
# In two halves, so that this file passes its own lint.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "un" + "implemented",
                                           "not " + "implemented"]) + r")\b")
PRIVATE = re.compile("|".join(re.escape(a + b) for a, b in [
    ("/wo", "rk/"), ("../sha", "red"), ("deb.deb", "ian.org"), ("py", "pi.org"), ("registry.np", "mjs"),
    ("/ho", "me/"), ("/fa", "rm/")]))
DEVICE_ONLY = re.compile(r"\b(?:__\w+|(?:thread|block)Idx|(?:block|grid)Dim|warpSize|atomic\w+|asm|printf|assert|curand\w*)\b|<<<")
ALLOCATORS = re.compile(r"\b(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|strdup|strndup|asprintf|"
                        r"vasprintf|free)\s*\(")


def code_only(text):
    """The text with comments, strings and characters blanked, line numbers kept."""
    blank = lambda m: re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def files_of(root):
    for folder, folders, names in os.walk(root):
        top = folder == root
        folders[:] = sorted(f for f in folders
                            if f not in (SKIPPED_FOLDERS if top else {"__pycache__"}) and not (top and f.startswith("build")))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if not os.path.islink(os.path.join(root, path)) and path != ".git":
                yield path


def read(root, path):
    with open(os.path.join(root, path), "rb") as f:
        data = f.read()
    return None if b"\0" in data else data.decode("utf-8", "replace")


def place_of(path):
    """(folder, layer) of a file of code: ("src", "tape"), ("include", "core"), ("mpi", None); None: free of rules."""
    parts = path.split("/")
    if parts[0] == "src" and len(parts) > 2:
        return "src", parts[1]
    if path.startswith("include/flexhpc/"):
        stem = parts[-1].rsplit(".", 1)[0]
        return "include", LAYER_OF_HEADER.get(parts[-1], stem if stem in RANK else None)
    if parts[0] in OUTSIDE:
        return parts[0], None
    return None


def target_of(root, path, name):
    """The path in the tree of what `#include "name"` in file `path` means; None: a system or library header."""
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    for candidate in (beside, "include/" + name, "src/" + name, name):
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def check_layers(root):
    for path in files_of(root):
        place = place_of(path)
        if not place or not path.endswith(CODE):
            continue
        folder, layer = place
        if folder in ("src", "include") and layer not in RANK:
            yield f"{path}: layers: belongs to no layer; name it in {os.path.basename(__file__)}"
            continue
        for number, line in enumerate(read(root, path).split("\n"), 1):
            m = re.match(r'\s*#\s*include\s*["<]([^">]+)[">]', line)
            target = m and target_of(root, path, m.group(1))
            other = target and place_of(target)
            if not other:
                continue
            says = f"{path}:{number}: layers: "
            if other[0] in OUTSIDE:
                if other[0] != folder:
                    yield f"{says}{target} is included by nobody outside {other[0]}/"
            elif other[1] in RANK and folder in OUTSIDE:
                if other[0] == "src" or RANK[other[1]] > RANK[OUTSIDE[folder]]:
                    yield f"{says}{folder}/ implements interfaces up to {OUTSIDE[folder]}, {target} is of {other[1]}"
            elif other[1] in RANK and other[1] != layer and RANK[other[1]] >= RANK[layer]:
                yield f"{says}{layer} includes {target}, of {other[1]}"


def check_oplist(root):
    text = read(root, "include/flexhpc/oplist.h") if os.path.exists(os.path.join(root, "include/flexhpc/oplist.h")) else ""
    listed = re.findall(r"^\s*FX_OP\((\w+)\)", code_only(text), re.M)
    for name in listed:
        if not os.path.exists(os.path.join(root, f"src/ops/{name}.c")):
            yield f"include/flexhpc/oplist.h: oplist: {name} has no src/ops/{name}.c"
    for path in files_of(root):
        if re.match(r"src/ops/\w+\.c$", path):
            for name in re.findall(r"\bconst\s+fx_op\s+fx_op_(\w+)\s*=", code_only(read(root, path))):
                if name != os.path.basename(path)[:-2]:
                    yield f"{path}: oplist: defines the op {name}, which belongs into src/ops/{name}.c"
                if name not in listed:
                    yield f"{path}: oplist: the op {name} has no line in oplist.h"


def check_code(root):
    for path in files_of(root):
        if path.split("/")[0] not in ("src", "include", "mpi", "cuda") or not path.endswith(CODE):
            continue
        code = code_only(read(root, path))
        lines = code.split("\n")
        for number, line in enumerate(lines, 1):
            m = ALLOCATORS.search(line)
            if m and path != "src/core/mem.c":
                yield f"{path}:{number}: allocation: {m.group(1)} outside src/core/mem.c"
        joined = code.replace("\\\n", "  ")  # a pragma over several lines
        for m in re.finditer(r"^\s*#\s*pragma\s+omp\b.*?\breduction\s*\(\s*[-+*]\s*:([^)]*)\)", joined, re.M):
            for name in re.findall(r"\w+", m.group(1)):
                before = re.findall(rf"\b(float|double|int\w*|u?int\d+_t|size_t|long|bool|unsigned)\b[^;(){{}}]*\b{name}\b",
                                    joined[:m.start()])
                if not before or before[-1] in ("float", "double"):
                    yield f"{path}: determinism: OpenMP sum over {name}: its order is not fixed"


def check_kernels(root):
    for path in files_of(root):
        if path.startswith("cuda/") and path not in ("cuda/device.cuh", "cuda/launch.cuh"):
            for number, line in enumerate(code_only(read(root, path)).split("\n"), 1):
                m = DEVICE_ONLY.search(line)
                if m and m.group(0) != "__cplusplus" and (path.endswith((".cu", ".cuh")) or m.group(0) == "<<<"):
                    yield f"{path}:{number}: primitives: {m.group(0)} is not of cuda/device.cuh"


def check_text(root):
    for path in files_of(root):
        text = read(root, path)
        if text is None:
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if UNFINISHED.search(line):
                yield f"{path}:{number}: unfinished: {line.strip()[:60]}"
            if PRIVATE.search(line):
                yield f"{path}:{number}: private: {line.strip()[:60]}"
        if path.endswith(CODE + (".py", ".sh")) and text.count("\n") > MAX_LINES:
            yield f"{path}: length: {text.count(chr(10))} lines, more than {MAX_LINES}"


def check_documents(root):
    """`src/ops/conv.c` in a .md file, and relative links. Names with capitals are patterns."""
    named = re.compile(r"`((?:src|include|tests|mpi|cuda|docs|configs|benchmarks|jobs)/[a-z0-9_./-]+\.[a-z0-9]+)`")
    for path in files_of(root):
        if path.endswith(".md"):
            for number, line in enumerate(read(root, path).split("\n"), 1):
                links = [os.path.join(os.path.dirname(path), m) for m in re.findall(r"\]\(([^):#]+)\)", line)]
                for name in named.findall(line) + links:
                    if not os.path.exists(os.path.join(root, name)):
                        yield f"{path}:{number}: documents: there is no {name}"


def lint(root):
    checks = (check_layers, check_oplist, check_code, check_kernels, check_text, check_documents)
    return [finding for check in checks for finding in check(root)]


SOUND = {
    "include/flexhpc/error.h": "/* malloc( in a comment */\n",
    "include/flexhpc/comm.h": '#include "flexhpc/error.h"\n',
    "include/flexhpc/tape.h": '#include "flexhpc/comm.h"\n',
    "include/flexhpc/eval.h": '#include "flexhpc/tape.h"\n',
    "include/flexhpc/report.h": '#include "flexhpc/eval.h"\n',
    "include/flexhpc/oplist.h": "FX_OP(add)\n",
    "src/core/mem.c": '#include "flexhpc/error.h"\nvoid *p(void) { return malloc(1); }\n',
    "src/ops/ops.h": '#include "flexhpc/tape.h"\n',
    "src/ops/add.c": '#include "ops.h"\nconst fx_op fx_op_add = {0};\nconst char *s = "free(x)";\n',
    "src/data/pack.c": '#include "flexhpc/tape.h"\nvoid f(void)\n{\n    int64_t n = 0;\n#pragma omp parallel for '
                       "reduction(+ : n)\n}\n",
    "mpi/comm_mpi.c": '#include "flexhpc/comm.h"\n#include <mpi.h>\n#include "topology.h"\n',
    "mpi/topology.h": "#define FX_RANKS 4\n",
    "cuda/device.cuh": "#define FX_KERNEL __global__ static\n",
    "cuda/launch.cuh": "#define FX_LAUNCH(k, g, b) k<<<g, b>>>()\n",
    "cuda/add.cu": '#include "launch.cuh"\nFX_KERNEL void add(float *y)\n{\n    y[fx_index()] = expf(1); // no __ldg\n}\n',
    "docs/TOUR.md": "`src/ops/add.c`, `src/ops/NAME.c`, [this](TOUR.md), [paper](https://example.org/x)\n",
}
PLANTED = [
    ("layers", {"src/core/a.c": '#include "flexhpc/comm.h"\n'}),
    ("layers", {"src/eval/a.c": '#include "flexhpc/report.h"\n'}),
    ("layers", {"src/tape/a.c": '#include "ops/ops.h"\n'}),
    ("layers", {"src/tape/a.c": '#include "../ops/ops.h"\n'}),
    ("layers", {"src/dns/a.c": '#include "../data/pack.h"\n', "src/data/pack.h": "\n"}),
    ("layers", {"include/flexhpc/comm.h": '#include "flexhpc/tape.h"\n'}),
    ("layers", {"include/flexhpc/stray.h": "\n"}),
    ("layers", {"src/stray/a.c": "\n"}),
    ("layers", {"src/comm/a.c": '#include "../../mpi/topology.h"\n'}),
    ("layers", {"src/train/a.c": '#include "mpi/topology.h"\n'}),
    ("layers", {"mpi/a.c": '#include "flexhpc/eval.h"\n'}),
    ("layers", {"mpi/a.c": '#include "../src/ops/ops.h"\n'}),
    ("oplist", {"src/ops/silu.c": "const fx_op fx_op_silu = {0};\n"}),
    ("oplist", {"include/flexhpc/oplist.h": "FX_OP(add)\nFX_OP(silu)\n"}),
    ("oplist", {"src/ops/other.c": "const fx_op fx_op_add = {0};\n"}),
    ("allocation", {"src/io/a.c": "void f(void) { free(p); }\n"}),
    ("allocation", {"mpi/a.c": "void *f(void) { return calloc(1, 1); }\n"}),
    ("determinism", {"src/ops/b.c": "double s = 0;\n#pragma omp parallel for reduction(+ : s)\n"}),
    ("determinism", {"src/ops/b.c": "int64_t n; float s;\n#pragma omp parallel for \\\n    reduction(+:n,s)\n"}),
    ("primitives", {"cuda/a.cu": "FX_KERNEL void k(float *y) { y[threadIdx.x] = 0; }\n"}),
    ("primitives", {"cuda/a.cu": "FX_KERNEL void k(float *y) { atomicAdd(y, 1.0f); }\n"}),
    ("primitives", {"cuda/a.cuh": "__device__ int f(void);\n"}),
    ("primitives", {"cuda/a.cu": "void f(void) { k<<<1, 1>>>(); }\n"}),
    ("unfinished", {"src/io/a.c": "/* TO" + "DO later */\n"}),
    ("private", {"README.md": "see /wo" + "rk/x\n"}),
    ("length", {"src/io/a.c": "\n" * 501}),
    ("documents", {"README.md": "see `src/ops/conv.c`\n"}),
    ("documents", {"docs/A.md": "see [b](B.md)\n"}),
]


def self_test():
    failures = 0
    for rule, files in [(None, {})] + PLANTED:
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**SOUND, **files}.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
                with open(os.path.join(root, path), "w") as f:
                    f.write(text)
            found = lint(root)
        if (rule is None and found) or (rule and not any(f": {rule}: " in f for f in found)):
            print(f"self test: planted {rule or 'nothing'} in {', '.join(files) or 'the sound tree'}, found {found}")
            failures += 1
        if rule and len(found) > 1:
            print(f"self test: planted one {rule} in {', '.join(files)}, found {found}")
            failures += 1
    return failures


def main():
    failures = self_test()
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    findings = lint(root)
    print("\n".join(findings))
    print(f"lint: {len(PLANTED)} planted errors, {failures} missed; {len(findings)} findings in the tree")
    return 1 if failures or findings else 0


if __name__ == "__main__":
    sys.exit(main())
