#!/bin/bash
# The test runner itself: what it counts, that nothing bad counts as passed, and that programs
# run beside each other, but for those that say they cannot.
. "$(dirname "$0")/tap.sh"

# A fake test program: its lines of shell.
fake() {
    { echo '#!/bin/bash'; cat; } > "$WORK/$1"
    chmod +x "$WORK/$1"
}

# counts NAME LINE STATUS PROGRAM...: the runner's last line and exit status.
counts() {
    local name=$1 line=$2 want=$3
    shift 3
    check() {
        local output status
        output=$(PIPEBD_TEST_LIMIT=${LIMIT:-30} PIPEBD_TEST_WRAPPER='' "$PIPEBD_ROOT/tests/run.sh" \
            "$@")
        status=$?
        printf '%s\n' "$output"
        [ "$status" -eq "$want" ] && [ "$(printf '%s\n' "$output" | tail -n 1)" = "$line" ]
    }
    ok "$name" check "${@/#/$WORK/}"
}

fake passes.sh    <<< 'echo 1..2; echo "ok 1 - a"; echo "ok 2 - b"'
fake passes       <<< 'echo 1..1; echo "ok 1 - c"'
fake groups       <<< 'echo 1..1; echo "ok 1 - c"; echo 1..2; echo "ok 1 - d"; echo "ok 2 - e"'
fake fails        <<< 'echo 1..2; echo "ok 1 - a"; echo "not ok 2 - b"; echo "# why"; exit 1'
fake fails_exit_0 <<< 'echo 1..1; echo "not ok 1 - b"'
fake skips <<< 'echo 1..3; echo "ok 1 - a"; echo "ok 2 - b # SKIP no"; echo "not ok 3 # SKIP c"'
fake only_skips   <<< 'echo 1..1; echo "ok 1 - b # SKIP no"'
fake skips_all    <<< 'echo "1..0 # SKIP no torch"'
fake crashes      <<< 'echo 1..2; echo "ok 1 - a"; kill -SEGV $$'
fake hangs        <<< 'echo 1..2; echo "ok 1 - a"; exec sleep 30'
fake stubborn     <<< 'trap "" TERM; echo 1..1; echo "ok 1 - a"; while :; do sleep 0.2; done'
fake silent       <<< 'exit 0'
fake none         <<< 'echo 1..0'
fake no_plan.sh   <<< 'echo "ok 1 - a"'
fake too_few      <<< 'echo 1..3; echo "ok 1 - a"'
fake late_exit    <<< 'echo 1..1; echo "ok 1 - a"; exit 3'
cat > "$WORK/python.py" <<< 'print("1..1\nok 1 - python")'

counts 'passes are added up'               '6 passed, 0 failed' 0 passes.sh passes groups
counts 'python scripts run'                '1 passed, 0 failed' 0 python.py
counts 'a failed test'                     '1 passed, 1 failed' 1 fails
counts 'a failed test with exit status 0'  '0 passed, 1 failed' 1 fails_exit_0
counts 'skips are counted apart'           '1 passed, 0 failed, 2 skipped' 0 skips
counts 'all skipped is no failure'         '0 passed, 0 failed, 1 skipped' 0 only_skips
counts 'a whole file may be skipped'       '0 passed, 0 failed, 1 skipped' 0 skips_all
counts 'a crash is one failure'            '1 passed, 1 failed' 1 crashes
LIMIT=1 counts 'a hang is one failure'             '1 passed, 1 failed' 1 hangs
LIMIT=1 counts 'a hang deaf to SIGTERM as well'    '1 passed, 1 failed' 1 stubborn
counts 'no output is one failure'          '0 passed, 1 failed' 1 silent
counts 'no tests are one failure'          '0 passed, 1 failed' 1 none
counts 'no plan is one failure'            '1 passed, 1 failed' 1 no_plan.sh
counts 'fewer tests than planned'          '1 passed, 1 failed' 1 too_few
counts 'a bad exit after passing'          '1 passed, 1 failed' 1 late_exit
counts 'a missing program is one failure'  '0 passed, 1 failed' 1 nothere
counts 'one bad program spoils the rest'   '3 passed, 1 failed' 1 passes.sh crashes
counts 'nothing to run is no success'      '0 passed, 0 failed' 1

shows() { "$PIPEBD_ROOT/tests/run.sh" "$WORK/$1" | grep -qF -- "$2"; }
ok 'the output of a failure is shown' shows fails '    # why'
ok 'a crash names its signal'         shows crashes 'crashed: signal 11'

says() { "$PIPEBD_ROOT/tests/run.sh" "${@:2}" | grep -qE -- "$1"; }
ok 'each line has its seconds' says '^passes +[0-9]+\.[0-9] s   1 passed, 0 failed$' "$WORK/passes"
# The first ends after the last.
fake fails_late <<< "until [ -e '$WORK/over' ]; do sleep 0.02; done; echo 1..1; echo 'not ok 1 - b'"
fake is_over    <<< "echo 1..1; echo 'not ok 1 - b'; (sleep 0.3; touch '$WORK/over') > /dev/null &"
ok 'failed programs are named last, in the order given' says '^failed: fails_late crashes is_over$' \
    "$WORK/fails_late" "$WORK/passes" "$WORK/crashes" "$WORK/is_over"

