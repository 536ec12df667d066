#!/usr/bin/env python3
"""Runs traces/capture_torch.py on a tiny pair and checks what it writes.

    python3 tests/test_capture.py

Prints TAP. Needs torch; without it the whole file is one skip. Bundled traces
made by the script are held to the same shape. No test looks at how long
anything took, only that it took some time.
"""

import contextlib
import gc
import glob
import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile

from tap import done_testing, import_torch, ok

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CAPTURE = os.path.join(ROOT, "traces", "capture_torch.py")

# 3x32x32 -> 4x32x32 -> 6x16x16 -> 5: small enough to count by hand below, and large beside the
# objects of the interpreter, of which a sampled peak has a kilobyte more or less.
TINY = '''
from collections import OrderedDict
from torch import nn

def teacher():
    return [nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU()),
            nn.Conv2d(4, 6, 3, stride=2, padding=1),
            nn.Sequential(nn.Flatten(), nn.Linear(1536, 5))]

def student():
    return nn.Sequential(OrderedDict(stem=nn.Conv2d(3, 4, 1, bias=False),
        body=nn.Sequential(nn.Conv2d(4, 6, 1, stride=2), nn.Sigmoid()),
        head=nn.Sequential(nn.Flatten(), nn.Linear(1536, 5))))

def wrong_shape():
    return [nn.Conv2d(3, 5, 1), nn.Conv2d(4, 6, 1, stride=2),
            nn.Sequential(nn.Flatten(), nn.Linear(1536, 5))]

def short():
    return teacher()[:2]

def untrainable():
    return [nn.Conv2d(3, 4, 1), nn.Identity(), nn.Identity()]

def no_chain():
    return 42

def no_module():
    return [lambda x: x] * 3

def raises():
    raise KeyError("first line\\nsecond line")

def misfit():
    return [nn.Conv2d(7, 4, 1)] + list(student())[1:]

class Infinite(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * float("inf")

def infinite():
    return [Infinite(3, 4, 1)]

empty = list
'''

# A model that imports what lies beside it, and its data.
BESIDE = '''
import torch
import tiny

def teacher(): return tiny.teacher()
def student(): return tiny.student()

class Rows(torch.utils.data.Dataset):
    def __len__(self): return 50
    def __getitem__(self, i):
        if not 0 <= i < 50: raise IndexError(i)
        return torch.full((3, 32, 32), float(i)), i

class Stream(torch.utils.data.IterableDataset):
    def __iter__(self): return iter([torch.zeros(3, 32, 32)] * 9)

def rows(): return Rows()
def stream(): return Stream()
def batches():
    return torch.utils.data.DataLoader(Rows(), batch_size=2, num_workers=1, prefetch_factor=3)
def number(): return 5
def few(): return torch.utils.data.Subset(Rows(), [60])
class None_(Stream):
    def __iter__(self): return iter([])
def none(): return None_()
'''

def capture(*words):
    return subprocess.run([sys.executable, CAPTURE] + list(words), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)


def capture_here(*words):
    """The same in this process, which has imported torch already: that takes seconds."""
    sys.path.insert(0, os.path.dirname(CAPTURE))
    import capture_torch
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [CAPTURE] + list(words)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = capture_torch.main()
    finally:
        sys.argv = argv
        sys.path.remove(os.path.dirname(CAPTURE))
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def is_count(value, least=0):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_time(value):
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0


def check_block(block, batches):
    """An empty string, or what is wrong."""
    if list(block) != ["name", "output_bytes", "teacher", "student", "timings"]:
        return "keys %s" % list(block)
    if list(block["teacher"]) != ["weight_bytes", "activation_bytes"]:
        return "teacher's keys %s" % list(block["teacher"])
    if list(block["student"]) != ["weight_bytes", "gradient_bytes", "state_bytes",
                                  "activation_bytes"]:
        return "student's keys %s" % list(block["student"])
    counts = list(block["teacher"].values()) + list(
        block["student"].values()) + [block["output_bytes"]]
    if not all(is_count(c) for c in counts):
        return "counts %s" % counts
    if [t["batch"] for t in block["timings"]] != batches:
        return "batches %s" % [t["batch"] for t in block["timings"]]
    for t in block["timings"]:
        if list(t) != ["batch", "teacher_us", "forward_us", "backward_us", "update_us", "spread"]:
            return "timing's keys %s" % list(t)
        if not all(is_time(t[k]) for k in ("teacher_us", "forward_us", "backward_us", "update_us")):
            return "a time is not positive: %s" % t
        if not 0 <= t["spread"] <= 10:
            return "spread %s" % t
    return ""


