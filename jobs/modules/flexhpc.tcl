#%Module1.0
# flexhpc.tcl: the module of an installed flexhpc for Environment Modules. Copy it to MODULEPATH as flexhpc/VERSION and set the
# prefix, or leave it and set FLEXHPC_ROOT. Load the MPI and HDF5 that it was built with first.
proc ModulesHelp {} {
    puts stderr "Distributed training of the FLEX diffusion backbone on turbulence: flexhpc help, man flexhpc"
}
module-whatis "distributed training of the FLEX diffusion backbone on turbulence"
conflict flexhpc

set root [expr {[info exists env(FLEXHPC_ROOT)] ? $env(FLEXHPC_ROOT) : "/opt/flexhpc"}]
set lib $root/[expr {[file isdirectory $root/lib64] ? "lib64" : "lib"}]
setenv FLEXHPC_ROOT $root
prepend-path PATH $root/bin
prepend-path MANPATH $root/share/man
prepend-path LD_LIBRARY_PATH $lib
prepend-path PKG_CONFIG_PATH $lib/pkgconfig
prepend-path CMAKE_PREFIX_PATH $root
