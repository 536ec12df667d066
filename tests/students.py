#!/usr/bin/env python3
"""What students were trained to, in few numbers, and whether others agree with them.

    students.py summary FILE.safetensors             a CSV: each tensor's count, root mean square,
                                                     samples
    students.py same FILE.safetensors OTHER.safetensors      fails where a bit differs
    students.py compare FILE.safetensors CSV LIMIT   fails where a sample or the root mean square is
                                                     further off than LIMIT times the tensor's root
                                                     mean square, or LIMIT times LEAST where that is
                                                     less

A summary that is kept (tests/golden/digits-student.csv) tells on a machine without the CPU
backend whether its students are the CPU's to rounding. Only Python is needed.
"""

import array
import csv
import json
import math
import struct
import sys

SAMPLES = 12
LEAST = 1e-3             # biases behind a batch norm are rounding and nothing else


def tensors(path):
    """{name: list of floats} of float32 tensors."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            values = array.array("f", data[begin:end])
            if sys.byteorder == "big":
                values.byteswap()
            found[name] = values
    return found


def summary(values):
    """(count, root mean square, samples spread over the tensor)"""
    count = len(values)
    rms = math.sqrt(sum(v * v for v in values) / count) if count else 0.0
    return count, rms, [values[i * count // SAMPLES] for i in range(SAMPLES)] if count else []


def write(path):
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["tensor", "count", "rms"] + ["value"] * SAMPLES)
    for name, values in sorted(tensors(path).items()):
        count, rms, samples = summary(values)
        out.writerow([name, count, "%.9g" % rms] + ["%.9g" % v for v in samples])


def compare(path, golden, limit):
    found, worst, where = tensors(path), 0.0, ""
    with open(golden, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    if {row[0] for row in rows} != set(found):
        sys.exit("students.py: %s and %s have other tensors" % (path, golden))
    for name, count, rms, *samples in rows:
        got_count, got_rms, got = summary(found[name])
        if got_count != int(count):
            sys.exit("students.py: %s has %d values, expected %s" % (name, got_count, count))
        for a, b in zip([got_rms] + got, [rms] + samples):
            off = abs(a - float(b)) / max(float(rms), LEAST)
            if not off <= worst:                         # NaN, too
                worst, where = off, name
    print("worst difference: %.3g of the root mean square, in %s; limit %g; %d tensors"
          % (worst, where, limit, len(rows)))
    return 0 if worst <= limit else 1


def same(path, other):
    a, b = tensors(path), tensors(other)
    differ = sorted(name for name in set(a) | set(b) if name not in a or name not in b
                    or a[name].tobytes() != b[name].tobytes())
    for name in differ[:5]:
        print("%s differs between %s and %s" % (name, path, other))
    print("%d tensors of %d differ" % (len(differ), len(a)))
    return 1 if differ else 0


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "summary":
        return write(sys.argv[2])
    if len(sys.argv) == 4 and sys.argv[1] == "same":
        return same(sys.argv[2], sys.argv[3])
    if len(sys.argv) == 5 and sys.argv[1] == "compare":
        return compare(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    print(__doc__.strip(), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
