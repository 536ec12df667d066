#!/bin/bash
# run.sh PROGRAM...: runs test programs beside each other and counts what passed.
#
#     NAME.sh, NAME.py   scripts that write TAP (tests/tap.sh helps)
#     anything else      a cmocka program, told to write TAP
#
# The longest start first, as tests/seconds.txt has them (those that it lacks, before all
# others). A program whose source, tests/NAME.sh, .py or .c, has a line that says
# "run.sh: alone" runs by itself when all others have ended.
#
# Each program is a line when it ends: its seconds, and its counts. One that crashes, runs
# past its limit, exits with a failure that it did not report, or reports none or another
# number of tests than it planned counts as one more failure (printing a line without its
# end hides cmocka's next "ok" and shows up as that). The whole output of a program with
# failures is shown, and its name again at the end. The last line is
#
#     N passed, N failed[, N skipped]
#
# Exit status: 1 when something failed or nothing ran.
#
# PIPEBD_TEST_JOBS     programs at once (one more than there are cores: some only wait)
# PIPEBD_TEST_LIMIT    seconds each program may take (900: on a machine that is busy with eight
#                      other things)
# PIPEBD_TEST_WRAPPER  a command put before each cmocka program (valgrind ...)
# PIPEBD_TEST_SECONDS  a file to write the seconds of each program to
set -uo pipefail

here=$(dirname "$0")
jobs=${PIPEBD_TEST_JOBS:-$(($(nproc) + 1))}
limit=${PIPEBD_TEST_LIMIT:-900}
read -r -a wrapper <<< "${PIPEBD_TEST_WRAPPER:-}"
programs=("$@")
# Threads of a team that wait for each other give their core to the other programs: a third of the
# CPU time.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
# python3 may be a script that looks for a Python (pyenv), a tenth of a second each time: once.
python=$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)' 2> /dev/null)
if [ -n "$python" ]; then export PYTHON=$python; fi
SECONDS=0                                 # counts up, from here
folder=$(mktemp -d) || exit 1
total_passed=0 total_failed=0 total_skipped=0
bad=()                                    # names of those that failed, each at its number
declare -A running=()                     # the number of a program by the process that waits for it

