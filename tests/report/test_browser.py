#!/usr/bin/env python3
"""The report in headless Chromium, light and dark and as narrow as a phone: every picture is decoded and really drawn on the
screen, every chart has its curves, no text lies over another or out of its picture, nothing is wider than the screen, and the
colours of the page follow the reader's. Skipped where there is no Chromium.

Planted and caught: a data URI cut short, one of a picture without a colour, a picture outside its view box, a chart without
curves, labels of either axis over each other, a heading over its table, the dark colours left out, a table that widens a
phone's page, two columns on a phone.

Run: label full
Run: timeout 400
Run: cost 15
"""
import os
import subprocess
import tempfile

import browser

LIGHT, DARK = (246, 247, 249), (18, 22, 28)


def check(chromium, page, width, dark, pictures, charts, picture=True):
    where = f"{os.path.basename(page)}, {width} pixels, {'dark' if dark else 'light'}"
    seen, screen = browser.look(chromium, page, width, dark, picture)
    assert seen["width"] <= width, f"{where}: the page is {seen['width']} wide"
    assert not seen["over"], f"{where}: text over text: {seen['over']}"
    assert not seen["cut"], f"{where}: text that is cut off: {seen['cut']}"
    assert seen["colour"] == "rgb(%d, %d, %d)" % (DARK if dark else LIGHT), f"{where}: {seen['colour']}"
    assert len(seen["pictures"]) == pictures and len(seen["charts"]) == charts, (where, len(seen["pictures"]), len(seen["charts"]))
    for p in seen["pictures"]:
        assert p["side"] > 0, f"{where}: picture {p['id']} can't be decoded"
        assert p["colours"] >= 20, f"{where}: picture {p['id']} has {p['colours']} colours"
        assert not p["shown"] or min(p["box"][2:]) >= 80, f"{where}: picture {p['id']} takes {p['box']}"
        assert not p["shown"] or not screen or len(browser.colours(screen, p["box"])) >= 20, f"{where}: picture {p['id']} is not on the screen"
    for c in seen["charts"]:
        assert c["lines"] >= 1 and c["texts"] >= 6, f"{where}: chart \"{c['title']}\": {c}"
        if screen:
            # The page's ground, the grid, the text and at least the curve, with what lies between them.
            assert len(browser.colours(screen, c["box"])) >= 8, f"{where}: chart \"{c['title']}\" is not on the screen"


def refused(chromium, source, folder, change, wanted, width=1280, dark=False):
    """A page broken on purpose: the check has to see it."""
    broken = change(source)
    assert broken != source, wanted
    page = os.path.join(folder, "broken.html")
    with open(page, "w", encoding="utf-8") as f:
        f.write(broken)
    try:
        check(chromium, page, width, dark, 8, 5, picture="not on the screen" in wanted)
    except AssertionError as found:
        assert wanted in str(found), (wanted, found)
    else:
        raise AssertionError(f"nobody saw: {wanted}")


def check_the_check(chromium, source, folder):
    """What would be wrong with a page must be seen, or the rest says nothing; one of each kind, the others were planted by hand."""
    refused(chromium, source, folder, lambda s: s.replace("base64,iVBOR", "base64,AAAAA", 1), "can't be decoded")
    refused(chromium, source, folder, lambda s: s.replace("</style>", "h2{height:0;margin:0}</style>", 1), "text over text")


chromium = browser.find()
with tempfile.TemporaryDirectory() as place:
    subprocess.run([os.path.join(os.environ["FX_BINARY_DIR"], "tests", "test_report"), place], check=True)
    full = os.path.join(place, "full.html")
    with open(full, encoding="utf-8") as f:
        text = f.read()
    check(chromium, full, 1280, False, 8, 5)
    check(chromium, full, 1280, True, 8, 5)
    check(chromium, full, 390, False, 8, 5, picture=False)
    check(chromium, os.path.join(place, "compared.html"), 390, True, 0, 1, picture=False)
    check_the_check(chromium, text, place)
print("8 pictures and 5 charts are drawn, light, dark and narrow")
