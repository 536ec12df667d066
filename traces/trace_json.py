"""Writes a trace as text: shared by the Python scripts that make traces.

Objects without containers inside go on one line (a timing, a transfer), so
that a trace reads as a table and two of them diff by row. Keys keep the order
in which they were put in.
"""

import json
import os


def _is_flat(value):
    inner = value.values() if isinstance(value, dict) else value
    return not any(isinstance(v, (dict, list)) for v in inner)


def _render(value, indent):
    if not isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    is_dict = isinstance(value, dict)
    pairs = value.items() if is_dict else ((None, v) for v in value)
    parts = ["%s%s" % (json.dumps(k) + ": " if is_dict else "", _render(v, indent + 2))
             for k, v in pairs]
    opening, closing = ("{", "}") if is_dict else ("[", "]")
    if _is_flat(value) and max([len(p) for p in parts] or [0]) <= 80:
        return "%s %s %s" % (opening, ", ".join(parts), closing)
    pad = "\n" + " " * (indent + 2)
    return opening + pad + ("," + pad).join(parts) + "\n" + " " * indent + closing


def trace_text(trace):
    """The trace as JSON text. ValueError on NaN or infinity."""
    flat = ['  %s: %s' % (json.dumps(k), _render(v, 2)) for k, v in trace.items()]
    return "{\n" + ",\n".join(flat) + "\n}\n"


def write_atomically(path, text):
    """A reader sees the old file or the new one, never half of one. OSError
    when it cannot be written; nothing is left behind then."""
    partial = "%s.%d.tmp" % (path, os.getpid())
    try:
        with open(partial, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
