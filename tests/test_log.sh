#!/bin/bash
# pipebd-run train --log and its signals: what is written, read, added to, and said.
. "$(dirname "$0")/tap.sh"

needs_cpu_devices
cd "$WORK" || exit 1

common=(--workload digits --schedule dpu --devices cpu:2 -o student.safetensors)
train() { pipebd-run train "${common[@]}" "$@"; }
events() { sed 's/.*"event": "\([a-z]*\)".*/\1/' "$1" | uniq -c | tr -s ' \n' ' '; }

# ---- a run ------------------------------------------------------------------------

whole() {
    train --epochs 2 --log whole.jsonl --log-every 5 || return 1
    events whole.jsonl
    # 46 steps: 9 multiples of 5 and the rest; a line may stand for several multiples
    [[ $(events whole.jsonl) =~ ^' 1 start '([0-9]+)' progress 1 end '$ ]] \
        && [ "${BASH_REMATCH[1]}" -ge 2 ] \
        && [ "${BASH_REMATCH[1]}" -le 10 ] && tail -n 2 whole.jsonl | grep -q '"step": 46,' \
        && tail -n 1 whole.jsonl | grep -q '"why": "done".*"error": null' \
        && ! grep -q 'nan\|inf' whole.jsonl
}
ok 'a run has a start, progress, and an end' whole
ok 'which pipebd-plot reads' pipebd-plot progress whole.jsonl -o whole.svg --script whole.gp

every_schedule() {
    for schedule in dp tr ir; do
        rm -f s.jsonl
        pipebd-run train --workload digits --schedule $schedule --devices cpu:2 \
            -o student.safetensors --log s.jsonl || return 1
        pipebd-plot progress s.jsonl -o s.svg --script s.gp || return 1
        tail -n 2 s.jsonl | head -n 1 \
            | grep -q '"step": 23,.*"block_steps": \[23, 23, 23, 23, 23, 23\]' || return 1
    done
}
ok 'other schedules likewise' every_schedule

# ---- what is refused ------------------------------------------------------------------

refused() {
    local status=$1 text=$2
    shift 2
    train "$@" 2> refused.err > refused.out
    local found=$?
    cat refused.err
    [ $found -eq "$status" ] && [ ! -s refused.out ] && tail -n 1 refused.err | grep -qF -e "$text"
}
ok 'a log that is there is kept' refused 1 'whole.jsonl: is there already' --log whole.jsonl
ok '--log-every alone' refused 2 '--log-every: no effect without --log' --log-every 5
ok 'standard output' refused 2 "expected a file's name" --log -
ok 'a folder that is not there' refused 1 'cannot be written' --log nothere/x.jsonl
printf '{"format": "pipebd-log", "version": 1, "workload_hash": "0"}\n' > other.jsonl
ok "another workload's log" refused 1 'the log of another workload' --log other.jsonl \
    --checkpoint ck0 --resume
printf 'notes\n' > notes
ok 'no log at all' refused 1 'notes:1:5: not JSON' --log notes --checkpoint ck0 --resume

full() {
    train --epochs 400 --log /dev/full --log-every 1 --checkpoint full > full.out 2> full.err
    local status=$?
    cat full.err
    [ $status -eq 1 ] \
        && tail -n 1 full.err | grep -q '/dev/full: cannot be written: No space left on device'
}

# The file may grow to 16 KiB, which is some dozen lines.
fills_up() {
    (ulimit -f 16; trap '' XFSZ; train --epochs 1000 --log fills.jsonl --log-every 1 > full.out \
        2> full.err)
    local status=$?
    cat full.err
    [ $status -eq 1 ] \
        && tail -n 1 full.err | grep -q 'fills.jsonl: cannot be written: File too large' \
        && [ "$(tail -c 1 fills.jsonl)" = '' ] && [ "$(wc -l < fills.jsonl)" -ge 5 ] \
        && pipebd-plot progress fills.jsonl -o fills.svg --script fills.gp
}
ok 'a disk that fills up ends the run after a step' fills_up
if [ -w /dev/full ]; then
    ok 'a full disk ends the run' full
else
    skip 'a full disk ends the run' 'no /dev/full'
fi

# ---- signals ----------------------------------------------------------------------------

appears() { wait_for has_line "$@"; }

signals() {
    pipebd-run train "${common[@]}" --epochs 1000 --log 'a log.jsonl' --log-every 1 \
        --checkpoint ck --checkpoint-every 5 > sig.out 2> sig.err &
    local pid=$!
    appears 'a log.jsonl' '"progress"' && kill -USR1 $pid && appears sig.err '^device 1, ' \
        && kill -INT $pid
    wait $pid
    local status=$?
    cat sig.err
    [ $status -eq 130 ] && grep -q '^dpu  epoch [0-9]*/1000 ' sig.err \
        && grep -q '^device 0, step [0-9]* of 23000, [A-Z]* .*, \(working\|waiting\) [0-9.]* s$' \
        sig.err \
        && tail -n 1 'a log.jsonl' | grep -q '"why": "stopped"'
}
# A background job of a script ignores SIGINT from birth, unless job control is on.
set -m
ok 'SIGUSR1 is answered, SIGINT ends the run in order' signals
set +m

# The command that was printed, with fewer epochs left to do: it is run as a shell reads it.
goes_on() {
    local command
    command=$(sed -n 's/^to go on: //p' sig.err)
    printf '{"event": "progress", "time_s": 1' >> 'a log.jsonl'          # as a killed run leaves it
    echo "$command"
    set -m
    eval "exec $command" > on.out 2> on.err &
    local pid=$!
    appears 'a log.jsonl' '"resumed": true' && appears on.err 'the last line was not finished' \
        && kill -INT $pid
    wait $pid
    set +m
    cat on.err
    local both="^ 1 start [0-9]+ progress 1 end 1 start ([0-9]+ progress )?1 end \$"
    [[ $(events 'a log.jsonl') =~ $both ]] \
        && pipebd-plot progress 'a log.jsonl' -o on.svg --script on.gp && grep -q resumed on.gp
}
ok 'the command that it prints goes on, and adds to the log' goes_on

# Process $1 is the tool, no shell any more, and catches SIGUSR1 (signal 10).
listens() {
    local caught
    # Its name first: what is caught may else be the shell's, which this process was a moment ago.
    [ "$(cat "/proc/$1/comm" 2> /dev/null)" = pipebd-run ] || return 1
    caught=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status" 2> /dev/null)
    [ -n "$caught" ] && [ $((16#$caught >> 9 & 1)) -eq 1 ]
}

# Asks process $1 now and then.
answers() { kill -USR1 "$1" 2> /dev/null || return 0; sleep 0.2; has_line v.err '^device 1, '; }

others_answer() {
    mkdir -p v
    "$@" 2> v.err > /dev/null &
    local pid=$!
    wait_for listens $pid && wait_for answers $pid
    kill -KILL $pid 2> /dev/null
    wait $pid 2> /dev/null
    cat v.err
    grep -q '^device 1, ' v.err
}
ok 'profile answers SIGUSR1' others_answer pipebd-run profile --workload digits --devices cpu:2 \
    --trials 3000 --limit 0 -o v.json
done_testing
