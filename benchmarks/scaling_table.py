#!/usr/bin/env python3
"""scaling_table.py FLEXHPC CONFIGS [KEY=VALUE...]: docs/SCALING.md's tables, by `flexhpc predict`: the three published models on
three networks, 8 to 4,096 GPUs."""
import json
import subprocess
import sys
import tempfile

flexhpc, configs = sys.argv[1:3]
sets = [w for s in sys.argv[3:] for w in ("--set", s)]
SHOWN = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
print("| network, model (ms a step alone) |", " | ".join(f"{n:,}" for n in SHOWN), "| at 1,024: exposed, slowed ms; jitter 0 / 1 / 3 % | read GB/s at 4,096 |")
print("|---" * (len(SHOWN) + 3) + "|")
with tempfile.NamedTemporaryFile() as out:
    for network in ("h100-ndr", "a100-slingshot", "h100-200g"):
        for model in ("small", "medium", "big"):
            subprocess.run([flexhpc, "predict", f"{configs}/flex-{model}.yaml", "--network", network, "--json", out.name, *sets],
                           check=True, stdout=subprocess.DEVNULL)
            p = json.load(open(out.name))
            row = {r["ranks"]: r for r in p["rows"]}
            k = row[1024]
            print(f"| {network}, {model} ({p['alone_ms']:.0f}) |", " | ".join(f"{row[n]['eff_0.3']:.1f}" for n in SHOWN),
                  f"| {k['exposed_ms']:.2f}, {k['slowed_ms']:.2f}; {k['eff_0']:.1f} / {k['eff_1']:.1f} / {k['eff_3']:.1f} |"
                  f" {row[4096]['read_gb_per_s']:.0f} |")
