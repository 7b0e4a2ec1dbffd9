#!/usr/bin/env python3
"""What sites install with, held against what the build system asks for. jobs/spack: package.py is run on a small stand-in for
Spack's directives; the libraries that CMakeLists.txt looks for are those that it depends on, and each option that it gives is one
of CMakeLists.txt. jobs/containers: both recipes copy what build.sh makes and wants, in its order. jobs/modules: the Tcl modulefile is
loaded and unloaded by Environment Modules, the Lua one is run by a Lua with a stand-in for Lmod's functions; both set the same.

Planted and caught: package.py without oneDNN, without NCCL, with a serial HDF5, with an option that CMakeLists.txt doesn't have, with
FX_CUDA the other way round, with a path one folder short; a library in CMakeLists.txt alone; Containerfile without `build.sh run`; an
open brace and lib for lib64 in the Tcl modulefile, sbin for bin in the Lua one.

Run: label quick
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types

TOP = os.path.join(os.environ["FX_TESTS_DIR"], "..")
failures, skipped = [], []


def check(holds, text):
    if not holds:
        failures.append(text)


def read(*path):
    with open(os.path.join(TOP, *path)) as file:
        return file.read()


# ---- Spack.

# What CMakeLists.txt and cuda/find.cmake call a library, and what Spack does.
NAMES = {"mpi": "mpi", "hdf5": "hdf5", "hdf5-openmpi": "hdf5", "openmp": None, "pkgconfig": "pkgconfig", "yaml-0.1": "libyaml",
         "jansson": "jansson", "libpng": "libpng", "fftw3": "fftw", "fftw3f": "fftw", "libxxhash": "xxhash", "hwloc": "hwloc",
         "zlib": "zlib-api", "dnnl": "onednn", "cudatoolkit": "cuda", "cudnn": "cudnn", "nccl": "nccl"}
DIRECTIVES = "license version variant maintainers patch requires".split()


class Spec:
    def __init__(self, text):
        self.text = text
        self.variants = {"cuda_arch": types.SimpleNamespace(value=("90",))}

    def __contains__(self, part):
        return part in self.text


def load_recipe():
    """The class, and its depends_on and conflicts as (spec, type, when)."""
    depends, conditions = [], []

    class Package:
        run_tests = False

        @staticmethod
        def define(name, value):
            return f"-D{name}={';'.join(value) if isinstance(value, tuple) else value}"

    class When:
        def __init__(self, condition):
            self.condition = condition

        def __enter__(self):
            conditions.append(self.condition)

        def __exit__(self, *_):
            conditions.pop()

    def depends_on(spec, type=("build", "link"), when=""):
        depends.append((spec, type, when or "".join(conditions)))

    stub = types.ModuleType("spack.package")
    stub.CMakePackage, stub.CudaPackage, stub.depends_on, stub.when = Package, type("Cuda", (), {}), depends_on, When
    stub.conflicts = lambda spec, when="", msg="": check(msg, f"conflicts {spec}: no message")
    for name in DIRECTIVES:
        setattr(stub, name, lambda *_, **__: None)
    sys.modules["spack"], sys.modules["spack.package"] = types.ModuleType("spack"), stub
    path = os.path.join(TOP, "jobs/spack/packages/flexhpc/package.py")
    space = {"__file__": path, "__name__": "package"}
    exec(compile(read("jobs/spack/packages/flexhpc/package.py"), path, "exec"), space)
    return space["Flexhpc"], depends


def wanted_by(text):
    """Libraries that a CMake file looks for, in Spack's words."""
    found = re.findall(r"find_(?:package|library)\(\s*(?:\w+_LIBRARY )?(\w+)", text)
    for modules in re.findall(r"pkg_check_modules\(\w+ (?:REQUIRED )?IMPORTED_TARGET ([^)]*)\)", text):
        found += [re.split("[<>=]", module)[0] for module in modules.split()]
    for name in found:
        check(name.lower() in NAMES, f"test_recipes.py doesn't know what Spack calls {name}")
    return {NAMES.get(name.lower()) for name in found} - {None}


