#!/usr/bin/env python3
"""Derives traces/mobilenet-mixed.json, a modelled cluster of two kinds of devices.

    python3 traces/derive_mixed.py            write the trace beside this file
    python3 traces/derive_mixed.py -o FILE    write it elsewhere

The measured traces/mobilenet-cpu.json on two of its cores and two slower ones.
Nothing was measured on a slower one; what is assumed:

    (1) A slow core takes SLOWER times as long for every part of every block.
    (2) LEAST rows lie on the line through the two smallest batches measured (or
        take no longer than the smaller), so that a slow core may have less than
        an equal share of the batch.
    (3) Links, loader and memory are those of the measured machine.
"""

import argparse
import json
import os
import sys

from trace_json import trace_text, write_atomically

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "mobilenet-cpu.json")
SLOWER = 1.9
LEAST = 4
TIMES = ("teacher_us", "forward_us", "backward_us", "update_us")


def least(small, large):
    """(2): never longer than the smaller batch, never below nothing."""
    part = (LEAST - small["batch"]) / (large["batch"] - small["batch"])
    return dict([("batch", LEAST)]
                + [(key, min(max(small[key] + part * (large[key] - small[key]), 0), small[key]))
                   for key in TIMES] + [("spread", small["spread"])])


def timings(block, kinds):
    """(1) and (2): a block's rows for both kinds."""
    rows = sorted(block["timings"], key=lambda t: t["batch"])
    rows = [least(rows[0], rows[1])] + rows
    return [dict([("device", kind), ("batch", t["batch"])]
                 + [(key, round(t[key] * factor, 3)) for key in TIMES]
                 + [("spread", t["spread"])])
            for kind, factor in kinds for t in rows]


def build():
    with open(SOURCE, encoding="utf-8") as f:
        trace = json.load(f)
    device = trace["devices"][0]
    kinds = ((device["kind"], 1), ("slower core", SLOWER))
    trace["name"] = "mobilenet-mixed"
    trace["provenance"] = {
        "kind": "modelled", "source": "traces/mobilenet-cpu.json, half of its cores slowed down",
        "date": "2026-11-24",
        "notes": "Nothing was measured on a slower core. traces/derive_mixed.py: (1) a slower "
        "core takes %.1f times as long for every part of every block; (2) %d rows are on the line "
        "through the two smallest batches measured, and take no longer than the smaller; (3) "
        "links, loader and memory are those of the measured machine." % (SLOWER, LEAST)}
    trace["devices"] = [dict(device, kind=kind, count=2) for kind, _ in kinds]
    for block in trace["blocks"]:
        block["timings"] = timings(block, kinds)
    return trace


def main():
    parser = argparse.ArgumentParser(description="Derive the trace of a mixed cluster.")
    parser.add_argument("-o", "--output", metavar="FILE",
                        default=os.path.join(HERE, "mobilenet-mixed.json"),
                        help="where to write it (default: mobilenet-mixed.json beside this script)")
    args = parser.parse_args()
    try:
        write_atomically(args.output, trace_text(build()))
    except OSError as e:
        print("derive_mixed.py: %s" % e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
