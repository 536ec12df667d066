#!/usr/bin/env python3
"""Writes traces/transformer-70b.json: a made-up trace of a 70B transformer that is distilled block
by block.

No device measured any of it. What it is made of:
- 80 blocks of width 8,192 with 856 million parameters each, teacher and student alike in bfloat16;
  AdamW with float32 master weights and two moments: 12 bytes a parameter;
- sequences of 4,096 tokens, so a row of a boundary is 64 MiB; 67 million tokens an epoch;
- 8 devices of 80 GB that reach 400 TFLOP/s, and 2.5 TB/s in the optimizer;
- host memory of 2 TB, 25 GB/s for one request and 100 GB/s for all; disks of 30 TB, 6 GB/s for one
  request, 14 GB/s read and 10 GB/s written for all.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from trace_json import trace_text, write_atomically  # noqa: E402

BLOCKS, WIDTH, TOKENS, PARAMETERS = 80, 8192, 4096, 856_000_000
SAMPLES, BATCH, DEVICES = 16384, 64, 8
ROW = TOKENS * WIDTH * 2
FLOPS, BANDWIDTH, NVLINK = 400e12, 2.5e12, 200e9


def us(seconds):
    return round(seconds * 1e6, 3)


def timing(rows):
    forward = 2 * PARAMETERS * TOKENS * rows / FLOPS
    return {"batch": rows, "teacher_us": us(forward), "forward_us": us(forward),
            "backward_us": us(2 * forward),
            "update_us": us(PARAMETERS * 30 / BANDWIDTH)}


def block(number):
    return {"name": "layer%d" % number, "output_bytes": ROW,
            "teacher": {"weight_bytes": 2 * PARAMETERS, "activation_bytes": 4 * ROW},
            "student": {"weight_bytes": 2 * PARAMETERS, "gradient_bytes": 2 * PARAMETERS,
                        "state_bytes": 12 * PARAMETERS,
                        "activation_bytes": 8 * ROW},
            "timings": [timing(rows) for rows in (1, 8, 16, 32, 64)]}


def requests(one, most):
    """A request has the bandwidth of one, and all together that of most."""
    points = []
    for row_bytes in (4096, ROW):
        for rows in (1, 64):
            for in_flight in (1, 4, 16):
                seconds = 50e-6 + row_bytes * rows / min(one, most / in_flight)
                points.append({"row_bytes": row_bytes, "rows": rows, "in_flight": in_flight,
                               "us": us(seconds)})
    return points


def build():
    return {
        "format": "pipebd-trace", "version": 2, "name": "transformer-70b",
        "provenance": {"kind": "modelled", "source": "traces/derive_transformer.py",
                       "notes": "Made up: no device measured any of it."},
        "workload": {"name": "transformer-70b", "batch": BATCH, "samples": SAMPLES, "epochs": 10},
        "devices": [{"kind": "80 GB", "count": DEVICES, "memory_bytes": 80 * 10**9}],
        "input_bytes": 4 * TOKENS,
        "blocks": [block(number) for number in range(BLOCKS)],
        "loader": {"batch_us": 100, "sample_us": 10, "lanes": 8, "prefetch": 2},
        "storage": [
            {"name": "host memory", "kind": "memory", "size_bytes": 2 * 10**12,
             "read": requests(25e9, 100e9),
             "write": requests(25e9, 100e9)},
            {"name": "disks", "kind": "disk", "size_bytes": 30 * 10**12,
             "read": requests(6e9, 14e9), "write": requests(6e9, 10e9)},
        ],
        "p2p": [{"bytes": size, "us": us(10e-6 + size / NVLINK)} for size in (0, ROW * BATCH)],
        "allreduce": [{"devices": devices, "bytes": size,
                       "us": us(20e-6 + 2 * (devices - 1) / devices * size / NVLINK)}
                      for devices in (2, 4, 8) for size in (0, 2 * PARAMETERS)],
    }


def main():
    parser = argparse.ArgumentParser(description="Write the made-up trace of a 70B transformer.")
    parser.add_argument("output", metavar="FILE", nargs="?",
                        default=os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                             "transformer-70b.json"),
                        help="where to write it (default: transformer-70b.json beside this script)")
    args = parser.parse_args()
    try:
        write_atomically(args.output, trace_text(build()))
    except OSError as e:
        print("derive_transformer.py: %s" % e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
