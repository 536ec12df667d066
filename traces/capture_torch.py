#!/usr/bin/env python3
"""Measures a PyTorch teacher and student and writes a trace (docs/traces.md).

    python3 traces/capture_torch.py model.py:teacher model.py:student \\
        --input-shape 3,32,32 --batch 256 --samples 50000 --devices 4 -o my.json

TEACHER and STUDENT are file.py:callable; called without arguments each returns
the chain of blocks: a list, nn.ModuleList or nn.Sequential. Student block k
must turn teacher block k's input into the shape of teacher block k's output; a
list or dict of modules in its place is several students of that block.
A block that takes several values gets a tuple's as arguments; what it returns
stands for the first of them, and the others go on to the next block.

What is timed, per block and batch, after the warm-up, median over the trials:

    teacher_us    teacher block in eval mode, without gradients
    forward_us    student block in training mode, and the loss
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
            raise argparse.ArgumentTypeError("%d is too small, expected at least %d"
                                             % (value, minimum))
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
    ("--input-shape", dict(type=whole_list, default=[3, 32, 32], metavar="C,H,W",
                           help="shape of one sample (default: 3,32,32)")),
    ("--batch", dict(type=whole(1), default=64, metavar="B", help="global batch")),
    ("--samples", dict(type=whole(1), default=50000, metavar="N", help="samples an epoch")),
    ("--devices", dict(type=whole(1), default=4, metavar="N", help="devices the trace is for")),
    ("--device", dict(choices=["cpu", "cuda"], default="cpu", help="what to measure on")),
    ("--batches", dict(type=whole_list, default=None, metavar="LIST",
                       help="batches to measure; B is added "
                            "(default: every share of B over 1..devices)")),
    ("--trials", dict(type=whole(1), default=20, metavar="N",
                      help="timed steps a block and batch")),
    ("--warmup", dict(type=whole(0), default=3, metavar="N", help="untimed steps before them")),
    ("--threads", dict(type=whole(1), default=1, metavar="N", help="CPU threads of a device")),
    ("--optimizer", dict(choices=["sgd", "adam", "adamw"], default="sgd",
                         help="sgd has Nesterov momentum")),
    ("--loss", dict(choices=["mse", "l1", "smooth_l1", "cosine", "kl", "cross_entropy"],
                    default="mse",
                    help="of a student's output against its teacher's; cosine, kl and "
                         "cross_entropy over the last dimension")),
    ("--precision", dict(choices=["float32", "bfloat16", "autocast"], default="float32",
                         help="as the modules come, all cast to bfloat16, or under autocast to "
                              "bfloat16")),
    ("--compile", dict(choices=["no", "yes"], default="no", help="torch.compile each block")),
    ("--inputs", dict(default=None, metavar="FILE.PY:NAME",
                      help="function of a number of rows that returns the first block's input: "
                           "a tensor, of tokens too, or a tuple "
                           "(default: random numbers of --input-shape)")),
    ("--profile", dict(default=None, metavar="FILE",
                       help="write a torch.profiler trace too, which pipebd-trace import reads")),
    ("--loader", dict(default=None, metavar="FILE.PY:NAME",
                      help="callable that returns your dataset or DataLoader, which is measured "
                           "(default: the trace has no loader)")),
    ("--workers", dict(type=whole(0), default=None, metavar="N",
                       help="processes that load (default: the DataLoader's; a dataset: 4)")),
    ("--name", dict(default=None, metavar="NAME",
                    help="name of the trace (default: the teacher's file)")),
    ("--notes", dict(default="", metavar="TEXT", help="added to the trace's notes")),
    ("--seed", dict(type=whole(0), default=1, metavar="N", help="of weights and inputs")),
]


def read_options(argv):
    parser = Parser(prog="capture_torch.py",
                    description="Measure a PyTorch teacher and student, write a trace.")
    parser.add_argument("teacher", metavar="TEACHER",
                        help="file.py:callable that returns the teacher's blocks")
    parser.add_argument("student", metavar="STUDENT",
                        help="file.py:callable that returns the student's blocks")
    for flag, settings in OPTIONS:
        tells = settings.get("default") in (None, False, "") or "(default" in settings["help"]
        parser.add_argument(flag, **dict(settings, help=settings["help"] + (
            "" if tells else " (default: %(default)s)")))
    parser.add_argument("-o", "--output", metavar="FILE", default="-",
                        help="the trace; - is stdout (default: -)")
    parser.add_argument("--version", action="version", version="%(prog)s " + VERSION,
                        help="print the version and exit")
    args = parser.parse_args(argv)
    args.name = args.name or os.path.splitext(os.path.basename(args.teacher.rpartition(":")[0]))[0]
    check_settings(args)
    return args


def check_settings(args):
    """Refuses what does not go together, and fills in the batches."""
    if args.workers is not None and args.loader is None:
        raise CaptureError("--workers %d: no effect without --loader" % args.workers)
    if args.batch < args.devices:
        raise CaptureError("--batch %d leaves some of %d devices without a row"
                           % (args.batch, args.devices))
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
        print("%-14s %s"
              % (flag[2:], ",".join(map(str, value)) if isinstance(value, list) else value),
              file=sys.stderr)


# ---------------------------------------------------------------- the models

def load_object(spec, role, called=True):
    """What file.py:callable returns, or itself. Modules beside the file can be imported, as if it
    were run."""
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
        return getattr(module, name)() if called else getattr(module, name)
    except CaptureError:
        raise
    except (Exception, SystemExit) as e:
        raise CaptureError("%s '%s': %s: %s" % (role, spec, type(e).__name__, first_line(e)))


def load_blocks(spec, role):
    """file.py:callable to names and modules."""
    return list_blocks(load_object(spec, role), "%s '%s'" % (role, spec))


def list_blocks(chain, who):
    """Names and modules of a chain."""
    if not isinstance(chain, (list, tuple, torch.nn.ModuleList, torch.nn.Sequential)):
        raise CaptureError("%s: returned %s, expected a list, ModuleList or Sequential"
                           % (who, type(chain).__name__))
    names = [n for n, _ in chain.named_children()] if isinstance(chain, torch.nn.Sequential) else []
    blocks = list(chain)
    if not blocks:
        raise CaptureError("%s: no blocks" % who)
    if len(names) != len(blocks) or any(n.isdigit() for n in names):
        names = ["b%d" % b for b in range(len(blocks))]
    return names, blocks


def check_module(module, role, block):
    if not isinstance(module, torch.nn.Module):
        raise CaptureError("%s: block %d is %s, expected an nn.Module"
                           % (role, block, type(module).__name__))


def students_of(block):
    """(name, module) of the students of a block: one without a name, or a list's, or a dict's."""
    if isinstance(block, (list, tuple)):
        return [("s%d" % i, module) for i, module in enumerate(block)]
    if isinstance(block, (dict, torch.nn.ModuleDict)):
        return [(str(name), module) for name, module in block.items()]
    return [("", block)]


def check_pair(teachers, students):
    for b, teacher in enumerate(teachers):
        check_module(teacher, "teacher", b)
    if len(teachers) != len(students):
        raise CaptureError("the teacher has %d blocks, the student %d"
                           % (len(teachers), len(students)))
    for b, block in enumerate(students):
        several = students_of(block)
        if not several:
            raise CaptureError("student block %d has no student" % b)
        for _, student in several:
            check_module(student, "student", b)
            if not any(p.requires_grad for p in student.parameters()):
                raise CaptureError("student block %d has nothing to train" % b)


def make_optimizer(name, student):
    trained = [p for p in student.parameters() if p.requires_grad]
    if name == "sgd":
        return torch.optim.SGD(trained, lr=1e-4, momentum=0.9, nesterov=True)
    return (torch.optim.AdamW if name == "adamw" else torch.optim.Adam)(trained, lr=1e-4)


def loss_of(name, output, target):
    """A loss of the glossary's names, a number; in float32 where the outputs are shorter."""
    functional = torch.nn.functional
    output, target = output.float(), target.float()
    if name == "cosine":
        return 1 - functional.cosine_similarity(output, target, dim=-1).mean()
    if name == "kl":
        return functional.kl_div(functional.log_softmax(output, -1),
                                 functional.log_softmax(target, -1),
                                 reduction="batchmean", log_target=True)
    if name == "cross_entropy":
        return functional.cross_entropy(output.flatten(0, -2), target.argmax(-1).flatten())
    return {"mse": functional.mse_loss, "l1": functional.l1_loss,
            "smooth_l1": functional.smooth_l1_loss}[name](output, target)


