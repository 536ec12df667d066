#!/usr/bin/env python3
"""Checks traces/nas-cifar10-a6000.json against the published figures.

Re-derives every number from the figures by its own arithmetic (exact
fractions, no import of traces/derive_calibration.py), then checks that the
trace lands on the published epoch times and speedups. Prints TAP.

    python3 tests/test_calibration.py
"""

import json
import os
import subprocess
import sys
import tempfile
from fractions import Fraction as F

from tap import done_testing, ok

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRACE = os.path.join(ROOT, "traces", "nas-cifar10-a6000.json")
DERIVE = os.path.join(ROOT, "traces", "derive_calibration.py")

C = F("32.7") / F("29.54")
STEPS = 176
# Seconds an epoch at batch 256, blocks 0..5, each pair split by hand:
# 1.36 * 3.22/8.08, 1.36 * 4.86/8.08; 0.58 * 3.89/7.49, 0.58 * 3.60/7.49; ...
TEACHER = [F("1.57"), F("1.03"), F("1.36") * F(322, 808), F("1.36") * F(486, 808),
           F("0.58") * F(389, 749), F("0.58") * F(360, 749)]
STUDENT = [F("7.56"), F("7.07"), F("8.40") * F(241, 729), F("8.40") * F(488, 729),
           F("5.12") * F(365, 683), F("5.12") * F(318, 683)]
STAGES = [(0,), (1,), (2, 3), (4, 5)]

def near(got, want, tolerance):
    return abs(float(got) - float(want)) <= tolerance


def close(got, want, name, tolerance):
    ok(near(got, want, tolerance), name,
       "got %s, want %s +- %s" % (float(got), float(want), tolerance))


def row(trace, block, batch):
    found = [t for t in trace["blocks"][block]["timings"] if t["batch"] == batch]
    assert len(found) == 1, "block %d has %d rows of batch %d" % (block, len(found), batch)
    return found[0]


def teacher_s(trace, block, batch):
    return row(trace, block, batch)["teacher_us"] * STEPS / 1e6


def student_s(trace, block, batch):
    t = row(trace, block, batch)
    return (t["forward_us"] + t["backward_us"] + t["update_us"]) * STEPS / 1e6


def load_s(trace, batch):
    return (trace["loader"]["batch_us"] + batch * trace["loader"]["sample_us"]) * STEPS / 1e6


def p2p_us(trace, size):
    return [p["us"] for p in trace["p2p"] if p["bytes"] == size][0]