# end_all: nothing of what was started outlives the runner.
end_all() {
    if [ ${#running[@]} -gt 0 ]; then
        kill -TERM "${!running[@]}" 2> /dev/null
        wait "${!running[@]}" 2> /dev/null
    fi
    rm -rf "$folder"
}
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# in_order: the numbers of the programs, longest first.
in_order() {
    local i
    for i in "${!programs[@]}"; do basename "${programs[i]}"; done |
        awk 'NR == FNR { seconds[$2] = $1; next } {
            print ($1 in seconds) ? seconds[$1] : 1e9, FNR - 1 }' \
            <(cat "$here/seconds.txt" 2> /dev/null; echo '0 .') - |
        sort -s -k 1,1gr | cut -d ' ' -f 2
}

# alone PROGRAM: its source says that it is to run by itself.
alone() {
    local name
    name=$(basename "$1")
    grep -qsE '^(#|//| \*) run\.sh: alone' "$1" "$here/$name.c"
}

# run_one NUMBER: its output into $folder/NUMBER.log, seconds and CPU seconds (user, system)
# into NUMBER.time; returns its exit status (124, 137: too long). Background jobs of a script
# ignore SIGINT, and under nohup SIGHUP, which tests send, so both are set back.
run_one() {
    local TIMEFORMAT='%R %U %S' child command program=${programs[$1]}
    case $program in
    *.sh) command=(bash "$program") ;;
    *.py) command=("${PYTHON:-python3}" "$program") ;;
    */*)  command=("${wrapper[@]}" "$program") ;;
    *)    command=("${wrapper[@]}" "./$program") ;;
    esac
    trap - EXIT INT
    trap 'kill -TERM "$child" 2> /dev/null; wait "$child"; exit 143' TERM
    time {
        CMOCKA_MESSAGE_OUTPUT=TAP env --default-signal=INT,QUIT,HUP timeout -k 2 "$limit" \
            "${command[@]}" \
            > "$folder/$1.log" 2>&1 < /dev/null &
        child=$!
        wait "$child"
    }
} 2> "$folder/$1.time"

# count_tap LOG: sets passed, failed, skipped and planned. cmocka writes a plan for each
# group, so plans are added up.
count_tap() {
    read -r passed failed skipped planned < <(awk '
        /^(not )?ok .*# SKIP/      { skipped++; next }   # cmocka 1.1.5: "not ok 3 # SKIP"
        /^ok( |$)/                 { passed++; next }
        /^not ok( |$)/             { failed++; next }
        /^1\.\.0 *# *[Ss][Kk][Ii][Pp]/ { skipped++; planned++; plans++; next }   # the whole file
        /^1\.\.[0-9]+/             { sub(/^1\.\./, ""); planned += $1; plans++ }
        END { print passed + 0, failed + 0, skipped + 0, (plans ? planned : -1) }' "$1")
}

# what_is_wrong STATUS: why the run itself is a failure, beyond the tests it reports.
what_is_wrong() {
    local reported=$((passed + failed + skipped))
    if   [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then echo "still running after $limit s"
    elif [ "$1" -gt 128 ];                     then echo "crashed: signal $(($1 - 128))"
    elif [ "$1" -ne 0 ] && [ "$failed" -eq 0 ]; then echo "exit status $1 without a failed test"
    elif [ "$planned" -lt 0 ];                 then echo "no plan line: it ended early"
    elif [ "$reported" -eq 0 ];                then echo "reports no test"
    elif [ "$reported" -ne "$planned" ];       then echo "planned $planned tests, reports $reported"
    fi
}

# describe PASSED FAILED SKIPPED
describe() {
    printf '%d passed, %d failed' "$1" "$2"
    if [ "$3" -gt 0 ]; then printf ', %d skipped' "$3"; fi
    printf '\n'
}

# report NUMBER STATUS: the line of a program that has ended, and its part of the totals.
report() {
    local name wrong seconds log=$folder/$1.log
    name=$(basename "${programs[$1]}")
    seconds=$(tail -n 1 "$folder/$1.time" | cut -d ' ' -f 1)
    count_tap "$log"
    wrong=$(what_is_wrong "$2")
    if [ -n "$wrong" ]; then failed=$((failed + 1)); fi
    printf '%-26s %6.1f s   %s%s\n' "$name" "$seconds" \
        "$(describe "$passed" "$failed" "$skipped")" "${wrong:+: $wrong}"
    if [ "$failed" -gt 0 ]; then sed 's/^/    /' "$log"; bad[$1]=$name; fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
    rm -f "$log"
}

# end_one: waits until one of those that run has ended, and reports it.
end_one() {
    local process status number
    wait -n -p process "${!running[@]}"
    status=$?
    number=${running[$process]}
    unset "running[$process]"
    report "$number" $status
}

# start NUMBER [AT_ONCE]: as soon as fewer than AT_ONCE others run.
start() {
    while [ ${#running[@]} -ge "${2:-$jobs}" ]; do end_one; done
    run_one "$1" &
    running[$!]=$1
}

last=()
for number in $(in_order); do
    if alone "${programs[number]}"; then last+=("$number"); else start "$number"; fi
done
for number in "${last[@]}"; do start "$number" 1; done
while [ ${#running[@]} -gt 0 ]; do end_one; done

# seconds_of: "SECONDS NAME" of each program, the longest first.
seconds_of() {
    local i
    for i in "${!programs[@]}"; do
        printf '%.1f %s\n' "$(tail -n 1 "$folder/$i.time" | cut -d ' ' -f 1)" \
            "$(basename "${programs[i]}")"
    done | sort -k 1,1gr -k 2
}

if [ -n "${PIPEBD_TEST_SECONDS:-}" ]; then seconds_of > "$PIPEBD_TEST_SECONDS"; fi
if [ ${#bad[@]} -gt 0 ]; then echo "failed: ${bad[*]}"; fi
cat "$folder"/*.time /dev/null 2> /dev/null | awk -v wall="$SECONDS" -v jobs="$jobs" '
    NF == 3 { cpu += $2 + $3 }
    END { printf "%d s, %d s of CPU time, %d programs at once\n", wall, cpu, jobs }'
describe "$total_passed" "$total_failed" "$total_skipped"
[ "$total_failed" -eq 0 ] && [ $((total_passed + total_skipped)) -gt 0 ]
