"""modelled_trace.py BLOCKS DEVICES [BATCH]: a trace of random blocks and links, no loader, 1,000
steps of BATCH (256) rows; prints it. Run by bench/planning.sh, bench/thousand.sh and
bench/builds.sh; the same arguments give the same bytes."""

import json
import random
import sys

blocks, devices = int(sys.argv[1]), int(sys.argv[2])
batch = int(sys.argv[3]) if len(sys.argv) > 3 else 256
random.seed(1)


def curve():
    row, fixed = random.uniform(0.5, 4), random.uniform(20, 200)
    return lambda rows: round(fixed + row * rows, 3)


def block(b):
    t, f, k, u = curve(), curve(), curve(), round(random.uniform(5, 40), 3)
    return {"name": f"b{b}", "output_bytes": random.randint(1000, 8000),
            "student": {"gradient_bytes": random.randint(10000, 400000)},
            "timings": [{"batch": r, "teacher_us": t(r), "forward_us": f(r),
                         "backward_us": 2 * k(r), "update_us": u}
                        for r in (1 << k for k in range(batch.bit_length()))]}


print(json.dumps({
    "format": "pipebd-trace", "version": 1, "name": f"{blocks}x{devices}",
    "provenance": {"kind": "modelled", "source": "bench"},
    "workload": {"name": "w", "batch": batch, "samples": 1000 * batch},
    "devices": [{"kind": "k", "count": devices}], "input_bytes": 3000,
    "blocks": [block(b) for b in range(blocks)],
    "p2p": [{"bytes": 0, "us": 5}, {"bytes": 100000000, "us": 5005}],
    "allreduce": [{"devices": d, "bytes": b, "us": 20 + b * 1e-4}
                  for d in (2, max(devices, 3)) for b in (0, 1000000)]}))
