#!/usr/bin/env python3
"""flexhpc plan: its table by class adds up for every recompute option, each option saves what it promises, and a plan of 70 GiB
takes no memory to speak of.

Planted and caught: the EMA left out of the sum; gaps left out of the table; the parameters' memory taken after all; the chosen
option planned in every column; a plan that fills memory for the parameters of `big`.

Run: label full
"""
import os
import resource
import subprocess

FLEXHPC = os.environ["FLEXHPC"]
CONFIGS = os.path.join(os.environ["FX_TESTS_DIR"], "..", "configs")
PARAMETERS = {"small": 58_316_993, "medium": 233_838_273, "big": 1_089_816_833}


def plan(*words):
    """In 3 GiB of address space, so that memory taken and never touched is missed too."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    return subprocess.run([FLEXHPC, "plan", *words], check=True, capture_output=True, text=True, preexec_fn=limit).stdout


def table(text):
    """{first words: four numbers}, and the parameters told above the table."""
    rows, parameters = {}, None
    for line in text.splitlines():
        word = line.split()
        if line.startswith("parameters ") and len(word) == 2:
            parameters = int(word[1])
        elif line.split(" ")[0] in ("arena", "parameters", "kept", "in") and len(word) > 4 and "MiB;" not in word:
            rows[" ".join(word[:-4])] = [float(x) for x in word[-4:]]
    return rows, parameters


def most_taken():
    """Largest resident set of any plan up to now, MiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


# A GPU's libraries alone can be 250 MiB, so the large plans are held against a small one.
plan(f"{CONFIGS}/flex-small.yaml", "--set", "data.patch=32", "--set", "train.global_batch=1")
least = most_taken()

for preset, parameters in PARAMETERS.items():
    rows, told = table(plan(f"{CONFIGS}/flex-{preset}.yaml", "--set", "data.patch=256"))
    assert told == parameters, f"{preset}: {told} parameters"
    total = rows.pop("in all")
    assert len(rows) == 13, rows.keys()
    for option in range(4):
        parts = sum(row[option] for row in rows.values())
        assert abs(parts - total[option]) < 1, f"{preset}, option {option}: {parts} MiB in parts, {total[option]} in all"
    none, cheap, resblock, whole = rows["arena activation"]
    assert cheap < 0.6 * none and resblock < 0.6 * cheap and whole < resblock, rows["arena activation"]
    assert total[0] > total[1] > total[2] and total[3] < total[1], total
    # Values, gradients, first moments (Lion), EMA.
    slabs = [row[0] for name, row in rows.items() if name.startswith("parameters")]
    assert sum(s > 0 for s in slabs) == 4 and abs(sum(slabs) - 16 * parameters / 2**20) < 1, slabs

taken = most_taken() - least
print(f"resident set of the largest plan beyond the least: {taken:.0f} MiB of {most_taken():.0f}")
assert taken < 64