def check_trace(trace, label, batches, devices):
    """What any trace of the script must be, whatever the model."""
    keys = ["format", "version", "name", "provenance", "workload", "devices", "input_bytes",
            "blocks", "loader", "step_us", "process_bytes", "transfers", "p2p", "allreduce"]
    ok([k for k in keys if k in trace] == list(trace) and set(keys) - set(trace)
       <= {"loader", "step_us", "process_bytes"}, label + ": top-level keys, in order", list(trace))
    ok(list(trace["provenance"]) == ["kind", "source", "date", "notes"]
       and trace["provenance"]["kind"] == "measured", label + ": says that it is measured")
    ok(" /" not in trace["provenance"]["notes"], label + ": no absolute path in the notes",
       trace["provenance"]["notes"])
    ok([d["count"] for d in trace["devices"]] == [devices], label + ": device count")
    wrong = [why for why in (check_block(b, batches) for b in trace["blocks"]) if why]
    ok(not wrong, label + ": blocks", wrong)
    ok(trace["transfers"] == "blocking", label + ": transfers")
    loader = trace.get("loader")
    ok(not loader
       or list(loader) == ["batch_us", "sample_us", "lanes", "prefetch"] and loader["batch_us"] >= 0
       and is_time(loader["sample_us"]) and (loader["lanes"], loader["prefetch"]) == (1, 2),
       label + ": loader", loader)
    check_links(trace, label, devices)


def check_links(trace, label, devices):
    """Measured points must enclose every transfer a schedule can ask for."""
    relayed = [b["output_bytes"] for b in trace["blocks"][:-1]]
    sizes = [p["bytes"] for p in trace["p2p"]]
    batch = trace["workload"]["batch"]
    ok(sizes == sorted(set(sizes)) and {min(relayed)} | {r * batch for r in relayed} <= set(sizes)
       and all(is_time(p["us"]) for p in trace["p2p"]),
       label + ": transfers from one row to every boundary", sizes)
    gradients = {b["student"]["gradient_bytes"] for b in trace["blocks"]}
    by_count = {w: [p["bytes"] for p in trace["allreduce"] if p["devices"] == w]
                for w in range(2, devices + 1)}
    ok(sum(map(len, by_count.values())) == len(trace["allreduce"])
       and all(s == sorted(set(s)) and gradients <= set(s) for s in by_count.values())
       and all(is_time(p["us"]) for p in trace["allreduce"]),
       label + ": all-reduce of every gradient", by_count)


def check_tiny(trace):
    """Counted by hand, float32; tests/test_capture_memory.py holds activations to a count."""
    ok(trace["input_bytes"] == 3 * 32 * 32 * 4, "tiny: input bytes")
    ok([b["name"] for b in trace["blocks"]] == ["stem", "body", "head"] or
       [b["name"] for b in trace["blocks"]] == ["b0", "b1", "b2"], "tiny: names")
    ok([b["output_bytes"] for b in trace["blocks"]] == [16384, 6144, 20], "tiny: output bytes")
    ok([b["teacher"]["weight_bytes"] for b in trace["blocks"]]
       == [432, (216 + 6) * 4, (7680 + 5) * 4],
       "tiny: teacher weights")
    students = [b["student"] for b in trace["blocks"]]
    want = [12 * 4, (24 + 6) * 4, (7680 + 5) * 4]
    for key in ("weight_bytes", "gradient_bytes", "state_bytes"):
        ok([s[key] for s in students] == want, "tiny: student " + key, [s[key] for s in students])
    # The loss's gradient is as large as the output, and lives with what the backward keeps of the
    # stem or the sigmoid. The head's gradients of weights are larger than all of that, so that
    # nothing is beyond them. Without Kineto malloc() is sampled, where the interpreter's own
    # objects add and take a little: a tenth is allowed.
    least = [0.9 * 2 * 16384, 0.9 * 2 * 6144]
    ok(all(low <= s["activation_bytes"] <= 8 * low for s, low in zip(students, least)),
       "tiny: student activations",
       [s["activation_bytes"] for s in students])
    # ReLU's input and output are alive together, of which the latter is the boundary.
    ok(0.9 * 16384 <= trace["blocks"][0]["teacher"]["activation_bytes"] <= 8 * 16384,
       "tiny: teacher activations",
       [b["teacher"]["activation_bytes"] for b in trace["blocks"]])


