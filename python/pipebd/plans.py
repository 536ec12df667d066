"""Plans: who trains which blocks with what share of the batch (docs/formats.md)."""

import json
import os
from ctypes import c_void_p
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple, Union

from . import _library as lib

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Stage:
    """A range of blocks on some devices."""
    first: int                   # block
    last: int                    # block, included
    devices: Tuple[int, ...]     # in the order of their rows; none: a task for the next free device
    rows: Tuple[int, ...]        # of the batch, of each device; they sum to it


@dataclass(frozen=True)
class Plan:
    """A plan; Plan.read() and Plan.from_json() take one from elsewhere."""
    schedule: str                # "ahd"
    batch: int                   # rows of a step, over all devices
    device_count: int
    stages: Tuple[Stage, ...]
    text: str = field(repr=False)    # JSON, as pipebd-plan -o writes it

    @classmethod
    def read(cls, path: PathLike) -> "Plan":
        """From a file. Error, with path, line and column, when it is malformed or cannot be read.
        """
        return cls._take(lib.make("plan_read", lib.as_bytes(path)))

    @classmethod
    def from_json(cls, text: Union[str, bytes], name: str = "plan") -> "Plan":
        """From the text of a file; name stands for its path in errors."""
        data = text.encode() if isinstance(text, str) else bytes(text)
        return cls._take(lib.make("plan_parse", lib.as_bytes(name), data, len(data)))

    @classmethod
    def from_dict(cls, plan: Dict[str, Any], name: str = "plan") -> "Plan":
        """From what json.load() gives for a file. Errors give the place in json.dumps(plan,
        indent=1)."""
        return cls.from_json(json.dumps(plan, indent=1), name)

    @classmethod
    def _take(cls, handle: c_void_p) -> "Plan":
        try:
            return cls._copy(handle.value)
        finally:
            lib.ask("plan_free", handle)

    @classmethod
    def _copy(cls, address: Optional[int]) -> "Plan":
        """Of the pipebd_plan at address."""
        stages = []
        for s in range(lib.ask("plan_stage_count", address)):
            stage = lib.ask("plan_stage", address, s).contents
            stages.append(Stage(stage.first, stage.last, tuple(stage.devices[:stage.width]),
                                tuple(stage.rows[:stage.width])))
        return cls(lib.SCHEDULES[lib.ask("plan_schedule", address)], lib.ask("plan_batch", address),
                   lib.ask("plan_device_count", address), tuple(stages),
                   lib.text_of("plan_text", address))

    def write(self, path: PathLike) -> None:
        """To a file, for pipebd-sim and pipebd-run: whole, or Error and nothing is changed."""
        handle = lib.make("plan_parse", b"plan", self.text.encode(), len(self.text.encode()))
        try:
            lib.call("plan_write", handle, lib.as_bytes(path))
        finally:
            lib.ask("plan_free", handle)

    def to_dict(self) -> Dict[str, Any]:
        """The file as json.load() gives it."""
        return json.loads(self.text)

    def rows(self) -> List[Dict[str, Any]]:
        """A dict for each device of each stage, ready for pandas.DataFrame: stage, first, last,
        device, rows. device and rows are None for a task of the next free device."""
        result = []
        for number, stage in enumerate(self.stages):
            pairs = list(zip(stage.devices, stage.rows)) or [(None, None)]
            for device, rows in pairs:
                result.append({"stage": number, "first": stage.first, "last": stage.last,
                               "device": device, "rows": rows})
        return result
