#!/usr/bin/env bash
# train.shard_optimizer on the CUDA backend, on the stand-in, with 2 ranks by NCCL, captured: the losses and the tensors of the same
# ranks without it, to the bit.
# Planted and caught: the gather of the weights not joined.
# Run: standin only
# Run: label full
# Run: timeout 600
# Run: cost 60
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

sed -i 's/{timeout: 60}/{timeout: 300}/; s/steps: 24/steps: 4/' tiny.yaml
make_data
for kind in no yes; do
    timeout 280 mpiexec -n 2 "$FLEXHPC" train tiny.yaml --run $kind --set backend=cuda --set train.shard_optimizer=$kind >out 2>err ||
        fail "train.shard_optimizer=$kind"
done
same_run no yes