def check_spack():
    recipe, depends = load_recipe()
    name_of = re.compile(r"^[a-z0-9-]+")
    linked = {name_of.match(spec)[0] for spec, kind, when in depends if kind != "test" and not when}
    on_cuda = {name_of.match(spec)[0] for spec, kind, when in depends if when == "+cuda"}
    wanted, wanted_cuda = wanted_by(read("CMakeLists.txt")), wanted_by(read("cuda/find.cmake"))
    check(len(wanted) >= 10 and {"cuda", "cudnn", "nccl"} <= wanted_cuda, f"CMake files: {wanted} {wanted_cuda}")
    check(linked - {"c", "cmake"} == wanted, f"package.py: {sorted(linked)}, CMakeLists.txt: {sorted(wanted)}")
    check(on_cuda - {"cxx"} == wanted_cuda, f"package.py +cuda: {sorted(on_cuda)}, find.cmake: {sorted(wanted_cuda)}")
    least = re.search(r"cmake_minimum_required\(VERSION ([0-9.]+)\)", read("CMakeLists.txt"))[1]
    check(any(spec == f"cmake@{least}:" for spec, _, _ in depends), f"package.py: CMake is not {least}")
    check(any(spec.startswith("hdf5") and "+mpi" in spec for spec, _, _ in depends), "package.py: hdf5 without mpi")
    for text, value in ("flexhpc+cuda", "ON"), ("flexhpc~cuda", "OFF"):
        package = recipe()
        package.spec = Spec(text)
        args = package.cmake_args()
        check(f"-DFX_CUDA={value}" in args, f"{text}: {args}")
        for arg in args:
            name = re.match(r"-D(\w+)=", arg)[1]
            check(name.startswith("CMAKE_") or re.search(rf"(option|set)\({name} ", read("CMakeLists.txt")), f"no option {name}")
    check(recipe.git == "file://" + os.path.realpath(TOP), f"package.py: {recipe.git} is not this tree")


# ---- Containers.

def check_containers():
    script = read("jobs/containers/build.sh")
    prefix = re.search(r"^prefix=(\S+)", script, re.M)[1]
    check(subprocess.run(["bash", "-n", os.path.join(TOP, "jobs/containers/build.sh")]).returncode == 0, "build.sh")
    for name in "Containerfile", "flexhpc.def":
        text = read("jobs/containers", name)
        steps = re.findall(r"build\.sh (build|run)$", text, re.M)
        check(steps == ["build", "run"], f"{name}: {steps}")
        check(len(re.findall(r"debian:12$", text, re.M)) == (1 if name == "Containerfile" else 2), f"{name}: base")
        check(re.search(rf"{prefix} {prefix}$", text, re.M), f"{name} doesn't copy {prefix}")
        check(f"{prefix}/bin" in text, f"{name}: PATH")
    sections = re.findall(r"^%(\w+)", read("jobs/containers/flexhpc.def"), re.M)
    check(sections == ["files", "post", "files", "post", "environment", "runscript", "test"], f"flexhpc.def: {sections}")


# ---- Modulefiles.

LMOD = """
function help() end function whatis() end function conflict() end
function pathJoin(a, b) return a .. "/" .. b end
function isDir(d) return os.execute("test -d '" .. d .. "'") == true end
function setenv(n, v) print(n .. "=" .. v) end
function prepend_path(n, v) print(n .. "=" .. v) end
"""


def check_modules():
    names = "FLEXHPC_ROOT PATH MANPATH LD_LIBRARY_PATH PKG_CONFIG_PATH CMAKE_PREFIX_PATH".split()
    command = "/usr/lib/x86_64-linux-gnu/modulecmd.tcl"
    for lib in "lib", "lib64":
        with tempfile.TemporaryDirectory() as folder:
            root = os.path.join(folder, "flexhpc")
            os.makedirs(os.path.join(root, lib))
            wanted = dict(zip(names, [root, f"{root}/bin", f"{root}/share/man", f"{root}/{lib}", f"{root}/{lib}/pkgconfig", root]))
            env = {"PATH": os.environ["PATH"], "FLEXHPC_ROOT": root}
            if os.path.exists(command):
                os.makedirs(os.path.join(folder, "modules/flexhpc"))
                shutil.copy(os.path.join(TOP, "jobs/modules/flexhpc.tcl"), os.path.join(folder, "modules/flexhpc/0.1"))
                env["MODULEPATH"] = os.path.join(folder, "modules")
                code = (f'eval "$(tclsh {command} bash load flexhpc)"; for n in {" ".join(names)}; do echo "$n=${{!n%%:*}}"; done; '
                        f'eval "$(tclsh {command} bash unload flexhpc)"; echo "$PATH"')
                out = subprocess.run(["bash", "-c", code], env=env, capture_output=True, text=True)
                lines = out.stdout.splitlines()
                got = dict(line.split("=", 1) for line in lines if "=" in line)
                check(got == wanted and not out.stderr, f"flexhpc.tcl: {got}, not {wanted}; {out.stderr}")
                check(lines and lines[-1] == env["PATH"], f"flexhpc.tcl: unloaded, PATH is {lines[-1:]}")
            elif lib == "lib":
                skipped.append("environment-modules")
            lua = shutil.which("lua5.3") or shutil.which("lua5.4") or shutil.which("lua")
            if lua:
                code = LMOD + read("jobs/modules/flexhpc.lua")
                out = subprocess.run([lua, "-"], input=code, env=env, capture_output=True, text=True)
                got = dict(line.split("=", 1) for line in out.stdout.splitlines())
                check(got == wanted and not out.stderr, f"flexhpc.lua: {got}, not {wanted}; {out.stderr}")
            elif lib == "lib":
                skipped.append("lua")


check_spack()
check_containers()
check_modules()
for text in failures:
    print("FAILED:", text, file=sys.stderr)
print("recipes fit the build system" + "".join(f"; not tried: no {name}" for name in skipped))
sys.exit(bool(failures))