def shared_notes(blocks, role):
    """A note for each parameter that several blocks have."""
    where = {}
    for b, modules in enumerate(blocks):
        for module in modules:
            for name, parameter in module.named_parameters():
                where.setdefault(id(parameter), (name, set()))[1].add(b)
    return ["blocks %s of the %s share the parameter %s: each has a copy of its own here, as on "
            "different devices"
            % (" and ".join(map(str, sorted(places))), role, name)
            for name, places in where.values() if len(places) > 1]


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


def as_tuple(values):
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


def passed_on(output, x):
    """The next block's input: the output in the place of the first values, the others as they came.
    """
    values = as_tuple(output)
    values += as_tuple(x)[len(values):]
    return values[0] if len(values) == 1 else values


class Pair:
    """A teacher's block, one student of it, and how they are trained."""

    def __init__(self, args, teacher, student, device):
        self.args, self.kind = args, device.type
        self.teacher, self.student = teacher, student
        self.optimizer = make_optimizer(args.optimizer, student)
        self.teach, self.learn = teacher, student
        if args.compile == "yes":
            self.teach, self.learn = torch.compile(teacher), torch.compile(student)

    def forward(self, module, x):
        """What the module makes of x: its first value for the loss, and all for the next block."""
        with torch.autocast(self.kind, dtype=torch.bfloat16,
                            enabled=self.args.precision == "autocast"):
            return module(*as_tuple(x))

    def target(self, x):
        with torch.no_grad():
            return self.forward(self.teach, x)

    def loss(self, x, target):
        return loss_of(self.args.loss, as_tuple(self.forward(self.learn, x))[0],
                       as_tuple(target)[0])

    def update(self):
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def train(self, x, target):
        """A student's step, without the teacher's."""
        self.loss(x, target).backward()
        self.update()


