#!/usr/bin/env bash
# The demo's claim on three training seeds: after bootstrap.sh's own recipe, RFNE is at most 0.7 of bicubic interpolation's
# (super-resolution) and of persistence's (forecast) at every Reynolds number of the seed held out and at every one never
# trained on. Prints the table. FX_DEMO_SEEDS names a folder that is kept; given again, what is whole in it is not made again.
# Planted and caught: samples with half of the residual (largest ratio 0.73).
# Run: label long
# Run: timeout 3600
# Run: alone
set -euo pipefail
export FLEXHPC_BUILD=$FX_BINARY_DIR
# shellcheck source=bootstrap.sh
source "$FX_TESTS_DIR/../bootstrap.sh"
mpi_environment
demo_config=$root/configs/demo.yaml
demo=${FX_DEMO_SEEDS:-}
if [ -z "$demo" ]; then
    demo=$(mktemp -d)
    trap 'rm -rf "$demo"' EXIT
fi

demo_data_sets
for seed in 1 2 3; do
    demo_model "$demo/seed-$seed" --set "seed=$seed"
done

/usr/bin/python3 - "$demo" <<'PY'
import sys

import h5py

LIMIT, SEEDS, TASKS = 0.7, (1, 2, 3), ("SR", "FC")

rows = {}  # (task, Re): floor, seen, and of each seed RFNE and ratio
for seed in SEEDS:
    for pack in ("heldout", "unseen"):
        with h5py.File(f"{sys.argv[1]}/seed-{seed}/eval-pack-{pack}.h5") as file:
            names = list(file["scores"].attrs["columns"])
            for values in file["scores"][:]:
                s = dict(zip(names, values))
                row = rows.setdefault((int(s["task"]), s["reynolds"]),
                                      {"floor": s["floor"], "seen": s["seen"], "ratio": [], "rfne": []})
                assert row["floor"] == s["floor"] and row["seen"] == s["seen"], "not the same patches on every seed"
                assert abs(s["ratio"] - s["rfne"] / s["floor"]) < 1e-9
                row["ratio"].append(s["ratio"])
                row["rfne"].append(s["rfne"])

print("| task | Re | floor's RFNE |" + "".join(f" RFNE, seed {s} |" for s in SEEDS) + "".join(f" ratio, seed {s} |" for s in SEEDS))
print("|---|---|---|" + "---|" * (2 * len(SEEDS)))
for (task, reynolds), row in sorted(rows.items()):
    cells = [TASKS[task], f"{reynolds:g}" + ("" if row["seen"] else " (unseen)"), f"{row['floor']:.3f}"]
    cells += [f"{v:.3f}" for v in row["rfne"] + row["ratio"]]
    print("| " + " | ".join(cells) + " |")

for task in (0, 1):
    of_task = {reynolds: row for (t, reynolds), row in rows.items() if t == task}
    assert sum(row["seen"] == 1 for row in of_task.values()) >= 3 and sum(row["seen"] == 0 for row in of_task.values()) >= 1
missed = [(TASKS[t], r, row["ratio"]) for (t, r), row in rows.items()
          if len(row["ratio"]) != len(SEEDS) or not max(row["ratio"]) <= LIMIT]
assert not missed, f"above {LIMIT}: {missed}"
print(f"largest ratio {max(max(row['ratio']) for row in rows.values()):.3f}, limit {LIMIT}")
PY
