#!/usr/bin/env python3
"""Forecasts of many snapshots in a report: files sample-*.h5 of the run folder, made here with h5py: which leads are shown, pictures
by hand, what is not known, what is no forecast, and what is broken.

Planted and caught: leads other than the evenly spaced ones; model for truth; the error without its truth; one pixel for the mean of
a square of them; persistence from the first input; a truth that is not known drawn; NaN drawn, or a dash there; a broken file not
told; an early end not told; forecasts for which there is no room not counted, or counted with those of SR; an older step
not told.

Run: label quick
"""
import os
import re
import subprocess
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.environ["FX_TESTS_DIR"], "report"))
import pictures

FLEXHPC = os.environ["FLEXHPC"]


def write(name, truth, model, last, **attributes):
    leads, height, width = truth.shape
    with h5py.File("run/" + name, "w") as f:
        f["fc_truth"], f["fc_model"] = truth.astype("f4"), model.astype("f4")[None]
        f["fc_input"] = np.stack([np.zeros_like(last), last]).astype("f4")
        f["lead"] = 0.5 * np.arange(1, leads + 1)
        for key, value in {"Re": 700.0, "feedback": np.bytes_("member"), **attributes}.items():
            f.attrs[key] = value


def report():
    run = subprocess.run([FLEXHPC, "report", "run"], capture_output=True, text=True)
    assert run.returncode == 0, run
    with open("run/report.html", encoding="utf-8") as f:
        return f.read()


def curve(chart, style):
    path = re.findall(rf'class="line s{style}" d="([^"]*)"', chart)[-1]  # behind the legend's
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


