#!/bin/bash
# Training that is killed at random moments, again and again, and resumed: the students are
# those of a run that was left alone, to the byte. PIPEBD_ROUNDS rounds (4; make check-kill
# has 200), PIPEBD_SEED chooses the moments.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/training.sh"

needs_cpu_devices

at_random 4

cat > "$WORK/stealing.json" <<'J'
{"format": "pipebd-plan", "version": 1, "schedule": "ls", "stealing": true, "blocks": 3, "devices": 2, "batch": 32,
 "stages": [{"first": 2, "last": 2, "devices": [], "rows": []}, {"first": 1, "last": 1, "devices": [], "rows": []},
            {"first": 0, "last": 0, "devices": [], "rows": []}]}
J

killed=$WORK/killed.safetensors folder=$WORK/checkpoint

ok 'a run left alone' run "$WORK/alone.safetensors" dpu
begun=$(milliseconds)
ok 'a run left alone, with checkpoints' run "$WORK/with.safetensors" dpu --checkpoint "$WORK/all" \
    --checkpoint-every 7
length=$(lasted $begun)
ok 'checkpoints change nothing' cmp "$WORK/alone.safetensors" "$WORK/with.safetensors"
ok 'dp left alone' run "$WORK/dp.safetensors" dp

same_plan() {
    for ((i = 0; i < rounds; i++)); do
        killed "$killed" "$folder" dpu && cmp "$WORK/alone.safetensors" "$killed" || return 1
    done
}
ok 'killed and resumed under the same plan' same_plan

groups() {
    for ((i = 0; i < (rounds + 2) / 3; i++)); do
        killed "$killed" "$folder" dp && cmp "$WORK/dp.safetensors" "$killed" || return 1
    done
}
ok 'killed and resumed in groups' groups

other_plans() {
    for ((i = 0; i < (rounds + 2) / 3; i++)); do
        killed "$killed" "$folder" "dpu $WORK/stealing.json tr" \
            && [ "$(weights "$WORK/alone.safetensors")" = "$(weights "$killed")" ] || return 1
    done
}
ok 'killed and resumed under other plans' other_plans

echo "# killed $kills times"

interrupted() {
    rm -rf "$WORK/int" "$WORK/int.safetensors"
    (epochs=1000; train "$WORK/int.safetensors" dpu --checkpoint "$WORK/int") 2> "$WORK/.err" \
        > "$WORK/.out" &
    local pid=$!
    until_checkpoint "$WORK/int"
    kill -INT $pid
    wait $pid
    local status=$?
    cat "$WORK/.err"
    [ $status -eq 130 ] && [ ! -e "$WORK/int.safetensors" ] \
        && grep -q '^to go on: .* --resume$' "$WORK/.err" \
        && tail -n 1 "$WORK/.err" | grep -q 'interrupted after step [0-9]*, which is kept in'
}
# A log that cannot grow any more is an error of the run's own; what was kept goes on.
own_error() {
    rm -rf "$WORK/own" "$WORK/own.jsonl" "$WORK/own.safetensors"
    (ulimit -f 64; epochs=1000; train "$WORK/own.safetensors" dpu --checkpoint "$WORK/own" \
        --checkpoint-every 20 --log "$WORK/own.jsonl" \
        --log-every 1 "$@") 2> "$WORK/.err" > "$WORK/.out"
    local status=$?
    cat "$WORK/.err"
    [ $status -eq 1 ] && has_checkpoint "$WORK/own" \
        && grep -q "own.jsonl: cannot be written" "$WORK/.err" \
        && [ "$(grep -c '^to go on: .* --resume$' "$WORK/.err")" -eq 1 ]
}
ok 'an error of its own says how to go on, too' own_error
ok 'and with --restarts once, when none is left' own_error --restarts 1

# A background job of a script ignores SIGINT from birth, unless job control is on.
set -m
ok 'SIGINT ends the run after a step and says how to go on' interrupted
set +m

done_testing
