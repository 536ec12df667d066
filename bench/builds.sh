#!/bin/bash
# bench/builds.sh OLD NEW [REPETITIONS]: two builds (their build/bin folders) side by side: what
# simulator, planner and executor take for the same jobs, in turns. Seconds of a processor, of the
# whole program: median, least and most; the ratio is of the medians, new / old.
#
# The executor's jobs have few and small steps: the more of them a second, the more its own work
# weighs.
set -eu
old=$1 new=$2 times=${3:-5}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$root/bench/machine.sh"

# once PROGRAM ARGUMENT...: user and system seconds
once() {
    /usr/bin/time -o "$work/time" -f '%U %S' taskset -c 0 "$@" > /dev/null 2> "$work/err" ||
        { cat "$work/err" >&2; exit 1; }
    awk '{ print $1 + $2 }' "$work/time"
}
summary() {
    sort -n "$1" | awk '{ v[NR] = $1 }
        END { printf "%.2f (%.2f to %.2f)", v[int((NR + 1) / 2)], v[1], v[NR] }'
}
middle() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# row WHAT TOOL ARGUMENT...
row() {
    local what=$1 tool=$2 i
    shift 2
    : > "$work/old"; : > "$work/new"
    for ((i = 0; i < times; i++)); do
        once "$old/$tool" "$@" >> "$work/old"
        once "$new/$tool" "$@" >> "$work/new"
    done
    echo "| $what | $(summary "$work/old") | $(summary "$work/new") |" \
        "$(echo "$(middle "$work/old") $(middle "$work/new")" |
            awk '{ printf "%.2f", $2 / ($1 > 0 ? $1 : 0.005) }') |"
}

export OMP_NUM_THREADS=1
load=$(cut -d ' ' -f 1 /proc/loadavg)
echo "| device | $(device), of which one core; load average $load when it began |"
echo "|---|---|"
echo "| date | $(date -u +%F) |"
echo
echo "| s of a processor, $times runs in turns | old | new | new / old |"
echo '|---|---:|---:|---:|'
all=dp,ls,tr,dpu,ir,ahd
for trace in vgg-cpu mobilenet-cpu mobilenet-students; do
    row "simulator: $trace, tr, 50 epochs with times drawn" \
        pipebd-sim "$root/traces/$trace.json" --schedule tr --jitter 50 --format json
done
for size in '16 16' '64 64'; do
    python3 "$root/bench/modelled_trace.py" $size > "$work/trace.json"
    for schedules in $all ahd; do
        row "planner: ${size/ / x }, $schedules" \
            pipebd-plan "$work/trace.json" --schedules $schedules --format csv --sensitivity no
    done
done
row 'executor: digits, 4 rows a step, tr on one device, 2 epochs' \
    pipebd-run train -w digits --schedule tr --devices cpu:1 --batch 4 --epochs 2 \
        --prefetch 0 -o "$work/s.safetensors"
row 'executor: digits, 4 rows a step, dpu on two devices, 2 epochs' \
    pipebd-run train -w digits --schedule dpu --devices cpu:2 --batch 4 --epochs 2 \
        --prefetch 0 -o "$work/s.safetensors"
row 'executor: digits, 64 rows a step, ir on two devices, 4 epochs' \
    pipebd-run train -w digits --schedule ir --devices cpu:2 --batch 64 --epochs 4 \
        --prefetch 0 -o "$work/s.safetensors"
