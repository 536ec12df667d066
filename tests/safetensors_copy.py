"""safetensors_copy.py IN OUT: reads IN and writes the same tensors and notes to OUT, knowing
only the format's description; with the safetensors package too, where there is one."""
import array
import json
import struct
import sys


def read(path):
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    notes = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert entry["dtype"] == "F32"
        tensors[name] = (entry["shape"], array.array("f", body[begin:end]))
    return tensors, notes


def write(path, tensors, notes):
    header, body = {"__metadata__": notes}, b""
    for name, (shape, values) in tensors.items():
        data = values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)


def agrees_with_package(path, tensors):
    try:
        from safetensors import safe_open
    except ImportError:
        return
    with safe_open(path, "np") as file:
        assert set(file.keys()) == set(tensors)
        for name, (shape, values) in tensors.items():
            assert file.get_tensor(name).tobytes() == values.tobytes()
            assert list(file.get_tensor(name).shape) == shape


tensors, notes = read(sys.argv[1])
agrees_with_package(sys.argv[1], tensors)
write(sys.argv[2], tensors, notes)
