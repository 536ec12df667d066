#!/usr/bin/env python3
"""Derives traces/nas-cifar10-a6000.json from published figures.

    python3 traces/derive_calibration.py            write the trace beside this file
    python3 traces/derive_calibration.py -o FILE    write it elsewhere

The case: block-wise NAS on CIFAR-10, six blocks, four RTX A6000, global batch
256, 45,000 training images (Jang et al., DATE 2023, arXiv 2301.12443). Two
charts are the source; their values were read by eye, so they are good to
about two digits. Nothing here was measured by us.

What is PUBLISHED (seconds an epoch unless said otherwise):

    chart of motivation   load  teacher  student   idle   total
      DP, six phases      2.44     7.20    19.90      -   29.54
      relay dev 0 {0}     0.94     1.57     7.56      0   10.06
      relay dev 1 {1}        0     1.03     7.07   2.26   10.36
      relay dev 2 {2,3}      0     1.36     8.40   0.87   10.63
      relay dev 3 {4,5}      0     0.58     5.12   4.76   10.45
    chart of results      the speedups over DP of LS, TR, DPU and AHD
    model                 boundaries of 24, 8, 4, 6, 2.5 MiB at batch 256, and
                          each block's forward GMAC at batch 256

What is DERIVED, and how:

    (1) The two charts imply different DP runs: 29.54 s in the first, about
        32.7 s behind the speedups of the second. One factor c = 32.7 / 29.54
        multiplies everything that comes from the DP row (batch 64), and
        nothing that comes from the relay rows (batch 256).
    (2) An epoch is ceil(45000 / 256) = 176 steps; us a step = s * 1e6 / 176.
    (3) Devices 2 and 3 run two blocks; the pair's time is split in proportion
        to the two blocks' forward GMAC (teacher by teacher's, student by
        student's).
    (4) Batch 64 (DP, a quarter each). Phase b runs teacher blocks 0..b, so
        6 T0 + 5 T1 + 4 T2 + 3 T3 + 2 T4 + T5 = 7.20 c, and the six students
        sum to 19.90 c. The shape over the blocks is that of batch 256.
    (5) A student's time is 1/3 forward and 2/3 backward, the usual ratio of
        their arithmetic; its update is inside these, so update_us is 0.
    (6) Loader: load(256) = 0.94 s (device 0), load(64) = 2.44 c / 6 s (six
        phases load everything once). A line through the two gives batch_us
        and sample_us. Nothing is loaded ahead (prefetch 0): the charts show
        loading as time of its own. Four lanes: a lane a device.
    (7) Transfers: totals of neighbouring devices differ by 0.30 s (dev 1 - dev
        0) and 0.27 s (dev 2 - dev 1). Read as the cost of relaying boundary 1
        (24 MiB) and 2 (8 MiB) these are 1705 and 1534 us a step; the other
        boundaries, and the smallest share of one (a quarter of 2.5 MiB), lie
        on the same line. It is an interpretation: dev 3's total does not fit
        it. Sends occupy the device: "transfers" is "blocking".
    (8) No all-reduce times are published: the trace has none.
"""

import argparse
import os
import sys

from trace_json import trace_text, write_atomically

MIB = 1 << 20

