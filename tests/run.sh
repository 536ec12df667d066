#!/bin/bash
# run.sh PROGRAM...: runs test programs and counts what passed.
#
#     NAME.sh, NAME.py   scripts that write TAP (tests/tap.sh helps)
#     anything else      a cmocka program, told to write TAP
#
# A program that crashes, runs past its limit, exits with a failure that it did not
# report, or reports none or another number of tests than it planned counts as one
# more failure (printing a line without its end hides cmocka's next "ok" and shows up
# as that). The whole output of a program with failures is shown. The last line is
#
#     N passed, N failed[, N skipped]
#
# Exit status: 1 when something failed or nothing ran.
#
# PIPEBD_TEST_LIMIT    seconds each program may take (300)
# PIPEBD_TEST_WRAPPER  a command put before each cmocka program (valgrind ...)
set -uo pipefail

limit=${PIPEBD_TEST_LIMIT:-300}
read -r -a wrapper <<< "${PIPEBD_TEST_WRAPPER:-}"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
total_passed=0 total_failed=0 total_skipped=0

# run_one PROGRAM: its output into $log; returns its exit status (124, 137: too long).
run_one() {
    local command
    case $1 in
    *.sh) command=(bash "$1") ;;
    *.py) command=("${PYTHON:-python3}" "$1") ;;
    */*)  command=("${wrapper[@]}" "$1") ;;
    *)    command=("${wrapper[@]}" "./$1") ;;
    esac
    CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 2 "$limit" "${command[@]}" > "$log" 2>&1 < /dev/null
}

# count_tap: sets passed, failed, skipped and planned from $log. cmocka writes a plan
# for each group, so plans are added up.
count_tap() {
    read -r passed failed skipped planned < <(awk '
        /^(not )?ok .*# SKIP/      { skipped++; next }   # cmocka 1.1.5: "not ok 3 # SKIP"
        /^ok( |$)/                 { passed++; next }
        /^not ok( |$)/             { failed++; next }
        /^1\.\.0 *# *[Ss][Kk][Ii][Pp]/ { skipped++; planned++; plans++; next }   # the whole file
        /^1\.\.[0-9]+/             { sub(/^1\.\./, ""); planned += $1; plans++ }
        END { print passed + 0, failed + 0, skipped + 0, (plans ? planned : -1) }' "$log")
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

for program in "$@"; do
    run_one "$program"
    status=$?
    count_tap
    wrong=$(what_is_wrong "$status")
    if [ -n "$wrong" ]; then failed=$((failed + 1)); fi
    printf '%-28s %s%s\n' "$(basename "$program")" \
        "$(describe "$passed" "$failed" "$skipped")" "${wrong:+: $wrong}"
    if [ "$failed" -gt 0 ]; then sed 's/^/    /' "$log"; fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
done

describe "$total_passed" "$total_failed" "$total_skipped"
[ "$total_failed" -eq 0 ] && [ $((total_passed + total_skipped)) -gt 0 ]
