#!/bin/bash
# plans_all.sh PROGRAM: PROGRAM is the built test_cudnn_plans. Plans every convolution of every preset of FLEX and the baselines in every precision
# for four GPUs by their properties alone and prints a Markdown table; exit code 1 if any product has no plan. Minutes.
set -u
devices=$(dirname "$0")/devices
bad=0
echo '| GPU | model | precision | convolutions | distinct products | without a plan | most workspace, MiB |'
echo '|---|---|---|---|---|---|---|'
for gpu in a100 h100 h200 b200; do
    for model in {flex,unet,uvit}-{small,medium,big}; do
        for precision in bf16 tf32 fp32; do
            text=$("$1" "$devices/$gpu.json" "$model" $precision) || bad=1
            most=$(echo "$text" | awk '{for (i = 2; i <= NF; i++) if ($i == "MiB" && $(i - 1) + 0 > m) m = $(i - 1)} END {print m + 0}')
            echo "$text" | tail -1 | sed -E "s/.*, ([0-9]+) convolutions, ([0-9]+) distinct products, ([0-9]+) without.*/| $gpu | $model | $precision | \1 | \2 | \3 | $most |/"
        done
    done
done
exit $bad