with tempfile.TemporaryDirectory() as place:
    os.chdir(place)
    os.mkdir("run")
    with open("run/config.yaml", "w") as f:
        subprocess.run([FLEXHPC, "config", "show"], stdout=f, check=True)
    assert "Forecasts of many" not in report()

    # 9 leads of 200 x 400 pixels, 3 of which become one: leads 1, 3, 5, 7 and 9 are shown; the last one's truth is not known.
    y, x = np.mgrid[0:200, 0:400]
    truth = np.stack([np.sin(x / 20 + 0.3 * t) + 0.2 * ((x // 3 + y // 3) % 2) for t in range(1, 10)])
    last = np.sin(x / 20)
    model = truth + 0.1 * np.arange(9)[:, None, None] * np.cos(y / 15)
    truth[8] = np.nan
    write("sample-fc.h5", truth, model, last)
    with h5py.File("run/sample-sr.h5", "w") as f:
        f["sr_model"] = np.zeros((1, 1, 4, 4), "f4")
    page = report()
    strip = re.search(r'<div class="scroll strip">.*?</table>', page, re.S).group(0)
    assert re.findall(r'<th scope="col">(.*?)</th>', strip) == ["lead", "0.5", "1.5", "2.5", "3.5", "4.5"], strip[:300]
    assert "sample-fc.h5: Re 700, 200 \u00d7 400 pixels, means of squares of them, member fed back" in page
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", strip, re.S)
    assert [name for name, _ in rows] == ["truth", "model", "error"]
    shown = [[pictures.decode_uri(uri) for uri in re.findall(r'href="([^"]*)"', row)] for _, row in rows]
    assert [len(row) for row in shown] == [4, 5, 4] and strip.count("\u2013") == 2
    assert {(len(p), len(p[0])) for row in shown for p in row} == {(66, 133)}
    # The first forecast is the truth: its error has one colour, the middle's. The bar says the scale: 1.2, the truth's.
    assert shown[0][0] == shown[1][0] and len({c for row in shown[2][0] for c in row}) == 1
    assert "\u2265 1.2<" in page
    # By hand: the picture at lead 3 is that of means over 3 x 3, in the colours of the pictures of the first.
    means = truth[2, :198, :399].reshape(66, 3, 133, 3).mean((1, 3))
    red = np.array([[c[0] - c[2] for c in row] for row in shown[0][1]])
    assert (np.sign(red)[abs(means) > 0.1] == np.sign(means)[abs(means) > 0.1]).all()
    order = np.argsort(means[abs(means) < 0.9])
    assert (np.diff(red[abs(means) < 0.9][order]) >= -6).all(), "colours do not grow with the values"
    # Scores by lead: of all leads whose truth is known; the model's begins at 0, persistence grows from the newest input.
    error, correlation = re.findall(r'<figure class="chart">.*?</figure>', page, re.S)
    points, floor = curve(error, 0), curve(error, 1)
    assert len(points) == len(floor) == 8 and points[0][1] == 238.0, points
    norm = [np.linalg.norm(truth[t]) for t in range(8)]
    rfne = [np.linalg.norm(model[t] - truth[t]) / norm[t] for t in range(8)]
    keeps = [np.linalg.norm(last - truth[t]) / norm[t] for t in range(8)]
    rise = lambda curve: np.array([238 - y for _, y in curve])
    assert np.allclose(rise(points) / rise(floor)[7], np.array(rfne) / keeps[7], atol=2e-3), (rise(points), rfne)
    assert np.allclose(rise(floor) / rise(floor)[7], np.array(keeps) / keeps[7], atol=2e-3)
    assert len(curve(correlation, 0)) == 8 and len(curve(correlation, 2)) == 9

    # Broken ones are left out, in a line of the page and one warning that name the file; the rest of the page is what it was.
    def left_out(*words):
        run = subprocess.run([FLEXHPC, "report", "run"], capture_output=True, text=True)
        with open("run/report.html", encoding="utf-8") as f:
            lines = f.read().splitlines()
        (said,) = run.stderr.splitlines()
        (line,) = [line for line in lines if "Left out" in line]
        assert run.returncode == 0 and "warning" in said and "</span></li>" in line, run
        for text in (said, line):
            assert text.count("run/sample-bad.h5") == 1 and all(word in text for word in words), text
        assert [line for line in lines if "Left out" not in line] == page.splitlines()

    with h5py.File("run/sample-bad.h5", "w") as f:
        f["fc_model"], f["fc_truth"], f["fc_input"] = np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), np.zeros((1, 4, 4))
    left_out("(member, lead, y, x)")
    with open("run/sample-bad.h5", "w") as f:
        f.write("no HDF5")
    left_out("open")
    os.remove("run/sample-bad.h5")
    # A forecast that is NaN from a lead on has no picture there.
    model[4:] = np.nan
    write("sample-fc.h5", truth, model, last)
    strip = re.search(r'<div class="scroll strip">.*?</table>', report(), re.S).group(0)
    rows = dict(re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", strip, re.S))
    assert [rows[name].count("href=") for name in ("truth", "model", "error")] == [4, 2, 2], strip
    assert [rows[name].count("not finite") for name in ("truth", "model", "error")] == [0, 3, 2] and strip.count("\u2013") == 2, strip
    assert "ends early" not in report()
    # A file says that its forecast ended, and so does the page.
    write("sample-fc.h5", truth, model, last, ended=np.bytes_("member 0, lead 5: row 3, column 7 is <not> finite"))
    page = report()
    assert page.count("sample-fc.h5 ends early: member 0, lead 5: row 3, column 7 is &lt;not&gt; finite</span></li>") == 1
    assert strip in page and "not shown" not in page
    # There is room for four; how many more there are is said.
    for k in range(4):
        write(f"sample-more-{k}.h5", truth[:2], model[:2], last, step=7)
    page = report()
    assert page.count('<div class="scroll strip">') == 4 and "sample-more-3.h5" not in page
    assert page.count("1 more forecast is not shown: the first 4 by the names of their files are.</span></li>") == 1
    assert page.count("<h3>sample-more-0.h5, of step 7: Re 700") == 1 and page.count("<h3>sample-fc.h5: Re 700") == 1
    write("sample-more-4.h5", truth[:2], model[:2], last)
    assert "2 more forecasts are not shown: the first 4" in report()
    os.mkdir("run/ckpt")
    open("run/ckpt/step-00000009.h5", "w").close()
    assert "<h3>sample-more-0.h5, of step 7 (the newest checkpoint is of 9): Re 700" in report()
print("strips and scores of forecasts hold")