def check_captures(folder, model):
    shape = ["--input-shape", "3,32,32", "--samples", "70", "--trials", "5", "--warmup", "1"]
    path = os.path.join(folder, "tiny.json")
    done = capture(model + ":teacher", model + ":student", *shape, "--batch", "7", "--devices", "3",
                   "--notes", "A remark.", "--name", "tiny", "-o", path)
    ok(done.returncode == 0 and done.stdout == "", "captures a tiny pair", done.stderr)
    ok(not glob.glob(path + ".*"), "leaves no partial file")
    with open(path, encoding="utf-8") as f:
        trace = json.load(f)
    check_trace(trace, "tiny", [2, 3, 4, 7], 3)
    ok(trace["workload"] == {"name": "tiny", "batch": 7, "samples": 70}, "tiny: workload",
       trace["workload"])
    ok("A remark." in trace["provenance"]["notes"], "tiny: own notes")
    check_tiny(trace)

    done = capture(model + ":teacher", model + ":student", *shape, "--batch", "4", "--devices", "1",
                   "--optimizer", "adam", "--batches", "2", "--trials", "2")
    ok(done.returncode == 0, "adam, one device, to stdout", done.stderr)
    trace = json.loads(done.stdout)
    ok("p2p" not in trace and "allreduce" not in trace, "one device: no transfers")
    ok([t["batch"] for t in trace["blocks"][0]["timings"]] == [2, 4], "--batches, with B added")
    ok("spread" not in trace["blocks"][0]["timings"][0], "two trials: no spread")
    ok(trace["blocks"][0]["student"]["state_bytes"] >= 2 * 48, "adam: two moments a weight")


def check_loaders(folder):
    """The user's data: what is measured of it stands in the trace; without, no loader does."""
    path = os.path.join(folder, "beside.py")
    with open(path, "w", encoding="utf-8") as f:
        f.write(BESIDE)
    quick = [path + ":teacher", path + ":student", "--input-shape", "3,32,32", "--batch", "4",
             "--devices", "2",
             "--trials", "1", "--warmup", "0", "--samples", "20"]
    done = capture(*quick)
    ok(done.returncode == 0, "a module beside the file is imported", done.stderr)
    trace = json.loads(done.stdout)
    ok("loader" not in trace and trace["version"] == 2
       and "loader: none" in trace["provenance"]["notes"], "no loader is said", trace)
    for words, want in ((["--loader", path + ":rows", "--workers", "2"],
                         {"workers": 2, "cores": min(2, os.cpu_count() or 1), "prefetch": 2}),
                        (["--loader", path + ":batches"],
                         {"workers": 1, "cores": 1, "prefetch": 3}),
                        (["--loader", path + ":stream", "--workers", "0"],
                         {"lanes": 2, "prefetch": 0})):
        done = capture_here(*quick + words)
        trace = json.loads(done.stdout or "{}")
        loader = trace.get("loader", {})
        good = {k: v for k, v in loader.items() if not k.endswith("_us")} == want
        ok(good and is_time(loader["sample_us"]) and loader["batch_us"] >= 0,
           "a loader: " + " ".join(words[1:]).replace(path, ""), done.stderr + str(loader))
    for name, words, want in (("no dataset", ["--loader", path + ":number"], "int is no dataset"),
                              ("data that raise", ["--loader", path + ":few", "--workers", "0"],
                               "IndexError"),
                              ("no rows", ["--loader", path + ":none", "--workers", "0"],
                               "no batch of 2 rows"),
                              ("workers of nothing", ["--workers", "3"],
                               "no effect without --loader"),
                              ("a loader that is not there", ["--loader", path + ":nobody"],
                               "no callable nobody")):
        done = capture_here(*quick + words)
        ok(done.returncode == 2 and done.stdout == "" and want in done.stderr.splitlines()[-1],
           "refused: " + name, done.stderr)


