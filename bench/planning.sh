#!/bin/bash
# bench/planning.sh OLD NEW [REPETITIONS]: two builds of pipebd-plan side by side, in turns:
# sensitivity, and the table with its picture against CSV. Processor time of the whole program,
# medians; peak memory of the last run.
set -eu
old=$1 new=$2 times=${3:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
traces=$(dirname "$0")/../traces

# modelled BLOCKS DEVICES: random blocks, links, no loader, 1,000 steps of 256 rows
modelled() {
    python3 - "$1" "$2" <<'PY'
import json, random, sys
blocks, devices = int(sys.argv[1]), int(sys.argv[2])
random.seed(1)
def curve():
    row, fixed = random.uniform(0.5, 4), random.uniform(20, 200)
    return lambda rows: round(fixed + row * rows, 3)
def block(b):
    t, f, k, u = curve(), curve(), curve(), round(random.uniform(5, 40), 3)
    return {"name": f"b{b}", "output_bytes": random.randint(1000, 8000), "student": {"gradient_bytes": random.randint(10000, 400000)},
            "timings": [{"batch": r, "teacher_us": t(r), "forward_us": f(r), "backward_us": 2 * k(r), "update_us": u}
                        for r in (1, 2, 4, 8, 16, 32, 64, 128, 256)]}
print(json.dumps({"format": "pipebd-trace", "version": 1, "name": f"{blocks}x{devices}", "provenance": {"kind": "modelled", "source": "bench"},
    "workload": {"name": "w", "batch": 256, "samples": 256000}, "devices": [{"kind": "k", "count": devices}], "input_bytes": 3000,
    "blocks": [block(b) for b in range(blocks)], "p2p": [{"bytes": 0, "us": 5}, {"bytes": 100000000, "us": 5005}],
    "allreduce": [{"devices": d, "bytes": b, "us": 20 + b * 1e-4} for d in (2, max(devices, 3)) for b in (0, 1000000)]}))
PY
}

# seconds and MiB of a command
once() {
    /usr/bin/time -f '%U %M' "$@" 2>&1 > /dev/null | awk 'END { printf "%s %.0f\n", $1, $2 / 1024 }'
}
median() {
    sort -n "$1" \
        | awk '{ v[NR] = $1; m = $2 } END { printf "%.2f s, %d MiB", v[int((NR + 1) / 2)], m }'
}

# row NAME ARGUMENTS: both builds in turns
row() {
    local name=$1; shift
    : > "$work/old"; : > "$work/new"
    for ((i = 0; i < times; i++)); do
        once "$old" "$@" >> "$work/old"
        once "$new" "$@" >> "$work/new"
    done
    echo "| $name | $(median "$work/old") | $(median "$work/new") |"
}

echo "| $times runs in turns | old | new |"
echo "|---|---:|---:|"
for trace in mobilenet-students vgg-cpu mobilenet-cpu mobilenet-mixed nas-cifar10-a6000; do
    row "$trace, sensitivity" "$traces/$trace.json" --sensitivity yes
done
for size in "16 16" "64 64" "200 256"; do
    set -- $size
    modelled "$1" "$2" > "$work/trace.json"
    for schedules in dp,ls,tr,dpu,ir,ahd dp ir; do
        row "$1 x $2, $schedules, CSV" "$work/trace.json" --schedules $schedules --format csv
        row "$1 x $2, $schedules, table" "$work/trace.json" --schedules $schedules --sensitivity no
    done
done
