"""libpipebd through ctypes: the declarations of include/pipebd.h that the package uses.

PIPEBD_LIBRARY names another libpipebd.so than the one beside this file.
"""

import ctypes
import os
from ctypes import (POINTER, Structure, byref, c_char, c_char_p, c_double, c_int, c_int64, c_size_t,
                    c_uint64, c_void_p)
from typing import Any, Callable, List

from ._errors import Error


class ErrorText(Structure):
    """pipebd_error"""
    _fields_ = [("text", c_char * 1024)]


class Options(Structure):
    """pipebd_options; 0 in every field but size is the default."""
    _fields_ = [("size", c_uint64), ("devices", c_int64), ("batch", c_int64), ("steps", c_int64),
                ("memory_bytes", c_int64), ("queue_depth", c_int64), ("extrapolate", c_int64),
                ("cost", c_int64), ("schedules", c_uint64), ("candidates", c_int64),
                ("time_limit_ms", c_int64), ("ls", c_int64)]


class StageStruct(Structure):
    """pipebd_stage"""
    _fields_ = [("first", c_int), ("last", c_int), ("width", c_int), ("devices", POINTER(c_int)),
                ("rows", POINTER(c_int64))]


class PredictionStruct(Structure):
    """pipebd_prediction"""
    _fields_ = [("plan", c_void_p), ("why", c_char_p), ("method", c_char_p), ("epoch_ns", c_int64),
                ("step_ns", c_int64), ("steps", c_int64), ("speedup", c_double),
                ("utilisation", c_double),
                ("teacher_work", c_double), ("loads", c_double), ("peak_memory_bytes", c_int64),
                ("peak_memory_device", c_int), ("device_count", c_int), ("estimated", c_int),
                ("least_ns", c_int64), ("most_ns", c_int64)]


TABLE, CSV, JSON = range(3)
COSTS = {"sim": 0, "paper": 1}
LISTS = {"all": 0, "lpt": 1, "multifit": 2, "exact": 4, "stealing": 5}

# function: (result, arguments); those with an "out" and an error come through call()
_SIGNATURES = {
    "version": (c_char_p, []),
    "text_free": (None, [c_void_p]),
    "schedule_count": (c_int, []), "schedule_name": (c_char_p, [c_int]),
    "share_count": (c_int, []), "share_name": (c_char_p, [c_int]),
    "trace_read": (c_int, [POINTER(c_void_p), c_char_p, POINTER(ErrorText)]),
    "trace_parse": (c_int, [POINTER(c_void_p), c_char_p, c_char_p, c_size_t, POINTER(ErrorText)]),
    "trace_write": (c_int, [c_void_p, c_char_p, POINTER(ErrorText)]),
    "trace_text": (c_int, [c_void_p, POINTER(c_void_p), POINTER(ErrorText)]),
    "trace_free": (None, [c_void_p]),
    "trace_name": (c_char_p, [c_void_p]), "trace_block_name": (c_char_p, [c_void_p, c_int]),
    "trace_block_count": (c_int, [c_void_p]), "trace_device_count": (c_int, [c_void_p]),
    "trace_batch": (c_int64, [c_void_p]), "trace_samples": (c_int64, [c_void_p]),
    "plan_read": (c_int, [POINTER(c_void_p), c_char_p, POINTER(ErrorText)]),
    "plan_parse": (c_int, [POINTER(c_void_p), c_char_p, c_char_p, c_size_t, POINTER(ErrorText)]),
    "plan_write": (c_int, [c_void_p, c_char_p, POINTER(ErrorText)]),
    "plan_text": (c_int, [c_void_p, POINTER(c_void_p), POINTER(ErrorText)]),
    "plan_free": (None, [c_void_p]),
    "plan_schedule": (c_int, [c_void_p]), "plan_stage_count": (c_int, [c_void_p]),
    "plan_stage": (POINTER(StageStruct), [c_void_p, c_int]),
    "plan_device_count": (c_int, [c_void_p]), "plan_batch": (c_int64, [c_void_p]),
    "prediction_share_ns": (c_int64, [c_void_p, c_int, c_int]),
    "prediction_memory_bytes": (c_int64, [c_void_p, c_int]),
    "prediction_free": (None, [c_void_p]),
    "price": (c_int, [POINTER(c_void_p), c_void_p, c_void_p, POINTER(Options), POINTER(ErrorText)]),
    "compare": (c_int, [POINTER(c_void_p), c_void_p, POINTER(Options), POINTER(ErrorText)]),
    "comparison_free": (None, [c_void_p]),
    "comparison_prediction": (c_void_p, [c_void_p, c_int]),
    "comparison_best": (c_void_p, [c_void_p]),
    "comparison_bound_ns": (c_int64, [c_void_p]),
    "comparison_report": (c_int, [c_void_p, c_int, POINTER(c_void_p), POINTER(ErrorText)]),
}


def _load() -> ctypes.CDLL:
    path = os.environ.get("PIPEBD_LIBRARY") or os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "libpipebd.so")
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError("pipebd: %s; pip install ./python puts it there, PIPEBD_LIBRARY names "
                          "another" % error) from None
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, "pipebd_" + name, None)
        if function is None:
            raise ImportError("pipebd: %s has no pipebd_%s: it is older than this package"
                              % (path, name))
        function.restype, function.argtypes = result, arguments
    return library


_lib = _load()


def ask(name: str, *arguments: Any) -> Any:
    """Calls pipebd_NAME, which cannot fail; a text comes as str."""
    answer = getattr(_lib, "pipebd_" + name)(*arguments)
    return answer.decode() if isinstance(answer, bytes) else answer


def call(name: str, *arguments: Any) -> None:
    """Calls pipebd_NAME, which can fail: Error then."""
    error = ErrorText()
    if getattr(_lib, "pipebd_" + name)(*arguments, byref(error)) != 0:
        raise Error(error.text.decode(errors="replace"))


def make(name: str, *arguments: Any) -> c_void_p:
    """The object that pipebd_NAME puts through its first argument; the caller frees it."""
    out = c_void_p()
    call(name, byref(out), *arguments)
    return out


def text_of(name: str, *arguments: Any) -> str:
    """The text that pipebd_NAME hands over through its last argument."""
    out = c_void_p()
    call(name, *arguments, byref(out))
    try:
        return ctypes.string_at(out.value or 0).decode()
    finally:
        ask("text_free", out)


def as_bytes(path: "os.PathLike[str] | str") -> bytes:
    """A path for the library."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise Error("%r: a path with a NUL" % (path,))
    return name


def read_prediction(address: int) -> PredictionStruct:
    """What stands at the address of a pipebd_prediction."""
    return PredictionStruct.from_address(address)


def names(count: str, name: str) -> List[str]:
    """All names of an enumeration."""
    return [ask(name, i) for i in range(ask(count))]


def version() -> str:
    """Of the library, as "0.2.0"."""
    return ask("version")


SCHEDULES: List[str] = names("schedule_count", "schedule_name")
SHARES: List[str] = names("share_count", "share_name")
Free = Callable[[c_void_p], None]
