#!/usr/bin/env python3
"""How far off predictions are over several validations.

    python3 bench/predictions.py [--runs N] [--devices SPEC] [--limit S] [--only NAME]...
                                 [--keep FOLDER [--resume]] [-o FILE]

Runs `pipebd-run validate` N times (6) for digits, vgg16-dsconv-cifar10-small and a small GPT made
here (four layers of 192 channels, students of half the FFN, sequences of 64 bytes, batch 16), in
turns. Each profiles anew, for --limit seconds (30) beyond its trials. The table, in
bench/results/predictions.md unless -o says otherwise, has a row a validation: the median and the
worst error of the schedules, and whether their order was as predicted; then the same if nobody
waited for who is stalled or slow (the plans simulated once more with the trace's `stalls` left
out), and if the machine's speed were left in (by the clock). BUILD: the build folder (build).
It wants a machine that does nothing else, and takes about a minute and a half a validation; those
that FOLDER has already are not run again with --resume."""
import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, os.environ.get("BUILD", "build"), "bin")
WORKLOADS = ["digits", "vgg16-dsconv-cifar10-small", "gpt"]
TIE = 1.02                       # predictions this near each other are one, as in validate

HEAD = """# Predictions over several validations

Made by `bench/predictions.py`; do not edit. Each row is a `pipebd-run validate`, which profiles,
predicts and runs all schedules; rows of the workloads alternate. Without waits: the same trace
without `stalls`, so with the same block times. By the clock: the machine's speed left in.
docs/measuring.md says what an error is.

| | |
|---|---|
| device | %s, %d cores online, %s |
| command | `python3 %s` |
| system | %s %s |
| date | %s |
"""


def gpt(path):
    def layer(ffn):
        return [{"layer": "residual", "body": [
                    {"layer": "layernorm"}, {"layer": "linear", "out": 576},
                    {"layer": "attention", "heads": 6, "head_dim": 32, "causal": True},
                    {"layer": "linear", "out": 192}]},
                {"layer": "residual", "body": [
                    {"layer": "layernorm"}, {"layer": "linear", "out": ffn}, {"layer": "gelu"},
                    {"layer": "linear", "out": 192}]}]

    first = [{"layer": "embedding", "vocabulary": 256, "out": 192, "positions": True}]
    blocks = [{"name": "layer%d" % i, "loss": "mse",
               "teacher": (first if i == 0 else []) + layer(768),
               "student": (first if i == 0 else []) + layer(384)} for i in range(4)]
    workload = {"format": "pipebd-workload", "version": 1, "name": "gpt",
                "input": {"tokens": 64, "vocabulary": 256}, "batch": 16, "samples": 4096,
                "training": {"optimizer": "adamw", "learning_rate": 1e-3}, "data": "synthetic",
                "blocks": blocks}
    with open(path, "w") as out:
        json.dump(workload, out, indent=1)


