#!/usr/bin/env python3
"""PyTorch beside bench/blocks.c: the same step of every block, on the same device.

    blocks DEVICES WORKLOAD PRECISION ROWS > ours.json
    blocks_torch.py [--device cuda|cpu] [--seconds N] [--compile none|MODE] [--json FILE]
                    [--table FILE] ours.json...

A step is the teacher's forward (inference mode, batch norm folded), the student's forward, loss,
backward and SGD update, on random data in channels last, over the paths that ours took.
Eager: cudnn.benchmark on, SGD's fused kernel on cards. Compiled: the student's loss and the
teacher by torch.compile (by default mode reduce-overhead, which replays CUDA graphs as ours
does), once for every path. Precisions: fp32; tf32, allowed for products and convolutions;
bf16, autocast over float32 weights.

Times are those of the device: events in its stream around each step, none waited for before
the end. The tables show images a second from medians, with the 10th and 90th percentile
of the steps; a ratio above 1: ours is faster than the better of PyTorch's two. Where nothing was
compiled the ratio is over eager alone, and says so.

All eager runs come first, then the compiled ones, both in the order of the files; a compilation
begins only where COMPILE_SECONDS are left. What the time budget leaves no room for is named. Both
files are written anew after every run, so that one who is interrupted has what was measured. Exit
status: 1 when a file cannot be read, a block fails in eager, or nothing was measured.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "tests", "pytorch"))

import torch
import torch.nn.functional as F
from torch_nets import Choice, folded, sequence

COMPILE_SECONDS = 45  # about what the slowest block takes, all paths of it, at its first steps

def quantile(values, q):
    values = sorted(values)
    at = q * (len(values) - 1)
    low = int(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def loss_of(kind, y, t):
    """Nothing is flattened that has the same shape: of channels last that is a copy, and one more
    backward."""
    if kind == "mse" and y.shape == t.shape:
        return F.mse_loss(y, t)
    y, t = y.flatten(1), t.flatten(1)
    if kind == "mse":
        return F.mse_loss(y, t)
    return -(F.softmax(t, 1) * F.log_softmax(y, 1)).sum(1).mean()


class Step:
    """One block's step. Calling it queues the work."""

    def __init__(self, block, shape, run, training, device):
        memory = torch.channels_last
        teacher, self.out = sequence(block["teacher"], shape)
        student, _ = sequence(block["student"], shape)
        self.x = torch.randn(run["rows"], *shape, device=device).contiguous(memory_format=memory)
        self.teacher = folded(teacher.eval()).to(device=device, memory_format=memory)
        self.student = student.to(device=device, memory_format=memory)
        self.choices = [m for m in self.student.modules() if isinstance(m, Choice)]
        self.kind = block["loss"]
        self.bf16 = run["precision"] == "bf16"
        self.device = device
        self.eager()
        more = {"fused": True} if device == "cuda" else {}
        self.sgd = torch.optim.SGD(
            self.student.parameters(), lr=training["learning_rate"], momentum=training["momentum"],
            nesterov=training["nesterov"], weight_decay=training["weight_decay"], **more)

    def eager(self):
        self.give = self._teacher
        self.judge = self._loss
        self.keep = False

    def compiled(self, mode):
        # A replayed CUDA graph writes its result to the same place each time: the loss has a copy
        # of its own.
        self.keep = self.device == "cuda" and mode in ("reduce-overhead", "max-autotune")
        self.give = torch.compile(self._teacher, mode=mode)
        self.judge = torch.compile(self._loss, mode=mode)

    def _teacher(self, x):
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            return self.teacher(x).float()

    def _loss(self, x, target):
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            y = self.student(x)
        return loss_of(self.kind, y.float(), target)

    def take(self, path):
        for module, choice in zip(self.choices, path):
            module.taken = choice

    def __call__(self):
        with torch.no_grad():
            target = self.give(self.x)
        self.sgd.zero_grad(set_to_none=True)
        self.judge(self.x, target.clone() if self.keep else target).backward()
        self.sgd.step()


class Clock:
    """Marks in the device's stream, or the clock where the device does not queue."""

    def __init__(self, device):
        self.cuda = device == "cuda"
        self.marks = []

    def mark(self):
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(time.perf_counter())

    def steps_us(self):
        pairs = list(zip(self.marks, self.marks[1:]))
        if self.cuda:
            torch.cuda.synchronize()
            return [1e3 * a.elapsed_time(b) for a, b in pairs]
        return [1e6 * (b - a) for a, b in pairs]


def time_step(step, paths, warm, repeats, device):
    """Microseconds of every step; paths take turns, as ours do."""
    for i in range(warm):
        step.take(paths[i % len(paths)])
        step()
    clock = Clock(device)
    clock.mark()
    for i in range(repeats):
        step.take(paths[i % len(paths)])
        step()
        clock.mark()
    return clock.steps_us()


