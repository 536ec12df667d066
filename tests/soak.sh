#!/bin/bash
# A soak: for SECONDS (3600) one run after another, under a schedule, a launcher and faults that
# are drawn at random (PIPEBD_SEED; by default the time), resumed or restarted until it comes to
# its end. Stops at the first run whose students are not those of a run that was left alone, to the
# byte, that does not end in time, that leaves a process or a file behind, or whose lost rank is not
# named. make soak SECONDS=N.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"
. "$(dirname "$0")/hosts.sh"
hosts_enter "$@"
. "$(dirname "$0")/training.sh"
PIPEBD_TIMEOUT=${PIPEBD_TIMEOUT:-10}
. "$(dirname "$0")/faults.sh"

length=${PIPEBD_SECONDS:-3600}
seed=${PIPEBD_SEED:-$(($(date +%s) % 32768))}
RANDOM=$seed
epochs=60 runs=0
schedules=(dpu tr dp ir)
launchers=(mpirun restarts)

say() { echo "$(date +%T) $*"; }

draw() { local n=$((RANDOM % $# + 1)); echo "${!n}"; }

# kinds KIND...: one to six of them.
kinds() { for ((k = RANDOM % 6; k >= 0; k--)); do draw "$@"; done; }

# turn LAUNCHER: a run with its faults.
turn() {
    case $1 in
    mpirun)   disturbed mpirun $(kinds kill kill stop) ;;
    restarts) restarted $(kinds kill kill stop launcher) ;;
    hosts)    disturbed hosts $(kinds kill stop cut cut) ;;
    esac
}

if [ -z "$hosts_missing" ] && hosts_up $processes; then launchers+=(hosts)
else say "without hosts that are cut off: $hosts_missing"; fi
for schedule in "${schedules[@]}"; do
    alone $schedule > "$WORK/.turn" 2>&1 || { cat "$WORK/.turn"; exit 1; }
done
begun=$(milliseconds)
say "seed $seed, $length s"
while [ $(($(milliseconds) - begun)) -lt $((length * 1000)) ]; do
    schedule=$(draw "${schedules[@]}") launcher=$(draw "${launchers[@]}")
    if ! turn $launcher > "$WORK/.turn" 2>&1; then
        say "run $runs, $schedule by $launcher, failed:"
        cat "$WORK/.turn" "$WORK/.run"
        exit 1
    fi
    runs=$((runs + 1))
    if [ $((runs % 10)) -eq 0 ]; then
        say "$runs runs, $injections faults, $noticed lines that name the rank"
    fi
done
say "nothing was lost: $runs runs, $injections faults, $noticed lines that name the rank, in $((($(milliseconds) - begun) / 1000)) s"
