# env.sh: for scripts of a pack (tests/gpu/pack.sh), sourced: where its program, libraries and MPI are, and where this machine
# has CUDA's, beside the toolkit or in Python packages. Sets here and OUT [./out].
# shellcheck shell=bash
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export OUT=${OUT:-$PWD/out}
mkdir -p "$OUT"

# The folder of a library that the loader does not find by itself, or nothing.
folder_of() {
    local place
    ! ldconfig -p 2>/dev/null | grep -q "$1" || return 0
    place=$(find -L /usr/local /opt /usr/lib "$HOME" -name "$1" -not -path '*/stubs/*' -print -quit 2>/dev/null)
    [ -z "$place" ] || dirname "$place"
}
folders=$here/lib
for library in libcudart.so.13 libcublasLt.so.13 libcudnn.so.9 libnccl.so.2 libcufft.so.12; do
    folder=$(folder_of "$library")
    [ -z "$folder" ] || folders=$folders:$folder
done
export LD_LIBRARY_PATH=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PATH=$here/bin:$PATH
export OMPI_MCA_mca_base_component_path=$here/openmpi/lib OMPI_MCA_btl=self,vader OMPI_MCA_pml=ob1 OPAL_PREFIX=$here/openmpi
# One process is a job by itself: nothing to start beside it.
export OMPI_MCA_ess_singleton_isolated=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 HDF5_USE_FILE_LOCKING=FALSE CUDA_MODULE_LOADING=EAGER
