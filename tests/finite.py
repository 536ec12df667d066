"""finite.py FILE...: exits 1 unless all numbers of these safetensors files are finite."""
import array
import json
import math
import struct
import sys

for path in sys.argv[1:]:
    with open(path, "rb") as f:
        data = f.read()
    length = struct.unpack("<Q", data[:8])[0]
    for name, t in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        if not all(map(math.isfinite, array.array("f", data[8 + length + begin:8 + length + end]))):
            sys.exit(f"{path}: {name} is not finite")
