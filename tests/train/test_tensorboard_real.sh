#!/usr/bin/env bash
# The event files of a run, read by TensorBoard itself (its reader, from PyPI): every curve with the numbers of metrics.jsonl, no
# step twice after a stop and a resume, and the pictures of an evaluation. FX_TENSORBOARD names a Python that has it; skipped
# where neither that nor the system's does.
# Nothing was planted here: test_tensorboard.py, which reads the same files by the format's rules, names what it caught.
# Run: label full
python=${FX_TENSORBOARD:-/usr/bin/python3}
if ! "$python" -c 'import tensorboard' 2>/dev/null; then
    echo "no TensorBoard here: pip install tensorboard, and name its python in FX_TENSORBOARD"
    exit 77
fi
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

make_data
expect 75 "$FLEXHPC" train tiny.yaml --run run --set train.steps=6 --time-limit 0.001
expect 0 "$FLEXHPC" train tiny.yaml --run run --set train.steps=6
expect 0 "$FLEXHPC" eval tiny.yaml --run run --set eval.patches=2 --set eval.batch=2
"$python" - run <<'PYTHON' >out 2>err || fail "TensorBoard reads something else"
import json
import math
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = sys.argv[1]
seen = EventAccumulator(run + "/tb", size_guidance={"images": 0, "scalars": 0})
seen.Reload()
lines = [json.loads(line) for line in open(run + "/metrics.jsonl")]
assert len(lines) == 6 and set(seen.Tags()["scalars"]) == set(lines[0]) - {"schema", "step"}, seen.Tags()
for name in seen.Tags()["scalars"]:
    values = [(event.step, event.value) for event in seen.Scalars(name)]
    assert [step for step, _ in values] == [line["step"] for line in lines], (name, values)
    for (_, value), line in zip(values, lines):
        assert math.isclose(value, line[name], rel_tol=1e-6, abs_tol=1e-30), (name, line)
tags = ["pack/sr_re100", "pack/sr_re200", "pack/fc_re100", "pack/fc_re200"]
assert seen.Tags()["images"] == tags, seen.Tags()
for tag in tags:
    (image,) = seen.Images(tag)
    assert (image.step, image.width, image.height) == (6, 518, 128), (tag, image.step, image.width, image.height)
    assert image.encoded_image_string[:4] == b"\x89PNG", tag
print(len(seen.Tags()["scalars"]), "curves and", len(tags), "pictures")
PYTHON
cat out
