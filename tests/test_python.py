#!/usr/bin/env python3
"""The Python package: built, installed, and held against the tools.

    python3 tests/test_python.py

Prints TAP. What needs pip or torch is skipped without; a build under sanitizers has no library.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import typing
import zipfile

import tap
from tap import ok

ROOT = os.environ.get("PIPEBD_ROOT") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("PIPEBD_BIN") or os.path.join(ROOT, "build", "bin")
LIBRARY = os.path.join(os.path.dirname(BIN), "lib", "libpipebd.so")
NAS = os.path.join(ROOT, "traces", "nas-cifar10-a6000.json")
STUDENTS = os.path.join(ROOT, "traces", "mobilenet-students.json")
SYSTEM = "/usr/bin/python3"

CAPTURE = '''
import sys
import pipebd
if "torch" in sys.modules: sys.exit("import pipebd imports torch")
import torch
from torch import nn

class Rows(torch.utils.data.Dataset):
    def __len__(self): return 64
    def __getitem__(self, i):
        if i < 0 or i > 63: raise IndexError(i)
        return torch.full((3, 8, 8), float(i)), i

class Broken(Rows):
    def __getitem__(self, i): raise OSError("row %d is gone" % i)

def chain():
    return [nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()), nn.Conv2d(4, 6, 3, padding=1)]

quick = dict(input_shape=(3, 8, 8), batch=8, devices=2, samples=100, trials=2, warmup=1)
threads = torch.get_num_threads()
trace = pipebd.capture(chain, nn.Sequential(*chain()), loader=Rows(), workers=2, name="mine",
                       **quick)
loader = trace.to_dict()["loader"]
print(trace.name, trace.block_names, trace.batch, trace.device_count, loader["workers"],
      loader["prefetch"], loader["sample_us"] > 0)
print(pipebd.plan(trace).best.epoch_ns > 0, torch.get_num_threads() == threads)
batches = torch.utils.data.DataLoader(Rows(), batch_size=4)
loaded = pipebd.capture(chain(), chain(), loader=batches, **quick).to_dict()["loader"]
print(loaded["lanes"], loaded["prefetch"])
print("loader" in pipebd.capture(chain(), chain(), **quick).to_dict())
for bad in (dict(loader=Broken(), workers=0), dict(loader=5), dict(batch=0), dict(speed=1),
            dict(optimizer="none"), dict(workers=1)):
    try:
        pipebd.capture(chain(), chain(), **dict(quick, **bad))
        print("taken:", bad)
    except pipebd.Error as error:
        print(error)
'''

CAPTURED = ["mine ['b0', 'b1'] 8 2 2 2 True", "True True", "2 0", "False", "is gone",
            "loader: ValueError: int is no dataset",
            "batch: 0 is too small", "unknown option speed",
            "optimizer is 'none', expected sgd or adam", "no effect without"]


def run(words, **environment):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True,
                          env=dict(os.environ, **environment), cwd=ROOT, check=False)


def build(folder):
    """The wheel through its backend, unpacked: the folder that has the package, and the wheel's
    path."""
    done = run([sys.executable, "-c", "import sys; sys.path.insert(0, 'python'); import "
                "build_wheel; print(build_wheel.build_wheel(sys.argv[1]))", folder],
               PIPEBD_LIBRARY=LIBRARY, PYTHONDONTWRITEBYTECODE="1")
    ok(done.returncode == 0, "the wheel is built", done.stdout)
    wheel = os.path.join(folder, done.stdout.strip().splitlines()[-1])
    site = os.path.join(folder, "site")
    with zipfile.ZipFile(wheel) as archive:
        ok(archive.testzip() is None and "pipebd/libpipebd.so" in archive.namelist()
           and "pipebd/torch_capture/capture_torch.py" in archive.namelist(),
           "it has the library and the capture", archive.namelist())
        archive.extractall(site)
    return site


def check_pip(folder):
    """As a user installs it; nothing is fetched."""
    if run([sys.executable, "-m", "pip", "--version"]).returncode != 0:
        print("# pip is not there: not installed with it")
        return
    target = os.path.join(folder, "pip")
    done = run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check",
                "--no-index", "--no-deps", "--target", target,
                "./python"], PIPEBD_LIBRARY=LIBRARY, PIP_ROOT_USER_ACTION="ignore")
    ok(done.returncode == 0, "pip install ./python", done.stdout)
    done = run([sys.executable, "-c", "import pipebd; print(pipebd.__version__)"],
               PYTHONPATH=target)
    listed = run([sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--path",
                  target]).stdout
    version = done.stdout.strip()
    with open(os.path.join(ROOT, "include", "pipebd.h"), encoding="utf-8") as file:
        ok(done.returncode == 0 and '"%s"' % version in file.read() and version in listed,
           "what it installs has the header's version",
           done.stdout + listed)


def check_comparison(pipebd, path, **options):
    """All that the package says is what pipebd-plan prints."""
    name = os.path.basename(path)
    comparison = pipebd.plan(path, **options)
    words = [os.path.join(BIN, "pipebd-plan"), path, "--sensitivity", "no"]
    words += [word for key, value in options.items()
              for word in ("--" + key, ",".join(value) if isinstance(value, list) else str(value))]
    told = json.loads(run(words + ["--format", "json"]).stdout)
    told.pop("command", None)
    said = comparison.to_dict()
    said["trace"] = told["trace"]
    ok(said == told, name + ": JSON is that of pipebd-plan")
    ok(comparison.table() == run(words).stdout, name + ": so is the table")
    ok(comparison.to_csv() == run(words + ["--format", "csv"]).stdout, name + ": so is CSV")
    rows = comparison.rows()
    told_rows = {row["schedule"]: row for row in told["schedules"]}
    ok(len(rows) == len(told_rows) and all(
        abs(row["epoch_ns"] * 1e-9 - told_rows[row["schedule"]]["epoch_s"]) < 1e-8
        for row in rows if not row["why"]),
       name + ": rows are its schedules", rows)
    best = comparison.best
    ok(best.epoch_ns == min(p.epoch_ns for p in comparison.predictions.values() if p.plan),
       name + ": best is the shortest epoch")
    ok(all(sum(v for k, v in use.items() if k.endswith("_ns")) == best.epoch_ns
           for use in best.rows()),
       name + ": a device's shares sum to the epoch", best.rows())
    again = comparison.simulate()
    ok(again == dataclasses.replace(best, method=again.method, speedup=0.0),
       name + ": the plan simulates as it was compared", again)
    ok(sum(row["rows"] for row in best.plan.rows() if row["stage"] == 0) == best.plan.batch,
       name + ": a stage has the batch's rows")
    return comparison


def check_files(pipebd, folder):
    """Traces and plans come back as they were written."""
    trace = pipebd.Trace.read(NAS)
    path = os.path.join(folder, "trace.json")
    trace.write(path)
    with open(path, encoding="utf-8") as file:
        ok(file.read() == trace.to_json(), "a trace is written as its text")
    ok(pipebd.Trace.from_dict(trace.to_dict()).to_json() == trace.to_json(),
       "a trace through a dict is the same")
    ok((trace.name, trace.block_names[5], trace.device_count, trace.batch, trace.samples)
       == ("nas-cifar10-a6000", "b5", 4, 256, 45000),
       "what a trace is asked for")
    plan = pipebd.plan(trace).best.plan
    plan.write(path)
    ok(pipebd.Plan.read(path) == plan
       and pipebd.Plan.from_dict(plan.to_dict()).stages == plan.stages, "a plan comes back")
    done = run([os.path.join(BIN, "pipebd-sim"), NAS, "--plan", path])
    ok(done.returncode == 0, "pipebd-sim takes it", done.stdout)


def refused(call, part, name, place=(None, None)):
    """An Error that says part, at line and column."""
    import pipebd
    try:
        call()
        ok(False, "refused: " + name, "it was taken")
    except pipebd.Error as error:
        ok(part in str(error) and (error.line, error.column) == place,
           "refused: " + name, (str(error), error.line, error.column))


def check_errors(pipebd):
    trace = pipebd.Trace.read(NAS)
    refused(lambda: pipebd.Trace.from_json('{"format": "pipebd-trace",\n "version": 7}', "my.json"),
            "my.json:2:13: version 7", "a version", (2, 13))
    refused(lambda: pipebd.Trace.read("/nothere.json"), "/nothere.json", "a file that is not there")
    refused(lambda: pipebd.Trace.read("a\0b"), "NUL", "a path with a NUL")
    refused(lambda: pipebd.Trace.from_dict({"format": 7}), "string", "a number for a name", (2, 12))
    refused(lambda: trace.write("/nothere/x.json"), "/nothere/x.json", "a folder that is not there")
    for name, options, part in (("no devices", {"devices": 0}, "devices is 0"), (
            "too many devices", {"devices": 5000}, "0 to 4096"),
                                ("an unknown schedule", {"schedules": "dp,gp"},
                                 "'gp'"), ("no schedules", {"schedules": []}, "empty"),
                                ("little memory", {"memory": 5},
                                 "no schedule is possible"), ("GLPK", {"ls": "glpk"}, "'glpk'"),
                                ("an unknown cost", {"cost": "much"},
                                 "'much'"), ("a batch not measured", {"batch": 100000}, "batch")):
        refused(lambda: pipebd.plan(trace, **options), part, name)
    comparison = pipebd.plan(trace, schedules=["dp"])
    refused(lambda: comparison.simulate("ahd"), "was not compared",
            "a schedule that was not compared")
    refused(lambda: comparison.report("page.txt"), ".html", "a report that is no page")
    try:
        pipebd.plan(trace, devices=2.5)
        ok(False, "half a device is a TypeError")
    except TypeError:
        ok(True, "half a device is a TypeError")


def documented(pipebd):
    """Public names without a docstring or type hints."""
    bad = []
    for name in pipebd.__all__:
        thing = getattr(pipebd, name)
        members = [(name, thing)]
        if isinstance(thing, type):
            members += [(name + "." + n, getattr(m, "__func__", getattr(m, "fget", m)))
                        for n, m in vars(thing).items()
                        if not n.startswith("_")
                        and (callable(m) or isinstance(m, (property, classmethod)))]
        for label, member in members:
            typed = isinstance(member, type) or "return" in typing.get_type_hints(member)
            if not member.__doc__ or not typed:
                bad.append(label)
    return bad


def check_report(pipebd, folder):
    page = os.path.join(folder, "page.html")
    pipebd.plan(NAS).report(page)
    with open(page, encoding="utf-8") as file:
        text = file.read()
    ok("nas-cifar10-a6000" in text and "</html>" in text, "a report is a page", text[:200])


def check_capture(site):
    for python in (sys.executable, SYSTEM):
        if os.access(python, os.X_OK) and run([python, "-c", "import torch"]).returncode == 0:
            break
    else:
        print("ok %d - a captured model # SKIP torch is not installed" % (tap._count + 1))
        tap._count += 1
        return
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "mine.py")
        with open(script, "w", encoding="utf-8") as file:
            file.write(CAPTURE)
        done = run([python, script], PYTHONPATH=site)
    lines = done.stdout.strip().splitlines()
    ok(done.returncode == 0 and len(lines) == len(CAPTURED)
       and all(want in line for line, want in zip(lines, CAPTURED)),
       "a captured model, and what capture refuses", done.stdout)


def main():
    if not os.path.exists(LIBRARY):
        print("1..0 # SKIP a build under sanitizers has no library to install")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        site = build(folder)
        check_pip(folder)
        os.environ["PIPEBD_BIN"] = BIN
        sys.path.insert(0, site)
        import pipebd
        check_comparison(pipebd, NAS)
        check_comparison(pipebd, NAS, devices=3, schedules=["dp", "tr", "ahd"], candidates=3)
        check_comparison(pipebd, STUDENTS, memory=64 << 20)
        check_files(pipebd, folder)
        check_errors(pipebd)
        ok(not documented(pipebd), "all public names have docstrings and type hints",
           documented(pipebd))
        check_report(pipebd, folder)
        words = [sys.executable, "tests/notebook.py", "docs/pipebd.ipynb"]
        words += ["--write"] if os.environ.get("PIPEBD_GOLDEN") == "write" else []
        done = run(words, PYTHONPATH=site)
        ok(done.returncode == 0, "docs/pipebd.ipynb runs, and prints what it shows", done.stdout)
        check_capture(site)
    return tap.done_testing()


if __name__ == "__main__":
    sys.exit(main())
