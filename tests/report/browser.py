"""A report as headless Chromium draws it: `look(page, width, dark)` opens a copy of a page with a script in it that measures what
was laid out, takes a picture of the whole page, and returns both. For tests/report/test_browser.py."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from pictures import decode

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROBE = """<script>
const say = text => { if (parent !== window) return parent.postMessage(text, "*"); const p = document.createElement("pre"); p.id = "measured"; p.textContent = text; document.body.append(p); };
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top + scrollY, r.width, r.height]; };
const name = e => (e.textContent || e.getAttribute("href") || e.getAttribute("class") || e.tagName).trim().slice(0, 60);
const shown = e => e.getClientRects().length && (e.tagName === "SUMMARY" || !e.closest("details:not([open])"));
addEventListener("load", () => {
  const out = {width: document.documentElement.scrollWidth, height: Math.ceil(document.body.getBoundingClientRect().height), pictures: [],
               charts: [], over: [], cut: [], colour: getComputedStyle(document.body).backgroundColor};
  /* What is loaded beside the page is the pictures again, whose pixels can be read. */
  const copies = [...document.querySelectorAll("#copies img")];
  [...document.querySelectorAll("image")].forEach((e, k) => {
    const i = copies[k], c = document.createElement("canvas"), side = c.width = c.height = i.naturalWidth;
    let colours = 0;
    if (side > 0) {
      const g = c.getContext("2d");
      g.drawImage(i, 0, 0);
      colours = new Set(new Uint32Array(g.getImageData(0, 0, side, side).data.buffer)).size;
    }
    out.pictures.push({id: e.id, side, colours, shown: !!shown(e), box: box(e)});
  });
  for (const e of document.querySelectorAll("figure.chart")) {
    const lines = [...e.querySelectorAll("path.line, path.dots, rect.bin")].filter(p => !p.closest(".legend") && p.getTotalLength() > 0);
    out.charts.push({title: name(e.querySelector("figcaption")), lines: lines.length, texts: e.querySelectorAll("text").length, box: box(e)});
  }
  /* Every line of every text, in pictures or not, against all others. */
  const lines = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  for (let n; (n = walk.nextNode());) {
    if (!n.data.trim() || !shown(n.parentElement)) continue;
    range.selectNodeContents(n);
    for (const r of range.getClientRects()) if (r.width > 0.5) lines.push([r, n.data]);
  }
  lines.sort((p, q) => p[0].top - q[0].top);
  lines.forEach(([p, a], i) => {
    for (let j = i + 1; j < lines.length && lines[j][0].top < p.bottom - 4; j++) {
      const [q, b] = lines[j];
      if (Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1 && Math.min(p.bottom, q.bottom) - q.top > 4)
        out.over.push(a.trim().slice(0, 60) + " / " + b.trim().slice(0, 60));
    }
  });
  for (const e of [...document.querySelectorAll("svg text")].filter(shown)) {
    const p = e.getBoundingClientRect(), s = e.ownerSVGElement.getBoundingClientRect();
    if (p.left < s.left - 1 || p.right > s.right + 1 || p.bottom > s.bottom + 1) out.cut.push(name(e));
  }
  const blocks = [...document.querySelectorAll("h1, h2, h3, p, li, dt, dd, figcaption, .legend, caption, summary, .lead b")];
  for (const e of blocks.filter(shown))
    if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline") out.cut.push(name(e));
  say(JSON.stringify(out));
});
</script>"""


def find():
    """The browser; without one, exit code 77 and the reason."""
    for name in NAMES:
        if shutil.which(name):
            return shutil.which(name)
    print("no chromium here: the pages are checked as text alone (test_report_page)")
    sys.exit(77)


def colours(picture, box):
    """The different colours inside a box of the page, a pixel from its border."""
    n, rows = picture
    left, top, width, height = (int(round(v)) for v in box)
    return {row[n * x : n * x + 3] for row in rows[top + 1 : top + height - 1] for x in range(left + 1, left + width - 1)}


def run(browser, page, width, height, dark, *words):
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--user-data-dir=" + profile,
             f"--window-size={width},{height}", f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--virtual-time-budget=30000",
             *words, "file://" + os.path.abspath(page)],
            capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done
    return done.stdout


NARROWEST = 500  # of a window of Chromium: a phone is a frame inside one
FRAME = """<!DOCTYPE html><meta name="color-scheme" content="light dark"><body style="margin:0">
<iframe src="%s" width="%d" height="%d" style="border:0;display:block"></iframe>
<script>addEventListener("message", e => { const p = document.createElement("pre"); p.id = "measured"; p.textContent = e.data;
document.body.append(p); });</script></body>"""


def look(browser, page, width=1280, dark=False, picture=True):
    """(what the probe measured, picture of the page in a window as high as it; None: not wanted)."""
    with open(page, encoding="utf-8") as f:
        source = f.read()
    copy = page + ".probe.html"
    with open(copy, "w", encoding="utf-8") as f:
        copies = "".join(f'<img src="{href}">' for href in re.findall(r'<image [^>]*href="([^"]*)"', source))
        copies = f'<div id="copies" hidden>{copies}</div>'
        bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)
        f.write(bare.replace("</body>", copies + PROBE + "</body>"))
    framed = copy
    if width < NARROWEST:
        framed = page + ".frame.html"
        with open(framed, "w", encoding="utf-8") as f:
            f.write(FRAME % (os.path.basename(copy), width, 20000))
    text = run(browser, framed, max(width, NARROWEST), 900, dark, "--dump-dom")
    found = re.search(r'<pre id="measured">(.*?)</pre>', text, re.S)
    assert found, f"{page}: the probe did not come to its end"
    measured = json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    if not picture:
        return measured, None
    shot = page + ".png"
    run(browser, page if width >= NARROWEST else framed, max(width, NARROWEST), measured["height"], dark, "--screenshot=" + shot)
    with open(shot, "rb") as f:
        return measured, decode(f.read())
