#!/usr/bin/env bash
# flexhpc info and a run's env.txt: limits, file systems, container, HDF5's filters and the environment are those of this
# process, by what the shell and the system's own tools say.
# Planted and caught: hard limits told for soft ones; all of a file system told as free; the type of another folder; a secret of
# the environment told; variables left out; the data's folder left out of env.txt; a filter that is not there; the last commit but one; bytes
# of fp32 for bf16, another bucket than the largest, samples of one rank, no slowest rank; the MPI
# standard's version for the library's.
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

# ---- What a run finds before its first step: a sum as large as the largest bucket (of at most two of 297,313 gradients, or what
# train.bucket allows), and samples as the loader reads them: 8 micro-batches at most. It changes no bit of the training.
train=(mpiexec -n 2 "$FLEXHPC" train tiny.yaml --set train.steps=2 --run)
expect 0 "${train[@]}" probed
says out '^before the first step: sums of [01]\.[0-9] MiB at [0-9.]+ GB/s a link, reading at [0-9.]+ MB/s on the slowest rank$'
says probed/env.txt '^rank 1/2 on .*, processors [0-9,-]+, GPU -$'
/usr/bin/python3 - <<'PY' || fail "the probe: $(cat probed/env.txt)"
import re
text = open("probed/env.txt").read()
mib, ms, best, link = re.search(r"^sums         of 2 ranks: (\S+) MiB fp32 in (\S+) ms, best of (\d); (\S+) GB/s on each link of a ring$", text, re.M).groups()
assert 297313 * 2 / 2**20 < float(mib) < 297400 * 4 / 2**20 and 1 <= int(best) <= 5, (mib, best)
assert abs(float(link) - 1e-6 * float(mib) * 2**20 / float(ms)) < 0.01 * float(link) + 0.002, (link, mib, ms)
samples, kib, s, least, all_ = re.search(r"^reading      (\d+) samples of (\S+) KiB in (\S+) s: (\S+) MB/s the slowest rank, (\S+) MB/s all; ", text, re.M).groups()
assert float(kib) == 3, kib # 3 fields of 16 x 16
if float(s) < 0.2: # else a busy machine has cut it short
    assert int(samples) == 2 * 8 * 2, samples
    assert abs(float(all_) - 2 * float(least)) < 0.15 + 0.01 * float(all_), (least, all_)
rate = 1e-6 * int(samples) * 3072 / max(float(s), 5e-4)
assert abs(float(all_) - rate) < 0.1 * rate + 0.06 or float(s) < 0.01, (all_, rate)
PY
expect 0 "${train[@]}" parts --set train.bucket=0.5 --set train.reduce_type=bf16
says parts/env.txt '^sums         of 2 ranks: 0\.[12][0-9]* MiB bf16 in '
expect 0 "${train[@]}" unprobed --set run.probe=false
! grep -qE "before the first step|^(sums|reading) " out unprobed/env.txt || fail "probed with run.probe: false"
same_run probed unprobed
expect 0 "$FLEXHPC" train tiny.yaml --set train.steps=1 --run alone
! grep -q "^sums " alone/env.txt || fail "one rank sums with nobody"
says alone/env.txt '^reading '
echo "what the machine is, is told"
