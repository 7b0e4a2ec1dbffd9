#!/usr/bin/env bash
# The full counts of test_fuzz, by hand: 10^7 manifests and safetensors headers, 10^6 configurations, 10^5 HDF5 headers, each
# with a seed of its own. FX_FUZZ_SCALE=100 makes 10^7 HDF5 headers. benchmarks/results/ has what was found.
# Planted, with a fiftieth of the cases of text and a hundredth of those of HDF5: caught, a safetensors header that is not freed ("memory
# left by 10000 cases", exit code 1); not caught, a list of the configuration that may be longer than its array.
# Run: label long
# Run: timeout 36000
set -euo pipefail
scale=${FX_FUZZ_SCALE:-1}
code=0
run() {
    "$FX_BINARY_DIR/tests/test_fuzz" "$@" || code=1
}
run manifest 10000000 11
run safetensors 10000000 12
run config 1000000 13
run shard $((34000 * scale)) 14
run checkpoint $((33000 * scale)) 15
run source $((33000 * scale)) 16
exit $code
