#!/usr/bin/env python3
"""Measures a PyTorch teacher and student and writes a trace (docs/traces.md).

    python3 traces/capture_torch.py model.py:teacher model.py:student \\
        --input-shape 3,32,32 --batch 256 --samples 50000 --devices 4 -o my.json

TEACHER and STUDENT are file.py:callable; called without arguments each returns
the chain of blocks: a list, nn.ModuleList or nn.Sequential. Student block k
must turn teacher block k's input into the shape of teacher block k's output.

What is timed, per block and batch, after the warm-up, median over the trials:

    teacher_us    teacher block in eval mode, without gradients
    forward_us    student block in training mode, and the mean squared error
    backward_us   the loss's backward
    update_us     optimizer step, and dropping the gradients

Inputs are random but travel through the teacher, so each block sees data of the
kind it would see (all-zero inputs run faster than real ones). traces/torch_costs.py
measures everything that is not a block: bytes, loader, transfers, all-reduce.

Works with torch 1.13 and later. Exit: 0, or with one line on stderr 2, and 130 when it
is interrupted (Ctrl-C).
"""

import argparse
import datetime
import gc
import importlib.util
import math
import os
import platform
import shlex
import statistics
import sys
import time

if __package__:               # the Python package has this file too: pipebd.capture()
    from .trace_json import trace_text, write_atomically
else:
    from trace_json import trace_text, write_atomically


def interrupted():
    print("capture_torch.py: interrupted", file=sys.stderr)
    return 130


try:
    import torch
except ImportError:
    torch = None
except KeyboardInterrupt:     # it takes seconds
    sys.exit(interrupted())
else:
    if __package__:
        from . import torch_costs
    else:
        import torch_costs

MIN_SPREAD_TRIALS = 5     # below this a spread says nothing, and is left out


class CaptureError(ValueError):
    """What is wrong with the input, in one line."""


def first_line(error):
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


# ---------------------------------------------------------------- options

def whole(minimum):
    def parse(text):
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError("%d is too small, expected at least %d" % (value, minimum))
        return value
    parse.__name__ = "whole number"
    return parse


def whole_list(text):
    values = [int(v) for v in text.split(",")]
    if min(values) < 1:
        raise argparse.ArgumentTypeError("'%s' has a number below 1" % text)
    return values


whole_list.__name__ = "list (whole numbers and commas)"


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise CaptureError(message)


VERSION = "0.2.0"  # that of include/pipebd.h, as tests/test_install.sh wants

OPTIONS = [  # flag, settings; the help, the defaults and the printed settings come from here
    ("--input-shape", dict(type=whole_list, default=[3, 32, 32], metavar="C,H,W", help="shape of one sample")),
    ("--batch", dict(type=whole(1), default=64, metavar="B", help="global batch")),
    ("--samples", dict(type=whole(1), default=50000, metavar="N", help="samples an epoch")),
    ("--devices", dict(type=whole(1), default=4, metavar="N", help="devices the trace is for")),
    ("--device", dict(choices=["cpu", "cuda"], default="cpu", help="what to measure on")),
    ("--batches", dict(type=whole_list, default=None, metavar="LIST",
                       help="batches to measure; B is added (default: every share of B over 1..devices)")),
    ("--trials", dict(type=whole(1), default=20, metavar="N", help="timed steps a block and batch")),
    ("--warmup", dict(type=whole(0), default=3, metavar="N", help="untimed steps before them")),
    ("--threads", dict(type=whole(1), default=1, metavar="N", help="CPU threads of a device")),
    ("--optimizer", dict(choices=["sgd", "adam"], default="sgd", help="sgd has Nesterov momentum")),
    ("--loader", dict(default=None, metavar="FILE.PY:NAME",
                      help="callable that returns your dataset or DataLoader, which is measured (default: the trace has no loader)")),
    ("--workers", dict(type=whole(0), default=None, metavar="N",
                       help="processes that load (default: the DataLoader's; a dataset: 4)")),
    ("--name", dict(default=None, metavar="NAME", help="name of the trace (default: the teacher's file)")),
    ("--notes", dict(default="", metavar="TEXT", help="added to the trace's notes")),
    ("--seed", dict(type=whole(0), default=1, metavar="N", help="of weights and inputs")),
]