class Run:
    """A file of ours, and PyTorch's times beside: rows of {"name", "ours": us, "eager": us,
    "compiled": us}."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.ours = json.load(file)
        self.workload = self.ours["workload"]
        self.title = "%s, %s" % (self.workload["name"], self.ours["precision"])
        self.rows = [{"name": b["name"], "ours": b["us"]} for b in self.ours["blocks"]]
        self.shapes = [tuple(self.workload["input"][k] for k in ("channels", "height", "width"))]

    def precision(self):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.ours[
            "precision"] != "fp32"
        torch.backends.cudnn.benchmark = True

    def step(self, number, device):
        """The step of a block; those before it were made before, so that its shape is known."""
        made = Step(self.workload["blocks"][number], self.shapes[number], self.ours,
                    self.workload["training"], device)
        if len(self.shapes) == number + 1:
            self.shapes.append(made.out)
        return made

    def eager(self, number, args):
        ours = self.ours["blocks"][number]
        step = self.step(number, args.device)
        self.rows[number]["eager"] = time_step(step, ours["paths"], self.ours["warm"],
                                               len(ours["us"]), args.device)

    def compiled(self, number, args):
        ours = self.ours["blocks"][number]
        paths = {tuple(p) for p in ours["paths"]}
        torch._dynamo.reset()
        # as versions call it; every path compiles
        for limit in ("recompile_limit", "cache_size_limit"):
            if hasattr(torch._dynamo.config, limit):
                setattr(torch._dynamo.config, limit, 2 * len(paths) + 8)
        step = self.step(number, args.device)
        step.compiled(args.compile)
        self.rows[number]["compiled"] = time_step(step, ours["paths"], self.ours["warm"],
                                                  len(ours["us"]), args.device)

    def kept(self):
        return {"workload": self.workload["name"], "precision": self.ours["precision"],
                "rows": self.ours["rows"],
                "kind": self.ours["kind"], "torch": torch.__version__, "blocks": self.rows}


def read(paths, skipped, faults):
    runs = []
    for path in paths:
        try:
            runs.append(Run(path))
        # one that was cut short is no reason to lose the rest
        except (OSError, ValueError, KeyError, TypeError) as error:
            skipped.append("%s: %s" % (path, error))
            faults.append(path)
    return runs


def measure(kind, runs, margin, args, deadline, skipped, faults, write):
    """kind: "eager" or "compiled", of all blocks of all runs, as long as the margin is left."""
    for run in runs:
        run.precision()
        late = []
        for number, row in enumerate(run.rows):
            if time.monotonic() + margin > deadline:
                late.append(row["name"])
                continue
            try:
                getattr(run, kind)(number, args)
            except Exception as error:                   # nor is a block or a compiler that fails
                skipped.append("%s %s, %s: %s"
                               % (run.title, row["name"], kind, str(error).split("\n")[0][:100]))
                if kind == "eager":
                    faults.append(row["name"])
                if len(run.shapes) == number + 1:       # nor is known what the next takes
                    skipped.append("%s, %s: the blocks after it" % (run.title, kind))
                    break
            write()
        if late:
            skipped.append("%s, %s: %s: no time left" % (run.title, kind, " ".join(late)))
            write()


def images(us, rows):
    return 1e6 * rows / quantile(us, 0.5)


def cell(us, rows):
    """Images a second of the median, and of the slowest and fastest tenth."""
    if not us:
        return "- |"
    return "%.0f (%.0f .. %.0f) |" % (images(us, rows), 1e6 * rows / quantile(us, 0.9),
                                      1e6 * rows / quantile(us, 0.1))


def ratio(rows_of):
    """Of sums of medians: PyTorch's better one over ours."""
    kinds = [kind for kind in ("eager", "compiled") if all(r.get(kind) for r in rows_of)]
    if not kinds:
        return "- |"
    theirs = min(sum(quantile(r[kind], 0.5) for r in rows_of) for kind in kinds)
    return "%.2f%s |" % (theirs / sum(quantile(r["ours"], 0.5) for r in rows_of),
                         "" if "compiled" in kinds else ", over eager alone")


def table(run):
    rows, images_of = run.rows, run.ours["rows"]
    lines = ["", "## %s, %d rows" % (run.title, images_of), "",
             "| images/s | ours | eager | compiled | ratio |", "|---|--:|--:|--:|--:|"]
    for r in rows:
        lines.append("| %s | %s %s %s %s"
                     % (r["name"], cell(r["ours"], images_of), cell(r.get("eager"), images_of),
                        cell(r.get("compiled"), images_of), ratio([r])))
    totals = []
    for kind in ("ours", "eager", "compiled"):
        whole = all(r.get(kind) for r in rows)
        totals.append("%.0f |" % (1e6 * images_of / sum(quantile(r[kind], 0.5) for r in rows))
                      if whole else "- |")
    lines.append("| all | %s %s" % (" ".join(totals), ratio(rows)))
    return lines


def page(runs, args, skipped):
    where = torch.cuda.get_device_name() if args.device == "cuda" else "cpu, one thread"
    lines = ["PyTorch %s on %s; a ratio above 1: ours is faster than PyTorch's better one"
             % (torch.__version__, where)]
    for run in runs:
        lines += table(run)
    for name in skipped:
        lines += ["", "not measured: " + name]
    return "\n".join(lines) + "\n"


def write_whole(path, text):
    """Never half of it."""
    if path:
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--compile", metavar="MODE", default="reduce-overhead")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--table", metavar="FILE",
                        help="the tables, as they are printed at the end")
    parser.add_argument("ours", nargs="+")
    args = parser.parse_args()
    deadline, skipped, faults = time.monotonic() + args.seconds, [], []
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("blocks_torch.py: this PyTorch (%s) sees no card" % torch.__version__)
    if args.device == "cpu":
        torch.set_num_threads(1)
    runs = read(args.ours, skipped, faults)

    def write():
        write_whole(args.json, json.dumps([run.kept() for run in runs], indent=1))
        write_whole(args.table, page(runs, args, skipped))

    write()
    measure("eager", runs, 0, args, deadline, skipped, faults, write)
    if args.compile == "none":
        skipped.append("compiled: --compile none")
    else:
        measure("compiled", runs, COMPILE_SECONDS, args, deadline, skipped, faults, write)
    write()
    print(page(runs, args, skipped), end="")
    if not any(r.get("eager") for run in runs for r in run.rows):
        sys.exit("blocks_torch.py: nothing was measured")
    if faults:
        sys.exit("blocks_torch.py: %d failed, see what was not measured" % len(faults))


if __name__ == "__main__":
    main()
