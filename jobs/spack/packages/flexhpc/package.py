"""Spack's recipe, for the source tree that it lies in: spack repo add jobs/spack; spack install flexhpc [+cuda cuda_arch=90].
Its dependencies are those of CMakeLists.txt; tests/install/test_recipes.py compares them."""
import pathlib

from spack.package import *


class Flexhpc(CMakePackage, CudaPackage):
    """Distributed training of the FLEX diffusion backbone on turbulence."""

    homepage = "https://arxiv.org/abs/2505.17351"
    git = "file://" + str(pathlib.Path(__file__).resolve().parents[4])

    license("BSD-3-Clause")

    version("main", branch="main")

    depends_on("c", type="build")
    depends_on("cxx", type="build", when="+cuda")
    depends_on("cmake@3.20:", type="build")
    depends_on("pkgconfig", type="build")

    depends_on("mpi@3.1:")
    depends_on("hdf5@1.10:+mpi")
    depends_on("onednn@2.6: cpu_runtime=omp")
    depends_on("fftw@3.3: precision=float,double")
    depends_on("libyaml")
    depends_on("jansson")
    depends_on("libpng")
    depends_on("xxhash@0.8:")
    depends_on("hwloc@2:")
    depends_on("zlib-api")

    with when("+cuda"):
        depends_on("cuda@12.4:")
        depends_on("cudnn@9.8:")
        depends_on("nccl")
        conflicts("cuda_arch=none", msg="say which GPUs: cuda_arch=90")

    depends_on("cmocka", type="test")
    depends_on("python@3:", type="test")
    depends_on("py-h5py", type="test")
    depends_on("py-numpy", type="test")

    def cmake_args(self):
        args = [
            # The compiler wrapper gives -march of the target.
            self.define("FLEXHPC_MARCH", ""),
            self.define("FLEXHPC_TESTS", self.run_tests),
            self.define("FX_CUDA", "ON" if "+cuda" in self.spec else "OFF"),
        ]
        if "+cuda" in self.spec:
            args.append(self.define("CMAKE_CUDA_ARCHITECTURES", self.spec.variants["cuda_arch"].value))
        return args