# Tokens and a table that all rows share; one block returns a tuple; several students; what deserves
# a note.
MIXED = '''
import torch
from torch import nn

class Embed(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.unused = nn.Embedding(50, 16), nn.Linear(2, 2)
    def forward(self, ids, rotary): return self.table(ids) + rotary

class Mix(nn.Module):
    def __init__(self, linear=None):
        super().__init__()
        self.linear = linear or nn.Linear(16, 16)
    def forward(self, hidden, rotary): return (hidden + self.linear(hidden) * rotary,)

class Writes(Mix):
    def forward(self, hidden, rotary): return self.linear(hidden.mul_(0.5))

shared = nn.Linear(16, 16)
def teacher(): return [Embed(), Mix(), Mix()]
def student(): return [[Embed(), Embed()], dict(a=Mix(shared), b=Mix()), Mix(shared)]
def writes(): return [Embed(), Mix(), Writes()]
def tokens(rows): return torch.randint(0, 50, (rows, 5)), torch.ones(5, 16)
def none(rows): return None
def fewer(rows): return torch.zeros(rows - 1, 3)
'''


def check_mixed(folder):
    path = os.path.join(folder, "mixed.py")
    with open(path, "w", encoding="utf-8") as f:
        f.write(MIXED)
    profile = os.path.join(folder, "profile.json")
    import torch
    kineto = torch.autograd.kineto_available()
    quick = ["--batch", "8", "--devices", "2", "--trials", "1", "--warmup", "0", "--samples", "20"]
    done = capture_here(path + ":teacher", path + ":student", "--inputs", path + ":tokens",
                        "--optimizer", "adamw",
                        "--precision", "autocast", "--loss", "kl",
                        *(["--profile", profile] if kineto else []), *quick)
    ok(done.returncode == 0, "tokens, tuples, several students, autocast, adamw", done.stderr)
    trace = json.loads(done.stdout or "{}")
    blocks = trace["blocks"]
    ok(trace["input_bytes"] == 5 * 8
       and [b["output_bytes"] for b in blocks] == [5 * 16 * 4, 5 * 16 * 4, 5 * 16 * 4],
       "bytes of what has rows: the table is not relayed", (trace["input_bytes"],
                                                            [b["output_bytes"] for b in blocks]))
    ok([[s["name"] for s in b.get("students", [])] for b in blocks]
       == [["s0", "s1"], ["a", "b"], []], "several students a block, by name")
    ok([list(t) for t in blocks[1]["timings"]] == [["batch", "teacher_us"]] * 2
       and list(blocks[1]["students"][0]["timings"][0])
       == ["batch", "forward_us", "backward_us", "update_us"], "each with times of its own")
    notes = trace["provenance"]["notes"]
    ok("blocks 1 and 2 of the student share the parameter linear.weight" in notes,
       "shared parameters are noted", notes)
    ok("student block 0 has parameters without a gradient, never trained: unused.weight, "
       "unused.bias" in notes, "unused ones too")
    ok("writes into its input" not in notes and "adamw, loss kl, autocast" in notes,
       "how it was trained is said")
    tools = os.environ.get("PIPEBD_BIN") or os.path.join(ROOT, "build", "bin")
    for words, name in ((["check", "-"], "pipebd-trace reads it"),
                        (["import", "--from", "kineto", profile, "--rows", "8", "--batch", "8",
                          "--samples", "20", "--devices", "2",
                          "-o", "-"], "and imports the profile"))[:2 if kineto else 1]:
        run = subprocess.run([os.path.join(tools, "pipebd-trace")] + words, input=done.stdout,
                             stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, universal_newlines=True, check=False)
        ok(run.returncode == 0, name, run.stdout)
    if not kineto:
        print("# this torch has no Kineto: no profile")
    ok(not kineto or '"name": "b2"' in run.stdout and '"teacher_us"' in run.stdout,
       "with the blocks' names", run.stdout[:500])
    run = subprocess.run([os.path.join(tools, "pipebd-plan"), "-", "--sensitivity", "no"],
                         input=done.stdout, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, universal_newlines=True, check=False)
    ok(run.stdout.split("\n")[0].endswith("(measured trace, no loader)"),
       "the plan's headline says that there is no loader", run.stdout[:300])
    done = capture_here(path + ":writes", path + ":teacher", "--inputs", path + ":tokens",
                        "--precision", "bfloat16", *quick)
    trace = json.loads(done.stdout or "{}")
    ok(done.returncode == 0
       and "block 2 of the teacher writes into its input" in trace["provenance"]["notes"]
       and "note: block 2 of the teacher" in done.stderr,
       "writing into a boundary is noted, on stderr too", done.stderr)
    ok([b["output_bytes"] for b in trace["blocks"]] == [5 * 16 * 2] * 3
       and trace["blocks"][1]["student"]["weight_bytes"] == (16 * 16 + 16) * 2,
       "bfloat16 is half as large", [b["output_bytes"] for b in trace["blocks"]])
    for loss in ("l1", "smooth_l1", "cosine", "cross_entropy"):
        done = capture_here(path + ":teacher", path + ":student", "--inputs", path + ":tokens",
                            "--loss", loss, "--batches", "8",
                            "--batch", "8", "--devices", "1", "--trials", "1", "--warmup", "0")
        ok(done.returncode == 0 and "loss " + loss in done.stdout, "loss " + loss, done.stderr)
    for name, want in (("none", "returned NoneType"), ("fewer", "expected a tensor of as "
                                                       "many rows")):
        done = capture_here(path + ":teacher", path + ":student", "--inputs", path + ":" + name,
                            *quick)
        ok(done.returncode == 2 and want in done.stderr.splitlines()[-1],
           "refused: inputs that are " + name, done.stderr)


