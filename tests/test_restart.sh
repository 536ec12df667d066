#!/bin/bash
# --restarts: a run whose process is killed again and again ends with the students of one that
# was left alone, to the byte; what is not started again, and why. PIPEBD_ROUNDS runs are
# disturbed (2), PIPEBD_SEED chooses the moments.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/training.sh"

needs_cpu_devices

at_random 2
epochs=30
out=$WORK/out.safetensors folder=$WORK/checkpoint

expect_status 2 'refused without --checkpoint' run "$out" dpu --restarts 2
expect_status 2 'a timeout is refused where nobody can be missed' run "$out" dpu --fault-timeout 5
expect_status 2 'none is no number of restarts' run "$out" dpu --checkpoint "$folder" --restarts 0

ok 'a run left alone' run "$WORK/alone.safetensors" dpu
begun=$(milliseconds)
left_alone() {
    run "$out" dpu --checkpoint "$folder" --checkpoint-every 7 --restarts 2 2>&1 | tee "$WORK/.run"
    ! grep -q '^restarts:' "$WORK/.run"
}
ok 'without a fault nothing is started again' left_alone
length=$(($(milliseconds) - begun))

# supervised ARGUMENT...: in the background, with checkpoints; its number in supervisor.
supervised() {
    rm -rf "$folder" "$out"
    (train "$out" dpu --checkpoint "$folder" --checkpoint-every 7 "$@") > "$WORK/.run" 2>&1 &
    supervisor=$!
}

# ended STATUS: the supervisor has, with that; nothing of it is left.
ended() {
    wait $supervisor
    local status=$?
    cat "$WORK/.run"
    [ $status -eq "$1" ] || { echo "status $status, expected $1"; return 1; }
    ls "$folder" "$WORK" 2> /dev/null | grep -E '\.safetensors.+' && return 1
    return 0
}

says() { grep -qF -- "$1" "$WORK/.run" || { echo "expected: $1"; cat "$WORK/.run"; return 1; }; }

newest() { ls "$folder" 2> /dev/null | sort | tail -n 1; }

# Waits for a checkpoint other than $1, or the end of the supervisor.
is_newer() { [ "$(newest)" != "$1" ] || is_gone $supervisor; }
until_newer() {
    wait_for is_newer "$1"
}

# Kills at random moments, at most 10 times: some time after a start, or, as two starts in a row
# without a checkpoint end it, some time after the start's first checkpoint.
killed_at_random() {
    local child before early=0
    supervised --restarts 10
    for ((k = 0; k < 10; k++)); do
        before=$(newest)
        if [ $early -eq 1 ] || [ $((RANDOM % 2)) -eq 0 ]; then
            early=0
            until_newer "$before"
        else
            early=1
        fi
        pause $((RANDOM % (length / 6 + 1)))
        child=$(children $supervisor)
        [ -n "$child" ] || break
        kill -KILL $child && kills=$((kills + 1))
    done
    ended 0 && cmp "$WORK/alone.safetensors" "$out"
}

disturbed() {
    for ((r = 0; r < rounds; r++)); do killed_at_random || return 1; done
}
ok 'killed at random moments' disturbed
echo "# killed $kills times"

says_what_it_does() {
    supervised --restarts 1
    until_checkpoint "$folder"
    kill -KILL $(children $supervisor)
    ended 0 && says 'restarts: ended by signal 9 (Killed) after' \
        && says 'restart 1 of at most 1, from checkpoint'
}
ok 'a restart is a line' says_what_it_does

has_said() { [ "$(grep -c '^restarts:' "$WORK/.run")" -ge "$1" ]; }
no_restart_left() {
    supervised --restarts 1
    until_checkpoint "$folder"
    kill -KILL $(children $supervisor)
    # a checkpoint of the next start, not a last one of the first
    wait_for has_said 1 && until_newer "$(newest)"
    kill -KILL $(children $supervisor)
    ended 137 && says 'not started again: no restart is left'
}
epochs=2000
ok 'at most so many' no_restart_left

has_child() { [ -n "$(children $supervisor)" ]; }
gains_nothing() {
    rm -rf "$folder"
    (train "$out" dpu --checkpoint "$folder" --checkpoint-every 100000 --restarts 9) \
        > "$WORK/.run" 2>&1 &
    supervisor=$!
    for ((k = 0; k < 2; k++)); do
        wait_for has_child || return 1
        kill -KILL $(children $supervisor)
        wait_for has_said $((k + 1)) || return 1
    done
    ended 137 && says 'not started again: it has twice written no checkpoint since it was started'
}
ok 'not when it gains nothing' gains_nothing

own_error() {
    rm -rf "$folder"
    (train "$out" dpu --teacher nothere --checkpoint "$folder" --restarts 9) > "$WORK/.run" 2>&1 &
    supervisor=$!
    ended 1 && says 'its error would come again' && [ "$(grep -c nothere "$WORK/.run")" -eq 1 ]
}
ok 'not after an error that would come again' own_error

interrupted() {
    supervised --restarts 9
    until_checkpoint "$folder"
    kill -INT $supervisor
    ended 130 && says 'not started again: it was interrupted' && [ ! -e "$out" ] || return 1
    grep -q '^to go on: pipebd-run train .* --restarts 9 --resume$' "$WORK/.run"
}
set -m                                   # so that jobs do not ignore SIGINT from birth
ok 'not when it is interrupted' interrupted
set +m

# Without its supervisor a run ends as if interrupted.
supervisor_killed() {
    supervised --restarts 9
    until_checkpoint "$folder"
    local child=$(children $supervisor)
    kill -KILL $supervisor
    wait $supervisor 2> /dev/null
    wait_for is_gone $child || { kill -KILL $child; return 1; }
    has_checkpoint "$folder"
}
ok 'a run does not outlive its supervisor' supervisor_killed

done_testing
