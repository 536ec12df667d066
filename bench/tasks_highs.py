#!/usr/bin/env python3
"""HiGHS on the instances of bench/tasks.c: unrelated devices, a mixed-integer program.

    python3 bench/tasks_highs.py [--limit SECONDS] [--instances N] [BUILD]

Prints a table: of each size medians and (largest) over N instances (9), of HiGHS's makespan over
its own bound after --limit seconds (10) on one thread; of the linear relaxation without pairs that
take longer than T, T bisected; and of `exact`, as build/bench/tasks prints it. Gaps over the best
bound of all. Needs highspy and numpy (pip install highspy)."""
import argparse
import statistics
import subprocess
import sys
import time

try:
    import highspy
    import numpy
except ImportError as why:
    sys.exit("tasks_highs.py: %s: pip install highspy" % why)


def instance(build, tasks, devices, number):
    """[tasks][devices] ms, makespan ms, bound ms, seconds"""
    text = subprocess.run([build + "/bench/tasks", str(tasks), str(devices), str(number)],
                          check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    makespan, bound, seconds = text[-1][1:].split()
    return (numpy.array([[int(x) for x in line.split()] for line in text[:-1]]) * 1e-6,
            int(makespan) * 1e-6, int(bound) * 1e-6, float(seconds))


def model(ms, longest, integer):
    """min C: sum_d x[t][d] = 1, sum_t ms[t][d] x[t][d] <= C; x[t][d] = 0 where ms > longest"""
    h = highspy.Highs()
    h.setOptionValue("output_flag", False)
    h.setOptionValue("threads", 1)
    infinite = highspy.kHighsInf
    h.addVar(0, infinite)
    h.changeColCost(0, 1)
    tasks, devices = ms.shape
    kind = highspy.HighsVarType.kInteger
    for t in range(tasks):
        for d in range(devices):
            h.addVar(0, 1 if ms[t][d] <= longest else 0)
            if integer:
                h.changeColIntegrality(1 + t * devices + d, kind)
    for t in range(tasks):
        h.addRow(1, 1, devices, numpy.arange(1 + t * devices, 1 + (t + 1) * devices),
                 numpy.ones(devices))
    for d in range(devices):
        columns = numpy.concatenate(([0], 1 + numpy.arange(tasks) * devices + d))
        h.addRow(-infinite, 0, tasks + 1, columns, numpy.concatenate(([-1.0], ms[:, d])))
    return h


def relaxation(ms, high):
    """The least T that the linear program without longer pairs allows, to a ten-thousandth"""
    low = 0.0
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        h = model(ms, middle, False)
        h.run()
        solved = h.getModelStatus() == highspy.HighsModelStatus.kOptimal
        if solved and h.getInfo().objective_function_value <= middle:
            high = middle
        else:
            low = middle
    return low


def show(gaps):
    return "%.2f (%.2f)" % (statistics.median(gaps), max(gaps))


def measure(build, tasks, devices, count, limit):
    own, highs, highs_own, relaxed, seconds, spent_highs = [], [], [], [], [], []
    for number in range(count):
        ms, makespan, bound, spent = instance(build, tasks, devices, number)
        h = model(ms, float("inf"), True)
        h.setOptionValue("time_limit", float(limit))
        start = time.process_time()
        h.run()
        spent_highs.append(time.process_time() - start)
        info = h.getInfo()
        best = max(bound, info.mip_dual_bound)
        own.append(100 * (makespan / best - 1))
        highs.append(100 * (info.objective_function_value / best - 1))
        highs_own.append(100 * (info.objective_function_value / info.mip_dual_bound - 1))
        relaxed.append(100 * (best / relaxation(ms, makespan) - 1))
        seconds.append(spent)
    print("| %d x %d | %s | %.2f | %s | %s | %.1f | %s |"
          % (tasks, devices, show(own), max(seconds), show(highs), show(highs_own),
             statistics.median(spent_highs), show(relaxed)))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=10)
    parser.add_argument("--instances", type=int, default=9)
    parser.add_argument("build", nargs="?", default="build")
    options = parser.parse_args()
    print("| tasks x devices | exact | longest | HiGHS, %g s | HiGHS to its own bound "
          "| its processor time | best bound over the linear relaxation |" % options.limit)
    print("|---|---:|---:|---:|---:|---:|---:|\n| | % | s | % | % | s | % |")
    for tasks, devices in (50, 10), (100, 16):
        measure(options.build, tasks, devices, options.instances, options.limit)


if __name__ == "__main__":
    main()