def check_collections():
    """What has switched off collections of garbage finds them off."""
    sys.path.insert(0, os.path.dirname(CAPTURE))
    import torch
    import torch_costs
    gc.disable()
    try:
        peak = torch_costs._sampled_peak(lambda: torch.ones(1 << 20).add(1))
        ok(not gc.isenabled(), "a peak leaves collections of garbage as they were")
        ok(peak > 7 << 20, "two tensors of 4 MiB live at its end", peak)
    except RuntimeError as e:
        print("# %s" % e)
    finally:
        gc.enable()
        sys.path.remove(os.path.dirname(CAPTURE))


def check_refusals(folder, model):
    good = [model + ":teacher", model + ":student", "--input-shape", "3,32,32"]
    quick = ["--input-shape", "3,32,32", "--trials", "1", "--batch", "4"]
    cases = [
        ("a file that is not there", [folder + "/none.py:teacher", model + ":student"], "no file"),
        ("no callable named", [model, model + ":student"], "expected file.py:callable"),
        ("a callable that is not there", [model + ":nobody", model + ":student"],
         "no callable nobody"),
        ("a callable that raises", [model + ":raises", model + ":student"], "KeyError"),
        ("a chain that is none", [model + ":no_chain", model + ":student"], "returned int"),
        ("a block that is no module", [model + ":no_module", model + ":student"],
         "expected an nn.Module"),
        ("an empty chain", [model + ":empty", model + ":student"], "no blocks"),
        ("chains of two lengths", [model + ":teacher", model + ":short"], "the student 2"),
        ("nothing to train", [model + ":teacher", model + ":untrainable"], "nothing to train"),
        ("student of another shape", [model + ":teacher", model + ":wrong_shape"] + quick,
         "block 0"),
        ("a block that refuses its input", [model + ":teacher", model + ":misfit"] + quick,
         "block 0 at batch"),
        ("an infinite output", [model + ":infinite", model + ":infinite"] + quick, "not finite"),
        ("fewer rows than devices", good + ["--batch", "3"], "without a row"),
        ("a batch above B", good + ["--batch", "8", "--batches", "9"], "more than --batch 8"),
        ("batch 0", good + ["--batch", "0"], "--batch"),
        ("a shape of words", good[:2] + ["--input-shape", "3,x"], "--input-shape"),
        ("an unknown option", good + ["--speed", "9"], "--speed"),
        ("an unknown device", good + ["--device", "abacus"], "abacus"),
        ("a folder that is not there", good + ["-o", folder + "/no/t.json"], "no folder"),
        ("a folder that is not there, for the profile", good + ["--profile", folder + "/no/p.json"],
         "no folder"),
    ]
    for name, words, want in cases:
        done = capture_here(*words)
        lines = done.stderr.splitlines()
        if "--trials" in words:     # found while measuring: the settings were printed before
            lines = lines[-1:] if lines[0].startswith("input-shape") else lines
        ok(done.returncode == 2 and done.stdout == "" and len(lines) == 1
           and lines[0].startswith("capture_torch.py: ") and want in lines[0], "refused: " + name,
           "exit %d\n%s" % (done.returncode, done.stderr))
    ok(capture("--help").returncode == 0, "--help exits 0")


