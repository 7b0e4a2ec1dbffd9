-- flexhpc.lua: Lmod's module of an installed flexhpc. Copy it to MODULEPATH as flexhpc/VERSION.lua and set the prefix, or
-- leave it and set FLEXHPC_ROOT. Load the MPI and HDF5 that it was built with first.
help([[Distributed training of the FLEX diffusion backbone on turbulence: flexhpc help, man flexhpc]])
whatis("Name: flexhpc")
whatis("Description: distributed training of the FLEX diffusion backbone on turbulence")
conflict("flexhpc")

local root = os.getenv("FLEXHPC_ROOT") or "/opt/flexhpc"
local lib = pathJoin(root, isDir(pathJoin(root, "lib64")) and "lib64" or "lib")
setenv("FLEXHPC_ROOT", root)
prepend_path("PATH", pathJoin(root, "bin"))
prepend_path("MANPATH", pathJoin(root, "share/man"))
prepend_path("LD_LIBRARY_PATH", lib)
prepend_path("PKG_CONFIG_PATH", pathJoin(lib, "pkgconfig"))
prepend_path("CMAKE_PREFIX_PATH", root)
