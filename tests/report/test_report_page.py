"""The pages that test_report writes, as a browser would take them: nesting, sections, escaping, no way to the network, and
pictures decoded by hand.

Run: label quick
Planted errors, each caught: a tag left open, a section left out, quotes not escaped, a script let through, a URL in the page,
Base64 without padding, the picture of the error without its minus, an id used twice, NaN in a coordinate, thinning that loses
a spike, the colours of the bar or of the pictures reversed, all ranks shown, a rank against the mean of its row, what is right
before what is wrong, the least number for the worst, a name of a compared run not escaped, the picture at the top of another
panel, bars that don't stand on 0, an interval's end for the value.
"""
import html.parser
import os
import re
import subprocess
import tempfile

from pictures import decode_uri

VOID = {"meta", "br", "img", "link", "input", "hr"}
MINUS = "\u2212"


class Page(html.parser.HTMLParser):
    """Checks the nesting; keeps every tag with its attributes, and the text by the innermost tag."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts = [], [], []
        self.feed(source)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes), f"an attribute twice in {tag}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.texts.append((self.open[-1], data))

    def all(self, kind, **wanted):
        return [a for tag, a in self.tags if tag == kind and all(a.get(k.rstrip("_")) == v for k, v in wanted.items())]

    def text(self, *tags):
        return "".join(data for tag, data in self.texts if (not tags and tag != "style") or tag in tags)


def check_any(name, source):
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>") and len(page.all("html")) == len(page.all("title")) == 1
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)), f"{name}: an id twice"
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "img", "base", "form"), f"{name}: <{tag}>"
        for key, value in attributes.items():
            assert not key.startswith("on"), f"{name}: {key} in <{tag}>"
            if key in ("href", "src", "action", "xlink:href"):
                assert value[0] == "#" and value[1:] in ids or value.startswith("data:image/png;base64,"), f"{name}: {key}={value[:60]}"
            if key in ("d", "x", "y", "cx", "width", "height", "viewbox", "transform"):
                assert not re.search("nan|inf", value), f"{name}: {key}={value[:60]}"
        for url in re.findall(r"url\((.*?)\)", " ".join(attributes.values())):
            assert url[0] == "#" and url[1:] in ids
    style = page.text("style")
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme:dark" in style
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert "default-src 'none'" in policy
    assert page.all("meta", name="viewport")
    return page


def points(path):
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def check_full(source):
    assert "://" not in source, "an address in a page that names none"
    page = check_any("full", source)
    text = page.text()
    for wanted in ("Demo: FLEX on decaying turbulence", "2.78 M parameters", "Scores by Reynolds number", "Fields",
                   "Curves and spectra", "Ranks", "What this model can and cannot show", "Configuration", "channels: [32, 32, 64, 64]",
                   "bicubic interpolation", "persistence", "linear extrapolation", "fine scales", "correlation",
                   "Training finished: 256 of 256 steps", "It cannot show what the paper claims", "Environment", "rank 0/2 on n01",
                   "Commands", "flexhpc train demo.yaml"):
        assert wanted in text, f"not in the page: {wanted}"
    # The verdict, found from the scores.
    findings = "".join(t for tag, t in page.texts if tag in ("span", "small"))
    for wanted in ("Super-resolution: misses the goal at Re 2000: ratio 0.75, goal 0.70.",
                   "Super-resolution: blurred at Re 1000 and 2000. Energy in the fine scales over the truth's: at worst 0.46, limit 0.5; "
                   "try more sample.steps, a larger model.depth or model.decoder_channels.",
                   "Forecast: spectrum off at Re 250. Distance of the spectra, dB: 3, limit 2; try ",
                   "Forecast: not better than linear extrapolation at Re 250: RFNE 0.093 against 0.088.",
                   "Forecast: misses the goal at Re 250: ratio 0.77, goal 0.70.",
                   "Super-resolution: better than bicubic interpolation at Re 250, 500, 700, 1000 and 2000, ratios at most 0.75.",
                   "Forecast: carries over to Re 700, never seen: no ratio is more than 10\u202f% above those of the nearest"):
        assert wanted in findings, f"not among the findings: {wanted}"
    assert "no better than" not in findings and "noise at small" not in findings and "not carry" not in findings
    # What is wrong stands first.
    marks = [a["aria-label"] for a in page.all("span", class_="mark")]
    assert marks == sorted(marks, key=["bad", "note", "good"].index) and marks.count("bad") == 5, marks
    assert len(page.all("span", class_="mark")) == 2 + 5 + 4
    # Cards: 0.61 = mean of .121/.214, .162/.301, .225/.383, .301/.402.
    assert [t for tag, t in page.texts if tag == "b"][:4] == ["0.61", "0.52", "0.62", "0.54"]
    # Tables: ten rows, two of them unseen, their numbers in the row of their Re.
    assert len(page.all("span", class_="tag unseen")) == 2 and len(page.all("span", class_="tag seen")) == 8
    rows = [re.sub("<[^>]*>", " ", r).split() for r in re.findall("<tr><th scope=\"row\">.*?</tr>", source, re.S)]
    beside = [row for row in rows if row[0] in ("SSIM", "pull:")]
    rows = [row for row in rows if row not in beside]
    assert beside[0][:4] == ["SSIM", "1", "0.879", "0.838"] and len(beside) == 3, beside
    assert beside[2][:6] == ["pull:", "mean", "0", MINUS + "0.50", MINUS + "0.75", "to"], beside
    assert len(rows) == 10 + 16 and rows[2][:4] == ["700", "unseen", "0.184", "0.175\u20130.195"], rows[2]
    assert rows[5][0] == "250" and "0.121" in rows[5] and "0.088" in rows[5]
    # Ranks: the slowest 16 of 20, against the median.
    assert rows[10] == ["7", "n03", "0.3750", "1.50", "0.5000", "95", "%"] and rows[25][0] == "2", (rows[10], rows[25])
    assert "254 steps of the newest start; the slowest 16 of 20 ranks." in text and "median 0.2500 s" in text
    check_pictures(page)
    check_charts(source)


def check_pictures(page):
    images = [a for tag, a in page.tags if tag == "image"]
    decoded = [decode_uri(a["href"]) for a in images]
    assert [len(d) for d in decoded] == [16, 64, 64, 64, 64, 64, 64, 64]
    assert all(len(d[0]) == len(d) for d in decoded)
    assert all(a["width"] == "64" for a in images)
    small, model, truth, error = decoded[:4]
    assert all(small[y][x] == truth[4 * y][4 * x] for y in range(16) for x in range(16)), "the input is not every 4th pixel"
    assert truth == decoded[6] and model != truth
    # Blue below 0, red above; the error is mostly pale, the truth is not.
    signed = lambda d: [[c[0] - c[2] for c in row] for row in d]
    mean = lambda d: sum(abs(v) for row in signed(d) for v in row) / 4096
    assert mean(error) < 0.35 * mean(truth), (mean(error), mean(truth))
    s, m, t = signed(error), signed(model), signed(truth)
    agree = [(s[y][x] > 0) == (m[y][x] > t[y][x]) for y in range(64) for x in range(64)
             if abs(s[y][x]) > 20 and abs(m[y][x] - t[y][x]) > 20 and max(abs(m[y][x]), abs(t[y][x])) < 90]
    assert len(agree) > 100 and sum(agree) > 0.97 * len(agree), "the error is not model - truth"
    uses = [a["href"] for a in page.all("use")]
    # The second panel's, in small at the top; then the zooms.
    assert uses == [f"#p1-{i}" for i in range(4)] + ["#" + a["id"] for a in images]
    assert page.all("a", class_="lead")[0]["href"] == "#p1"
    stops = page.all("stop")
    assert stops[0]["stop-color"] < "#22" and stops[16]["stop-color"] > "#f0" and stops[32]["stop-color"] > "#60"


def check_charts(source):
    charts = re.findall(r'<figure class="chart">.*?</figure>', source, re.S)
    assert len(charts) == 5
    for chart in charts:
        for path in re.findall(r'class="line s\d[^"]*" d="([^"]*)"', chart):
            assert all(58 <= x <= 446 for x, _ in points(path) if path != "M1 4H25")
    # Linear axis: the learning rate's top, 1e-3 at step 50, is the end of its axis; its last step lies at the bottom.
    rate = points(re.search(r'class="line s0" d="(M[^"H]*)"', charts[1]).group(1))
    assert len(rate) == 256 and min(rate, key=lambda p: p[1])[1] == 28.0 and abs(rate[-1][1] - 238) < 0.2
    assert abs(min(rate, key=lambda p: p[1])[0] - (58 + 388 * 49 / 255)) < 2
    # Logarithmic axes: E = k^-3 is a straight line up to the roll-off.
    truth = points(re.search(r'class="line s0" d="(M[^"H]*)"', charts[2]).group(1))
    (x1, y1), (x2, y2), (x4, y4) = truth[0], truth[1], truth[3]
    assert abs((x4 - x1) - 2 * (x2 - x1)) < 0.2 and y1 < y2 < y4
    assert all(f">{name}<" in charts[2] for name in ("truth", "model", "bicubic"))
    assert 'class="line s0 pale"' in charts[0] and 'class="line s0"' in charts[0]
    # Bars stand on 0, the axis, and are as high as they say: 0.5, 0.2, 0.1, 0.2; a unit of x lies between them.
    bins = [tuple(map(float, b)) for b in re.findall(r'<rect class="bin" x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', charts[4])]
    assert len(bins) == 4 and all(abs(y + high - 238) < 0.11 for _, y, _, high in bins), bins
    assert [round(b[3] / bins[2][3], 1) for b in bins] == [5, 2, 1, 2] and abs(bins[1][0] - bins[0][0] - 388 / 4) < 0.11, bins
    # NaN breaks a line: the validation curve has 13 points alone and one stretch of 49.
    assert re.search(r'class="line s1" d="(M[^"H]*)"', charts[3]).group(1).count("M") == 14


def check_hostile(source):
    page = check_any("hostile", source)
    text = page.text()
    name = "</title><script>alert(1)</script>\"'&<img src=x onerror=y>"
    assert text.count(name) >= 15, text.count(name)
    assert "\x01" not in source and "\x9d" not in source
    assert text.count("\ufffd\ufffd") and "http://example.org/\u00e9\u20ac" in text
    findings = "".join(t for tag, t in page.texts if tag in ("span", "small"))
    for wanted in ("Super-resolution: no better than bicubic interpolation at Re 250 and 3000, at worst ratio 1.30.",
                   "Super-resolution: may be no better than bicubic interpolation at Re 500: the interval of the ratio reaches 1.05.",
                   "Super-resolution: misses the goal at Re 500: ratio 0.98, goal 0.70.",
                   "Super-resolution: noise at small scales at Re 250. Energy beyond the dissipation over the truth's: 2.5, limit 2; "
                   "try more sample.steps, more train.steps.",
                   "Super-resolution: rough intervals at Re 3000: 3 independent blocks, fewer than 5.",
                   "Super-resolution: does not carry over to Re 3000, never seen and outside the range trained on: ratio 1.30, "
                   "against 0.98 at Re 500.",
                   "Forecast: does not carry over to Re 700, never seen: ratio 0.50, against 0.25 at Re 500 and 0.30 at Re 1000."):
        assert wanted in findings, f"not among the findings: {wanted}"
    assert "Super-resolution: better" not in findings and "carries over" not in findings, findings
    assert "Forecast: better than persistence at Re 500, 700 and 1000, ratios at most 0.50." in findings
    assert "linear extrapolation" not in text, "a floor that nobody measured"
    assert len(page.all("b", class_="bad")) == 2 and len(page.all("circle", class_="bad")) == 2
    assert [a for tag, a in page.tags if tag == "svg" and (a.get("aria-label") or "").startswith(name)]


def check_odd(source):
    page = check_any("odd", source)
    assert "Not evaluated" in page.text() and not page.all("table") and not page.all("details") and not page.all("a")
    ramp, model, truth, error = [decode_uri(a["href"]) for tag, a in page.tags if tag == "image"]
    ends = [tuple(bytes.fromhex(page.all("stop")[i]["stop-color"][1:])) for i in (0, 16, 32)]
    assert ramp == truth and all(row == [ends[1]] * 9 for row in model)
    assert all([row[0], row[4], row[8]] == ends for row in truth), "the colours of the pictures are not those of the bar"
    assert all([row[0], row[4], row[8]] == ends[::-1] for row in error), "the error is not model - truth"
    charts = re.findall(r'<figure class="chart">.*?</figure>', source, re.S)
    spike = re.search(r'class="line s0" d="(M[^"H]*)"', charts[2]).group(1)
    drawn = points(spike)
    assert len(drawn) <= 601 and min(y for _, y in drawn) < 35, "the spike was lost"
    assert spike.count("M") == 2, "the gap was closed"
    assert 'class="line s0" d=""' in charts[0] and 'class="dots s0" d="M' in charts[1]


def check_compared(source):
    page = check_any("compared", source)
    name = "</title><script>alert(1)</script>\"'&<img src=x onerror=y>"
    findings = "".join(t for tag, t in page.texts if tag == "span")
    assert "demo/second, super-resolution, against demo/first: better at Re 700 (0.90); a tie at Re 1000 (0.95) and 2000 (1.00)." in findings
    assert ", super-resolution, against demo/first: not scored on the same samples" in findings and page.text().count(name) >= 7
    assert re.search(rf"super-resolution in the evaluation {re.escape(name)}.*, against demo/first: better at Re 700 \(0.90\)\.", page.text())
    rows = [re.sub("<[^>]*>", " ", r).split() for r in re.findall("<tr><th scope=\"row\">.*?</tr>", source, re.S)]
    assert rows[0] == ["700", "unseen", "0.184", "0.175\u20130.195", "0.184", "0.175\u20130.195", "better", "0.90", "0.80\u20130.96", "\u2013"], rows
    assert rows[1][6:9] == ["tie", "0.95", "0.85\u20131.01"] and rows[4][:3] == ["train.learning_rate", "1e-3", "2e-3"], rows
    chart = re.search(r'<figure class="chart">.*?</figure>', source, re.S).group(0)
    assert 'class="line s2" d=""' in chart and all(f'class="line s{i}" d="M' in chart for i in (0, 1, 3))


with tempfile.TemporaryDirectory() as folder:
    subprocess.run([os.path.join(os.environ["FX_BINARY_DIR"], "tests", "test_report"), folder], check=True)
    for page_name, check in (("full", check_full), ("hostile", check_hostile), ("odd", check_odd), ("compared", check_compared)):
        with open(os.path.join(folder, page_name + ".html"), encoding="utf-8") as f:
            check(f.read())
print("four pages hold")
