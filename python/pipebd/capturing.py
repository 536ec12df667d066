"""Traces of PyTorch models. torch is imported here only, and when it is called."""

from typing import Any, Optional

from ._errors import Error
from .traces import Trace


def capture(teacher: Any, student: Any, loader: Optional[Any] = None, **options: Any) -> Trace:
    """Measures a teacher and a student on this machine, as traces/capture_torch.py does
    (docs/traces.md).

    teacher, student  the chain of blocks: a list, nn.ModuleList or nn.Sequential of modules, or a
                      callable that returns one; a list or dict of modules in a student block's
                      place is several students of it. Student block k turns teacher block k's input
                      into the shape of its output. The blocks are moved to the device and are
                      trained a few steps: hand over copies where that matters.
    loader            a dataset or DataLoader, which is measured; None: the trace has no loader, and
                      loading takes no time in its plans
    options           those of the command line, "_" for "-": input_shape=(3, 32, 32), batch=64
                      (rows of a step over all devices), samples=50000 (rows of an epoch),
                      devices=4, device="cpu" or "cuda", batches=None, trials=20, warmup=3,
                      threads=1 (of a device), optimizer="sgd", "adam" or "adamw", loss="mse",
                      precision="float32", "bfloat16" or "autocast", compile="no" or "yes",
                      inputs=None (a function of a number of rows that returns the first block's
                      input, a tensor or a tuple), profile=None (a path), workers=None, name=None,
                      notes="", seed=1

    It takes seconds to minutes. Error on bad input, and where torch is not installed.
    """
    try:
        from .torch_capture import capture_torch
    except ImportError as error:
        raise Error("this pipebd was not installed (pip install ./python), so capture is not in "
                    "it: %s" % error) from None
    try:
        return Trace.from_dict(capture_torch.capture(teacher, student, loader, **options),
                               "captured")
    except capture_torch.CaptureError as error:
        raise Error(str(error)) from None
