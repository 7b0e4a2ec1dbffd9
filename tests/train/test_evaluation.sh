#!/usr/bin/env bash
# flexhpc eval: the samples in its file are those that its scores are of, the same on 1, 2 and 3 ranks, and evaluations
# of one pack with other settings stand beside each other by eval.name.
# Run: label full
# Run: cost 5
# Planted and caught: one sample's row left out; rows in the order of arrival; the file named without eval.name.
# shellcheck source=tests/fault/tiny.sh
source "$FX_TESTS_DIR/fault/tiny.sh"

make_data
expect 0 "$FLEXHPC" train tiny.yaml --run run --set train.steps=4
few=(tiny.yaml --run run --set eval.patches=7 --set eval.batch=2)
expect 0 "$FLEXHPC" eval "${few[@]}"
cp run/eval-pack.h5 alone.h5
for ranks in 2 3; do
    expect 0 mpiexec -n $ranks "$FLEXHPC" eval "${few[@]}"
    cp run/eval-pack.h5 ranks-$ranks.h5
done
expect 0 "$FLEXHPC" eval "${few[@]}" --set sample.steps=1 --set eval.name=one-step
cmp run/eval-pack.h5 ranks-3.h5 || fail "a named evaluation wrote over the other"
cp alone.h5 run/eval-pack.h5
refused 2 "eval.name: a/b" "$FLEXHPC" eval "${few[@]}" --set eval.name=a/b
expect 0 "$FLEXHPC" report run

/usr/bin/python3 - <<'PY' || fail "the file's content"
import h5py
import numpy as np

def table(file, name):
    return {c: file[name][:, i] for i, c in enumerate(file[name].attrs["columns"])}

files = [h5py.File(f"run/eval-pack{name}.h5") for name in ("", "-one-step")]
for file, steps in zip(files, (2, 1)):
    assert (file.attrs["step"], file.attrs["sample_steps"], file.attrs["members"], file.attrs["patches"]) == (4, steps, 1, 7)
    assert file.attrs["pack"] == b"pack" and b"step-00000004" in file.attrs["checkpoint"]
    samples, scores = table(file, "samples"), table(file, "scores")
    assert len(samples["rfne"]) == 2 * 2 * 7 and len(scores["rfne"]) == 4
    for k in range(4):
        own = (samples["task"] == scores["task"][k]) & (samples["reynolds"] == scores["reynolds"][k])
        assert list(samples["index"][own]) == list(range(7)), samples["index"][own]
        for name in ("rfne", "floor", "correlation"):
            assert abs(samples[name][own].mean() - scores[name][k]) < 1e-12, name
        assert abs(samples["rfne"][own].mean() / samples["floor"][own].mean() - scores["ratio"][k]) < 1e-12
        assert (samples["truth_square"][own] > 0).all()
        panel = file[f"panel/{k}/truth"][:].astype(float)
        assert abs((panel ** 2).mean() / samples["truth_square"][own][0] - 1) < 1e-12
def arrays(file):
    found = {}
    file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found

alone = arrays(files[0])
for ranks in (2, 3):
    shared = arrays(h5py.File(f"ranks-{ranks}.h5"))
    assert set(shared) == set(alone)
    for name, values in alone.items():
        # spectra are summed rank by rank
        equal = np.allclose if name.startswith("spectrum") or name == "scores" else np.array_equal
        assert equal(values, shared[name], equal_nan=True), f"{name} of {ranks} ranks"
one, two = (table(file, "samples") for file in files)
assert (one["floor"] == two["floor"]).all() and (one["rfne"] != two["rfne"]).all()
PY
echo "samples, scores and names of evaluations hold"
