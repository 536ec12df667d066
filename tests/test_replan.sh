#!/bin/bash
# pipebd-run train --replan: a device that is slower than the trace says loses work to others, and
# the students are the same to the bit.
. "$(dirname "$0")/tap.sh"

needs_cpu_devices
if ! command -v "${PYTHON:-python3}" > /dev/null; then
    echo '1..0 # SKIP no python3'
    exit 0
fi
cd "$WORK" || exit 1

common=(--workload digits --devices cpu:2)
pipebd-run profile "${common[@]}" --trials 9 --limit 0 -o trace.json 2> profile.err \
    || { cat profile.err; exit 1; }

# A trace that takes device 1 for 500 times as fast as it is, as if it had slowed down so much
# since, and device 0, which the plan then leaves idle, for ten times: more than a machine that was
# busy while it was profiled, or is while it trains, can make of it.
"${PYTHON:-python3}" - << 'PYTHON'
import json
trace = json.load(open("trace.json"))
def scaled(timing, by):
    return {key: scaled(value, by) if isinstance(value, dict) else value * by if key.endswith("_us") else value
            for key, value in timing.items()}
kind = trace["devices"][0]
trace["devices"] = [dict(kind, count=1), dict(kind, kind="fast", count=1)]
for block in trace["blocks"]:
    block["timings"] = [dict(scaled(t, 1 / 10), device=kind["kind"]) for t in block["timings"]] + \
                       [dict(scaled(t, 1 / 500), device="fast") for t in block["timings"]]
json.dump(trace, open("wrong.json", "w"))
PYTHON

train() { pipebd-run train "${common[@]}" "$@"; }

# ---- a device that is slower than the plan takes it for -----------------------------------

moved() {
    pipebd-plan wrong.json --schedules dpu -o plan.json > plan.txt || return 1
    train --plan plan.json --trace wrong.json --epochs 8 --replan --replan-checks 2 \
        --log log.jsonl --checkpoint ck \
        -o moved.safetensors 2> moved.err || { cat moved.err; return 1; }
    cat moved.err plan.txt
    grep '"replan"' log.jsonl
    grep -q '^replan, step [0-9]*: .*device 1 works [0-9.]* times as long.*: another plan, an epoch of .* expected' moved.err \
        && grep -q '"event": "replan".*"taken": true.*"stages": \[' log.jsonl
}
ok 'it is found, and the run goes on under another plan' moved
ok 'the log is drawn with it' \
    sh -c 'pipebd-plot progress log.jsonl -o x.svg --script x.gp && grep -q "new plan" x.gp'

same() {
    train --plan plan.json --epochs 8 -o stays.safetensors 2> stays.err || return 1
    cmp moved.safetensors stays.safetensors
}
ok 'the students are those of a run under one plan, to the bit' same

interrupted_and_resumed() {
    rm -rf ck2 log2.jsonl
    pipebd-run train "${common[@]}" --plan plan.json --trace wrong.json --epochs 8 --replan \
        --replan-checks 1 --log log2.jsonl \
        --log-every 1 --checkpoint ck2 -o again.safetensors > int.out 2> int.err &
    local pid=$!
    wait_for has_line log2.jsonl '"replan"'
    kill -INT $pid
    wait $pid
    cat int.err
    grep -q '^to go on: ' int.err || grep -q '"why": "done"' log2.jsonl || return 1
    [ -e again.safetensors ] \
        || train --plan plan.json --trace wrong.json --epochs 8 --replan --replan-checks 1 \
        --log log2.jsonl --checkpoint ck2 --resume -o again.safetensors 2> int.err \
        || { cat int.err; return 1; }
    cmp again.safetensors stays.safetensors \
        && pipebd-plot progress log2.jsonl -o x.svg --script x.gp
}
# A background job of a script ignores SIGINT from birth, unless job control is on.
set -m
ok 'an interrupt while plans change is an interrupt' interrupted_and_resumed
set +m

# ---- devices of several processes
# -----------------------------------------------------------------

# Rank 0 hears of device 1, and tells rank 1 of the plan.
processes() {
    rm -rf ck3 log3.jsonl
    (. "$PIPEBD_ROOT/tests/openmpi.sh"; exec pipebd-run train --workload digits --devices cpu:1 \
        --processes 2 --plan plan.json --trace wrong.json --epochs 8 --replan \
        --replan-checks 2 --log log3.jsonl --checkpoint ck3 -o apart.safetensors) 2> apart.err \
        || { cat apart.err; return 1; }
    cat apart.err
    grep -q '^replan, step [0-9]*: .*device 1 works [0-9.]* times as long.*: another plan' \
        apart.err || return 1
    grep '"event": "replan".*"taken": true' log3.jsonl && cmp apart.safetensors stays.safetensors
}
if command -v mpirun > /dev/null && [ -x "$PIPEBD_BIN/../tests/mpi/world" ]; then
    ok 'a device of another process is found too, and both go on under another plan' processes
    ok 'the log says what devices of other processes do' \
        jq -es '[.[] | select(.event == "progress") | .devices[1].work // 0] | max > 0.5' log3.jsonl
else
    skip 'a device of another process is found too, and both go on under another plan' \
        'built without MPI, or no mpirun'
fi

# ---- a core that others use ------------------------------------------------------------------

# Three busy processes on device 1's core while a run trains: it is found.
has_progress() { [ "$(grep -cs progress busy.jsonl)" -ge "$1" ]; }
busy_core() {
    local core busy=() pid
    core=$(taskset -cp $$ | sed 's/.*: //; s/.*[,-]//')
    pipebd-run train "${common[@]}" --schedule dpu --trace trace.json --epochs 100000 --replan \
        --replan-checks 2 \
        --log busy.jsonl -o busy.safetensors > busy.out 2> busy.err &
    pid=$!
    wait_for has_progress 40
    for ((i = 0; i < 3; i++)); do taskset -c "$core" sh -c 'while :; do :; done' & busy+=($!); done
    wait_for has_line busy.err 'device [01] works'
    kill -KILL "${busy[@]}" $pid
    wait $pid "${busy[@]}" 2> /dev/null
    cat busy.err
    grep -q '^replan, step' busy.err
}
if command -v taskset > /dev/null; then ok 'busy processes on a core are found' busy_core
else skip 'busy processes on a core are found' 'no taskset'; fi

# ---- what is refused -----------------------------------------------------------------------------

refused() {
    local status=$1 text=$2
    shift 2
    train -o refused.safetensors "$@" 2> refused.err > refused.out
    local found=$?
    cat refused.err
    [ $found -eq "$status" ] && [ ! -s refused.out ] && tail -n 1 refused.err | grep -qF -e "$text"
}
ok 'no trace' refused 2 '--replan needs --trace' --plan plan.json --replan
ok 'a threshold alone' refused 2 '--replan-threshold: no effect without --replan' --plan plan.json \
    --replan-threshold 20
ok 'another trace' refused 1 '--replan: trace.json: not the trace that the plan came from' \
    --plan plan.json --trace trace.json --replan
ok 'block after block' refused 1 '--replan: dp trains one block after another' --schedule dp \
    --trace trace.json --replan
done_testing
