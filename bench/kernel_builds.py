#!/usr/bin/env python3
"""Two builds' kernels side by side: what their bench/kernels takes for a workload, in turns.

    python3 bench/kernel_builds.py OLD NEW [--workload W] [--rounds N] [-o FILE]

OLD and NEW are build folders, each in its own source tree, with `make bench` done as far as
bench/kernels. Each round runs both, the order changing from round to round, each in its tree,
without PyTorch. The table (to standard output unless -o names a file) has milliseconds of
processor time a step of 64 rows, teacher's forward and student's forward, loss, backward and
update: medians of the rounds; the ratio old / new is the median of the rounds' ratios, with the
least and the most. Takes about a minute a round on nas-cifar10."""
import argparse
import datetime
import os
import re
import statistics
import subprocess
import sys

from predictions import cpu_name

ROWS = 64
PASSES = ("teacher", "student")


def tree_of(build):
    """The source tree of a build folder: bench/kernels finds workloads from there."""
    folder = os.path.abspath(build)
    while not os.path.isdir(os.path.join(folder, "workloads")):
        folder, child = os.path.dirname(folder), folder
        if folder == child:
            sys.exit("kernel_builds.py: %s: expected a build folder in a source tree" % build)
    return folder


def once(build, workload):
    """{pass: {block: ms}} of one run."""
    program = os.path.join(os.path.abspath(build), "bench", "kernels")
    if not os.access(program, os.X_OK):
        sys.exit("kernel_builds.py: no %s: make %s" % (program, os.path.join(build,
                                                                              "bench/kernels")))
    done = subprocess.run([program, workload], cwd=tree_of(build), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False,
                          env=dict(os.environ, PIPEBD_TORCH="/nonexistent", OMP_NUM_THREADS="1"))
    rows = re.findall(r"^\| (\S+) \| (\d+) \| (\d+) \|$", done.stdout, re.M)
    if done.returncode != 0 or not rows:
        sys.exit("kernel_builds.py: %s %s: no table\n%s" % (program, workload, done.stderr))
    return {key: {row[0]: 1e3 * ROWS / int(row[1 + i]) for row in rows}
            for i, key in enumerate(PASSES)}


def table(out, old, new):
    """old, new: the runs of once(), a round each."""
    for key in PASSES:
        out.write("\n| %s, ms | old | new | old / new | least | most |\n|---|--:|--:|--:|--:|--:|\n"
                  % key)
        for block in old[0][key]:
            a, b = [r[key][block] for r in old], [r[key][block] for r in new]
            ratios = sorted(x / y for x, y in zip(a, b))
            out.write("| %s | %.2f | %.2f | %.2f | %.2f | %.2f |\n" % (
                block, statistics.median(a), statistics.median(b), statistics.median(ratios),
                ratios[0], ratios[-1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--workload", default="nas-cifar10")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", dest="output")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds: expected 1 or more")
    builds, found = (given.old, given.new), ([], [])
    for i in range(given.rounds):
        for side in (0, 1) if i % 2 == 0 else (1, 0):
            found[side].append(once(builds[side], given.workload))
    out = open(given.output, "w") if given.output else sys.stdout
    out.write("# %s, two builds side by side\n\n" % given.workload)
    out.write("Made by `bench/kernel_builds.py`: one thread of %s, %d rows, %d rounds in turns, "
              "%s.\n" % (cpu_name(), ROWS, given.rounds, datetime.date.today()))
    table(out, *found)


if __name__ == "__main__":
    main()
