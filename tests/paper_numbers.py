"""paper_numbers.py FOLDER AGAIN: runs the commands of every row of FOLDER/results.csv and
FOLDER/breakdown.csv anew in AGAIN, and compares the numbers of the row with what they say.
Prints what differs; exit status 1 when something does, or when nothing was compared."""
import csv
import json
import math
import os
import subprocess
import sys

folder, again = sys.argv[1:3]
os.makedirs(os.path.join(again, "paper-report/runs"), exist_ok=True)
made, wrong, compared = {}, 0, 0


def run(row):
    """The comparison that a row's two commands make; None: no schedule is possible."""
    commands = row["trace_command"], row["command"]
    if commands not in made:
        subprocess.run(commands[0].split(), cwd=again, check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run(commands[1].split(), cwd=again, capture_output=True, text=True,
                              check=False)
        made[commands] = json.loads(done.stdout) if done.returncode == 0 else None
    return made[commands]


def same(what, found, expected):
    global wrong, compared
    compared += 1
    if (found == "") != (expected is None) or (
            found != "" and not math.isclose(float(found), expected, rel_tol=1e-6, abs_tol=1e-6)):
        wrong += 1
        print(what, "is", found or "nothing", "in the table and", expected, "from its commands")


def schedule(comparison, name):
    return next(row for row in comparison["schedules"] if row["schedule"] == name)


for row in csv.DictReader(open(os.path.join(folder, "results.csv"), encoding="utf-8")):
    comparison = run(row)
    if not row["schedule"]:
        same(row["command"] + " is possible", "", None if comparison is None else 1)
        continue
    theirs = schedule(comparison, row["schedule"])
    dp = schedule(comparison, "dp") if row["figure"] not in ("ideal", "ideal-original") else {}
    for key in ("epoch_s", "speedup", "step_us", "utilisation", "teacher_work", "loads",
                "peak_memory_bytes"):
        same(f"{row['figure']} {row['workload']} {row['schedule']} {key}", row[key],
             theirs.get(key))
    if "peak_memory_bytes" in dp and "peak_memory_bytes" in theirs:
        same("memory_over_dp", row["memory_over_dp"],
             theirs["peak_memory_bytes"] / dp["peak_memory_bytes"])

for row in csv.DictReader(open(os.path.join(folder, "breakdown.csv"), encoding="utf-8")):
    comparison, who, over = run(row), row["who"], 1
    if who == "ideal":
        theirs, device, over = schedule(comparison, "ir"), 0, 4
    elif who == "dp":
        theirs, device = schedule(comparison, "dp"), 0
    else:
        theirs, device = schedule(comparison, "dpu"), int(who[len("relay"):])
    parts = {"load": ["load"], "teacher": ["teacher"], "student": ["student"], "update": ["update"],
             "transfer": ["allreduce", "transfer"], "wait": ["wait", "idle"]}
    for name, keys in parts.items():
        same(f"breakdown {row['workload']} {who} {name}", row[name + "_s"],
             sum(theirs["devices"][device][key + "_us"] for key in keys) / 1e6 / over)
    same(f"breakdown {row['workload']} {who} total", row["total_s"], theirs["epoch_s"] / over)

print(compared, "numbers,", wrong, "differ")
sys.exit(1 if wrong or not compared else 0)