def check_without_torch(folder):
    """A torch.py before the real one: it cannot be imported, or it takes long."""
    first = os.path.join(folder, "first")
    os.mkdir(first)
    with open(os.path.join(first, "torch.py"), "w", encoding="utf-8") as f:
        f.write('raise ImportError("none")\n')
    done = subprocess.run([sys.executable, CAPTURE, "a.py:b", "a.py:c"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True, env=dict(os.environ, PYTHONPATH=first))
    ok(done.returncode == 2
       and done.stderr.startswith("capture_torch.py: torch is not installed for this Python, %s: "
                                  % sys.executable)
       and " install " in done.stderr and done.stderr.count("\n") == 1,
       "no torch: for which Python, and how to get it", done.stderr)
    with open(os.path.join(first, "torch.py"), "w", encoding="utf-8") as f:
        f.write(
            'import sys, time\nprint("importing", file=sys.stderr, flush=True)\ntime.sleep(60)\n')
    check_interrupt("an interrupt while torch is imported", "importing", ["a.py:b", "a.py:c"],
                    PYTHONPATH=first)


def check_interrupt(name, when, words, **environment):
    """Ctrl-C once the line when was seen: one line more, and the status that shells give."""
    process = subprocess.Popen(
        [sys.executable, CAPTURE] + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True, env=dict(os.environ, **environment),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    for line in process.stderr:
        if line.startswith(when):
            break
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate()
    ok(process.returncode == 130 and out == "" and rest == "capture_torch.py: interrupted\n", name,
       "exit %d\n%s" % (process.returncode, rest))


def check_bundled():
    for name, batches in (("mobilenet-cpu", [16, 21, 22, 32, 64]), ("vgg-cpu",
                                                                    [8, 10, 11, 16, 32])):
        with open(os.path.join(ROOT, "traces", name + ".json"), encoding="utf-8") as f:
            check_trace(json.load(f), name, batches, 4)


def main():
    import_torch()
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "tiny.py")
        with open(model, "w", encoding="utf-8") as f:
            f.write(TINY)
        check_captures(folder, model)
        check_loaders(folder)
        check_mixed(folder)
        check_collections()
        check_refusals(folder, model)
        check_without_torch(folder)
        check_interrupt("an interrupt while it measures", "seed",
                        [model + ":teacher", model + ":student", "--input-shape",
                         "3,32,32", "--trials", "1000000"])
    check_bundled()
    return done_testing()


if __name__ == "__main__":
    sys.exit(main())