def read_options(argv):
    parser = Parser(prog="capture_torch.py", description="Measure a PyTorch teacher and student, write a trace.",
                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("teacher", metavar="TEACHER", help="file.py:callable that returns the teacher's blocks")
    parser.add_argument("student", metavar="STUDENT", help="file.py:callable that returns the student's blocks")
    for flag, settings in OPTIONS:
        parser.add_argument(flag, **settings)
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="the trace; - is stdout")
    parser.add_argument("--version", action="version", version="%(prog)s " + VERSION, help="print the version and exit")
    args = parser.parse_args(argv)
    args.name = args.name or os.path.splitext(os.path.basename(args.teacher.rpartition(":")[0]))[0]
    check_settings(args)
    return args


def check_settings(args):
    """Refuses what does not go together, and fills in the batches."""
    if args.workers is not None and args.loader is None:
        raise CaptureError("--workers %d: no effect without --loader" % args.workers)
    if args.batch < args.devices:
        raise CaptureError("--batch %d leaves some of %d devices without a row" % (args.batch, args.devices))
    if args.batches and max(args.batches) > args.batch:
        raise CaptureError("--batches has %d, no schedule can use more than --batch %d"
                           % (max(args.batches), args.batch))
    args.batches = sorted(set((args.batches or shares(args.batch, args.devices)) + [args.batch]))


