#!/usr/bin/env python3
"""PyTorch beside bench/blocks.c: the same step of every block, on the same device.

    blocks DEVICES WORKLOAD PRECISION ROWS > ours.json
    blocks_torch.py [--device cuda|cpu] [--seconds N] [--compile none|MODE] [--json FILE] ours.json...

A step is the teacher's forward (inference mode, batch norm folded), the student's forward, loss,
backward and SGD update, on random data in channels last, over the paths that ours took.
Eager: cudnn.benchmark on, SGD's fused kernel on cards. Compiled: the student's loss and the
teacher by torch.compile (by default mode reduce-overhead, which replays CUDA graphs as ours
does), once for every path. Precisions: fp32; tf32, allowed for products and convolutions;
bf16, autocast over float32 weights.

Times are those of the device: events in its stream around each step, none waited for before
the end. The tables show images a second from medians, with the 10th and 90th percentile
of the steps; a ratio above 1: ours is faster than the better of PyTorch's two. What the time
budget leaves no room for is named.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "pytorch"))

import torch
import torch.nn.functional as F
from torch_nets import Choice, folded, sequence


def quantile(values, q):
    values = sorted(values)
    at = q * (len(values) - 1)
    low = int(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def loss_of(kind, y, t):
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
        self.sgd = torch.optim.SGD(self.student.parameters(), lr=training["learning_rate"], momentum=training["momentum"],
                                   nesterov=training["nesterov"], weight_decay=training["weight_decay"], **more)

    def eager(self):
        self.give = self._teacher
        self.judge = self._loss

    def compiled(self, mode):
        self.give = torch.compile(self._teacher, mode=mode)
        self.judge = torch.compile(self._loss, mode=mode)

    def _teacher(self, x):
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            return self.teacher(x).float()

    def _loss(self, x, target):
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            y = self.student(x)
        return loss_of(self.kind, y.float().flatten(1), target.flatten(1))

    def take(self, path):
        for module, choice in zip(self.choices, path):
            module.taken = choice

    def __call__(self):
        with torch.no_grad():
            target = self.give(self.x)
        self.sgd.zero_grad(set_to_none=True)
        self.judge(self.x, target.clone()).backward()
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


def measure(run, args, deadline, skipped):
    """For each block: {"ours": us, "eager": us, "compiled": us or absent}."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = run["precision"] != "fp32"
    torch.backends.cudnn.benchmark = True
    workload = run["workload"]
    shape = tuple(workload["input"][k] for k in ("channels", "height", "width"))
    rows = []
    for ours, block in zip(run["blocks"], workload["blocks"]):
        name = "%s %s %s" % (workload["name"], run["precision"], ours["name"])
        step = Step(block, shape, run, workload["training"], args.device)
        shape = step.out
        row = {"name": ours["name"], "ours": ours["us"]}
        rows.append(row)
        if time.monotonic() > deadline:
            skipped.append(name)
            continue
        paths = [list(p) for p in dict.fromkeys(tuple(p) for p in ours["paths"])]
        row["eager"] = time_step(step, ours["paths"], run["warm"], len(ours["us"]), args.device)
        if args.compile == "none":
            continue
        if time.monotonic() > deadline:
            skipped.append(name + ", compiled")
            continue
        try:
            torch._dynamo.reset()
            for limit in ("recompile_limit", "cache_size_limit"):        # as versions call it; every path compiles
                if hasattr(torch._dynamo.config, limit):
                    setattr(torch._dynamo.config, limit, 2 * len(paths) + 8)
            step.compiled(args.compile)
            row["compiled"] = time_step(step, ours["paths"], run["warm"], len(ours["us"]), args.device)
        except Exception as error:                       # a compiler that fails is no reason to lose the rest
            skipped.append("%s, compiled: %s" % (name, str(error).split("\n")[0][:100]))
    return rows


def images(us, rows):
    return 1e6 * rows / quantile(us, 0.5)


def cell(us, rows):
    """Images a second of the median, and of the slowest and fastest tenth."""
    if not us:
        return "- |"
    return "%.0f (%.0f .. %.0f) |" % (images(us, rows), 1e6 * rows / quantile(us, 0.9), 1e6 * rows / quantile(us, 0.1))


def ratio(rows_of):
    """Of sums of medians: PyTorch's better one over ours."""
    theirs = [[quantile(r[kind], 0.5) for r in rows_of] for kind in ("eager", "compiled") if all(r.get(kind) for r in rows_of)]
    if not theirs:
        return "- |"
    return "%.2f |" % (min(sum(t) for t in theirs) / sum(quantile(r["ours"], 0.5) for r in rows_of))


def print_table(run, rows):
    print("\n## %s, %s, %d rows\n" % (run["workload"]["name"], run["precision"], run["rows"]))
    print("| images/s | ours | eager | compiled | ratio |\n|---|--:|--:|--:|--:|")
    for r in rows:
        print("| %s | %s %s %s %s" % (r["name"], cell(r["ours"], run["rows"]), cell(r.get("eager"), run["rows"]),
                                       cell(r.get("compiled"), run["rows"]), ratio([r])))
    totals = []
    for kind in ("ours", "eager", "compiled"):
        whole = all(r.get(kind) for r in rows)
        totals.append("%.0f |" % (1e6 * run["rows"] / sum(quantile(r[kind], 0.5) for r in rows)) if whole else "- |")
    print("| all | %s %s" % (" ".join(totals), ratio(rows)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--compile", metavar="MODE", default="reduce-overhead")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("ours", nargs="+")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("blocks_torch.py: this PyTorch (%s) sees no card" % torch.__version__)
    if args.device == "cpu":
        torch.set_num_threads(1)
    deadline, skipped, kept = time.monotonic() + args.seconds, [], []
    where = torch.cuda.get_device_name() if args.device == "cuda" else "cpu, one thread"
    print("PyTorch %s on %s; a ratio above 1: ours is faster than PyTorch's better one" % (torch.__version__, where))
    for path in args.ours:
        with open(path, encoding="utf-8") as file:
            run = json.load(file)
        rows = measure(run, args, deadline, skipped)
        print_table(run, rows)
        sys.stdout.flush()
        kept.append({"workload": run["workload"]["name"], "precision": run["precision"], "rows": run["rows"],
                     "kind": run["kind"], "torch": torch.__version__, "blocks": rows})
    for name in skipped:
        print("\nnot measured: " + name)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)


if __name__ == "__main__":
    main()