SAMPLES, BATCH, DEVICES = 45000, 256, 4
STEPS = -(-SAMPLES // BATCH)

# Published, seconds an epoch; see the table above.
DP_LOAD_S, DP_TEACHER_S, DP_STUDENT_S, DP_TOTAL_S = 2.44, 7.20, 19.90, 29.54
DP_BEHIND_SPEEDUPS_S = 32.7
RELAY = [  # blocks, load, teacher, student, total
    ((0,), 0.94, 1.57, 7.56, 10.06),
    ((1,), 0.00, 1.03, 7.07, 10.36),
    ((2, 3), 0.00, 1.36, 8.40, 10.63),
    ((4, 5), 0.00, 0.58, 5.12, 10.45),
]

# Published, forward GMAC at batch 256, blocks 0..5.
TEACHER_GMAC = [3.82, 3.13, 3.22, 4.86, 3.89, 3.60]
STUDENT_GMAC = [3.55, 3.33, 2.41, 4.88, 3.65, 3.18]

# Published, MiB at batch 256 of boundaries 1..5; the last output is ten
# float32 logits and is relayed to nobody.
BOUNDARY_MIB = [24, 8, 4, 6, 2.5]
LOGIT_BYTES = 10 * 4
INPUT_BYTES = 3 * 32 * 32 * 4
A6000_BYTES = 48 << 30


def us_a_step(seconds_an_epoch):
    return seconds_an_epoch * 1e6 / STEPS


def split_rows(column, gmac):
    """(3): seconds an epoch of each block at batch 256 from the relay rows."""
    seconds = [0.0] * len(gmac)
    for row in RELAY:
        whole = sum(gmac[b] for b in row[0])
        for b in row[0]:
            seconds[b] = row[column] * gmac[b] / whole
    return seconds


def scale_to_dp(teacher, student, factor):
    """(4): the same shape over the blocks, at the DP row's sums."""
    blocks = len(teacher)
    phases = sum((blocks - b) * teacher[b] for b in range(blocks))
    t = DP_TEACHER_S * factor / phases
    s = DP_STUDENT_S * factor / sum(student)
    return [t * x for x in teacher], [s * x for x in student]


def timing(batch, teacher_s, student_s):
    """(5): one row of a block's timings."""
    student_us = us_a_step(student_s)
    return {"batch": batch, "teacher_us": round(us_a_step(teacher_s), 3),
            "forward_us": round(student_us / 3, 3),
            "backward_us": round(student_us * 2 / 3, 3), "update_us": 0.0}


def loader(factor):
    """(6): the line through load(64) and load(256)."""
    full = us_a_step(RELAY[0][1])
    quarter = us_a_step(DP_LOAD_S * factor / len(TEACHER_GMAC))
    sample = (full - quarter) / (BATCH - BATCH // DEVICES)
    return {"batch_us": round(full - BATCH * sample, 3), "sample_us": round(sample, 6),
            "lanes": DEVICES, "prefetch": 0}


def p2p():
    """(7): the line through 24 and 8 MiB, at every boundary."""
    x0, y0 = 8 * MIB, us_a_step(RELAY[2][4] - RELAY[1][4])
    x1, y1 = 24 * MIB, us_a_step(RELAY[1][4] - RELAY[0][4])
    sizes = sorted([int(m * MIB) for m in BOUNDARY_MIB] + [int(2.5 * MIB) // DEVICES])
    return [{"bytes": x, "us": round(y0 + (x - x0) * (y1 - y0) / (x1 - x0), 3)} for x in sizes]


def notes(factor):
    return (
        "Not measured by this project: derived by traces/derive_calibration.py from charts read "
        "by eye. Published, s/epoch (load, teacher, student, idle, total): DP over six phases "
        "2.44, 7.20, 19.90, -, 29.54; relay device 0, block 0: 0.94, 1.57, 7.56, 0, 10.06; device "
        "1, block 1: 0, 1.03, 7.07, 2.26, 10.36; device 2, blocks 2-3: 0, 1.36, 8.40, 0.87, "
        "10.63; device 3, blocks 4-5: 0, 0.58, 5.12, 4.76, 10.45. Derived: (1) c = 32.7/29.54 = "
        "%.4f joins the two charts' DP runs and multiplies the batch-64 timings only; (2) us a "
        "step = s/epoch over 176 steps; (3) pairs of blocks split by published forward GMAC at "
        "batch 256 (teacher 3.22:4.86 and 3.89:3.60, student 2.41:4.88 and 3.65:3.18); (4) batch "
        "64 has the shape of batch 256 with 6 T0 + 5 T1 + 4 T2 + 3 T3 + 2 T4 + T5 = 7.20 c and "
        "students summing to 19.90 c; (5) student = 1/3 forward + 2/3 backward, update inside "
        "them; (6) loader is the line through load(256) = 0.94 and load(64) = 2.44 c/6 s/epoch, "
        "nothing loaded ahead, a lane a device; (7) transfers from the differences of "
        "neighbouring devices' totals, 0.30 s for 24 MiB and 0.27 s for 8 MiB, other sizes on "
        "that line; (8) all-reduce is not published and not in this trace." % factor)


def build():
    factor = DP_BEHIND_SPEEDUPS_S / DP_TOTAL_S
    full = split_rows(2, TEACHER_GMAC), split_rows(3, STUDENT_GMAC)
    quarter = scale_to_dp(full[0], full[1], factor)
    outputs = [int(m * MIB) // BATCH for m in BOUNDARY_MIB] + [LOGIT_BYTES]
    blocks = [{"name": "b%d" % b, "output_bytes": outputs[b],
               "timings": [timing(BATCH // DEVICES, quarter[0][b], quarter[1][b]),
                           timing(BATCH, full[0][b], full[1][b])]}
              for b in range(len(outputs))]
    return {
        "format": "pipebd-trace", "version": 1, "name": "nas-cifar10-a6000",
        "provenance": {"kind": "imported",
                       "source": "Jang et al., DATE 2023 (arXiv 2301.12443)",
                       "date": "2026-11-24", "notes": notes(factor)},
        "workload": {"name": "nas-cifar10", "batch": BATCH, "samples": SAMPLES},
        "devices": [{"kind": "RTX A6000", "count": DEVICES, "memory_bytes": A6000_BYTES}],
        "input_bytes": INPUT_BYTES,
        "blocks": blocks,
        "loader": loader(factor),
        "transfers": "blocking",
        "p2p": p2p(),
    }


def main():
    beside = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(
        description="Derive the calibration trace from published figures.")
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        default=os.path.join(beside, "nas-cifar10-a6000.json"),
        help="where to write it (default: nas-cifar10-a6000.json beside this script)")
    args = parser.parse_args()
    try:
        write_atomically(args.output, trace_text(build()))
    except OSError as e:
        print("derive_calibration.py: %s" % e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