def distil_step(pair, x, clock):
    """One step of one block, as a device of a relay does it; us of its four parts."""
    clock.mark()
    target = pair.target(x)
    clock.mark()
    loss = pair.loss(x, target)
    clock.mark()
    loss.backward()
    clock.mark()
    pair.update()
    clock.mark()
    return clock.take_us()


def robust_spread(values):
    """Coefficient of variation from the median absolute deviation: one preempted
    trial must not pass for jitter. 1.4826 makes it the standard deviation of a
    normal distribution."""
    middle = statistics.median(values)
    deviation = statistics.median([abs(v - middle) for v in values])
    return 1.4826 * deviation / middle if middle > 0 else 0.0


class Load:
    """How much of the time that was measured the process ran, and what a step takes beside its
    parts."""

    def __init__(self):
        self.wall_ns = self.process_ns = 0
        self.rest_us = []

    def note(self):
        """Of a machine that had other things to do; "" of one that had not."""
        share = self.process_ns / self.wall_ns if self.wall_ns else 1.0
        if share >= 0.9:
            return ""
        return "the machine was busy: the process ran %.0f %% of the time measured" % (100 * share)


def time_block(args, pair, x, load):
    clock = Clock(as_tuple(x)[0].device)
    for _ in range(args.warmup):
        distil_step(pair, x, clock)
    trials, process = [], time.process_time_ns()
    for _ in range(args.trials):
        start = time.perf_counter_ns()
        trials.append(distil_step(pair, x, clock))
        wall = time.perf_counter_ns() - start
        load.wall_ns += wall
        load.rest_us.append(wall / 1e3 - sum(trials[-1]))
    load.process_ns += time.process_time_ns() - process
    medians = [round(statistics.median(part), 3) for part in zip(*trials)]
    row = dict(zip(["teacher_us", "forward_us", "backward_us", "update_us"], medians))
    if args.trials >= MIN_SPREAD_TRIALS:
        row["spread"] = round(min(robust_spread([sum(t) for t in trials]), 10.0), 4)
    return row