def check_shape(trace):
    keys = ["format", "version", "name", "provenance", "workload", "devices",
            "input_bytes", "blocks", "loader", "transfers", "p2p"]
    ok(list(trace) == keys, "top-level keys, in order", list(trace))
    ok((trace["format"], trace["version"]) == ("pipebd-trace", 1), "format and version")
    ok(trace["provenance"]["kind"] == "imported", "says that it is imported")
    ok("2301.12443" in trace["provenance"]["source"], "cites its source")
    ok(trace["workload"] == {"name": "nas-cifar10", "batch": 256, "samples": 45000}, "workload")
    ok(-(-trace["workload"]["samples"] // trace["workload"]["batch"]) == STEPS,
       "176 steps an epoch")
    ok(len(trace["devices"]) == 1 and trace["devices"][0]["count"] == 4, "four devices of one kind")
    ok(trace["transfers"] == "blocking", "transfers are blocking")
    ok(len(trace["blocks"]) == 6, "six blocks")
    mib = [b["output_bytes"] * 256 / 1048576 for b in trace["blocks"][:5]]
    ok(mib == [24, 8, 4, 6, 2.5], "boundaries of 24, 8, 4, 6, 2.5 MiB at batch 256", mib)
    ok([sorted(t["batch"] for t in b["timings"]) for b in trace["blocks"]] == [[64, 256]] * 6,
       "rows of batch 64 and 256 for every block")


def check_rows(trace):
    weighted = sum(F(6 - b) * TEACHER[b] for b in range(6))
    for b in range(6):
        t, s = TEACHER[b], STUDENT[b]
        t64, s64 = F("7.20") * C * t / weighted, F("19.90") * C * s / sum(STUDENT)
        for batch, ts, ss in ((256, t, s), (64, t64, s64)):
            r = row(trace, b, batch)
            want = [ts * 1000000 / STEPS, ss * 1000000 / STEPS / 3, ss * 2000000 / STEPS / 3, 0]
            got = [r["teacher_us"], r["forward_us"], r["backward_us"], r["update_us"]]
            ok(all(near(g, w, 0.001) for g, w in zip(got, want)),
               "block %d at batch %d" % (b, batch),
               "got %s, want %s" % (got, [float(w) for w in want]))


def check_costs(trace):
    load256, load64 = F("0.94") * 10**6 / STEPS, F("2.44") * C / 6 * 10**6 / STEPS
    loader = trace["loader"]
    close(loader["sample_us"], (load256 - load64) / 192, "loader: us a sample", 1e-5)
    close(loader["batch_us"], (4 * load64 - load256) / 3, "loader: us a batch", 0.01)
    ok((loader["lanes"], loader["prefetch"]) == (4, 0), "loader: four lanes, nothing ahead")
    close(p2p_us(trace, 25165824), F("0.30") * 10**6 / STEPS, "24 MiB: 0.30 s an epoch", 0.01)
    close(p2p_us(trace, 8388608), F("0.27") * 10**6 / STEPS, "8 MiB: 0.27 s an epoch", 0.01)
    slope = (p2p_us(trace, 25165824) - p2p_us(trace, 8388608)) / 16777216
    ok(all(near(p["us"], p2p_us(trace, 8388608) + slope * (p["bytes"] - 8388608), 0.01)
           for p in trace["p2p"]), "all transfers on one line")
    sizes = [p["bytes"] for p in trace["p2p"]]
    ok(sizes == sorted(set(sizes)) and {6291456, 4194304, 2621440} <= set(sizes),
       "the other boundaries are there", sizes)


def check_epochs(trace):
    """By hand from the rows, no simulator: the published epochs must come out."""
    t = [teacher_s(trace, b, 256) for b in range(6)]
    s = [student_s(trace, b, 256) for b in range(6)]
    dp_teacher = sum(teacher_s(trace, b, 64) for phase in range(6) for b in range(phase + 1))
    dp = 6 * load_s(trace, 64) + dp_teacher + sum(student_s(trace, b, 64) for b in range(6))
    close(dp, 32.7, "DP epoch of 32.7 s", 0.001)
    close(dp_teacher, 7.20 * 32.7 / 29.54, "DP teacher time", 0.001)
    close(load_s(trace, 256), 0.94, "relay device 0 loads for 0.94 s", 0.001)
    for stage, (want_t, want_s) in zip(
            STAGES, ((1.57, 7.56), (1.03, 7.07), (1.36, 8.40), (0.58, 5.12))):
        close(sum(t[b] for b in stage), want_t, "relay stage %s, teacher" % (stage,), 0.001)
        close(sum(s[b] for b in stage), want_s, "relay stage %s, student" % (stage,), 0.001)

    # Barrier model of TR: everyone waits for the last of (teachers so far + own students).
    before, ends = load_s(trace, 256), []
    for stage in STAGES:
        before += sum(t[b] for b in stage)
        ends.append(before + sum(s[b] for b in stage))
    close(dp / max(ends), 2.46, "TR's barrier model: 2.46 x", 0.02)
    # LS: each block of a list loads and runs teacher 0..b again.
    lists = [sum(load_s(trace, 256) + sum(t[:b + 1]) + s[b] for b in stage) for stage in STAGES]
    close(dp / max(lists), 1.86, "LS's hard-coded lists: 1.86 x", 0.03)
    # DPU: no faster than its slowest stage; that stage's published total gives 3.08.
    busy = [sum(t[b] + s[b] for b in stage) for stage in STAGES]
    busy[0] += load_s(trace, 256)
    ok(3.08 <= dp / max(busy) <= 3.08 * 1.06, "DPU without transfers: above 3.08 x, by 6 % at most",
       dp / max(busy))


def check_script(text):
    with tempfile.TemporaryDirectory() as folder:
        again = os.path.join(folder, "again.json")
        rc = subprocess.call([sys.executable, DERIVE, "-o", again])
        ok(rc == 0, "the script runs")
        with open(again, encoding="utf-8") as f:
            ok(f.read() == text, "the script writes the committed trace, byte for byte")
        ok(os.listdir(folder) == ["again.json"], "and leaves nothing else", os.listdir(folder))
        broken = subprocess.run(
            [sys.executable, DERIVE, "-o", os.path.join(folder, "no", "t.json")],
            stderr=subprocess.PIPE, universal_newlines=True)
        ok(broken.returncode == 1 and len(broken.stderr.splitlines()) == 1,
           "a folder that is not there: exit 1, one line", broken.stderr)


def main():
    with open(TRACE, encoding="utf-8") as f:
        text = f.read()
    trace = json.loads(text)
    check_shape(trace)
    check_rows(trace)
    check_costs(trace)
    check_epochs(trace)
    check_script(text)
    return done_testing()


if __name__ == "__main__":
    sys.exit(main())
