"""Traces: what the blocks of a workload cost on the devices of a cluster (docs/traces.md)."""

import json
import os
import weakref
from ctypes import c_void_p
from typing import Any, Dict, List, Union

from . import _library as lib

PathLike = Union[str, "os.PathLike[str]"]


class Trace:
    """A trace, checked by libpipebd. It never changes once it is there.

    Made by Trace.read(), Trace.from_json(), Trace.from_dict() or pipebd.capture().
    """

    def __init__(self, handle: c_void_p):
        self._handle = handle
        weakref.finalize(self, lib.ask, "trace_free", handle)

    @classmethod
    def read(cls, path: PathLike) -> "Trace":
        """From a file. Error, with path, line and column, when it is malformed or cannot be read.
        """
        return cls(lib.make("trace_read", lib.as_bytes(path)))

    @classmethod
    def from_json(cls, text: Union[str, bytes], name: str = "trace") -> "Trace":
        """From the text of a file; name stands for its path in errors."""
        data = text.encode() if isinstance(text, str) else bytes(text)
        return cls(lib.make("trace_parse", lib.as_bytes(name), data, len(data)))

    @classmethod
    def from_dict(cls, trace: Dict[str, Any], name: str = "trace") -> "Trace":
        """From what json.load() gives for a file, times in microseconds as there. Errors give the
        place in json.dumps(trace, indent=1)."""
        return cls.from_json(json.dumps(trace, indent=1), name)

    def write(self, path: PathLike) -> None:
        """To a file: whole, or Error and nothing is changed."""
        lib.call("trace_write", self._handle, lib.as_bytes(path))

    def to_json(self) -> str:
        """What write() writes."""
        return lib.text_of("trace_text", self._handle)

    def to_dict(self) -> Dict[str, Any]:
        """The same as a dict: times are microseconds (_us), memory is bytes."""
        return json.loads(self.to_json())

    @property
    def name(self) -> str:
        """Of the trace."""
        return lib.ask("trace_name", self._handle)

    @property
    def block_names(self) -> List[str]:
        """Of the blocks, along the chain."""
        return [lib.ask("trace_block_name", self._handle, b)
                for b in range(lib.ask("trace_block_count", self._handle))]

    @property
    def device_count(self) -> int:
        """Devices of all kinds together."""
        return lib.ask("trace_device_count", self._handle)

    @property
    def batch(self) -> int:
        """Rows of a step, over all devices."""
        return lib.ask("trace_batch", self._handle)

    @property
    def samples(self) -> int:
        """Rows of an epoch."""
        return lib.ask("trace_samples", self._handle)

    def __repr__(self) -> str:
        return "<pipebd.Trace %r: %d blocks, %d devices, batch %d>" % (
            self.name, len(self.block_names), self.device_count, self.batch)


def as_trace(trace: "Union[Trace, PathLike, Dict[str, Any]]") -> Trace:
    """A Trace out of a Trace, a path or a dict."""
    if isinstance(trace, Trace):
        return trace
    if isinstance(trace, dict):
        return Trace.from_dict(trace)
    if isinstance(trace, (str, os.PathLike)):
        return Trace.read(trace)
    raise TypeError("expected a pipebd.Trace, a path or a dict, not %s" % type(trace).__name__)
