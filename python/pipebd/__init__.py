"""Plans and predicts blockwise distillation on several devices: libpipebd from Python.

    import pipebd

    trace = pipebd.Trace.read("trace.json")
    comparison = pipebd.plan(trace, devices=8)
    print(comparison.best.schedule, comparison.best.speedup)
    comparison.report("plan.html")

Times are nanoseconds (_ns), memory is bytes, rows are samples of the global batch; blocks
and devices are counted from 0. Everything is computed by libpipebd; what fails raises
pipebd.Error. torch is needed by capture() alone.
"""

from ._errors import Error
from ._library import version as _version
from .capturing import capture
from .planning import Comparison, plan
from .predictions import DeviceUse, Prediction
from .plans import Plan, Stage
from .traces import Trace

__version__ = _version()
__all__ = ["Comparison", "DeviceUse", "Error", "Plan", "Prediction", "Stage", "Trace", "capture",
           "plan"]