def shares(batch, devices):
    """Rows of a device when 1..devices of them split the batch, off by one at most."""
    return [rows for w in range(1, devices + 1) for rows in (batch // w, -(-batch // w))]


def print_settings(args):
    for flag, _ in OPTIONS:
        value = getattr(args, flag[2:].replace("-", "_"))
        print("%-14s %s" % (flag[2:], ",".join(map(str, value)) if isinstance(value, list) else value),
              file=sys.stderr)


# ---------------------------------------------------------------- the models

def load_object(spec, role):
    """What file.py:callable returns. Modules beside the file can be imported, as if it were run."""
    path, colon, name = spec.rpartition(":")
    if not colon or not path or not name:
        raise CaptureError("%s '%s': expected file.py:callable" % (role, spec))
    if not os.path.isfile(path):
        raise CaptureError("%s '%s': no file %s" % (role, spec, path))
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module_spec = importlib.util.spec_from_file_location("capture_" + role, path)
        if module_spec is None:
            raise CaptureError("%s '%s': %s is no Python file" % (role, spec, path))
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
        if not callable(getattr(module, name, None)):
            raise CaptureError("%s '%s': %s has no callable %s" % (role, spec, path, name))
        return getattr(module, name)()
    except CaptureError:
        raise
    except (Exception, SystemExit) as e:
        raise CaptureError("%s '%s': %s: %s" % (role, spec, type(e).__name__, first_line(e)))


def load_blocks(spec, role):
    """file.py:callable to names and modules."""
    return list_blocks(load_object(spec, role), "%s '%s'" % (role, spec))


def list_blocks(chain, who):
    if not isinstance(chain, (list, tuple, torch.nn.ModuleList, torch.nn.Sequential)):
        raise CaptureError("%s: returned %s, expected a list, ModuleList or Sequential"
                           % (who, type(chain).__name__))
    names = [n for n, _ in chain.named_children()] if isinstance(chain, torch.nn.Sequential) else []
    blocks = list(chain)
    for b, block in enumerate(blocks):
        if not isinstance(block, torch.nn.Module):
            raise CaptureError("%s: block %d is %s, expected an nn.Module" % (who, b, type(block).__name__))
    if not blocks:
        raise CaptureError("%s: no blocks" % who)
    if len(names) != len(blocks) or any(n.isdigit() for n in names):
        names = ["b%d" % b for b in range(len(blocks))]
    return names, blocks


def check_pair(teachers, students):
    if len(teachers) != len(students):
        raise CaptureError("the teacher has %d blocks, the student %d" % (len(teachers), len(students)))
    for b, student in enumerate(students):
        if not any(p.requires_grad for p in student.parameters()):
            raise CaptureError("student block %d has nothing to train" % b)


def make_optimizer(name, student):
    trained = [p for p in student.parameters() if p.requires_grad]
    if name == "adam":
        return torch.optim.Adam(trained, lr=1e-4)
    return torch.optim.SGD(trained, lr=1e-4, momentum=0.9, nesterov=True)


# ---------------------------------------------------------------- measuring

class Clock:
    """Marks on a device's own time line; us between them once it has caught up."""

    def __init__(self, device):
        self.is_cuda = device.type == "cuda"
        self.marks = []

    def mark(self):
        if self.is_cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter_ns())

    def take_us(self):
        pairs = list(zip(self.marks, self.marks[1:]))
        self.marks = []
        if self.is_cuda:
            torch.cuda.synchronize()
            return [a.elapsed_time(b) * 1e3 for a, b in pairs]
        return [(b - a) / 1e3 for a, b in pairs]


def distil_step(teacher, student, optimizer, x, clock):
    """One step of one block, as a device of a relay does it; us of its four parts."""
    clock.mark()
    with torch.no_grad():
        target = teacher(x)
    clock.mark()
    loss = torch.nn.functional.mse_loss(student(x), target)
    clock.mark()
    loss.backward()
    clock.mark()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    clock.mark()
    return clock.take_us()


def robust_spread(values):
    """Coefficient of variation from the median absolute deviation: one preempted
    trial must not pass for jitter. 1.4826 makes it the standard deviation of a
    normal distribution."""
    middle = statistics.median(values)
    deviation = statistics.median([abs(v - middle) for v in values])
    return 1.4826 * deviation / middle if middle > 0 else 0.0


def time_block(args, teacher, student, optimizer, x):
    clock = Clock(x.device)
    for _ in range(args.warmup):
        distil_step(teacher, student, optimizer, x, clock)
    trials = [distil_step(teacher, student, optimizer, x, clock) for _ in range(args.trials)]
    medians = [round(statistics.median(part), 3) for part in zip(*trials)]
    row = dict(zip(["teacher_us", "forward_us", "backward_us", "update_us"], medians))
    if args.trials >= MIN_SPREAD_TRIALS:
        row["spread"] = round(min(robust_spread([sum(t) for t in trials]), 10.0), 4)
    return row


def check_shapes(block, x, target, output):
    if not isinstance(target, torch.Tensor) or not isinstance(output, torch.Tensor):
        raise CaptureError("block %d: expected one tensor out of teacher and student" % block)
    if target.shape != output.shape:
        raise CaptureError("block %d: the student gives %s where the teacher gives %s"
                           % (block, tuple(output.shape), tuple(target.shape)))
    if target.shape[0] != x.shape[0]:
        raise CaptureError("block %d: %d rows in, %d out" % (block, x.shape[0], target.shape[0]))
    if not torch.isfinite(target).all() or not torch.isfinite(output).all():
        raise CaptureError("block %d: the outputs are not finite" % block)


def probe_block(block, teacher, student, x):
    """Checks the pair on x; the teacher's output and the activations' bytes."""
    with torch.no_grad():
        target, teacher_bytes = torch_costs.transient_bytes(teacher, x)
        check_shapes(block, x, target, student(x))
    saved = torch_costs.saved_bytes(student, x, target)
    return target, teacher_bytes, saved


def capture_block(args, block, pair, inputs, device):
    """One entry of blocks[], and the block's outputs by batch: the next one's inputs."""
    teacher, student = (module.to(device) for module in pair)
    teacher.eval()
    student.train()
    optimizer = make_optimizer(args.optimizer, student)
    outputs, rows, teacher_bytes, saved = {}, [], 0, 0
    for batch in args.batches:
        try:
            target, peak, kept = probe_block(block, teacher, student, inputs[batch])
            timing = time_block(args, teacher, student, optimizer, inputs[batch])
        except (RuntimeError, ValueError, TypeError, IndexError) as e:
            raise CaptureError("block %d at batch %d: %s" % (block, batch, first_line(e)))
        outputs[batch] = target
        rows.append(dict(batch=batch, **timing))
        teacher_bytes = max(teacher_bytes, -(-peak // batch))
        saved = max(saved, -(-kept // batch))
    entry = {"output_bytes": torch_costs.bytes_of(outputs[args.batch]) // args.batch}
    entry["teacher"] = {"weight_bytes": torch_costs.weight_bytes(teacher), "activation_bytes": teacher_bytes}
    entry["student"] = {"weight_bytes": torch_costs.weight_bytes(student),
                        "gradient_bytes": torch_costs.gradient_bytes(student),
                        "state_bytes": torch_costs.state_bytes(optimizer), "activation_bytes": saved}
    entry["timings"] = rows
    return entry, outputs


def capture_blocks(args, names, teachers, students, device):
    inputs = {b: torch.randn([b] + args.input_shape, device=device) for b in args.batches}
    blocks = []
    for b, pair in enumerate(zip(teachers, students)):
        if sys.stderr.isatty():
            print("block %d of %d" % (b + 1, len(teachers)), file=sys.stderr)
        entry, inputs = capture_block(args, b, pair, inputs, device)
        blocks.append(dict(name=names[b], **entry))
    return blocks


# ---------------------------------------------------------------- the trace

def describe_device(args):
    if args.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        return {"kind": properties.name, "count": args.devices, "memory_bytes": properties.total_memory}
    model = torch_costs.cpu_model() or platform.machine() or "CPU"
    kind = "%d core%s of %s" % (args.threads, "" if args.threads == 1 else "s", model)
    memory = torch_costs.host_memory_bytes()
    return dict({"kind": kind, "count": args.devices}, **({"memory_bytes": memory // args.devices} if memory else {}))


def shown_command(args, argv):
    """The command line for the notes; folders of the user's machine are their own affair."""
    def shown(word):
        path, colon, name = word.rpartition(":")
        if os.path.isabs(word):
            return os.path.basename(path) + colon + name if colon else os.path.basename(word)
        return word
    return "capture_torch.py " + " ".join(shlex.quote(shown(w)) for w in argv)


def describe(args, argv, device, loader):
    where = "torch %s on %s, %d thread(s)" % (torch.__version__, device["kind"], args.threads)
    if args.device == "cpu":
        where += (", %d CPUs in the machine, one block at a time: contention between devices is not in the "
                  "times; memory_bytes is the machine's, divided by the devices" % (os.cpu_count() or 1))
    parts = [where,
             "medians of %d trials after %d of warm-up, %s; spread is 1.4826 median absolute deviations of a "
             "step over its median" % (args.trials, args.warmup, args.optimizer),
             torch_costs.describe_links(args.device, args.devices),
             torch_costs.describe_loader(loader),
             "command: " + shown_command(args, argv) if argv is not None else "called from Python"]
    return "; ".join(parts) + "." + (" " + args.notes if args.notes else "")


def build_trace(args, argv):
    """The trace of what the command line names."""
    names, teachers = load_blocks(args.teacher, "teacher")
    _, students = load_blocks(args.student, "student")
    source = load_object(args.loader, "loader") if args.loader else None
    check_pair(teachers, students)
    print_settings(args)
    return measure(args, names, teachers, students, source, argv)


def measure(args, names, teachers, students, source, argv):
    """The trace of these blocks; source is a dataset, a DataLoader or None, argv the command line or None."""
    device = torch.device("cuda:0" if args.device == "cuda" else "cpu")
    blocks = capture_blocks(args, names, teachers, students, device)
    described = describe_device(args)
    links = torch_costs.measure_links(args, blocks)
    try:
        loader = torch_costs.measure_loader(source, args, device) if source is not None else None
    except Exception as e:       # what a user's dataset raises
        raise CaptureError("loader: %s: %s" % (type(e).__name__, first_line(e)))
    trace = {
        "format": "pipebd-trace", "version": 2 if loader and "workers" in loader else 1, "name": args.name,
        "provenance": {"kind": "measured", "source": "traces/capture_torch.py, torch " + torch.__version__,
                       "date": datetime.date.today().isoformat(), "notes": describe(args, argv, described, loader)},
        "workload": {"name": args.name, "batch": args.batch, "samples": args.samples},
        "devices": [described],
        "input_bytes": 4 * math.prod(args.input_shape),
        "blocks": blocks,
    }
    if loader:
        trace["loader"] = loader
    return dict(trace, transfers="blocking", **links)


class Quiet:
    """While it lasts, measurements are not disturbed: threads as asked, no garbage collection, which
    inside a trial would be taken for the block's time. Afterwards all is as before."""

    def __init__(self, args):
        self.args = args

    def __enter__(self):
        self.threads, self.collects = torch.get_num_threads(), gc.isenabled()
        torch.set_num_threads(self.args.threads)
        torch.manual_seed(self.args.seed)
        gc.disable()

    def __exit__(self, *_):
        torch.set_num_threads(self.threads)
        if self.collects:
            gc.enable()


def chain_of(given, role):
    """Names and modules of what a caller gave: a chain, a callable that returns one, or file.py:callable."""
    if isinstance(given, str):
        return load_blocks(given, role)
    return list_blocks(given() if callable(given) and not isinstance(given, torch.nn.Module) else given, role)


def check_device(args):
    if torch is None:
        raise CaptureError("torch is not installed for this Python, %s: %s, or run this with another that has it"
                           % (sys.executable, how_to_install()))
    if args.device == "cuda" and not torch.cuda.is_available():
        raise CaptureError("--device cuda: torch finds no CUDA device")


def capture(teacher, student, loader=None, **options):
    """The trace, a dict, of a teacher's and a student's chain of blocks (modules, a callable that returns
    them, or "file.py:callable"). loader is a dataset or DataLoader, options are those of the command line
    with "_" for "-". The blocks are moved to the device. CaptureError, a ValueError, on bad input."""
    settings = {flag[2:].replace("-", "_"): dict(how) for flag, how in OPTIONS}
    unknown = sorted(set(options) - set(settings))
    if unknown:
        raise CaptureError("unknown option %s, expected some of %s" % (unknown[0], ", ".join(settings)))
    args = argparse.Namespace(**{name: options.get(name, how["default"]) for name, how in settings.items()})
    for name, value in options.items():
        check_option(name, value, settings[name])
    for name in ("input_shape", "batches"):
        if getattr(args, name) is not None:
            setattr(args, name, list(getattr(args, name)))
    args.loader = loader
    args.name = args.name or "captured"
    check_device(args)
    check_settings(args)
    with Quiet(args):
        names, teachers = chain_of(teacher, "teacher")
        _, students = chain_of(student, "student")
        check_pair(teachers, students)
        source = load_object(loader, "loader") if isinstance(loader, str) else loader
        return measure(args, names, teachers, students, source, None)


def check_option(name, value, how):
    """Refuses a value that the command line would refuse."""
    parse = how.get("type")
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if value is None and how["default"] is None:
        return
    try:
        good = (text in how["choices"]) if "choices" in how else parse is None or parse(text) == (list(value) if isinstance(value, tuple) else value)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise CaptureError("%s: %s" % (name, error))
    if not good:
        raise CaptureError("%s is %r, expected %s" % (name, value, " or ".join(how["choices"]) if "choices" in how else "a " + parse.__name__))


def how_to_install():
    """The system's own Python is the package manager's, which pip then refuses to touch."""
    if sys.prefix == "/usr" and os.path.exists("/usr/bin/apt-get"):
        return "apt-get install python3-torch"
    return "%s -m pip install torch" % shlex.quote(sys.executable or "python3")


def run(argv):
    args = read_options(argv)
    check_device(args)
    folder = os.path.dirname(args.output) or "."
    if args.output != "-" and not os.path.isdir(folder):
        raise CaptureError("%s: no folder to write it to" % args.output)  # before minutes of measuring
    with Quiet(args):
        text = trace_text(build_trace(args, argv))
    if args.output == "-":
        sys.stdout.write(text)
    else:
        write_atomically(args.output, text)


def main():
    try:
        run(sys.argv[1:])
    except (CaptureError, OSError, ValueError) as e:
        print("capture_torch.py: %s" % first_line(e), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return interrupted()
    return 0


if __name__ == "__main__":
    sys.exit(main())
