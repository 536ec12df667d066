#!/bin/bash
# Training that is killed at random moments, again and again, and resumed: the students are
# those of a run that was left alone, to the byte. PIPEBD_ROUNDS rounds (8; make check-kill
# has 200), PIPEBD_SEED chooses the moments.
. "$(dirname "$0")/tap.sh"

if [ ! -x "$PIPEBD_BIN/pipebd-run" ]; then
    echo '1..0 # SKIP pipebd-run is not built'
    exit 0
fi

rounds=${PIPEBD_ROUNDS:-8}
seed=${PIPEBD_SEED:-1}
echo "# PIPEBD_SEED=$seed"
RANDOM=$seed
kills=0

cat > "$WORK/w.json" <<'J'
{"format": "pipebd-workload", "version": 1, "name": "resume",
 "input": {"channels": 1, "height": 8, "width": 8}, "classes": 10, "batch": 32, "samples": 1437,
 "training": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": true}, "data": "digits",
 "blocks": [
  {"name": "b0", "loss": "mse",
   "teacher": [{"layer": "conv", "out": 8, "kernel": 3}, {"layer": "relu"}],
   "student": [{"layer": "separable", "out": 8, "kernel": 3, "batchnorm": true, "relu": true}]},
  {"name": "b1", "loss": "mse",
   "teacher": [{"layer": "conv", "out": 8, "kernel": 3}, {"layer": "relu"}],
   "student": [{"layer": "conv", "out": 8, "kernel": 1}, {"layer": "batchnorm"}, {"layer": "relu"}]},
  {"name": "b2", "loss": "soft_cross_entropy",
   "teacher": [{"layer": "flatten"}, {"layer": "linear", "out": 10}],
   "student": [{"layer": "avgpool", "global": true}, {"layer": "linear", "out": 10}]}]}
J
cat > "$WORK/stealing.json" <<'J'
{"format": "pipebd-plan", "version": 1, "schedule": "ls", "stealing": true, "blocks": 3, "devices": 2, "batch": 32,
 "stages": [{"first": 2, "last": 2, "devices": [], "rows": []}, {"first": 1, "last": 1, "devices": [], "rows": []},
            {"first": 0, "last": 0, "devices": [], "rows": []}]}
J

# train OUT ARGUMENT...: a schedule, or a plan's file.
train() {
    local out=$1 how=$2
    shift 2
    case $how in
    *.json) set -- --plan "$how" "$@" ;;
    *)      set -- --schedule "$how" --devices cpu:2 "$@" ;;
    esac
    exec pipebd-run train --workload "$WORK/w.json" --epochs "${epochs:-5}" -o "$out" "$@"
}
run() { (train "$@"); }

# killed HOW...: trains in turns under each, killed at random moments of a run's length, until
# one comes to its end; at most 40 times, then it is left alone.
killed() {
    local folder=$WORK/checkpoint out=$WORK/killed.safetensors turn=0 how pid
    rm -rf "$folder" "$out"
    while [ ! -e "$out" ]; do
        how=$(($# > 1 ? turn % $# + 1 : 1))
        (train "$out" "${!how}" --checkpoint "$folder" --every 7 --resume) > "$WORK/.out" 2>&1 &
        pid=$!
        if [ $turn -lt 40 ]; then
            sleep "0.$(printf '%03d' $((RANDOM % length)))"
            kill -KILL $pid 2> /dev/null
        fi
        wait $pid 2> /dev/null
        local status=$?
        if [ $status -ne 0 ] && [ $status -ne 137 ]; then echo "status $status:"; cat "$WORK/.out"; return 1; fi
        turn=$((turn + 1))
        if [ $status -eq 137 ]; then kills=$((kills + 1)); fi
    done
}

# weights FILE: all bytes of the tensors, not the notes, which name the schedule.
weights() { "${PYTHON:-python3}" - "$1" <<'P'
import hashlib, json, struct, sys
data = open(sys.argv[1], "rb").read()
(n,) = struct.unpack("<Q", data[:8])
head = json.loads(data[8:8 + n])
head.pop("__metadata__")
print(hashlib.sha256(json.dumps(head).encode() + data[8 + n:]).hexdigest())
P
}

ok 'a run left alone' run "$WORK/alone.safetensors" dpu
begun=$(date +%s%N)
ok 'a run left alone, with checkpoints' run "$WORK/with.safetensors" dpu --checkpoint "$WORK/all" --every 7
length=$((($(date +%s%N) - begun) / 1000000))       # ms
length=$((length < 20 ? 20 : length > 900 ? 900 : length))
ok 'checkpoints change nothing' cmp "$WORK/alone.safetensors" "$WORK/with.safetensors"
ok 'dp left alone' run "$WORK/dp.safetensors" dp

same_plan() {
    for ((i = 0; i < rounds; i++)); do
        killed dpu && cmp "$WORK/alone.safetensors" "$WORK/killed.safetensors" || return 1
    done
}
ok 'killed and resumed under the same plan' same_plan

groups() {
    for ((i = 0; i < (rounds + 2) / 3; i++)); do
        killed dp && cmp "$WORK/dp.safetensors" "$WORK/killed.safetensors" || return 1
    done
}
ok 'killed and resumed in groups' groups

other_plans() {
    for ((i = 0; i < (rounds + 2) / 3; i++)); do
        killed dpu "$WORK/stealing.json" tr && [ "$(weights "$WORK/alone.safetensors")" = "$(weights "$WORK/killed.safetensors")" ] \
            || return 1
    done
}
ok 'killed and resumed under other plans' other_plans

echo "# killed $kills times"

interrupted() {
    rm -rf "$WORK/int" "$WORK/int.safetensors"
    (epochs=1000; train "$WORK/int.safetensors" dpu --checkpoint "$WORK/int") 2> "$WORK/.err" > "$WORK/.out" &
    local pid=$!
    for ((i = 0; i < 200; i++)); do ls "$WORK"/int/checkpoint-*.safetensors > /dev/null 2>&1 && break; sleep 0.05; done
    kill -INT $pid
    wait $pid
    local status=$?
    cat "$WORK/.err"
    [ $status -eq 1 ] && [ ! -e "$WORK/int.safetensors" ] && tail -n 1 "$WORK/.err" | grep -qF 'interrupted: --resume goes on'
}
# A background job of a script ignores SIGINT from birth, unless job control is on.
set -m
ok 'SIGINT ends the run after a step and says how to go on' interrupted
set +m

done_testing
