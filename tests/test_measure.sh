#!/bin/bash
# pipebd-run profile and validate as a user meets them: what they write, what they refuse.
. "$(dirname "$0")/tap.sh"

needs_cpu_devices
cd "$WORK" || exit 1

cat > two.json << 'END'
{"format": "pipebd-workload", "version": 1, "name": "two", "input": {"channels": 3, "height": 6, "width": 6},
 "classes": 4, "batch": 6, "samples": 60,
 "training": {"learning_rate": 0.1, "momentum": 0.9, "nesterov": true, "weight_decay": 0.0001},
 "blocks": [
  {"name": "first", "loss": "mse",
   "teacher": [{"layer": "conv", "out": 8, "kernel": 3, "bias": true}, {"layer": "relu"}],
   "student": [{"layer": "separable", "out": 8, "kernel": 3, "batchnorm": true, "relu": true}]},
  {"name": "second", "loss": "soft_cross_entropy",
   "teacher": [{"layer": "avgpool", "global": true}, {"layer": "flatten"}, {"layer": "linear", "out": 4}],
   "student": [{"layer": "avgpool", "global": true}, {"layer": "flatten"}, {"layer": "linear", "out": 4}]}]}
END

# refuses STATUS DESCRIPTION TEXT COMMAND...: fails so, says TEXT last, prints nothing.
refuses() {
    refuses_status=$1 refuses_name=$2 refuses_text=$3; shift 3
    "$@" > says.out 2> says.err < /dev/null
    tap_status=$?
    cat says.out says.err > .tap
    if [ $tap_status -eq "$refuses_status" ] && [ ! -s says.out ] \
        && tail -n 1 says.err | grep -qF -e "$refuses_text"
    then tap_result yes "$refuses_name"; else tap_result no "$refuses_name"; fi
}

profile="pipebd-run profile --workload two.json --devices cpu:2 --trials 6 --limit 0"
validate="pipebd-run validate --workload two.json --devices cpu:2 \
    --trials 6 --limit 0 --seconds 0.01 --rounds 2"

ok "help of profile" pipebd-run profile --help
ok "help of validate" pipebd-run validate --help

# ---- profile ---------------------------------------------------------------------

ok "a profile" $profile -o trace.json
ok "is a trace" pipebd-trace check trace.json
ok "that plans" pipebd-plan trace.json -o plan.json
ok "with times while others compute, of single blocks too" sh -c "jq -e '[.blocks[].timings[]
    | .single_block.teacher_us <= .single_block.contended.teacher_us] | all' trace.json \
    > /dev/null && grep -q '\"contended\"' trace.json"
ok "whose plan trains" pipebd-run train --workload two.json --plan plan.json --epochs 1 \
    -o student.safetensors
ok "another batch" sh -c "$profile --batch 4 -o - | jq -e '.workload.batch == 4' > /dev/null"
ok "one device" sh -c "pipebd-run profile --workload two.json --devices cpu:1 \
    --trials 3 --limit 0 -o - \
    | jq -e '.p2p == null' > /dev/null"
ok "a loader with lanes" sh -c "$profile --workers 1 --prefetch 2 -o - \
    | jq -e '.loader.prefetch == 2 and .loader.lanes == 1' > /dev/null"

# Tiers: what memory, and a folder with and without the page cache, take for requests.
stores() { # PLACE TIERS: the trace is one that the planner stores by
    $profile --store "$1" --prefetch 0 -o stores.json \
        && [ "$(jq -c '[.storage[].name]' stores.json)" = "$2" ] &&
        jq -e '[.part_us, (.storage[]
            | .size_bytes, .write_device_share, .read_device_share, .read[].us, .write[].us)]
            | all(. > 0)' \
            stores.json > /dev/null &&
        pipebd-plan stores.json --epochs 3 --schedules dp,store,sequential --format csv \
            | grep -q '^store,[0-9]'
}
ok "tiers: memory" stores host '["host"]'
ok "tiers: a folder, cached and not" stores tiers '["cached disk","disk"]'
ok "nothing is left in the folder" sh -c '[ -z "$(ls tiers)" ]'
refuses 2 "no place" "expected host or a folder" $profile --store "" -o x.json
refuses 1 "no folder" "cannot make the folder" $profile --store nothere/x -o x.json
touch file
before_long_work() {
    timeout 60 pipebd-run profile --workload two.json --devices cpu:2 \
        --trials 100000 --limit 0 --store "$1" \
        -o x.json
}
refuses 1 "which is found out first" "cannot make the folder" before_long_work nothere/x
refuses 1 "a file as a folder" "Not a directory" before_long_work file
refuses 2 "a folder and the trace in one" "--store and -o are the same file" $profile \
    --store x.json -o x.json

