#!/bin/bash
# bench/thousand.sh OLD NEW: two builds of pipebd-plan at 1,000 blocks on 1,000 devices, schedule by
# schedule and all together. Processor time of the whole program, peak memory, and the epoch found;
# a program may take 4 GB and two minutes of processor time.
set -u
old=$1 new=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bench=$(dirname "$0")

# "seconds s, MiB, epoch" of a build, or why it ended; schedules of a trace
cell() {
    local why
    ( ulimit -v 4000000 -t 120
      /usr/bin/time -o "$work/time" -f '%U %S %M' "$1" "$2" --schedules "$3" --format csv \
          > "$work/out" 2> "$work/err" )
    why=$?
    awk '$1 ~ /^[0-9.]+$/ { printf "%.1f s, %d MiB: ", $1 + $2, $3 / 1024 }' "$work/time"
    if [ $why = 0 ]; then
        awk -F, 'NR > 1 && $2 > 0 { n++; epoch = $2 } END {
            if (n == 1) printf "%s s", epoch; else printf "%d figures", n }' "$work/out"
    elif grep -q 'out of memory' "$work/err"; then printf 'out of memory'
    elif grep -q 'do not repeat' "$work/err"; then printf 'no figure, no period'
    elif grep -q 'is a program of' "$work/err"; then printf 'no figure, too long'
    else printf 'stopped'
    fi
}

row() {
    echo "| $1, $3 | $(cell "$old" "$2" "$3") | $(cell "$new" "$2" "$3") |"
}

python3 "$bench/modelled_trace.py" 1000 1000 2048 > "$work/trace.json"
python3 -c '
import json, sys
trace = json.load(sys.stdin)
trace["loader"] = {"batch_us": 200, "sample_us": 1, "lanes": 64, "prefetch": 2}
json.dump(trace, sys.stdout)' < "$work/trace.json" > "$work/loader.json"
python3 -c '
import json, sys
trace = json.load(sys.stdin)
trace["devices"] = [{"kind": "k", "count": 500}, {"kind": "slow", "count": 500}]
slow = {"teacher_us": 1.6, "forward_us": 1.5, "backward_us": 1.55, "update_us": 1.3}
for block in trace["blocks"]:
    block["timings"] = [dict(point, device="k") for point in block["timings"]] + [
        dict({key: round(us * slow.get(key, 1), 3) for key, us in point.items()}, device="slow")
        for point in block["timings"]]
json.dump(trace, sys.stdout)' < "$work/trace.json" > "$work/kinds.json"
echo "| 1,000 x 1,000, batch 2,048, 1,000 steps | old | new |"
echo "|---|---|---|"
for schedule in dp ls dp,ls,tr,dpu,ir,ahd; do row "no loader" "$work/trace.json" $schedule; done
row "64 loader workers" "$work/loader.json" dp
row "64 loader workers" "$work/loader.json" ls
for schedule in dp dp,ls,tr,dpu,ir,ahd; do row "two speeds" "$work/kinds.json" $schedule; done