def check_shapes(block, x, target, output):
    target, output = as_tuple(target)[0], as_tuple(output)[0]
    if not isinstance(target, torch.Tensor) or not isinstance(output, torch.Tensor):
        raise CaptureError("block %d: expected a tensor first out of teacher and student" % block)
    if target.shape != output.shape:
        raise CaptureError("block %d: the student gives %s where the teacher gives %s"
                           % (block, tuple(output.shape), tuple(target.shape)))
    if target.shape[0] != as_tuple(x)[0].shape[0]:
        raise CaptureError("block %d: %d rows in, %d out"
                           % (block, as_tuple(x)[0].shape[0], target.shape[0]))
    if not torch.isfinite(target).all() or not torch.isfinite(output).all():
        raise CaptureError("block %d: the outputs are not finite" % block)


def versions(x):
    return [v._version for v in as_tuple(x) if isinstance(v, torch.Tensor)]


def probe_block(block, pair, x, notes):
    """Checks the pair on x; the teacher's output."""
    before = versions(x)
    target = pair.target(x)
    after = versions(x)
    with torch.no_grad():
        output = pair.forward(pair.learn, x)
    check_shapes(block, x, target, output)
    for role, was, now in (("teacher", before, after), ("student", after, versions(x))):
        if was != now:
            notes.add("block %d of the %s writes into its input: what the others of this boundary "
                      "read is changed" % (block, role))
    pair.loss(x, target).backward()
    unused = [n for n, p in pair.student.named_parameters() if p.requires_grad and p.grad is None]
    if unused:
        notes.add("student block %d has parameters without a gradient, never trained: %s"
                  % (block, ", ".join(unused[:5])))
    pair.update()
    return target


def memory_rows(args):
    """Two numbers of rows, for what grows with them and what does not."""
    return sorted({args.batches[0], args.batch})


def line_of(rows, peaks):
    """(fixed, per row) bytes of peaks at one or two numbers of rows; neither is negative."""
    slope = (peaks[-1] - peaks[0]) / (rows[-1] - rows[0]) if len(rows) > 1 else peaks[-1] / rows[-1]
    fixed = peaks[-1] - slope * rows[-1]
    if slope < 0 or fixed < 0:
        slope, fixed = peaks[-1] / rows[-1], 0
    return math.ceil(fixed), math.ceil(slope)


def measure_memory(args, pair, inputs, device):
    """((fixed, per row) of the teacher, the same of the student): bytes at the peak beyond weights,
    gradients, state, and the two boundaries, which are counted as such."""
    teacher, student = [], []
    gradients = torch_costs.gradient_bytes(pair.student)
    for rows in memory_rows(args):
        x, kept = inputs[rows], []
        peak = torch_costs.peak_bytes(lambda: kept.append(pair.target(x)), device)
        target = kept.pop()
        teacher.append(max(peak - torch_costs.bytes_of_all(target, x), 0))
        student.append(
            max(torch_costs.peak_bytes(lambda: pair.train(x, target), device) - gradients, 0))
    return line_of(memory_rows(args), teacher), line_of(memory_rows(args), student)


def capture_student(args, block, teacher, student, inputs, device, found):
    """(the student's bytes, its rows of timings, the teacher's bytes a row, the outputs by batch).
    """
    pair = Pair(args, teacher, student, device)
    outputs, rows = {}, []
    for batch in args.batches:
        found.progress(block, batch)
        try:
            outputs[batch] = probe_block(block, pair, inputs[batch], found.notes)
            rows.append(dict(batch=batch, **time_block(args, pair, inputs[batch], found.load)))
        except CaptureError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as e:
            raise CaptureError("block %d at batch %d: %s" % (block, batch, first_line(e)))
    (teacher_fixed, teacher_row), (fixed, row) = measure_memory(args, pair, inputs, device)
    found.fixed_bytes = max(found.fixed_bytes, teacher_fixed, fixed)
    sizes = {"weight_bytes": torch_costs.weight_bytes(student),
             "gradient_bytes": torch_costs.gradient_bytes(student),
             "state_bytes": torch_costs.state_bytes(pair.optimizer), "activation_bytes": row}
    return sizes, rows, teacher_row, outputs