def run(*words):
    done = subprocess.run([os.path.join(BIN, words[0]), *words[1:]], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("predictions.py: %s\n%s" % (" ".join(words), done.stderr))
    return done.stdout


def simulated(trace, plan):
    return json.loads(run("pipebd-sim", trace, "--plan", plan, "--format", "json"))["epoch_s"]


def without_stalls(folder):
    """The trace without `stalls`; its path."""
    path = os.path.join(folder, "even.json")
    with open(os.path.join(folder, "trace.json")) as text:
        trace = json.load(text)
    for kind in trace["devices"]:
        kind.pop("stalls", None)
    with open(path, "w") as out:
        json.dump(trace, out)
    return path


def in_order(rows):
    """As validate has it: none predicted faster by more than a tie was slower by more than twice
    the standard errors of both."""
    return not any(a["s"] * TIE < b["s"]
                   and a["measured"] - b["measured"] > 2 * (a["known"]**2 + b["known"]**2)**0.5
                   for a in rows for b in rows)


def figures(rows):
    errors = [abs(r["measured"] / r["s"] - 1) for r in rows]
    return {"median": 100 * statistics.median(errors), "worst": 100 * max(errors),
            "order": in_order(rows),
            "errors": {r["name"]: 100 * (r["measured"] / r["s"] - 1) for r in rows}}


WAYS = ("with", "without", "clock")      # waits; the latter by the clock, with waits


def validated(folder):
    """What a validation in folder came to, each way."""
    with open(os.path.join(folder, "validation.json")) as text:
        v = json.load(text)
    with open(os.path.join(folder, "trace.json")) as text:
        stalls = json.load(text)["devices"][0].get("stalls", {})
    even, rows = without_stalls(folder), {way: [] for way in WAYS}
    possible = [s for s in v["schedules"] if "impossible" not in s]
    for s in possible:
        plan = os.path.join(folder, "plan-%s.json" % s["schedule"])
        ratio = simulated(even, plan) / simulated(os.path.join(folder, "trace.json"), plan)
        predicted, measured = s["predicted_epoch_s"], s["measured_epoch_s"]
        for way, of, took in (("with", predicted, measured),
                              ("without", predicted * ratio, measured),
                              ("clock", predicted, measured / s["speed"])):
            rows[way].append({"name": s["schedule"], "measured": took, "s": of,
                              "known": s["standard_error"] * predicted})
    share, us = 0, stalls.get("us", [])
    for i, length in enumerate(us):
        share += stalls["per_ms"] * length * 0.5 ** min(i + 1, max(len(us) - 1, 1)) * 1e-3
    found = {way: figures(rows[way]) for way in WAYS}
    found.update(core=100 * v["core_share"], stalled=100 * share,
                 skew=100 * stalls.get("skew", 0),
                 speed=[100 * f(s["speed"] for s in possible) for f in (min, max)],
                 known=100 * max(s["standard_error"] for s in possible),
                 warning=v["plausibility_warning"])
    return found


def cpu_name():
    with open("/proc/cpuinfo") as text:
        found = re.search(r"^model name[^:]*:\s*(.*)$", text.read(), re.M)
    return found.group(1) if found else platform.machine()


def yes_no(is_so):
    return "yes" if is_so else "no"


def table(out, name, results):
    names = list(results[0]["with"]["errors"])
    out.write("\n## %s\n\n" % name)
    out.write("| | stalled, % | skew, % | core, % | speed, % | errors known to, % | median, % | "
              "worst | order | without waits: median | worst | by the clock: median | worst |\n"
              + "|---" * 13 + "|\n")
    for i, r in enumerate(results):
        out.write("| %d | %.1f | %.1f | %.0f | %.0f to %.0f | %.1f | %.1f | %.1f | %s | %.1f "
                  "| %.1f | %.1f | %.1f |\n" % (
                      i + 1, r["stalled"], r["skew"], r["core"], *r["speed"], r["known"],
                      r["with"]["median"], r["with"]["worst"], yes_no(r["with"]["order"]),
                      r["without"]["median"], r["without"]["worst"],
                      r["clock"]["median"], r["clock"]["worst"]))
    out.write("\nErrors by schedule, measured / predicted - 1, %%, without waits in brackets:\n\n"
              "| | %s |\n|---|%s\n" % (" | ".join(names), "---|" * len(names)))
    for i, r in enumerate(results):
        out.write("| %d | %s |\n" % (i + 1, " | ".join(
            "%+.1f (%+.1f)" % (r["with"]["errors"][n], r["without"]["errors"][n])
            for n in names)))
    for way, said in zip(WAYS, ("With waits", "Without waits", "By the clock")):
        out.write("\n%s: the median of the medians is %.1f %%, of the worst %.1f %%; worst "
                  "within 6 %% in %d of %d, order as predicted in %d.\n"
                  % (said, statistics.median(r[way]["median"] for r in results),
                     statistics.median(r[way]["worst"] for r in results),
                     sum(r[way]["worst"] <= 6 for r in results), len(results),
                     sum(r[way]["order"] for r in results)))
    for warning in sorted({r["warning"] for r in results if r["warning"]}):
        out.write("\nNote: %s.\n" % warning)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--devices", default="cpu:2")
    parser.add_argument("--limit", default="30")
    parser.add_argument("--only", action="append", choices=WORKLOADS)
    parser.add_argument("--keep", help="keep what validate writes in this folder")
    parser.add_argument("--resume", action="store_true",
                        help="run only what this folder lacks")
    parser.add_argument("-o", dest="output",
                        default=os.path.join(ROOT, "bench/results/predictions.md"))
    given = parser.parse_args()
    if given.resume and not given.keep:
        parser.error("--resume: no effect without --keep")
    names = given.only or WORKLOADS
    results = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as made:
        work = given.keep or made
        os.makedirs(work, exist_ok=True)
        gpt(os.path.join(work, "gpt.json"))
        for i in range(given.runs):
            for name in names:
                folder = os.path.join(work, "%s-%d" % (name, i + 1))
                workload = os.path.join(work, "gpt.json") if name == "gpt" else name
                if not (given.resume
                        and os.path.exists(os.path.join(folder, "validation.json"))):
                    run("pipebd-run", "validate", "--workload", workload, "--devices",
                        given.devices, "--limit", given.limit, "-o", folder)
                results[name].append(validated(folder))
                r = results[name][-1]
                print("%d %s: median %.1f %%, worst %.1f %%; without waits %.1f, %.1f; by the "
                      "clock %.1f, %.1f" % (i + 1, name, r["with"]["median"], r["with"]["worst"],
                                            r["without"]["median"], r["without"]["worst"],
                                            r["clock"]["median"], r["clock"]["worst"]),
                      file=sys.stderr)
    with open(given.output, "w") as out:
        command = " ".join(["bench/predictions.py", "--runs", str(given.runs), "--devices",
                            given.devices, "--limit", given.limit,
                            *["--only " + name for name in given.only or []]])
        out.write(HEAD % (cpu_name(), os.cpu_count(), given.devices, command, platform.system(),
                          platform.machine(), datetime.date.today().isoformat()))
        for name in names:
            table(out, name, results[name])


if __name__ == "__main__":
    main()
