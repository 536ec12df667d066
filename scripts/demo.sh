#!/bin/sh
# demo.sh: what `make demo` runs once all is built: the whole loop on handwritten digits. It
# profiles a teacher and its students on this machine's cores, plans, trains the students
# under the plan, runs every schedule against its prediction, and draws what happened.
# Everything goes to demo/.
set -eu
cd "$(dirname "$0")/.."

bin=${BUILD:-build}/bin out=demo
mkdir -p "$out"

say() { printf '\n== %s\n' "$*"; }

# Devices: the cores of this machine, two of them at least (on one core they take turns) and
# four at most, so that six blocks are worth sharing.
cores=$(getconf _NPROCESSORS_ONLN)
devices=cpu:$((cores < 2 ? 2 : cores > 4 ? 4 : cores))

# Without oneDNN nothing can be run: then the bundled traces are planned.
if ! grep -q -e -DHAVE_DNNL "$bin/../optional.txt"; then
    say "oneDNN was not found, so nothing can be trained here: planning from a bundled trace"
    "$bin/pipebd-plan" traces/vgg-cpu.json -o "$out/plan.json"
    "$bin/pipebd-plan" traces/vgg-cpu.json --format json > "$out/comparison.json"
    "$bin/pipebd-plot" report "$out/comparison.json" -o "$out/report.html"
    echo "Written: $out/plan.json and, to open in a browser, $out/report.html. With oneDNN (package libdnnl-dev) the demo trains too."
    exit 0
fi

say "1. what does each block cost on $devices? (pipebd-run profile)"
"$bin/pipebd-run" profile --workload digits --devices "$devices" --limit 15 -o "$out/trace.json" \
    2> "$out/profile.log" \
    || { cat "$out/profile.log" >&2; exit 1; }
echo "written: $out/trace.json"

say "2. which schedule is fastest, and why? (pipebd-plan)"
"$bin/pipebd-plan" "$out/trace.json" -o "$out/plan.json"

say "3. train the students under that plan (pipebd-run train)"
"$bin/pipebd-run" train --workload digits --plan "$out/plan.json" --devices "$devices" --epochs 45 \
    --timeline "$out/timeline.json" -o "$out/student.safetensors"

say "4. was the prediction right? every schedule, run and measured (pipebd-run validate)"
"$bin/pipebd-run" validate --workload digits --devices "$devices" --trace "$out/trace.json" \
    --limit 20 \
    -o "$out/validation" > "$out/validation.txt" 2> "$out/validate.log" \
    || { cat "$out/validate.log" >&2; exit 1; }

say "5. the pictures (pipebd-sim, pipebd-plot)"
"$bin/pipebd-sim" "$out/trace.json" --plan "$out/plan.json" --format json -o "$out/chosen.json"
"$bin/pipebd-sim" "$out/trace.json" --schedule dp --format json -o "$out/dp.json"
"$bin/pipebd-plot" breakdown "$out/dp.json" "$out/chosen.json" -o "$out/breakdown.svg"
"$bin/pipebd-plot" memory "$out/dp.json" "$out/chosen.json" -o "$out/memory.svg"
"$bin/pipebd-sim" traces/vgg-cpu.json --schedule dp,ls,dpu,ahd --vary devices=1,2,4 --format csv \
    -o "$out/devices.csv"
"$bin/pipebd-plot" sweep "$out/devices.csv" -o "$out/devices.svg"
for trace in nas-cifar10-a6000 vgg-cpu mobilenet-cpu; do
    "$bin/pipebd-plan" "traces/$trace.json" --format json > "$out/comparison-$trace.json"
done
"$bin/pipebd-plot" speedup "$out"/comparison-*.json -o "$out/speedup.svg"
"$bin/pipebd-plan" "$out/trace.json" --format json > "$out/comparison.json"
chosen=$(sed -n 's/.*"schedule": "\([a-z]*\)", "chosen": true.*/\1/p' \
    "$out/validation/validation.json")
"$bin/pipebd-plot" report "$out/comparison.json" "$out/validation/validation.json" \
    "$out/validation/$chosen-predicted.json" "$out/validation/$chosen-measured.json" \
    -o "$out/report.html"

cat << END
Written to $out/:
  report.html                 all of it on one page: open it in a browser
  student.safetensors         the students, with PyTorch's names
  trace.json, plan.json       what was measured, and the plan made from it
  timeline.json               four steps of the training, for https://ui.perfetto.dev
  validation/validation.svg   every schedule's epoch, predicted and measured
  validation/chosen.svg       three steps of the chosen plan, predicted above, measured below
  validation/                 plans and timelines of all schedules
  breakdown.svg, memory.svg   where time and memory go: DP, then the chosen plan
  speedup.svg, devices.svg    bundled traces: four devices, and one to four

END
cat "$out/validation.txt"
