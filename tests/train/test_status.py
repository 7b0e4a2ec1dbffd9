#!/usr/bin/env python3
"""flexhpc status and watch on folders made by hand, one for every way a run can be found: running (its lock is held), beginning,
stopped, finished, failed with and without last words; torn and foreign lines, control characters, a folder of runs, no run at
all; and watch to the end of a run that goes on meanwhile.

Planted and caught: the lock not looked at; a torn last line counted; the part of a line at the
head of the tail counted; means over all steps; validation looked for in the tail alone; a checkpoint behind the record called
a stop; an error of an older start told; control bytes of names and logs let through; watch that goes on after the end, ends with 0,
or draws lines wider than the terminal; no run told as an empty table; joules of a counter that is lost taken off the others';
a field of the JSON that --help does not explain.

Run: label quick
"""
import fcntl
import json
import os
import pty
import re
import subprocess
import tempfile
import time

FLEXHPC = os.environ["FLEXHPC"]
CONFIG = "train: {steps: 20, global_batch: 4}\ndata: {patch: 16}\nvalidate: {every: %d}\n"
LOG = "2026-01-31T23:59:%02d.000Z rank %d/2 n01 %-5s  %s\n"


def line(step, seconds=0.5, **more):
    values = {"schema": 1, "step": step, "loss": 1 / step, "loss_sr": 1.5 / step, "loss_fc": 0.5 / step, "grad_norm": 2.0, "lr": 1e-3,
              "seconds": seconds, "samples_per_s": 4 / seconds, "data_wait": 0.05 * seconds, **more}
    return json.dumps(values) + "\n"


def make(folder, steps=0, saved=(), log=(), validate=0, tail="", lines=None):
    os.makedirs(folder + "/ckpt")
    os.makedirs(folder + "/log")
    with open(folder + "/config.yaml", "w") as f:
        f.write(CONFIG % validate)
    if steps or lines:
        with open(folder + "/metrics.jsonl", "w") as f:
            f.write("".join(lines or map(line, range(1, steps + 1))) + tail)
    for step in saved:
        open(f"{folder}/ckpt/step-{step:08d}.h5", "w").close()
    for rank in (0, 1):
        with open(f"{folder}/log/rank-{rank:04d}.log", "w") as f:
            f.writelines(LOG % (i, rank, *entry[1:]) for i, entry in enumerate(log) if entry[0] == rank)


def hold(folder):
    lock = open(folder + "/run.lock", "w")
    lock.write("pid 7 on n\x1b[2J01 since 2026-01-31T23:59:59Z")
    lock.flush()
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def status(*folders, code=0):
    done = subprocess.run([FLEXHPC, "status", *folders, "--json", "out.json"], capture_output=True)
    assert done.returncode == code, done
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr), done
    if code:
        return done.stderr.decode()
    with open("out.json") as f:
        runs = json.load(f)["runs"]
    text = done.stdout.decode()
    assert text.count("\n") == 1 + len(runs) + sum(len(run["alarms"]) for run in runs), text
    return [text, *runs]


