"""Comparisons: the best plan of every schedule, simulated."""

import json
import os
import shutil
import subprocess
import tempfile
from ctypes import byref, c_void_p, sizeof
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Optional, Union

from . import _library as lib
from ._errors import Error
from .plans import Plan
from .predictions import Prediction, copy_prediction, price
from .traces import PathLike, Trace, as_trace


@dataclass(frozen=True)
class Comparison:
    """The best plan known for each schedule, as pipebd-plan finds them."""
    trace: Trace
    # by schedule, in the order of the library
    predictions: Dict[str, Prediction] = field(repr=False)
    best: Prediction                # the shortest epoch; of equals the first
    bound_ns: int  # no plan of tr, dpu, ir or ahd has a shorter epoch; 0: not known
    _options: Dict[str, Any] = field(repr=False)
    _texts: List[str] = field(repr=False)

    def __getitem__(self, schedule: str) -> Prediction:
        """Of a schedule, as "ahd". KeyError when it was not compared."""
        return self.predictions[schedule]

    def rows(self) -> List[Dict[str, Any]]:
        """A dict for each schedule, ready for pandas.DataFrame; times are ns, memory is bytes."""
        return [prediction.row() for prediction in self.predictions.values()]

    def table(self) -> str:
        """What pipebd-plan --sensitivity no prints."""
        return self._texts[lib.TABLE]

    def to_csv(self) -> str:
        """The same as CSV."""
        return self._texts[lib.CSV]

    def to_json(self) -> str:
        """The same as JSON (docs/formats.md), which pipebd-plot reads."""
        return self._texts[lib.JSON]

    def to_dict(self) -> Dict[str, Any]:
        """The JSON as a dict."""
        return json.loads(self.to_json())

    def simulate(self, plan: Union[Plan, PathLike, str, None] = None, steps: Optional[int] = None,
                 queue_depth: Optional[int] = None) -> Prediction:
        """Simulates a plan on the trace and the devices of the comparison.

        plan         a Plan, the path of one, or a schedule that was compared (None: the fastest)
        steps        of an epoch (None: as compared)
        queue_depth  messages that a relay queue holds (None: as compared)

        Error when the plan could deadlock, leaves rows of a block out or does not fit into memory.
        """
        options = dict(self._options, schedules=None)
        if steps is not None:
            options["steps"] = steps
        if queue_depth is not None:
            options["queue_depth"] = queue_depth
        chosen = self._choose(plan)
        return price(self.trace, chosen, make_options(**options))

    def _choose(self, plan: Union[Plan, PathLike, str, None]) -> Plan:
        if isinstance(plan, Plan):
            return plan
        if plan is None:
            plan = self.best.schedule
        if isinstance(plan, str) and plan in lib.SCHEDULES:
            if plan not in self.predictions:
                raise Error("%s was not compared, expected one of %s"
                            % (plan, ", ".join(self.predictions)))
            found = self.predictions[plan].plan
            if found is None:
                raise Error("%s: no plan: %s" % (plan, self.predictions[plan].why))
            return found
        return Plan.read(plan)

    def report(self, path: PathLike) -> None:
        """One page of HTML of everything that is known, by pipebd-plot (docs/plots.md).

        pipebd-plot is looked for in the folder PIPEBD_BIN, then in PATH. path ends in .html.
        """
        program = find_tool("pipebd-plot")
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "comparison.json")
            with open(source, "w", encoding="utf-8") as file:
                file.write(self.to_json())
            run = subprocess.run([program, "report", source, "-o", os.fspath(path)],
                                 stdin=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        if run.returncode != 0:
            raise Error(run.stderr.decode(errors="replace").strip()
                        or "pipebd-plot: exit status %d" % run.returncode)


def find_tool(name: str) -> str:
    """The path of one of the project's tools."""
    folder = os.environ.get("PIPEBD_BIN")
    found = shutil.which(name, path=folder) if folder else shutil.which(name)
    if not found:
        raise Error(
            "%s is not in %s: make install puts it into PATH, or PIPEBD_BIN names its folder"
            % (name, folder or "PATH"))
    return found


def make_options(devices: Optional[int] = None, schedules: Union[str, Iterable[str], None] = None,
                 memory: Optional[int] = None, batch: Optional[int] = None,
                 steps: Optional[int] = None,
                 queue_depth: Optional[int] = None, extrapolate: bool = False, cost: str = "sim",
                 candidates: Optional[int] = None, ls: str = "all",
                 time_limit_ms: Optional[int] = None) -> lib.Options:
    """pipebd_options of plan()'s arguments. 0 is the library's word for "the default", so it is
    refused here."""
    options = lib.Options(size=sizeof(lib.Options))
    numbers = dict(devices=devices, memory=memory, batch=batch, steps=steps,
                   queue_depth=queue_depth,
                   candidates=candidates, time_limit_ms=time_limit_ms)
    for name, value in numbers.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError("%s: expected a whole number, not %r" % (name, value))
        if not 1 <= value < 2 ** 63:
            raise Error("%s is %d, expected at least 1 (None: the default)" % (name, value))
        setattr(options, "memory_bytes" if name == "memory" else name, value)
    options.extrapolate = bool(extrapolate)
    for name, value, known in (("cost", cost, lib.COSTS), ("ls", ls, lib.LISTS)):
        if value not in known:
            raise Error("%s is %r, expected one of %s" % (name, value, ", ".join(known)))
        setattr(options, name, known[value])
    options.schedules = schedule_bits(schedules)
    return options


def schedule_bits(schedules: Union[str, Iterable[str], None]) -> int:
    """Bits 1 << PIPEBD_x; None: 0, which stands for all but split, sequential and store."""
    if schedules is None:
        return 0
    given = schedules.split(",") if isinstance(schedules, str) else list(schedules)
    if not given:
        raise Error("schedules is empty, expected some of %s" % ", ".join(lib.SCHEDULES))
    bits = 0
    for name in given:
        if name not in lib.SCHEDULES:
            raise Error("schedules has %r, expected some of %s" % (name, ", ".join(lib.SCHEDULES)))
        bits |= 1 << lib.SCHEDULES.index(name)
    return bits


def plan(trace: Union[Trace, PathLike, Dict[str, Any]], devices: Optional[int] = None,
         schedules: Union[str, Iterable[str], None] = None, memory: Optional[int] = None,
         batch: Optional[int] = None, steps: Optional[int] = None,
         queue_depth: Optional[int] = None,
         extrapolate: bool = False, cost: str = "sim", candidates: Optional[int] = None,
         ls: str = "all",
         time_limit_ms: Optional[int] = None) -> Comparison:
    """Finds the best plan of every schedule and simulates it. None is the default everywhere.

    trace          a Trace, the path of one, or a dict
    devices        the first N of the trace's, or more of the last kind (None: the trace's)
    schedules      of dp, ls, tr, dpu, ir, ahd, split, sequential, store: a list, or "dp,ahd" (None:
                   all but the last three)
    memory         bytes of every device (None: the trace's)
    batch          rows of a step over all devices (None: the trace's)
    steps          of an epoch (None: samples / batch, rounded up)
    queue_depth    messages that a relay queue holds (None: 2)
    extrapolate    continue costs beyond the measured points (False: Error that names the missing
                   one)
    cost           what the partition search minimises: "sim", or "paper" for the original's formula
    candidates     partitions simulated a schedule (None: 8)
    ls             where lists of ls come from: all, lpt, multifit, exact, stealing
    time_limit_ms  of a search for lists, ms (None: it stops after a number of nodes)

    Error when the trace is malformed, an option out of range, or no schedule is possible.
    """
    given = dict(devices=devices, schedules=schedules if schedules is None
                 or isinstance(schedules, str) else list(schedules),
                 memory=memory, batch=batch, steps=steps, queue_depth=queue_depth,
                 extrapolate=extrapolate, cost=cost,
                 candidates=candidates, ls=ls, time_limit_ms=time_limit_ms)
    source = as_trace(trace)
    handle = lib.make("compare", source._handle, byref(make_options(**given)))
    try:
        return copy_comparison(source, handle, given)
    finally:
        lib.ask("comparison_free", handle)


def copy_comparison(trace: Trace, handle: c_void_p, given: Dict[str, Any]) -> Comparison:
    predictions, best, best_at = {}, None, lib.ask("comparison_best", handle)
    for number, name in enumerate(lib.SCHEDULES):
        address = lib.ask("comparison_prediction", handle, number)
        if not address:
            continue
        predictions[name] = copy_prediction(address, name)
        if address == best_at:
            best = predictions[name]
    if best is None:
        raise Error("no schedule is possible")
    texts = [lib.text_of("comparison_report", handle, kind)
             for kind in (lib.TABLE, lib.CSV, lib.JSON)]
    return Comparison(trace, predictions, best, lib.ask("comparison_bound_ns", handle), given,
                      texts)
