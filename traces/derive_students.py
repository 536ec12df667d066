#!/usr/bin/env python3
"""Derives traces/mobilenet-students.json, a modelled trace with several students a block.

    python3 traces/derive_students.py            write the trace beside this file
    python3 traces/derive_students.py -o FILE    write it elsewhere

The measured traces/mobilenet-cpu.json, with three students in the place of each
block's own, as a block-wise architecture search would train. What is assumed:

    (1) "quick", "same" and "slow" take SCALES times as long as the measured student, in
        every part, and as many bytes.
    (2) There are DEVICES devices in the place of the four measured.
    (3) All else is as measured: the teacher, links, loader, a device's memory. As no
        batch below 16 rows and no all-reduce of more than four devices was measured,
        groups have at most four.
"""

import argparse
import json
import os
import sys

from trace_json import trace_text, write_atomically

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "mobilenet-cpu.json")
SCALES = (("quick", 0.6), ("same", 1), ("slow", 2.2))
DEVICES = 8
BYTES = ("weight_bytes", "gradient_bytes", "state_bytes", "activation_bytes")
TIMES = ("forward_us", "backward_us", "update_us")


def student(block, name, factor):
    """(1): one student of the block."""
    return dict([("name", name)] + [(key, block["student"][key]) for key in BYTES]
                + [("timings", [
            dict([("batch", t["batch"])] + [(key, round(t[key] * factor, 3)) for key in TIMES]
                 + [("spread", t["spread"])]) for t in block["timings"]])])


def several(block):
    """The block with its students, the teacher as measured."""
    teacher = [{"batch": t["batch"], "teacher_us": t["teacher_us"], "spread": t["spread"]}
               for t in block["timings"]]
    return {
        "name": block["name"], "output_bytes": block["output_bytes"], "teacher": block["teacher"],
        "timings": teacher, "students": [student(block, name, factor) for name, factor in SCALES]}


def build():
    with open(SOURCE, encoding="utf-8") as f:
        trace = json.load(f)
    trace["name"] = "mobilenet-students"
    trace["provenance"] = {
        "kind": "modelled",
        "source": "traces/mobilenet-cpu.json, three students in the place of one",
        "date": "2026-11-24",
        "notes": "No such student was measured. traces/derive_students.py: (1) %s take %s times "
        "as long as the measured student, in every part, and as many bytes; (2) %d devices in the "
        "place of four; (3) all else is as measured: groups have at most four devices, as fewer "
        "than 16 rows were not measured." %
                 (", ".join(name for name, _ in SCALES),
                  ", ".join("%g" % factor for _, factor in SCALES), DEVICES)}
    trace["devices"][0]["count"] = DEVICES
    trace["blocks"] = [several(block) for block in trace["blocks"]]
    return trace


def main():
    parser = argparse.ArgumentParser(description="Derive the trace with several students a block.")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default=os.path.join(HERE, "mobilenet-students.json"),
        help="where to write it (default: mobilenet-students.json beside this script)")
    args = parser.parse_args()
    try:
        write_atomically(args.output, trace_text(build()))
    except OSError as e:
        print("derive_students.py: %s" % e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