def check_states():
    make("runs/running", 12, [4, 8])
    lock = hold("runs/running")
    text, run = status("runs/running")
    assert (run["state"], run["step"], run["steps"], run["saved"], run["alarms"]) == ("running", 12, 20, 8, []), run
    assert run["holder"] == "pid 7 on n?[2J01 since 2026-01-31T23:59:59Z"
    assert abs(run["left"] - 8 * 0.5) < 1e-9 and abs(run["samples_per_s"] - 8) < 1e-9 and abs(run["data_wait"] - 0.05) < 1e-9
    assert re.search(r"^running +12/20 +0\.0833 +8\.0 +0:00:04 +8 +- +- +- +runs/running$", text, re.M), text
    # A look must not stand in the way of the run's own lock; it is over before the command is.
    lock.close()
    hold("runs/running").close()
    # Without the lock: its record goes on where no checkpoint does.
    _, run = status("runs/running")
    assert run["state"] == "failed" and run["alarms"] == [
        "ended without saving (killed?): its checkpoint is of step 8, its record goes to 12"], run

    make("runs/stopped", 12, [8, 12], [(0, "error", "of the start before"), (0, "info", "signal 15: saving and stopping")])
    assert status("runs/stopped")[1]["state"] == "stopped"
    make("runs/finished", 20, [20])
    _, run = status("runs/finished")
    assert (run["state"], run["left"], run["alarms"]) == ("finished", None, []), run
    make("runs/words", 12, [12], [(0, "info", "step 12"), (1, "error", "rank 1/2 on n01: loss\x1b[31m is nan")])
    _, run = status("runs/words")
    assert (run["state"], run["alarms"]) == ("failed", ["rank 1/2 on n01: loss?[31m is nan"]), run
    make("runs/nothing")
    assert status("runs/nothing")[1]["alarms"] == ["ended before its first step"]
    lock = hold("runs/nothing")
    text, run = status("runs/nothing")
    assert (run["state"], run["step"], run["loss"], run["alarms"]) == ("running", -1, None, []), run
    assert re.search(r"^running +0/20 +- +- +- +- +- +- +- +runs/nothing$", text, re.M), text
    lock.close()


def check_lines():
    # Being written: the torn end counts for nothing, and only where nobody writes any more it is told.
    make("torn", 5, [5], tail=line(6)[:-20])
    _, run = status("torn")
    assert run["step"] == 5 and run["alarms"] == ["the last line of metrics.jsonl is torn"], run
    lock = hold("torn")
    assert status("torn")[1]["alarms"] == []
    lock.close()
    make("foreign", lines=[line(1), "no JSON \x1b\n", line(2)], saved=[2])
    assert status("foreign")[1]["alarms"] == ["metrics.jsonl has lines that are no steps"]
    # A record longer than the tail that is read: speeds are the newest steps', the validation is an old one's.
    many = [line(s, 0.5 if s > 3950 else 5.0, pad="x" * 200) for s in range(1, 4001)]
    many[9] = line(10, val_loss=0.2, val_rfne_sr=0.2, val_floor_sr=0.4, val_rfne_fc=0.5, val_floor_fc=0.5)
    make("long", lines=many, saved=[4000], validate=10)
    text, run = status("long")
    assert abs(run["seconds"] - 0.5) < 1e-9 and (run["validated"], run["rfne_sr"], run["step"]) == (10, 0.2, 4000), run
    assert run["alarms"] == ["forecast: RFNE 0.500 at step 10, no better than persistence (0.500)"] and "SR 0.50, FC 1.00 at 10" in text
    # The tail begins within a line, which is no line.
    make("tail", lines=[line(s, pad="x" * 200) for s in range(1, 4001)], saved=[4000])
    assert status("tail")[1]["alarms"] == []
    # Energy: of the newest 50 steps, and of the kinds that count at the newest; a kind that counts since then alone has no share yet.
    for name, kinds, wanted in (("both", lambda s: (True, True), (6600, 27.5)), ("lost", lambda s: (True, s < 58), (600, 2.5)),
                                ("begun", lambda s: (True, s > 58), (6600, None)), ("none", lambda s: (False, False), (None, None))):
        lines = [line(s, **{key: joules * s for key, joules, counts in zip(("energy_cpu_j", "energy_gpu_j"), (10, 100), kinds(s)) if counts})
                 for s in range(1, 61)]
        make("energy-" + name, lines=lines, saved=[60])
        _, run = status("energy-" + name)
        assert (run["energy_j"], run["sample_j"]) == wanted, (name, run)
    # What else is wrong: slow reading, a slow rank, a loss that is none, silence, STOP.
    bad = [line(s, data_wait=0.2, own_median=0.2, own_most=0.3) for s in range(1, 6)] + [line(6, loss=None, own_median=0.2, own_most=0.3)]
    make("bad", lines=bad, saved=[6])
    open("bad/STOP", "w").close()
    for name in ("metrics.jsonl", "log/rank-0000.log", "ckpt"):
        os.utime("bad/" + name, (time.time() - 500,) * 2)
    lock = hold("bad")
    alarms = status("bad")[1]["alarms"]
    lock.close()
    assert [a.split(" ")[0] for a in alarms] == ["silent", "asked", "the", "waits", "the"], alarms
    assert re.match(r"silent for 50\d s$", alarms[0]) and "1.50 x the median" in status("bad")[0], alarms
    with open("bad/config.yaml", "a") as f:
        f.write("train: {no: 1}\n")
    assert any("bad/config.yaml" in a for a in status("bad")[1]["alarms"])


