#!/usr/bin/env bash
# flexhpc eval: the samples in its file are those that its scores are of, the same bits on 1, 2 and 3 ranks, and evaluations
# of one pack with other settings stand beside each other by eval.name.
# Run: label full
# Run: cost 12
# Planted and caught: one sample's row left out; rows in the order of arrival; the file named without eval.name; the details
# of a sample left where its rank had them; every member with the noise of the first; a rollout whose
# members forget what they forecast; one from each member in place of the mean; the truth of the lead before; bicubic in
# the table, or in the text, of the report of every model; an evaluation of no Reynolds number let through; evaluations with a name
# in another order, and failure signatures of the other task, in the report; the first 32 files read alone; 512 rows of a
# comparison and no more; 24 charts of a comparison, or 96 of a report, and no more; a picture with NaN that ends the report, or
# has colours there. Not planted: a damaged file not told, or the end of the report.
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
ensemble=(--set eval.members=3 --set eval.reynolds=200 --set eval.name=ensemble)
expect 0 "$FLEXHPC" eval "${few[@]}" "${ensemble[@]}"
says out '^SR +200 .* \['
says out '^3 members '
says out '^SR Re 200: contradicts its low-resolution input: RFNE at the pixels given over RFNE [0-9.]+, limit 0.1; try '
mv run/eval-pack-ensemble.h5 ensemble.h5
expect 0 mpiexec -n 2 "$FLEXHPC" eval "${few[@]}" "${ensemble[@]}"
for feedback in member mean; do
    rollout=(--set eval.horizon=3 --set eval.members=2 --set eval.reynolds=200 --set "sample.feedback=$feedback")
    expect 0 "$FLEXHPC" eval "${few[@]}" "${rollout[@]}" --set "eval.name=$feedback"