class Found:
    """What is found besides the blocks: notes, memory that does not grow with rows, how busy it
    was."""

    def __init__(self, count):
        self.notes, self.load, self.fixed_bytes, self.count = set(), Load(), 0, count
        self.start = time.monotonic()

    def progress(self, block, batch):
        if sys.stderr.isatty():
            print("block %d of %d, %d rows, %.0f s so far"
                  % (block + 1, self.count, batch, time.monotonic() - self.start),
                  file=sys.stderr)


def capture_block(args, block, pair, inputs, device, found):
    """One entry of blocks[], and the block's outputs by batch: the next one's inputs."""
    cast = {"dtype": torch.bfloat16} if args.precision == "bfloat16" else {}
    teacher = pair[0].to(device, **cast).eval()
    captured = []
    for name, student in students_of(pair[1]):
        student = student.to(device, **cast).train()
        sizes, rows, teacher_bytes, outputs = capture_student(args, block, teacher, student, inputs,
                                                              device, found)
        captured.append((name, sizes, rows))
    entry = {"output_bytes": -(-torch_costs.bytes_of_all(outputs[args.batch]) // args.batch)}
    entry["teacher"] = {"weight_bytes": torch_costs.weight_bytes(teacher),
                        "activation_bytes": teacher_bytes}
    if len(captured) == 1 and not captured[0][0]:
        entry["student"], entry["timings"] = captured[0][1], captured[0][2]
    else:
        entry["timings"] = [{"batch": row["batch"], "teacher_us": row["teacher_us"]}
                            for row in captured[0][2]]
        entry["students"] = [dict({"name": name}, **sizes, timings=[
            {key: row[key] for key in ("batch", "forward_us", "backward_us", "update_us")}
            for row in rows])
            for name, sizes, rows in captured]
    return entry, {batch: passed_on(outputs[batch], inputs[batch]) for batch in args.batches}


def first_input(args, batch, device):
    """The first block's input of so many rows."""
    x = args.inputs(batch) if args.inputs else torch.randn([batch] + args.input_shape)
    first = as_tuple(x)[0] if as_tuple(x) else None
    if not isinstance(first, torch.Tensor) or first.dim() == 0 or first.shape[0] != batch:
        raise CaptureError("inputs: for %d rows it returned %s, expected a tensor of as many "
                           "rows, or a tuple that begins with one"
                           % (batch, tuple(first.shape) if isinstance(first, torch.Tensor)
                              else type(first).__name__))
    values = []
    for value in as_tuple(x):
        if isinstance(value, torch.Tensor):
            floats = args.precision == "bfloat16" and value.is_floating_point()
            value = value.to(device, torch.bfloat16) if floats else value.to(device)
        values.append(value)
    return values[0] if len(values) == 1 else tuple(values)


def capture_blocks(args, names, teachers, students, device):
    """The blocks, the first input's bytes a row, and what else was found."""
    inputs = {batch: first_input(args, batch, device) for batch in args.batches}
    blocks, found = [], Found(len(teachers))
    found.notes |= set(shared_notes([[t] for t in teachers], "teacher"))
    found.notes |= set(shared_notes([[m for _, m in students_of(s)] for s in students], "student"))
    input_bytes = -(-torch_costs.bytes_of_all(inputs[args.batch]) // args.batch)
    for b, pair in enumerate(zip(teachers, students)):
        entry, inputs = capture_block(args, b, pair, inputs, device, found)
        blocks.append(dict(name=names[b], **entry))
    return blocks, input_bytes, found


PROFILED_STEPS = 5


def write_profile(args, names, teachers, students, device):
    """A torch.profiler trace of steps at the whole batch, with ranges teacher:NAME and
    student:NAME."""
    from torch.profiler import ProfilerActivity, profile, record_function
    first = first_input(args, args.batch, device)
    pairs = [[Pair(args, teacher, student, device) for _, student in students_of(several)]
             for teacher, several in zip(teachers, students)]

    def step():
        x = first
        for name, several in zip(names, pairs):
            with record_function("teacher:" + name):
                target = several[0].target(x)
            with record_function("student:" + name):
                for pair in several:
                    pair.train(x, target)
            x = passed_on(target, x)

    step()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with torch_costs.silence():
        with profile(activities=activities, record_shapes=True) as profiler:
            for _ in range(PROFILED_STEPS):
                step()
                profiler.step()
        profiler.export_chrome_trace(args.profile)


# ---------------------------------------------------------------- the trace

def describe_device(args):
    if args.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        return {"kind": properties.name, "count": args.devices,
                "memory_bytes": properties.total_memory}
    model = torch_costs.cpu_model() or platform.machine() or "CPU"
    kind = "%d core%s of %s" % (args.threads, "" if args.threads == 1 else "s", model)
    memory = torch_costs.host_memory_bytes()
    return dict({"kind": kind, "count": args.devices},
                **({"memory_bytes": memory // args.devices} if memory else {}))


def shown_command(argv):
    """The command line for the notes; folders of the user's machine are their own affair."""
    def shown(word):
        path, colon, name = word.rpartition(":")
        if os.path.isabs(word):
            return os.path.basename(path) + colon + name if colon else os.path.basename(word)
        return word
    return "capture_torch.py " + " ".join(shlex.quote(shown(w)) for w in argv)


def describe(args, argv, device, loader, found):
    where = "torch %s on %s, %d thread(s)" % (torch.__version__, device["kind"], args.threads)
    if args.device == "cpu":
        where += (", %d CPUs in the machine, one block at a time: contention between devices is "
                  "not in the times; memory_bytes is the machine's, divided by the devices"
                  % (os.cpu_count() or 1))
    parts = [where,
             "medians of %d trials after %d of warm-up, %s, loss %s, %s%s; spread is 1.4826 "
             "median absolute deviations of a step over its median"
             % (args.trials, args.warmup, args.optimizer, args.loss, args.precision,
                ", compiled" if args.compile == "yes" else ""),
             torch_costs.describe_links(args.device, args.devices),
             torch_costs.describe_loader(loader),
             torch_costs.describe_memory(args.device),
             *sorted(found.notes),
             *filter(None, [found.load.note() if args.device == "cpu" else ""]),
             "command: " + shown_command(argv) if argv is not None else "called from Python"]
    return "; ".join(parts) + "." + (" " + args.notes if args.notes else "")


def build_trace(args, argv):
    """The trace of what the command line names."""
    names, teachers = load_blocks(args.teacher, "teacher")
    _, students = load_blocks(args.student, "student")
    source = load_object(args.loader, "loader") if args.loader else None
    inputs = load_object(args.inputs, "inputs", called=False) if args.inputs else None
    check_pair(teachers, students)
    print_settings(args)
    args.inputs = inputs
    return measure(args, names, teachers, students, source, argv)


def measure(args, names, teachers, students, source, argv):
    """The trace of these blocks; source is a dataset, a DataLoader or None, argv the command line
    or None."""
    device = torch.device("cuda:0" if args.device == "cuda" else "cpu")
    blocks, input_bytes, found = capture_blocks(args, names, teachers, students, device)
    for note in sorted(found.notes):
        print("capture_torch.py: note: " + note, file=sys.stderr)
    if args.profile:
        write_profile(args, names, teachers, students, device)
    step_us = round(max(statistics.median(found.load.rest_us), 0.0), 3)
    described = describe_device(args)
    links = torch_costs.measure_links(args, blocks)
    try:
        loader = torch_costs.measure_loader(source, args, device) if source is not None else None
    except Exception as e:       # what a user's dataset raises
        raise CaptureError("loader: %s: %s" % (type(e).__name__, first_line(e)))
    trace = {
        "format": "pipebd-trace", "version": 2, "name": args.name,
        "provenance": {"kind": "measured",
                       "source": "traces/capture_torch.py, torch " + torch.__version__,
                       "date": datetime.date.today().isoformat(),
                       "notes": describe(args, argv, described, loader, found)},
        "workload": {"name": args.name, "batch": args.batch, "samples": args.samples},
        "devices": [described],
        "input_bytes": input_bytes,
        "blocks": blocks,
    }
    if loader:
        trace["loader"] = loader
    if step_us:
        trace["step_us"] = step_us
    if found.fixed_bytes:
        trace["process_bytes"] = found.fixed_bytes
    return dict(trace, transfers="blocking", **links)


class Quiet:
    """While it lasts, measurements are not disturbed: threads as asked, no garbage collection,
    which inside a trial would be taken for the block's time. Afterwards all is as before."""

    def __init__(self, args):
        self.args = args

    def __enter__(self):
        self.threads, self.collects = torch.get_num_threads(), gc.isenabled()
        torch.set_num_threads(self.args.threads)
        torch.manual_seed(self.args.seed)
        gc.disable()
        # What is there stays: collections between measurements look through what came since, not
        # through all of torch. A caller that froze its own keeps it so.
        self.freezes = gc.get_freeze_count() == 0
        if self.freezes:
            gc.collect()
            gc.freeze()

    def __exit__(self, *_):
        torch.set_num_threads(self.threads)
        if self.collects:
            gc.enable()
        if self.freezes:
            gc.unfreeze()


def chain_of(given, role):
    """Names and modules of what a caller gave: a chain, a callable that returns one, or
    file.py:callable."""
    if isinstance(given, str):
        return load_blocks(given, role)
    return list_blocks(given() if callable(given) and not isinstance(given, torch.nn.Module)
                       else given, role)


def check_folder(path):
    """Before minutes of measuring."""
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise CaptureError("%s: no folder to write it to" % path)


def check_device(args):
    if torch is None:
        raise CaptureError(
            "torch is not installed for this Python, %s: %s, or run this with another that has it"
            % (sys.executable, how_to_install()))
    if args.device == "cuda" and not torch.cuda.is_available():
        raise CaptureError("--device cuda: torch finds no CUDA device")
    if args.profile:
        check_folder(args.profile)            # the profiler itself says nothing of it
    if args.profile and not torch_costs.has_kineto():
        raise CaptureError(
            "--profile: this torch was built without Kineto, its profiler writes no such trace")


def capture(teacher, student, loader=None, **options):
    """The trace, a dict, of a teacher's and a student's chain of blocks (modules, a callable that
    returns them, or "file.py:callable"). loader is a dataset or DataLoader, options are those of
    the command line with "_" for "-". The blocks are moved to the device. CaptureError, a
    ValueError, on bad input."""
    settings = {flag[2:].replace("-", "_"): dict(how) for flag, how in OPTIONS}
    unknown = sorted(set(options) - set(settings))
    if unknown:
        raise CaptureError("unknown option %s, expected some of %s"
                           % (unknown[0], ", ".join(settings)))
    args = argparse.Namespace(
        **{name: options.get(name, how["default"]) for name, how in settings.items()})
    for name, value in options.items():
        if name == "inputs" and callable(value):
            continue
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
        if isinstance(args.inputs, str):
            args.inputs = load_object(args.inputs, "inputs", called=False)
        source = load_object(loader, "loader") if isinstance(loader, str) else loader
        return measure(args, names, teachers, students, source, None)


def check_option(name, value, how):
    """Refuses a value that the command line would refuse."""
    parse = how.get("type")
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if value is None and how["default"] is None:
        return
    try:
        good = (text in how["choices"]) if "choices" in how else parse is None or parse(
            text) == (list(value) if isinstance(value, tuple) else value)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise CaptureError("%s: %s" % (name, error))
    if not good:
        raise CaptureError("%s is %r, expected %s"
                           % (name, value, " or ".join(how["choices"]) if "choices" in how
                              else "a " + parse.__name__))


def how_to_install():
    """The system's own Python is the package manager's, which pip then refuses to touch."""
    if sys.prefix == "/usr" and os.path.exists("/usr/bin/apt-get"):
        return "apt-get install python3-torch"
    return "%s -m pip install torch" % shlex.quote(sys.executable or "python3")


def run(argv):
    args = read_options(argv)
    check_device(args)
    if args.output != "-":
        check_folder(args.output)
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
