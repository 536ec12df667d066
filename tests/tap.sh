# Sourced by tests/test_*.sh. Writes TAP, which tests/run.sh counts:
#
#     . "$(dirname "$0")/tap.sh"
#     ok "help works" pipebd-plan --help
#     fails "a missing file is refused" pipebd-plan nothere.json
#     expect_status 2 "an unknown option is bad usage" pipebd-plan --bogus
#     golden "the table" plan.txt pipebd-plan trace.json
#     skip "draws a plot" "gnuplot is not installed"
#     done_testing
#
# A script that ends without done_testing counts as failed. $WORK is an empty
# folder, removed at the end; PIPEBD_ROOT and PIPEBD_BIN are set.

PIPEBD_ROOT=${PIPEBD_ROOT:-$(cd "$(dirname "$0")/.." && pwd)}
PIPEBD_BIN=${PIPEBD_BIN:-$PIPEBD_ROOT/build/bin}
PATH=$PIPEBD_BIN:$PATH
export PIPEBD_ROOT PIPEBD_BIN PATH

WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT

tap_count=0
tap_failed=0

# cpu_devices: pipebd-run is built, and computes on CPUs; where there is CUDA but no oneDNN it is
# built all the same.
cpu_devices() {
    [ -x "$PIPEBD_BIN/pipebd-run" ] || return 1
    [ ! -e "$PIPEBD_BIN/../optional.txt" ] || grep -q -e -DHAVE_DNNL "$PIPEBD_BIN/../optional.txt"
}

# needs_cpu_devices: ends a script that cannot run without them.
needs_cpu_devices() {
    cpu_devices && return
    echo '1..0 # SKIP pipebd-run is not built, or without devices of the CPU (oneDNN)'
    exit 0
}

# A check that is misspelt would else be passed over: the script then fails at its end.
command_not_found_handle() {
    echo "$1: command not found" >&2
    echo "$1" >> "$WORK/.not-found"
    return 127
}

# tap_result PASSED DESCRIPTION: one TAP line; what the command said when it failed.
tap_result() {
    tap_count=$((tap_count + 1))
    if [ "$1" = yes ]; then
        echo "ok $tap_count - $2"
    else
        tap_failed=$((tap_failed + 1))
        echo "not ok $tap_count - $2"
        echo "# exit status $tap_status"
        sed 's/^/# /' "$WORK/.tap"
    fi
}

# Runs a command; its status in tap_status, its output kept for a failure's report.
tap_run() {
    "$@" > "$WORK/.tap" 2>&1 < /dev/null
    tap_status=$?
}

# ok DESCRIPTION COMMAND...: exits 0.
ok() {
    tap_name=$1; shift
    tap_run "$@"
    if [ $tap_status -eq 0 ]; then tap_result yes "$tap_name"; else tap_result no "$tap_name"; fi
}

# fails DESCRIPTION COMMAND...: refuses (1..123); a crash or a missing command is no refusal.
fails() {
    tap_name=$1; shift
    tap_run "$@"
    if [ $tap_status -ge 1 ] && [ $tap_status -le 123 ]; then tap_result yes "$tap_name"
    else tap_result no "$tap_name"; fi
}

# expect_status STATUS DESCRIPTION COMMAND...
expect_status() {
    tap_want=$1 tap_name=$2; shift 2
    tap_run "$@"
    if [ $tap_status -eq "$tap_want" ]; then tap_result yes "$tap_name"
    else tap_result no "$tap_name (expected exit status $tap_want)"; fi
}

# golden DESCRIPTION NAME COMMAND...: exits 0 and prints tests/golden/NAME, byte for
# byte. make golden (PIPEBD_GOLDEN=write) writes that file instead.
golden() {
    tap_name=$1 tap_file=$PIPEBD_ROOT/tests/golden/$2; shift 2
    "$@" > "$WORK/.golden" 2> "$WORK/.tap" < /dev/null
    tap_status=$?
    if [ $tap_status -eq 0 ] && [ "${PIPEBD_GOLDEN:-}" = write ]; then
        cp "$WORK/.golden" "$tap_file"
    fi
    if [ $tap_status -eq 0 ] && diff "$tap_file" "$WORK/.golden" > "$WORK/.tap" 2>&1
    then tap_result yes "$tap_name"; else tap_result no "$tap_name"; fi
}

# wait_for COMMAND...: until it succeeds, asked every 20 ms. Fails after two minutes, which nothing
# that works takes on the busiest machine, and says for what it waited.
wait_for() {
    local end=$((SECONDS + 120))
    until "$@"; do
        if [ $SECONDS -ge $end ]; then echo "waited in vain for: $*"; return 1; fi
        sleep 0.02
    done
}

# has_line FILE PATTERN; is_gone PROCESS: what is waited for.
has_line() { grep -qs -- "$2" "$1"; }
is_gone() { ! kill -0 "$1" 2> /dev/null; }

# skip DESCRIPTION REASON
skip() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # SKIP $2"
}

# The plan line; ends the script.
done_testing() {
    echo "1..$tap_count"
    [ $tap_failed -eq 0 ] && [ ! -e "$WORK/.not-found" ]
    exit $?
}
