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
    programs "$name" "$old" "$new" "$@"
}
# programs NAME OLD NEW ARGUMENTS
programs() {
    local name=$1 old=$2 new=$3; shift 3
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
python3 "$(dirname "$0")/modelled_trace.py" 16 16 > "$work/trace.json"
row "16 x 16, sensitivity" "$work/trace.json" --sensitivity yes
python3 "$(dirname "$0")/modelled_trace.py" 64 64 > "$work/trace.json"
programs "64 x 64, sweep of 12 points, ahd" "${old%plan}sim" "${new%plan}sim" "$work/trace.json" \
    --schedule ahd --jobs 1 --format csv \
    --vary "blocks[5].teacher.us=100,150,200,250,300,350,400,450,500,550,600,650"
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