done
says out '^FC Re 200, 3 leads on patches: correlation 0.8 at lead '
expect 0 mpiexec -n 2 "$FLEXHPC" eval "${few[@]}" "${rollout[@]}" --set eval.name=shared
refused 2 "eval.horizon: 9 leads need runs of" "$FLEXHPC" eval "${few[@]}" --set eval.horizon=9
refused 2 "eval.name: a/b" "$FLEXHPC" eval "${few[@]}" --set eval.name=a/b
refused 2 "eval.reynolds: the pack pack holds none of them" "$FLEXHPC" eval "${few[@]}" --set eval.reynolds=999
expect 0 "$FLEXHPC" report run
says run/report.html 'model / bicubic'
/usr/bin/python3 - <<'PY' || fail "the tables of evaluations with a name"
import re
page = open("run/report.html", encoding="utf-8").read()
tables = {}
for title, body in re.findall("<h2>([^<]*), by evaluation</h2>(.*?)</table>", page, re.S):
    rows = [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", body, re.S)]
    assert rows[0][:5] == ["Re", "evaluation", "sampled in", "model RFNE", "ratio to the floor"], rows[0]
    tables[title] = rows[1:]
named = ["ensemble", "mean", "member", "one-step", "shared"]
for title in ("Super-resolution", "Forecast"):
    rows = tables[title]
    assert [row[:2] for row in rows] == [["100", "pack"], ["100", "one-step on pack"], ["200", "pack"]] + [
        ["200", name + " on pack"] for name in named], rows
    assert [row[2] for row in rows] == ["2 steps", "1 step", "2 steps", "2 steps, 3 members"] + 2 * ["2 steps, 2 members"] + [
        "1 step", "2 steps, 2 members"], rows
    for row in rows:
        assert re.fullmatch(r"\d\.\d{3}( \(\d\.\d{3}\u2013\d\.\d{3}\))?", row[3]) and row[7] == "7", row
        assert (row[6] == "\u2013") == ("members" not in row[2]), row
signs = re.search("<h2>Failure signatures of evaluations with a name</h2>(.*?)</table>", page, re.S)[1]
assert re.search(r"one-step on pack</th><td>super-resolution</td><td>.*; contradicts its low-resolution input at Re 100, 200</td>", signs), signs
assert not re.search("<td>forecast</td><td>[^<]*low-resolution", signs), signs
assert signs.count("<th scope=\"row\">ensemble on pack</th>") == 2 and "on pack</th><td>super-resolution</td><td></td>" not in signs, signs
assert "; 5 more with a name</dd>" in page
PY
# Names alone: no scores above, and no word that nobody has measured.
mkdir named
cp run/config.yaml run/eval-pack-one-step.h5 named
expect 0 "$FLEXHPC" report named
says named/report.html 'Evaluated under names alone'
says named/report.html '<h2>Forecast, by evaluation</h2>'
! grep -q 'nobody has measured' named/report.html || fail "a report that forgets evaluations with a name"

# However many have a name, the scores without one are there.
cp -r run many
for k in $(seq 10 49); do cp run/eval-pack-one-step.h5 "many/eval-pack-$k.h5"; done
expect 0 "$FLEXHPC" report many
says many/report.html 'model / bicubic'
! grep -q 'Evaluated under names alone' many/report.html || fail "a report that 40 evaluations with a name are too many for"

# ---- An evaluation that can't be read is left out of reports and comparisons, which say so.
cp -r run broken
truncate -s 3000 broken/eval-pack-ensemble.h5
expect 0 "$FLEXHPC" report broken
[ "$(grep -c '^flexhpc: ' err)" = 1 ] || fail "said: $(cat err)"
says err '^flexhpc: warning: .*left out of the report: broken/eval-pack-ensemble\.h5: '
says broken/report.html 'Left out: broken/eval-pack-ensemble.h5: '
says broken/report.html '; 4 more with a name</dd>'
expect 0 "$FLEXHPC" report run broken --out compared.html
says compared.html 'Left out: broken/eval-pack-ensemble.h5: '

# ---- Values of an example that are not finite are black in its pictures, which say so; the rest of the report is what it was.
cp -r run holes
expect 0 "$FLEXHPC" report holes
mv holes/report.html whole.html
/usr/bin/python3 - <<'PY'
import h5py
import numpy as np
with h5py.File("holes/eval-pack.h5", "r+", libver="latest") as file:
    file["panel/0/truth"][3, 5] = np.nan
    file["panel/0/model"][3, 5:7] = np.inf, np.nan
PY
expect 0 "$FLEXHPC" report holes
[ ! -s err ] || fail "said: $(cat err)"
PYTHONPATH="$FX_TESTS_DIR/report" /usr/bin/python3 - <<'PY' || fail "pictures of values that are not finite"
import re
import pictures

def read(name):
    page = open(name, encoding="utf-8").read()
    found = re.findall(r'<figcaption>([^<]*)(?:; <b class="bad">(.*?)</b>: black)?</figcaption><svg [^>]*><image [^>]*href="([^"]*)"', page)
    return re.sub('<figcaption>.*?</figcaption>|href="data[^"]*"', "", page), found

(text, whole), (other, torn) = read("whole.html"), read("holes/report.html")
assert len(whole) == len(torn) == 16 and not any(words for _, words, _ in whole), [x[:2] for x in torn]
assert other == re.sub(r"error, RFNE [\d.]+", "error", text, count=1)
words = "%d of 256 values are not finite"
assert [x[1] for x in torn] == ["", words % 2, words % 1, words % 2] + 12 * [""], [x[:2] for x in torn]
assert torn[3][0] == "error" and [x[2] for x in torn[4:]] == [x[2] for x in whole[4:]]
for (_, _, before), (_, _, after), black in zip(whole[1:3], torn[1:3], ({(3, 5), (3, 6)}, {(3, 5)})):
    before, after = pictures.decode_uri(before), pictures.decode_uri(after)
    changed = {(y, x) for y in range(16) for x in range(16) if before[y][x] != after[y][x]}
    assert changed == black and {after[y][x] for y, x in black} == {(0, 0, 0)}, changed
PY

# ---- However many Reynolds numbers were evaluated, each has its charts in the report and in comparisons.
cp -r run charts
/usr/bin/python3 - <<'PY'
import shutil
import h5py
import numpy as np
for k in range(1, 13):
    name = f"charts/eval-p{k}.h5"
    shutil.copy("run/eval-pack.h5", name)
    with h5py.File(name, "r+", libver="latest") as file:
        file.attrs["pack"] = np.bytes_(f"p{k}")
        file["scores"][:, list(file["scores"].attrs["columns"]).index("reynolds")] += k
PY
expect 0 "$FLEXHPC" report charts
for chart in 'Energy spectrum' 'Distribution of vorticity'; do
    [ "$(grep -c "<figcaption>$chart, " charts/report.html)" = 52 ] || fail "not 52 charts: $chart"
done
expect 0 "$FLEXHPC" report run charts --out compared.html
[ "$(grep -c '<figcaption>Energy spectrum, ' compared.html)" = 52 ] || fail "not the spectra of 52 Reynolds numbers and tasks"

# ---- A comparison has all rows, however many there are.
cp -r run wide
/usr/bin/python3 - <<'PY'
import shutil
import h5py
import numpy as np
for k in range(150):
    name = f"wide/eval-pack-w{k}.h5"
    shutil.copy("run/eval-pack-one-step.h5", name)
    with h5py.File(name, "r+", libver="latest") as file:
        file.attrs["name"] = np.bytes_(f"w{k}")
PY
expect 0 "$FLEXHPC" report run wide --out compared.html
[ "$(grep -c '<tr><th scope="row">.*<small>w[0-9]*</small>' compared.html)" = 600 ] || fail "not 150 evaluations of 4 rows"

# ---- The floor has the name of the model's own upsampling.
expect 0 "$FLEXHPC" train tiny.yaml --run linear --set train.steps=2 --set data.upsampling=bilinear --set validate.path=pack \
    --set validate.every=1 --set validate.patches=2
expect 0 "$FLEXHPC" eval tiny.yaml --run linear --set eval.patches=2
expect 0 "$FLEXHPC" report linear
says linear/report.html 'model / bilinear'
! grep -i 'bicubic' linear/report.html >out || fail "a bilinear model's report speaks of bicubic"

/usr/bin/python3 - <<'PY' || fail "the file's content"
import h5py
import numpy as np

def table(file, name):
    return {c: file[name][:, i] for i, c in enumerate(file[name].attrs["columns"])}

files = [h5py.File(f"run/eval-pack{name}.h5") for name in ("", "-one-step")]
for file, steps in zip(files, (2, 1)):
    assert (file.attrs["step"], file.attrs["sample_steps"], file.attrs["members"], file.attrs["patches"]) == (4, steps, 1, 7)
    assert file.attrs["asked"] == b"Re all; scale checkpoint; condition pack" and file.attrs["pack_hash"] != 0
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

pairs = [("run/eval-pack.h5", "ranks-2.h5"), ("run/eval-pack.h5", "ranks-3.h5"), ("ensemble.h5", "run/eval-pack-ensemble.h5"),
         ("run/eval-pack-mean.h5", "run/eval-pack-shared.h5")]
for one, other in pairs:
    alone, shared = arrays(h5py.File(one)), arrays(h5py.File(other))
    assert set(shared) == set(alone)
    for name, values in alone.items():
        assert np.array_equal(values, shared[name], equal_nan=True), f"{name} of {other}"

ensemble = h5py.File("ensemble.h5")
many, rows = table(ensemble, "samples"), table(ensemble, "scores")
statistics = dict(zip(ensemble["statistics"].attrs["columns"], np.moveaxis(ensemble["statistics"][:], 1, 0)))
assert ensemble.attrs["members"] == 3 and len(many["rfne"]) == 2 * 7
first = table(files[0], "samples")
mine = first["reynolds"] == 200
for name in ("task", "index", "block", "floor", "climatology", "truth_square"):
    assert np.array_equal(first[name][mine], many[name]), name
for k in range(2):
    own = many["task"] == k
    assert abs(statistics["spread_skill"][k, 0] ** 2 * many["mean_error"][own].mean() / many["spread"][own].mean() - 1) < 1e-9
    assert abs(ensemble[f"ranks/{k}/share"][:].sum() - 1) < 1e-9 and len(ensemble[f"ranks/{k}/share"]) == 4
    for name in ("model", "truth"):
        assert abs(ensemble[f"values/{k}/{name}"][:].sum() - 1) < 1e-9
    # bias and variance: the mean square error of the members is that of their mean and their spread
    both = many["mean_error"][own] + many["deviation"][own] * 2 / 3
    assert (many["rfne"][own] ** 2 * many["truth_square"][own] <= both * (1 + 1e-6)).all()
    assert np.abs(many["mean_rfne"][own] ** 2 * many["truth_square"][own] / many["mean_error"][own] - 1).max() < 1e-5
    assert (many["crps"][own] > 0).all() and (many["mean_rfne"][own] < many["rfne"][own]).all()
assert np.isnan(many["lowres_rfne"][many["task"] == 1]).all() and (many["lowres_rfne"][many["task"] == 0] > 0).all()
member, mean = ({k: v[:] for k, v in h5py.File(f"run/eval-pack-{name}.h5")["leads/1"].items()} for name in ("member", "mean"))
of = table(h5py.File("run/eval-pack-member.h5"), "scores")
assert "leads/0" not in h5py.File("run/eval-pack-member.h5")
for leads in (member, mean):
    assert all(len(v) == 3 and np.isfinite(v).all() for v in leads.values()), leads
    assert abs(leads["rfne"][0] / of["rfne"][1] - 1) < 1e-12 and abs(leads["persistence"][0] / of["floor"][1] - 1) < 1e-12
    assert abs(leads["correlation"][0] / of["correlation"][1] - 1) < 1e-12
    assert (np.diff(leads["persistence"]) > 0).all() and (leads["mean_rfne"] < leads["rfne"]).all()
# This model knows little: a forecast is the newest input and an error of its own. So beyond persistence the errors of the leads
# add up, and those that go on from the mean of two members keep half of those before: 1, 2, 3 and 1, 3/2, 2 times the first.
def grown(leads):
    own = (leads["rfne"] ** 2 - leads["persistence"] ** 2) * leads["truth_enstrophy"]
    return own[1:] / own[0]
assert np.abs(grown(member) / [2, 3] - 1).max() < 0.12 and np.abs(grown(mean) / [1.5, 2] - 1).max() < 0.17, (grown(member), grown(mean))
assert (member["rfne"][1:] != mean["rfne"][1:]).all() and (member["truth_energy"] == mean["truth_energy"]).all()

signs = table(ensemble, "signs")
named = [ensemble["signs"].attrs["signatures"][int(i)] for i in signs["signature"]]
assert "lowres" in named and (signs["number"][named.index("lowres")] > 0.1) and signs["limit"][named.index("lowres")] == 0.1
assert np.isnan(first["crps"]).all() and not np.isnan(many["ssim"]).any()
one, two = (table(file, "samples") for file in files)
assert (one["floor"] == two["floor"]).all() and (one["rfne"] != two["rfne"]).all()
PY
echo "samples, scores and names of evaluations hold"