def check_documented():
    """Every field of the JSON is in `flexhpc status --help` and on the manual page, and no other."""
    told = lambda *words: subprocess.run([FLEXHPC, *words], capture_output=True, text=True, check=True).stdout
    rows = told("status", "--help").split("\nFields of the JSON:\n")[1].split("\n\n")[0].splitlines()
    assert sorted(row.split()[0] for row in rows) == sorted(status("runs/finished")[1]) and all(len(row.split()) > 2 for row in rows), rows
    section = told("man").split(".SS flexhpc status ")[1].split(".SS ")[0].split("Fields of the JSON:\n")[1]
    assert re.findall(r"^.TP\n\\fB(\w+)\\fR$", section, re.M) == [row.split()[0] for row in rows], section


def check_folders():
    names = [run["run"] for run in status("runs")[1:]]
    assert names == ["runs/" + n for n in ("finished", "nothing", "running", "stopped", "words")], names
    os.makedirs("e\x1b[2Jvil\udcff/run/ckpt")
    assert status("e\x1b[2Jvil\udcff")[1]["run"] == "e?[2Jvil?/run"
    assert "no such folder" in status("nowhere", code=1) and "no run folder, and none in it" in status("runs/words/log", code=1)
    assert "usage" in status(code=2)


def watch(folder, *words):
    return subprocess.Popen([FLEXHPC, "watch", folder, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_watch():
    for folder, code in (("runs/finished", 0), ("runs/stopped", 75), ("runs/words", 1), ("nowhere", 1)):
        seen = watch(folder)
        out, errors = seen.communicate(timeout=20)
        assert seen.returncode == code and (folder == "nowhere" or out.count("\n") == 2 + (code == 1)), (folder, out, errors)
    assert "runs/words: failed" in watch("runs/words").communicate()[0]
    bad = watch("runs/words", "--every", "0")
    assert "--every" in bad.communicate()[1] and bad.returncode == 2
    # A run that goes on: a line for steps that were added, then its end.
    make("live", 18)
    lock = hold("live")
    seen = watch("live", "--every", "1")
    assert "18/20" in seen.stdout.readline()
    with open("live/metrics.jsonl", "a") as f:
        f.write(line(19) + line(20)[:30])
    assert "19/20" in seen.stdout.readline()
    with open("live/metrics.jsonl", "a") as f:
        f.write(line(20)[30:])
    open("live/ckpt/step-00000020.h5", "w").close()
    lock.close()
    rest, _ = seen.communicate(timeout=20)
    assert seen.returncode == 0 and rest.splitlines()[-1] == "live: finished" and "20/20" in rest, rest
    # On a terminal it draws over itself: no line of 80 columns is longer.
    lock = hold("live")
    parent, child = pty.openpty()
    seen = subprocess.Popen([FLEXHPC, "watch", "live", "--every", "1"], stdout=child, env={**os.environ, "LC_ALL": "C.UTF-8"})
    os.close(child)
    text = b""
    while text.count(b"\x1b[J") < 2:
        text += os.read(parent, 4096)
    lock.close()
    try:
        while piece := os.read(parent, 4096):
            text += piece
    except OSError:  # the end of a terminal
        pass
    assert seen.wait(timeout=20) == 0
    text = text.decode()
    assert text.count("\x1b[J") >= 2 and re.search(r"\x1b\[\dA", text) and "100.0 %" in text and "\u2588" in text, text
    assert all(len(row) <= 79 for row in re.sub(r"\x1b\[\d*[A-Z]|\r", "", text).split("\n")), text


with tempfile.TemporaryDirectory() as place:
    os.chdir(place)
    check_states()
    check_lines()
    check_documented()
    check_folders()
    check_watch()
print("every state of a run is told")
