#!/usr/bin/env bash
# What a step starts, as `launches` counts it, is true of small things that can be counted by hand, and complete: every entry of the
# plan is there, each sum is one kernel forward and one for each source backward, and a gradient of a convolution is one call
# of cuDNN's for the images and one for the weights.
# Planted and caught: calls of cuDNN not told from kernels, entries of backward counted as forward;
# in group_norm.cu a second launch.
# Run: standin only
set -euo pipefail
config=$FX_TESTS_DIR/../configs/demo.yaml
count() {
    "$FX_BINARY_DIR/tests/launches" "$config" backend=cuda precision=bf16 "$@"
}
counted=$(count)
entries=$(awk '$1 == "all" {print $3}' <<<"$counted")
planned=$("$FLEXHPC" plan "$config" --set backend=cuda --set precision=bf16 | awk '$1 == "nodes" {print $2}')
[ "$entries" = "$planned" ]
[ "$(awk '$1 != "all" {n += $3; k += $4; c += $5} END {print n, k, c}' <<<"$counted")" = "$(awk '$1 == "all" {print $3, $4, $5}' <<<"$counted")" ]
awk '$1 == "add" {seen++; if ($4 != $3 * ($2 == "forward" ? 1 : 2) || $5 != 0) exit 1} END {exit seen != 2}' <<<"$counted"
# Every convolution has weights; all but those that read inputs have images to give gradients to as well.
awk '$1 == "conv" && $2 == "backward" {ok = $5 > $3 && $5 <= 3 * $3} END {exit !ok}' <<<"$counted"
# A group norm is one kernel a pass, whatever the batch; the others are as many too.
more=$(count train.global_batch=32)
same() { awk '$1 == "silu" || $1 == "linear" || $1 == "group_norm" {print $1, $2, $3, $4, $5}'; }
[ "$(same <<<"$counted")" = "$(same <<<"$more")" ]
awk '$1 == "group_norm" {seen++; if ($4 != $3 || $5 != 0) exit 1} END {exit seen != 2}' <<<"$more"
