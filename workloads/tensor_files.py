"""safetensors files without packages, and files that appear whole or not at all, several together.
"""

import array
import json
import os
import struct
import sys
import tempfile

TYPES = {"F32": 4, "F16": 2, "BF16": 2}


def numbers(kind, raw):
    """Little-endian bytes as an array."""
    values = array.array(kind, raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def wide(dtype, raw):
    """As float32."""
    if dtype == "F32":
        return numbers("f", raw)
    if dtype == "F16":
        return array.array("f", struct.unpack("<%de" % (len(raw) // 2), raw))
    out = bytearray(2 * len(raw))
    out[2::4], out[3::4] = raw[0::2], raw[1::2]
    return numbers("f", bytes(out))


def read_file(path):
    """name -> (shape, float32 values); other types are left out. ValueError names a file that is
    none."""
    with open(path, "rb") as f:
        data = f.read()
    try:
        (n,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + n])
        found = {}
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] not in TYPES:
                continue
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end <= len(data) - 8 - n:
                raise ValueError("cut short")
            found[name] = entry["shape"], wide(entry["dtype"], data[8 + n + begin:8 + n + end])
        return found
    except (struct.error, KeyError, TypeError, AttributeError, ValueError) as e:
        raise ValueError("%s: is no safetensors file: %s" % (path, e)) from None


def header_of(tensors):
    """The bytes before the data. tensors: name -> (shape, number of values) of float32, in order.
    """
    header, at = {}, 0
    for name, (shape, count) in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + 4 * count]}
        at += 4 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def tensor_bytes(tensors):
    """Chunks of a file of name -> (shape, float32 array)."""
    yield header_of({name: (shape, len(values)) for name, (shape, values) in tensors.items()})
    for _, values in tensors.values():
        if sys.byteorder == "big":
            values = values[:]
            values.byteswap()
        yield memoryview(values).cast("B")


def write_together(files):
    """files: path -> chunks of bytes. All are written beside their targets first, then renamed: a
    failure leaves none of them."""
    made = []
    try:
        for path, chunks in files.items():
            path = os.path.realpath(path)
            fd, temporary = tempfile.mkstemp(prefix=os.path.basename(path) + ".",
                                             dir=os.path.dirname(path) or ".")
            made.append((temporary, path))
            with os.fdopen(fd, "wb") as f:
                for chunk in chunks:
                    f.write(chunk)
                f.flush()
                os.fsync(f.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary,
                     os.stat(path).st_mode & 0o7777 if os.path.exists(path) else 0o666 & ~umask)
        while made:
            temporary, path = made[0]
            os.replace(temporary, path)
            made.pop(0)
    finally:
        for temporary, _ in made:
            os.unlink(temporary)
