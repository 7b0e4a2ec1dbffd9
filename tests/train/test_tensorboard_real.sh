#!/usr/bin/env bash
# The event files of a run, read by TensorBoard itself (its reader, from PyPI): every curve with the numbers of metrics.jsonl, no
# step twice after a stop and a resume, and the pictures of validations and of an evaluation. FX_TENSORBOARD names a Python that has it; skipped
# where neither that nor the system's does.
# Planted and caught, with TensorBoard 2.21: a session's start left out, so that steps stand twice; width for height of a picture; a
# picture at the step after its own.
# Run: label full
python=${FX_TENSORBOARD:-/usr/bin/python3}
if ! "$python" -c 'import tensorboard' 2>/dev/null; then
    echo "no TensorBoard here: pip install tensorboard, and name its python in FX_TENSORBOARD"
    exit 77
fi
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

make_data
train=("$FLEXHPC" train tiny.yaml --run run --set train.steps=6 --set validate.every=3 --set validate.patches=2 --set eval.batch=2)
expect 75 "${train[@]}" --time-limit 0.001
expect 0 "${train[@]}"
rm run/ckpt/step-00000006.h5 # steps 5 and 6 once more, the picture of 6 as well
expect 0 "${train[@]}"
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
assert len(lines) == 6 and set(seen.Tags()["scalars"]) == set(lines[-1]) - {"schema", "step"}, seen.Tags()
for name in seen.Tags()["scalars"]:
    values = [(event.step, event.value) for event in seen.Scalars(name)]
    known = [line for line in lines if name in line]
    assert [step for step, _ in values] == [line["step"] for line in known], (name, values)
    for (_, value), line in zip(values, known):
        assert math.isclose(value, line[name], rel_tol=1e-6, abs_tol=1e-30), (name, line)
tags = {f"pack/{task}_re{re}": [6] for task in ("sr", "fc") for re in (100, 200)}
tags |= {f"validation/{task}_re200": [3, 6] for task in ("sr", "fc")}
assert set(seen.Tags()["images"]) == set(tags), seen.Tags()
for tag in tags:
    images = seen.Images(tag)
    assert [(i.step, i.width, i.height) for i in images] == [(step, 518, 128) for step in tags[tag]], (tag, images)
    image = images[-1]
    assert image.encoded_image_string[:4] == b"\x89PNG", tag
print(len(seen.Tags()["scalars"]), "curves and", len(tags), "pictures")
PYTHON
cat out
