#!/usr/bin/env bash
# flexhpc info and a run's env.txt: limits, file systems, container, HDF5's filters and the environment are those of this
# process, by what the shell and the system's own tools say.
# Planted and caught: hard limits told for soft ones; all of a file system told as free; the type of another folder; a secret of
# the environment told; variables left out; the data's folder left out of env.txt; a filter that is not there; the last commit but one; the
# MPI standard's version for the library's.
# Run: label full
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

ulimit -Sn 777
ulimit -Ss 4096
export SLURM_JOB_ID=77 SLURM_API_TOKEN=hush OMP_PLACES=cores
container=podman expect 0 "$FLEXHPC" info . /dev/shm nowhere
says out "^system +Linux $(uname -r) $(uname -m), $(getconf _NPROCESSORS_ONLN) processors\$"
says out '^container +yes, by container$'
says out '^HDF5 +1\.[0-9]+\.[0-9]+, filters .*deflate shuffle fletcher32'
says out '^limits +stack 4 MiB, .*open files 777, '
says out "^folder +/dev/shm: $(stat -f -c %T /dev/shm), "
says out '^folder +nowhere: \?$'
says out '^SLURM_JOB_ID=77$'
! grep -q hush out || fail "a secret is told"
version=$("$FLEXHPC" --version)
grep -qF "$version, backend cpu" out || fail "info says another version than $version"
commit=$(git -C "$FX_TESTS_DIR" rev-parse --short=12 HEAD 2>/dev/null) || commit="no commit known"
[[ $version == *" ($commit)" || $version == *" ($commit-dirty)" ]] || fail "$version is built from $commit"
says out "^MPI +Open MPI v$(mpiexec --version | sed -n '1s/.* //p'), "
says out '^rank 0/1 on '
/usr/bin/python3 - <<'PY' || fail "free space"
import os, re
s = os.statvfs(".")
free, whole = map(float, re.search(r"^folder +\.: .*, (\S+) of (\S+) GiB free$", open("out").read(), re.M).groups())
assert abs(free - s.f_bavail * s.f_frsize / 2**30) < 0.5 and abs(whole - s.f_blocks * s.f_frsize / 2**30) < 0.1, (free, whole)
PY
/usr/bin/python3 - <<'PY' || fail "filters"
import re, h5py
told = re.search(r"^HDF5 .* filters (.*)$", open("out").read(), re.M)[1].split()
for name, number in (("szip", h5py.h5z.FILTER_SZIP), ("blosc", 32001), ("zstd", 32015)):
    assert (name in told) == bool(h5py.h5z.filter_avail(number)), (name, told)
PY
expect 0 "$FLEXHPC" info -- .
[ "$(grep -c '^folder' out)" -eq 1 ] || fail "one folder, told as several"

make_data
expect 0 "$FLEXHPC" train tiny.yaml --run run --set train.steps=1
says run/env.txt '^folder +run: '
says run/env.txt '^folder +pack: '
says run/env.txt '^limits +stack 4 MiB, '
says run/env.txt '^OMP_PLACES=cores$'
! grep -q hush run/env.txt || fail "env.txt tells a secret"
echo "what the machine is, is told"
