#!/usr/bin/env bash
# bootstrap.sh: from a bare Debian 12 to a built, tested, running flexhpc. Installs the Debian packages that are
# missing (as root or through sudo; not at all when nothing is missing), configures CMake with Ninja and builds into
# build/. Every command can be repeated; what is already there is left alone. Sourced, it only defines its functions.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${FLEXHPC_BUILD:-$root/build}

# What a build and its tests need. By hand, and on systems other than Debian: INSTALL.md.
packages=(build-essential cmake ninja-build git pkg-config
    openmpi-bin libopenmpi-dev libhdf5-openmpi-dev libdnnl-dev libfftw3-dev libyaml-dev libjansson-dev libcmocka-dev
    libxxhash-dev libpng-dev libhwloc-dev zlib1g-dev python3 python3-h5py python3-numpy)

say() {
    printf 'bootstrap: %s\n' "$*"
}

die() {
    printf 'bootstrap: %s\n' "$*" >&2
    exit 1
}

# Those of the named Debian packages that are not installed, one a line.
missing_packages() {
    local name
    for name in "$@"; do
        case $(dpkg-query -W -f='${db:Status-Abbrev}' "$name" 2>/dev/null) in
        ii*) ;;
        *) printf '%s\n' "$name" ;;
        esac
    done
}

apt_get() {
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"
}

# Installs those of the named packages that are missing. The package lists are updated only where they are absent or
# too old to serve. Touches nothing, and needs no root, when all are there.
install_packages() {
    local missing
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian system: libraries must be there already (INSTALL.md names them)"
        return 0
    fi
    mapfile -t missing < <(missing_packages "$@")
    if [ ${#missing[@]} -eq 0 ]; then
        say "all $# Debian packages are installed"
        return 0
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        die "missing packages, and neither root nor sudo to install them: apt-get install ${missing[*]}"
    fi
    say "installing ${#missing[@]} Debian packages: ${missing[*]}"
    if ! apt-cache show "${missing[@]}" >/dev/null 2>&1; then
        say "updating the package lists"
        apt_get update
    fi
    if ! apt_get install -y --no-install-recommends "${missing[@]}"; then
        say "installation failed; once more with fresh package lists"
        apt_get update
        apt_get install -y --no-install-recommends "${missing[@]}"
    fi
}

# Open MPI refuses root and more ranks than cores unless told; other MPI libraries ignore these.
mpi_environment() {
    export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none
    [ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
}

# Configures and builds; further arguments go to CMake.
build_all() {
    install_packages "${packages[@]}"
    say "building into $build"
    cmake -S "$root" -B "$build" -G Ninja "$@" || die "CMake failed (a moved source tree needs: rm -r $build)"
    cmake --build "$build"
}

# `run_ctest FOLDER LABELS...`: the output of those that fail. Three at a time, for two cores: a third of the time is waiting
# for deadlines.
run_ctest() {
    local folder=$1 labels
    shift
    labels=$(IFS='|' && printf '%s' "$*")
    ctest --test-dir "$folder" -L "^($labels)\$" -j3 --output-on-failure --no-tests=error
}

run_tests() {
    build_all
    mpi_environment
    say "tests with the labels quick and full"
    run_ctest "$build" quick full
}

# The CUDA backend without a GPU: its sources by the C++ compiler, linked with a stand-in for CUDA's libraries, into
# build-standin/, and its tests. Only CUDA's headers are needed.
run_standin() {
    build=${FLEXHPC_BUILD:-$root/build-standin}
    build_all -DFX_CUDA=STANDIN "$@"
    mpi_environment
    run_ctest "$build" quick full
}

flexhpc() {
    say "flexhpc $*"
    "$build/flexhpc" "$@"
}

# `on_ranks N ARGUMENTS...`: flexhpc on N ranks that share the cores.
on_ranks() {
    local ranks=$1 threads
    shift
    threads=$(($(nproc) / ranks))
    say "flexhpc $* ($ranks ranks)"
    OMP_NUM_THREADS=$((threads > 0 ? threads : 1)) mpiexec -n "$ranks" "$build/flexhpc" "$@"
}

# The demo: configs/demo.yaml says what, this says in which order. Its folder is $demo, its configuration $demo_config.
demo_data() {
    local name=$1
    shift
    on_ranks 2 generate "$demo_config" --set "generate.path=$demo/fields-$name" "$@"
    on_ranks 2 pack "$demo_config" --set "pack.source=$demo/fields-$name" --set "pack.path=$demo/pack-$name"
}

# Three data sets from the solver: training, the same Reynolds numbers from a seed that training never sees, and, from that
# seed too, Reynolds numbers between those of training.
demo_data_sets() {
    mkdir -p "$demo"
    demo_data train
    demo_data heldout --set generate.seed=3407
    demo_data unseen --set generate.seed=3407 --set generate.reynolds=700,1500
}

# `demo_model RUN OPTIONS...`: trained and evaluated on what it never saw.
demo_model() {
    local run=$1
    shift
    on_ranks 2 train "$demo_config" --set "data.path=$demo/pack-train" --run "$run" "$@"
    on_ranks 2 eval "$demo_config" --run "$run" --set "data.path=$demo/pack-heldout"
    on_ranks 2 eval "$demo_config" --run "$run" --set "data.path=$demo/pack-unseen"
}

# The whole program once, from nothing to a report.
run_demo() {
    build_all
    mpi_environment
    demo_config=$root/configs/demo.yaml
    demo=${FLEXHPC_DEMO:-$root/runs/demo}
    demo_data_sets
    demo_model "$demo/run"
    flexhpc report "$demo/run"
    say "done: open $demo/run/report.html"
}

usage() {
    cat <<TXT
usage: ./bootstrap.sh COMMAND
  demo    install, build, then generate turbulence, train on 2 ranks, evaluate, write runs/demo/run/report.html
  test    install, build, then run the tests with the labels quick and full
  standin build the CUDA backend on a stand-in for CUDA's libraries into build-standin/, then run its tests
  build   install the missing Debian packages and build into build/
  help    print this
Packages are installed only where they are missing; without root, and with all of them there, nothing is installed.
FLEXHPC_BUILD names another build folder, FLEXHPC_DEMO another folder for the demo.
TXT
}

main() {
    case ${1:-help} in
    demo) run_demo ;;
    test) run_tests ;;
    build)
        shift
        build_all "$@"
        say "done: $build/flexhpc"
        ;;
    standin)
        shift
        run_standin "$@"
        ;;
    help | -h | --help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    main "$@"
fi
