#!/bin/sh
# demo.sh: what `make demo` runs once all is built. From three bundled traces to the
# comparison of the schedules, the fastest plan, a what-if, and the pictures that show
# why; everything goes to demo/.
set -eu
cd "$(dirname "$0")/.."

bin=${BUILD:-build}/bin out=demo
mkdir -p "$out"

say() { printf '\n== %s\n' "$*"; }

say "which schedule is fastest for a VGG-like teacher on 4 CPU cores? (pipebd-plan)"
"$bin/pipebd-plan" traces/vgg-cpu.json -o "$out/plan.json"

say "what if it ran on other numbers of devices? (pipebd-sim --vary)"
"$bin/pipebd-sim" traces/vgg-cpu.json --schedule dp,ls,dpu,ahd --vary devices=1,2,4 -o "$out/devices.csv" --format csv
"$bin/pipebd-sim" traces/vgg-cpu.json --schedule dp,ls,dpu,ahd --vary devices=1,2,4

say "the pictures (pipebd-plot)"
"$bin/pipebd-sim" traces/vgg-cpu.json --plan "$out/plan.json" --format json -o "$out/ahd.json" \
    --timeline "$out/timeline.json"
"$bin/pipebd-sim" traces/vgg-cpu.json --schedule dp --format json -o "$out/dp.json"
for trace in nas-cifar10-a6000 vgg-cpu mobilenet-cpu; do
    "$bin/pipebd-plan" "traces/$trace.json" --format json > "$out/comparison-$trace.json"
done
"$bin/pipebd-plot" speedup "$out"/comparison-*.json -o "$out/speedup.svg"
"$bin/pipebd-plot" breakdown "$out/dp.json" "$out/ahd.json" -o "$out/breakdown.svg"
"$bin/pipebd-plot" memory "$out/dp.json" "$out/ahd.json" -o "$out/memory.svg"
"$bin/pipebd-plot" gantt "$out/timeline.json" -o "$out/gantt.svg"
"$bin/pipebd-plot" sweep "$out/devices.csv" -o "$out/devices.svg"

cat << END
Written to $out/:
  plan.json       the fastest plan: pipebd-sim TRACE --plan $out/plan.json prices it
  speedup.svg     the schedules on the three bundled traces
  breakdown.svg   where each device's time goes: DP, then the fastest
  memory.svg      what each device holds at its peak
  gantt.svg       three steps of the fastest plan; timeline.json is its whole start,
                  for https://ui.perfetto.dev
  devices.svg     epoch time by number of devices; devices.csv has the numbers

All times are simulated, from the costs in traces/. For your own model: docs/traces.md.
END
