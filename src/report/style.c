/* style.c: the style sheet of the report. Colours of the curves are Okabe and Ito's (Color Universal
 * Design, 2008), told apart by colour-blind readers, darkened or lightened for contrast on white and on
 * black; dash patterns tell them apart in print. */
#include "text.h"

/* A rule a string; NULL ends them. */
const char *const report_style[] = {
    (":root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#5a6575;"
     "--line:#dde2e9;--good:#00725a;--bad:#b3420a;--note:#5a6575;--s0:#0066a8;--s1:#c24e00;"
     "--s2:#00805f;--s3:#a6407f;--s4:#4b5563;--s5:#8a6d00}"),
    ("@media(prefers-color-scheme:dark){:root{--page:#12161c;--card:#1a2029;--ink:#e6eaf0;"
     "--soft:#9aa6b5;--line:#2e3744;--good:#4ec9a5;--bad:#ff9a62;--note:#9aa6b5;--s0:#6cb8f0;"
     "--s1:#ff9a52;--s2:#45c9a0;--s3:#e79ac8;--s4:#b4bdc9;--s5:#e2c24d}}"),
    "*{box-sizing:border-box}",
    ("body{margin:0;background:var(--page);color:var(--ink);"
     "font:15px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif;"
     "-webkit-text-size-adjust:100%}"),
    "main{max-width:1160px;margin:0 auto;padding:22px 20px 60px}",
    ("h1{font-size:25px;line-height:1.25;margin:0 0 4px;letter-spacing:-.01em;"
     "overflow-wrap:anywhere}"),
    "h2{font-size:17px;margin:0 0 10px}",
    "h3{font-size:15px;margin:0 0 8px;font-weight:600;overflow-wrap:anywhere}",
    "p{margin:0 0 10px;max-width:78ch;overflow-wrap:anywhere}",
    ".summary{max-width:none;color:var(--soft);font-size:16px;margin:0 0 16px}",
    ".note,small{color:var(--soft);font-size:13px}",
    ".note{max-width:110ch}",
    "small{font-size:12px}",
    "section{margin:26px 0 0}",
    (".top{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:16px;"
     "align-items:start}"),
    (".card,.facts,.findings,.scroll,.panel,.chart,.prose,details{background:var(--card);"
     "border:1px solid var(--line);border-radius:8px;padding:14px 16px}"),
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(250px,1fr));gap:16px}",
    ".cards:empty{display:none}",
    ".card h2{margin:0}",
    ".card .note{margin:0 0 8px}",
    ".shares{display:grid;gap:10px}",
    ".share{display:flex;gap:10px;align-items:center;margin:0;line-height:1.3}",
    (".share b{flex:none;font-size:34px;line-height:1;font-weight:650;letter-spacing:-.02em;"
     "font-variant-numeric:tabular-nums}"),
    "b.good,.good .mark{color:var(--good)}",
    "b.bad,.bad .mark{color:var(--bad)}",
    ".note .mark{color:var(--note)}",
    ".findings{list-style:none;margin:16px 0 0;display:grid;gap:6px}",
    ".cards:empty+.findings{margin-top:0}",
    ".findings li{display:flex;gap:9px;font-size:15px;color:var(--ink);overflow-wrap:anywhere}",
    ".findings li>span:last-child{min-width:0}",
    ".findings small{font-size:13px}",
    ".mark{font-weight:700;flex:none;width:1em;text-align:center}",
    (".lead{display:block;background:var(--card);border:1px solid var(--line);border-radius:8px;"
     "padding:10px 16px 12px;margin:0 0 16px;color:inherit;text-decoration:none}"),
    ".lead b{display:block;font-size:13px;margin:0 0 6px;font-weight:600;overflow-wrap:anywhere}",
    ".lead .pictures{gap:8px}",
    ".lead .pictures>span{font-size:12px;color:var(--soft);text-align:center}",
    (".facts{margin:0;display:grid;grid-template-columns:6.5em minmax(0,1fr);"
     "gap:3px 14px;font-size:14px}"),
    ".facts dt{color:var(--soft);overflow-wrap:anywhere}",
    ".facts dd{margin:0;overflow-wrap:anywhere}",
    ".scroll{overflow-x:auto;padding:12px 16px;margin:0 0 14px}",
    "table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}",
    "caption{text-align:left;font-weight:600;font-size:15px;padding:0 0 6px}",
    ("th,td{text-align:right;padding:5px 0 5px 18px;white-space:nowrap;"
     "border-top:1px solid var(--line);font-weight:400}"),
    "thead th{color:var(--soft);font-size:13px;border-top:0;vertical-align:bottom}",
    "th:first-child{text-align:left;padding-left:0}",
    ".picture{text-align:left}",
    ".texts td,.texts "
    "th{white-space:normal;text-align:left;vertical-align:top;overflow-wrap:anywhere;min-width:8em}",
    ".compared td,.compared thead th{vertical-align:top;white-space:normal;min-width:9em}",
    ".words th:last-child,.words td:last-child{text-align:left;white-space:normal;min-width:16em}",
    "td small{display:inline-block;min-width:6.5em}",
    (".tag{font-size:11.5px;padding:1px 7px;border-radius:9px;border:1px solid var(--line);"
     "color:var(--soft);margin-left:6px}"),
    ".unseen{border-color:var(--s0);color:var(--s0)}",
    ".ratio{width:152px;height:20px;display:block}",
    ".ratio path{fill:none}",
    ".ratio text{fill:var(--soft);font-size:12px}",
    ".ratio .axis{stroke:var(--line);stroke-width:1}",
    ".ratio .floor{stroke:var(--ink);stroke-width:1.5}",
    ".ratio .goal{stroke:var(--soft);stroke-dasharray:2 2}",
    ".ratio .interval{stroke:var(--soft);stroke-width:3;opacity:.6}",
    ".ratio .good{fill:var(--good)}",
    ".ratio .bad{fill:var(--bad)}",
    ".panel{margin:0 0 14px}",
    ".pictures{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:12px}",
    ".strip{padding:0;border:0;margin:0}",
    ".strip td{padding:3px 0 3px 6px;border:0;text-align:center}",
    ".strip th{border:0;padding:3px 0 3px 6px}",
    ".strip svg{display:block;width:100%;min-width:110px;border-radius:3px}",
    "figure{margin:0}",
    ".pictures figcaption{font-size:13px;color:var(--soft);margin:0 0 4px;overflow-wrap:anywhere}",
    ".pictures figure{display:flex;flex-direction:column;justify-content:flex-end}",
    ".pictures svg{display:block;width:100%;border-radius:3px}",
    ".pictures .zoom{margin-top:8px;outline:1.5px solid var(--ink);outline-offset:-1px}",
    "image{image-rendering:pixelated}",
    ".bar{display:block;width:300px;max-width:100%;margin:12px 0 0}",
    ".bar text{font-size:12px;fill:var(--ink);font-variant-numeric:tabular-nums}",
    (".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));"
     "gap:14px}"),
    ".chart figcaption{font-weight:600}",
    ".chart>svg{display:block;width:100%;height:auto}",
    ".chart text{font-size:12px;fill:var(--soft);font-variant-numeric:tabular-nums}",
    ".chart .name{fill:var(--ink)}",
    ".chart .raised{font-size:9px}",
    ".grid{stroke:var(--line);fill:none}",
    ".tick,.axis{stroke:var(--soft);fill:none}",
    ".chart .note{margin:6px 0 0}",
    ".line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}",
    ".pale{opacity:.3;stroke-width:1}",
    ".s0{stroke:var(--s0)}",
    ".s1{stroke:var(--s1);stroke-dasharray:7 3}",
    ".s2{stroke:var(--s2);stroke-dasharray:2 3}",
    ".s3{stroke:var(--s3);stroke-dasharray:9 3 2 3}",
    ".s4{stroke:var(--s4);stroke-dasharray:4 2}",
    ".s5{stroke:var(--s5);stroke-dasharray:1 2}",
    ".s6{stroke:var(--ink)}",
    ".pale{stroke-dasharray:none}",
    ".bin{fill:var(--s0);opacity:.7}",
    ".dots{fill:none;stroke-width:5.5;stroke-linecap:round;stroke-dasharray:none}",
    ".bars{fill:none;stroke-width:1.2;stroke-dasharray:none}",
    (".legend{display:flex;flex-wrap:wrap;gap:0 16px;font-size:13px;color:var(--soft);"
     "margin:2px 0 4px}"),
    ".legend span{display:inline-flex;align-items:center;gap:6px}",
    ".legend svg{width:26px;height:8px}",
    ".prose p:last-child{margin:0}",
    ("pre{margin:10px 0 0;overflow-x:auto;"
     "font:12.5px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace}"),
    "details .panel{padding:14px 0 0;border:0;margin:0}",
    "summary{cursor:pointer;font-weight:600}",
    "@media(max-width:820px){.top{grid-template-columns:minmax(0,1fr)}}",
    ("@media(max-width:560px){main{padding:14px 12px 40px}"
     ".panel .pictures{grid-template-columns:repeat(2,minmax(0,1fr))}"
     ".card,.facts,.findings,.scroll,.panel,.chart,.prose,details{padding:11px 12px}"
     ".share b{font-size:29px}th,td{padding-left:13px}}"),
    "@media print{body{background:#fff}section{break-inside:avoid}}",
    NULL,
};
