#!/usr/bin/env python3
"""bucket_sizes.py FLEXHPC CONFIGS: how good sizes of train.bucket are by `flexhpc predict`, over all networks of its table, the
published models, batches of 2, 8 and 32 a GPU (at 8 also bf16 sums, and kernels at 100 % of the limits), and 8 to 4,096 GPUs:
efficiency at 0.3 % jitter, in points below the best of these sizes. Prints a table in Markdown."""
import json
import subprocess
import sys
import tempfile

flexhpc, configs = sys.argv[1:3]
SIZES = (0, 2, 4, 8, 16, 32, 64)
CASES = [("2", "0.6", "fp32"), ("8", "0.6", "fp32"), ("8", "1", "fp32"), ("8", "0.6", "bf16"), ("32", "0.6", "fp32")]
below = {size: [] for size in SIZES}
with tempfile.NamedTemporaryFile() as out:
    for network in ("h100-ndr", "h200-ndr", "a100-slingshot", "h100-200g"):
        for model in ("small", "medium", "big"):
            for batch, fraction, kind in CASES:
                rows = {}
                for size in SIZES:
                    subprocess.run([flexhpc, "predict", f"{configs}/flex-{model}.yaml", "--network", network, "--batch", batch,
                                    "--fraction", fraction, "--set", f"train.bucket={size}", "--set", f"train.reduce_type={kind}",
                                    "--json", out.name], check=True, stdout=subprocess.DEVNULL)
                    rows[size] = [r["eff_0.3"] for r in json.load(open(out.name))["rows"] if r["ranks"] >= 8]
                for size in SIZES:
                    below[size] += [max(rows[s][i] for s in SIZES) - e for i, e in enumerate(rows[size])]
print("| train.bucket, MiB | points below the best, mean | worst of", len(below[0]), "|\n|---|---|---|")
for size, points in below.items():
    print(f"| {size or '0: a sixteenth, 1 to 32'} | {sum(points) / len(points):.2f} | {max(points):.1f} |")
