"""Copies a safetensors file, changed: edit_weights.py IN OUT EDIT..., where EDIT is
NAME=NUMBER (a tensor's last number), NAME:add (a tensor of one int64 more) or NAME:f64 (its type).
"""
import json
import struct
import sys

source, out, *edits = sys.argv[1:]
data = open(source, "rb").read()
(length,) = struct.unpack("<Q", data[:8])
head, data = json.loads(data[8:8 + length]), data[8 + length:]
notes = {key: head.pop(key) for key in ("__metadata__",) if key in head}
tensors = {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])])
           for name, t in head.items()}

for edit in edits:
    if edit.endswith(":add"):
        tensors[edit[:-4]] = ("I64", [], struct.pack("<q", 7))
    elif edit.endswith(":f64"):
        _, shape, old = tensors[edit[:-4]]
        count = len(old) // 4
        tensors[edit[:-4]] = ("F64", shape,
                              struct.pack(f"<{count}d", *struct.unpack(f"<{count}f", old)))
    else:
        name, number = edit.split("=")
        dtype, shape, old = tensors[name]
        tensors[name] = (dtype, shape, old[:-4] + struct.pack("<f", float(number)))

head, data = dict(notes), b""
for name, (dtype, shape, values) in tensors.items():
    head[name] = {"dtype": dtype, "shape": shape,
                  "data_offsets": [len(data), len(data) + len(values)]}
    data += values
head = json.dumps(head).encode()
open(out, "wb").write(struct.pack("<Q", len(head)) + head + data)