refuses 2 "no workload" "expected --workload W" pipebd-run profile --devices cpu:2 -o x.json
refuses 2 "no devices" "expected --devices" pipebd-run profile --workload two.json -o x.json
refuses 2 "other devices" "cpu:" pipebd-run profile --workload two.json --devices gpu:2 -o x.json
refuses 2 "no output" "expected -o TRACE" $profile
refuses 2 "a word" "expected only options" $profile -o x.json more
refuses 2 "one slice" "expected 2 to 16 slices" pipebd-run profile --workload two.json \
    --devices cuda:0/1 -o x.json
refuses 2 "GPUs and cores" "do not go together" pipebd-run validate --workload two.json \
    --devices cuda:0,cpu:1 -o out3
refuses 2 "a precision of GPUs" "compute in fp32 or bf16" pipebd-run profile --workload two.json \
    --devices cpu:2 --precision tf32 -o x.json
refuses 2 "no such precision" "expected fp32, tf32 or bf16" pipebd-run profile --workload two.json \
    --devices cuda:0 --precision int8 -o x.json
[ -e /proc/driver/nvidia ] || refuses 1 "no GPU" "profile: cuda" pipebd-run profile \
    --workload two.json --devices cuda:0 -o x.json
refuses 2 "too few trials" "--trials" pipebd-run profile --workload two.json --devices cpu:2 \
    --trials 2 -o x.json
refuses 1 "no such workload" "nothere.json" pipebd-run profile --workload nothere.json \
    --devices cpu:2 -o x.json
refuses 2 "data of no source" "is not known" $profile --data nothere -o x.json
refuses 1 "a batch of more samples than there are" \
    "a batch of 61 is more than the 60 samples of synthetic" $profile --batch 61 -o x.json
refuses 1 "data of another shape" "3 x 32 x 32" $profile --data cifar10:nothere -o x.json
refuses 1 "a folder that is not there" "nothere/x.json" $profile -o nothere/x.json
refuses 2 "a teacher as output" "--teacher and -o are the same file, x.json" $profile \
    --teacher x.json -o x.json
refuses 2 "a workload as output" "--workload and -o are the same file, ./two.json" $profile \
    -o ./two.json
ok "nothing was written" sh -c '[ ! -e x.json ]'

# lost COMMAND...: its words are read by nobody, and it comes to its end.
lost() { "$@" 2>&1 > lost.out | true; [ "${PIPESTATUS[0]}" -eq 0 ]; }
ok "a profile that nobody listens to" lost $profile -o lost.json
ok "is a trace, too" pipebd-trace check lost.json

# ---- validate ----------------------------------------------------------------------

ok "a validation" sh -c "$validate -o out --update-trace corrected.json > table.txt"
ok "prints every schedule" \
    sh -c 'for s in dp ls tr dpu ir ahd; do grep -q "^$s " table.txt || exit 1; done'
ok "and the error" grep -q '^error of the epoch time: median' table.txt
ok "writes itself" sh -c 'jq -e ".format == \"pipebd-validation\" and (.schedules | length) == 6
    and all(.schedules[]; .measured_epoch_s > 0 and (.instructions | length) == 7)" \
    out/validation.json > /dev/null'
ok "writes its trace" pipebd-trace check out/trace.json
ok "and the corrected one" pipebd-trace check corrected.json
ok "writes plans" sh -c 'for s in dp ls tr dpu ir ahd; do pipebd-sim out/trace.json \
    --plan out/plan-$s.json > /dev/null || exit 1; done'
ok "which the checker prices" sh -c 'for s in dp ls tr dpu ir ahd; do pipebd-plan \
    --check out/plan-$s.json out/trace.json > /dev/null || exit 1; done'
ok "writes timelines" sh -c 'for s in dp ls tr dpu ir ahd; do
    jq -e ".pipebd.kind == \"measured\" and (.traceEvents | length) > 50" \
        out/$s-measured.json > /dev/null &&
    jq -e ".pipebd.kind == \"predicted\" and (.traceEvents | length) > 50" \
        out/$s-predicted.json > /dev/null || exit 1; done'
# What Perfetto drops: boxes of one track that overlap.
ok "boxes of a track never overlap" sh -c 'for f in out/*-measured.json; do
    jq -e "[.traceEvents[] | select(.ph == \"X\")] | group_by([.pid, .tid])
        | all(.[]; sort_by(.ts)
            | [range(1; length) as \$i | .[\$i].ts - (.[\$i - 1].ts + .[\$i - 1].dur)]
            | all(. > -0.0015))" $f > /dev/null || exit 1; done'
ok "and a page" sh -c 'grep -q "Predicted and measured" out/report.html \
    && grep -q "pipebd-run validate --workload two.json" out/report.html'
