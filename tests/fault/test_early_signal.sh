#!/usr/bin/env bash
# A stop that comes while a training starts (in MPI_Init here, before any of ours but main) is not its end: it is obeyed after
# the first step, on all ranks, with a checkpoint and exit code 75, and the next start goes on.
# Run: label full
# Run: cost 3
# Planted and caught: signals caught after fx_comm_start (exit code 140); seen ones forgotten by fx_train.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"
# shellcheck source=tests/fault/ranks.sh
source "$FX_TESTS_DIR/fault/ranks.sh"

make_data
# Open MPI reads this file in MPI_Init.
faulty_job 2 1 "open openmpi-mca-params 1 USR2" train tiny.yaml --run run --set train.steps=4 --set checkpoint.every=0
expect 75 "${faulty[@]}"
[ -s calls ] || fail "no signal: this MPI does not read openmpi-mca-params.conf"
says out '^signal 12: saving and stopping$'
[ "$(cat run/ckpt/latest)" = step-00000001.h5 ] || fail "stopped after $(cat run/ckpt/latest)"
expect 0 mpiexec -n 2 "$FLEXHPC" train tiny.yaml --run run --set train.steps=4 --set checkpoint.every=0
says out '^resumed from run/ckpt/step-00000001.h5'
echo "an early signal stops the run in order"