# Beside each other: each waits for the other, 20 s at most.
meets() {
    echo "echo 1..1; touch '$WORK/$1.here'
for ((i = 0; i < 200; i++)); do [ -e '$WORK/$2.here' ] && break; sleep 0.1; done
[ -e '$WORK/$2.here' ] && echo 'ok 1 - met' || echo 'not ok 1 - alone'"
}
meets one two | fake one
meets two one | fake two
export PIPEBD_TEST_JOBS=2
counts 'two run beside each other'         '2 passed, 0 failed' 0 one two
rm -f "$WORK"/*.here

# In time: each says when it begins and ends.
for name in a b c; do
    fake $name.sh <<< "echo begins $name >> '$WORK/order'; sleep 0.1; echo ends $name >> '$WORK/order'; echo 1..1; echo 'ok 1'"
done
echo '# run.sh: alone' >> "$WORK/a.sh"
in_turn() {
    rm -f "$WORK/order"
    PIPEBD_TEST_JOBS=$1 "$PIPEBD_ROOT/tests/run.sh" "$WORK/a.sh" "$WORK/b.sh" "$WORK/c.sh" \
        && diff <(printf '%s\n' "${@:2}") "$WORK/order"
}
ok 'one at once, in turn; what says alone comes last' in_turn 1 'begins b' 'ends b' 'begins c' \
    'ends c' 'begins a' 'ends a'
alone_at_end() {
    in_turn 3 > /dev/null
    tail -n 2 "$WORK/order" | diff <(printf '%s\n' 'begins a' 'ends a') -
}
ok 'alone is after the end of all others' alone_at_end

# The longest first, as the seconds beside the runner say: here a copy of it with others.
mkdir "$WORK/copy"
cp "$PIPEBD_ROOT/tests/run.sh" "$WORK/copy"
longest_first() {
    printf '%s\n' '0.5 b.sh' '7.0 c.sh' > "$WORK/copy/seconds.txt"
    sed -i '/alone/d' "$WORK/a.sh"
    rm -f "$WORK/order"
    PIPEBD_TEST_JOBS=1 PIPEBD_TEST_SECONDS=$WORK/seconds "$WORK/copy/run.sh" "$WORK/a.sh" \
        "$WORK/b.sh" "$WORK/c.sh"
    diff <(printf 'begins %s\nends %s\n' a a c c b b) "$WORK/order" && cat "$WORK/seconds" \
        && [ "$(grep -cE '^[0-9]+\.[0-9] [abc]\.sh$' "$WORK/seconds")" -eq 3 ]
}
ok 'what is not known first, then the longest; seconds are written' longest_first

# SIGINT is what it is at a prompt, though the runner starts programs in the background.
fake interrupts <<< 'echo 1..1; bash -c "kill -INT \$\$; sleep 1"; [ $? -eq 130 ] && echo "ok 1" || echo "not ok 1"'
counts 'programs can be interrupted'       '1 passed, 0 failed' 0 interrupts

# A runner that is ended ends what it runs.
fake endless <<< "echo \$\$ > '$WORK/endless.pid'; exec sleep 100"
ended() {
    local runner pid
    "$PIPEBD_ROOT/tests/run.sh" "$WORK/endless" &
    runner=$!
    for ((i = 0; i < 1000; i++)); do [ -s "$WORK/endless.pid" ] && break; sleep 0.02; done
    pid=$(cat "$WORK/endless.pid")
    kill -TERM $runner
    wait $runner
    [ $? -eq 143 ] || return 1
    for ((i = 0; i < 1000; i++)); do kill -0 "$pid" 2> /dev/null || return 0; sleep 0.02; done
    return 1
}
ok 'a runner that is ended ends what it runs' ended
unset PIPEBD_TEST_JOBS

# The helpers of tap.sh, in scripts of their own.
helper() { { echo ". '$PIPEBD_ROOT/tests/tap.sh'"; cat; } > "$WORK/$1"; }
helper good.sh \
    <<< 'ok a true; fails b false; expect_status 3 c bash -c "exit 3"; skip d no; done_testing'
helper bad.sh   <<< 'ok a false; fails b true; expect_status 3 c true; done_testing'
helper gone.sh \
    <<< 'fails a nothere-no-such-command; fails b bash -c "kill -SEGV \$\$"; done_testing'
helper slip.sh  <<< 'ok a true; oks b true; done_testing'
helper stops.sh <<< 'ok a true; exit 0'
counts 'tap.sh: what holds passes'                  '3 passed, 0 failed, 1 skipped' 0 good.sh
counts 'tap.sh: what does not hold fails'           '0 passed, 3 failed' 1 bad.sh
counts 'tap.sh: a crash or no program is no refusal' '0 passed, 2 failed' 1 gone.sh
counts 'tap.sh: a check that is misspelt fails'      '1 passed, 1 failed' 1 slip.sh
counts 'tap.sh: ending early fails'                 '1 passed, 1 failed' 1 stops.sh

done_testing