if command -v gnuplot > /dev/null; then
    ok "draws" sh -c 'grep -q "<svg" out/validation.svg && grep -q "<svg" out/chosen.svg'
else
    skip "draws" "gnuplot is not installed"
fi
ok "from a trace, as CSV" \
    sh -c "pipebd-run validate --workload two.json --devices cpu:2 --trace out/trace.json \
    --seconds 0.01 --rounds 1 --limit 0 \
    --schedules dp,dpu --format csv -o out2 | grep -c '^d' | grep -qx 2"
ok "makes no second profile" sh -c '[ ! -e out2/trace.json ]'

ok "a validation that nobody listens to" lost ${validate/--trials 6} --trace trace.json \
    --schedules dp -o lost

# Schedules that store boundaries: run as jobs of three epochs, in memory and in a folder, of which
# nothing is left.
storing() { # PLACE
    pipebd-run validate --workload two.json --devices cpu:2 --trials 3 --limit 0 \
        --seconds 0.01 --rounds 1 --schedules dpu,sequential,store \
        --store "$1" -o storing --format json > storing.json &&
        jq -e '.schedules | length == 3 and all(.measured_epoch_s > 0 and .predicted_epoch_s > 0)' \
            storing.json > /dev/null &&
        jq -e '[.schedules[0, 1] | [.instructions[] | select(.op == "STORE" or .op == "FETCH")
            | .predicted_us, .measured_us] |
            length == 4 and all(. > 0)] == [false, true]' storing.json > /dev/null &&
        [ -s storing/store-measured.json ] && [ "$(jq .epochs storing/plan-store.json)" -eq 3 ]
}
ok "store and sequential, in memory" storing host
ok "and in a folder" storing kept
ok "of which nothing is left" sh -c '[ -z "$(ls kept)" ]'
refuses 2 "store without a place" "schedule store stores boundaries: it needs --store" $validate \
    --schedules dp,store -o out3
refuses 2 "a place without store" "--store: no effect" $validate --store host -o out3
refuses 2 "epochs without store" "--epochs: no effect" $validate --epochs 2 -o out3
refuses 2 "no folder" "expected -o FOLDER" $validate
refuses 2 "a trace over the one it reads" "--trace and --update-trace are the same file" \
    ${validate/--trials 6} --trace trace.json --update-trace ./trace.json -o out3
refuses 2 "a trace as the folder" "-o and --update-trace are the same file" $validate \
    --update-trace out3 -o out3
refuses 2 "a trace over its profile" "the profile in -o and --update-trace are the same file" \
    $validate --update-trace out/trace.json -o out
refuses 2 "an unknown schedule" "xyz" $validate --schedules dp,xyz -o out3
refuses 2 "trials of no profile" "--trials: no effect with --trace" $validate --trace trace.json \
    -o out3
refuses 2 "less than no time" "--limit: -1 is too small" pipebd-run validate \
    --workload two.json --devices cpu:2 --limit -1 -o out3
refuses 2 "no time" "--seconds" pipebd-run validate --workload two.json --devices cpu:2 \
    --seconds 0 -o out3
refuses 1 "a file as folder" "two.json: not a folder" $validate -o two.json
refuses 1 "a trace of other devices" "of 2 devices" pipebd-run validate --workload two.json \
    --devices cpu:3 --trace trace.json -o out3
refuses 1 "a batch too large" "a batch of 61 is more than the 60 samples" $validate --batch 61 \
    -o out3
refuses 1 "a trace of another workload" "6 blocks" pipebd-run validate --workload two.json \
    --devices cpu:2 \
    --trace "$PIPEBD_ROOT/traces/mobilenet-cpu.json" -o out3
ok "none of these leaves a folder" sh -c '[ ! -e out3 ]'

# ---- interruption -------------------------------------------------------------------

# interrupts OUTPUT COMMAND...: SIGINT to it while it measures, which is when it has said its
# settings.
interrupts() {
    local out=$1 pid status
    shift
    "$@" > int.out 2> int.err < /dev/null &
    pid=$!
    wait_for has_line int.err '^  output'
    sleep 0.3
    kill -INT $pid
    wait $pid
    status=$?
    cat int.out int.err
    [ $status -eq 130 ] && [ ! -s int.out ] && [ ! -e "$out" ]
}
set -m                                   # so that jobs do not ignore SIGINT from birth
ok "an interrupted profile has a status of its own" interrupts int.json \
    ${profile/--trials 6/--trials 100000} -o int.json
ok "an interrupted validation has it, too, and leaves no empty folder" interrupts int \
    ${validate/--trials 6/--trials 100000} -o int
mkdir there
there() { interrupts nothing ${validate/--trials 6/--trials 100000} -o there && [ -d there ]; }
ok "nor takes away one that was there" there
set +m

done_testing
