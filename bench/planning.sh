#!/bin/bash
# bench/planning.sh OLD NEW [REPETITIONS]: two builds of pipebd-plan side by side, in turns:
# sensitivity, the table with its picture against CSV, and plans that store. Processor time of the
# whole program, medians; peak memory of the last run.
set -eu
old=$1 new=$2 times=${3:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
traces=$(dirname "$0")/../traces

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
    python3 "$(dirname "$0")/modelled_trace.py" "$1" "$2" > "$work/trace.json"
    for schedules in dp,ls,tr,dpu,ir,ahd dp ir; do
        row "$1 x $2, $schedules, CSV" "$work/trace.json" --schedules $schedules --format csv
        row "$1 x $2, $schedules, table" "$work/trace.json" --schedules $schedules --sensitivity no
    done
done
python3 "$traces/derive_transformer.py" "$work/trace.json"
row "70B transformer, sequential, CSV" "$work/trace.json" --schedules sequential --format csv
row "70B transformer, store, CSV" "$work/trace.json" --schedules store --format csv
