"""Predictions: what the simulator says about a plan."""

from ctypes import byref
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from . import _library as lib
from .plans import Plan
from .traces import Trace


@dataclass(frozen=True)
class DeviceUse:
    """Where a device's time of an epoch goes, ns, and its peak memory. The times sum to the epoch.
    """
    device: int
    load_ns: int            # waiting for the loader
    teacher_ns: int
    student_ns: int         # forward and backward
    allreduce_ns: int       # occupied by, or waiting for, gradients
    update_ns: int
    transfer_ns: int        # sending, where transfers block it; else what they take of its core
    wait_ns: int            # for a message, a queue slot, or a barrier
    idle_ns: int            # nothing left to do
    storage_ns: int         # waiting for the store, or for weights that come and go
    memory_bytes: int


@dataclass(frozen=True)
class Prediction:
    """What the simulator says of a schedule's best plan, or why there is none (plan is None then,
    why is not "", and the numbers are 0)."""
    schedule: str
    plan: Optional[Plan] = field(repr=False)
    why: str
    method: str                     # how the plan was found, for people
    epoch_ns: int                   # for every student block to see every sample once
    step_ns: int                    # epoch_ns / steps
    steps: int                      # of an epoch
    speedup: float                  # epoch of dp / epoch_ns; 0: dp is not known
    utilisation: float              # teacher, student and update time / (devices * epoch)
    teacher_work: float             # teacher rows / (blocks * batch): 1 is once a sample
    loads: float                    # rows loaded / batch, a step: 1 is once a sample
    peak_memory_bytes: int          # of the device that needs most
    peak_memory_device: int         # the lowest of them
    estimated: bool                 # the run is too long to simulate, epoch_ns is an estimate
    least_ns: int                   # the epoch is proven to be between these; not estimated: both
    most_ns: int                    # are epoch_ns
    devices: Tuple[DeviceUse, ...] = field(repr=False)

    def rows(self) -> List[Dict[str, Any]]:
        """A dict for each device, ready for pandas.DataFrame: schedule, and the fields of
        DeviceUse."""
        return [dict(schedule=self.schedule, **asdict(use)) for use in self.devices]

    def row(self) -> Dict[str, Any]:
        """The numbers as one dict, without plan and devices."""
        return {name: getattr(self, name)
                for name in self.__dataclass_fields__ if name not in ("plan", "devices")}


def copy_prediction(address: int, schedule: str) -> Prediction:
    """Of the pipebd_prediction at address."""
    struct = lib.read_prediction(address)
    devices = tuple(DeviceUse(
            d, *(lib.ask("prediction_share_ns", address, d, s) for s in range(len(lib.SHARES))),
            lib.ask("prediction_memory_bytes", address, d)) for d in range(struct.device_count))
    return Prediction(
        schedule, Plan._copy(struct.plan) if struct.plan else None, struct.why.decode(),
        struct.method.decode(), struct.epoch_ns, struct.step_ns, struct.steps, struct.speedup,
        struct.utilisation, struct.teacher_work, struct.loads, struct.peak_memory_bytes,
        struct.peak_memory_device, bool(struct.estimated), struct.least_ns, struct.most_ns, devices)


def price(trace: Trace, plan: Plan, options: lib.Options) -> Prediction:
    """The simulator's prediction of any plan on a trace, after it was verified."""
    data = plan.text.encode()
    handle = lib.make("plan_parse", b"plan", data, len(data))
    try:
        prediction = lib.make("price", trace._handle, handle, byref(options))
        try:
            return copy_prediction(prediction.value or 0, plan.schedule)
        finally:
            lib.ask("prediction_free", prediction)
    finally:
        lib.ask("plan_free", handle)


if [name + "_ns" for name in lib.SHARES] != list(DeviceUse.__dataclass_fields__)[1:-1]:
    raise ImportError("pipebd: the library's shares are %s, not those of this package"
                      % ", ".join(lib.SHARES))
