# Sourced after tests/tap.sh, tests/mpi.sh and tests/training.sh by scripts that disturb runs of
# several processes: starts them, finds their ranks, injects faults, and checks what is left.
#
#     fault kill|stop [RANK]   of a rank (a random one), by a signal
#     fault cut [RANK]         of the rank's host, by taking its network down (tests/hosts.sh)
#     disturbed BY KIND...     runs under BY (mpirun, hosts), each with such a fault, and resumed
#     restarted KIND...        one run that restarts itself
#
# of $processes devices under $schedule; what they make is compared with
# $WORK/alone.SCHEDULE.safetensors (alone). Randomness is RANDOM's. A run's words go to $WORK/.run.
# Waits have generous ends, and fail.

timeout=${PIPEBD_TIMEOUT:-4}              # of the runs, seconds
injections=0 noticed=0
processes=3 schedule=dpu out=$WORK/out.safetensors folder=$WORK/checkpoint

# ranks: "RANK PID" of every rank of this script's runs that lives, by the environment that mpirun
# gives.
ranks() {
    local p words word
    for p in $(left); do
        [ "/proc/$p/exe" -ef "$PIPEBD_BIN/pipebd-run" ] || continue
        words=()
        { mapfile -d '' -t words < "/proc/$p/environ"; } 2> /dev/null
        for word in "${words[@]}"; do
            case $word in OMPI_COMM_WORLD_RANK=*) echo "${word#*=} $p" ;; esac
        done
    done
}

pid_of() { ranks | sed -n "s/^$1 //p" | head -n 1; }

# nothing_left: after a while no process is, and no unfinished file.
nothing_left() {
    if ! wait_for none_left; then
        echo "processes are left:"
        for p in $(left); do tr '\0' ' ' < "/proc/$p/cmdline"; grep State "/proc/$p/status"; done
        return 1
    fi
    ! ls "$folder" "$WORK" 2> /dev/null | grep -E '\.safetensors.+' \
        || { echo "unfinished files are left"; return 1; }
}

# until_ranks N: so many are there; or the run has ended.
ranks_are() { [ "$(ranks | wc -l)" -ge "$1" ] || is_gone "$run_pid"; }
until_ranks() { wait_for ranks_are "$1"; }

newest() { ls "$folder" 2> /dev/null | sort | tail -n 1; }

# until_newer NAME: there is another newest checkpoint; or the run has ended.
is_newer() { [ "$(newest)" != "$1" ] || is_gone "$run_pid"; }
until_newer() { wait_for is_newer "$1"; }

# watched: whether the run's processes watch each other yet: the ranks' table is printed then. Of
# its words, those from line $from on.
from=1
watched() { tail -n +$from "$WORK/.run" | grep -q '^  rank 0 '; }

# fault KIND [RANK]: sets victim, stopped (its process), and expected (whether a line must name it).
fault() {
    local kind=$1 pid
    victim=${2:-$((RANDOM % processes))} stopped= expected=no
    pid=$(pid_of $victim)
    [ -n "$pid" ] || { echo "rank $victim has ended before its fault"; return 1; }
    if watched; then expected=yes; fi
    case $kind in
    kill) kill -KILL "$pid" ;;
    stop) kill -STOP "$pid" && stopped=$pid ;;
    cut)  host_cut $victim ;;
    esac || return 1
    injections=$((injections + 1))
    echo "injected: $kind of rank $victim (watched: $expected)"
}

# came_to_its_end: the run has, its words say. A rank that was stopped in
# its very last moments, when nobody waits for it any more, goes on.
came_to_its_end() {
    tail -n +$from "$WORK/.run" | grep -q 'images/s$' || return
    [ -z "$stopped" ] || kill -CONT $stopped 2> /dev/null
    return 0
}

# clear: of what a scenario before left, if it failed.
clear() {
    local p
    for p in $(left); do kill -KILL $p; done
    rm -rf "$folder" "$out"
}

# named KIND: one of the run's words says which rank it was.
named() {
    local words
    [ $expected = yes ] || return 0
    case $1 in
    kill) words="rank $victim \(.*\) has crashed" ;;
    stop) words="rank $victim \(.*\) has timed out" ;;
    cut)  words="rank $victim \(.*\) (has timed out|is cut off)" ;;
    esac
    tail -n +$from "$WORK/.run" | grep -qE "$words" && { noticed=$((noticed + 1)); return; }
    echo "no line names rank $victim after $1:"
    cat "$WORK/.run"
    return 1
}

# alone SCHEDULE: in one process, with nothing disturbing it.
alone() { devices=cpu:$processes run "$WORK/alone.$1.safetensors" "$1"; }

# in_background COMMAND...
in_background() {
    from=1
    # at once: what a run before this one said is not taken for its words
    : > "$WORK/.run"
    ("$@") > "$WORK/.run" 2>&1 &
    run_pid=$!
}

# ranks_by mpirun|hosts: what a run is, resumed if it was begun.
ranks_by() {
    local launch=(exec mpirun -np $processes)
    [ "$1" = hosts ] && launch=(hosts_mpirun $processes)
    "${launch[@]}" "$PIPEBD_BIN/pipebd-run" train --workload "$WORK/w.json" --epochs $epochs \
        --schedule $schedule --devices cpu:1 \
        --checkpoint "$folder" --checkpoint-every 7 --resume --fault-timeout "$timeout" -o "$out"
}

# over: within the timeout and 30 s all ranks have ended, and then the launcher.
over() {
    local began=$(milliseconds) end=$(((timeout + 30) * 1000))
    while [ -n "$(ranks)" ] && [ $(($(milliseconds) - began)) -lt $end ]; do
        came_to_its_end
        sleep 0.05
    done
    [ "${1:-}" != cut ] || host_mend $victim             # else mpirun waits for the host
    while kill -0 $run_pid 2> /dev/null && [ $(($(milliseconds) - began)) -lt $((2 * end)) ]; do
        sleep 0.05
    done
    [ -z "$(ranks)" ] && ! kill -0 $run_pid 2> /dev/null && return
    echo 'not over in time:'
    ranks
    cat "$WORK/.run"
    return 1
}

# disturb BY KIND: starts the run and injects a fault, unless it comes to its end first (2).
disturb() {
    local by=$1 kind=$2 status
    in_background ranks_by $by
    until_ranks $processes || return 1
    if [ $kind = kill ] && [ $((RANDOM % 3)) -eq 0 ]; then pause $((RANDOM % 300))
    else until_newer "$(newest)" && pause $((RANDOM % 100)) || return 1; fi
    fault $kind
    over $kind || return 1
    wait $run_pid
    status=$?
    nothing_left || return 1
    if came_to_its_end; then return 2; fi
    [ $status -ne 0 ] || { echo "exit status 0 after $kind"; cat "$WORK/.run"; return 1; }
    named $kind
}

# disturbed BY KIND...: one run after another, each with a fault, resumed from what it left; then
# one to its end.
disturbed() {
    local by=$1 kind
    shift
    clear
    for kind in "$@"; do
        while :; do
            disturb $by $kind
            case $? in
            0) break ;;
            1) return 1 ;;
            2) cmp "$WORK/alone.$schedule.safetensors" "$out" || return 1
               rm -rf "$folder" "$out" ;;
            esac
        done
    done
    run_left_alone $by
}

run_left_alone() {
    in_background ranks_by $1
    wait $run_pid || { cat "$WORK/.run"; return 1; }
    cmp "$WORK/alone.$schedule.safetensors" "$out" && nothing_left
}

has_restarted() { tail -n +$from "$WORK/.run" | grep -q '^restarts:'; }
restarted_or_over() { has_restarted || came_to_its_end; }

# restarted KIND...: a run that restarts itself, with those faults. launcher: mpirun is killed.
restarted() {
    local kind early=0
    clear
    in_background train "$out" $schedule --devices cpu:1 --processes $processes \
        --checkpoint "$folder" --checkpoint-every 7 --fault-timeout "$timeout" --restarts $#
    for kind in "$@"; do
        from=$(($(wc -l < "$WORK/.run") + 1))
        until_ranks $processes || return 1
        if [ $kind = kill ] && [ $early -eq 0 ] && [ $((RANDOM % 2)) -eq 0 ]; then
            early=1
            pause $((RANDOM % 300))
        else
            early=0
            until_newer "$(newest)" && pause $((RANDOM % 100)) || return 1
        fi
        if [ $kind = launcher ]; then
            kill -KILL $(children $run_pid) 2> /dev/null && injections=$((injections + 1))
        else
            fault $kind || break                         # it came to its end first
        fi
        wait_for restarted_or_over || return 1
        if ! has_restarted; then break; fi
        [ $kind = launcher ] || named $kind || return 1
    done
    wait $run_pid || { echo "exit status $?"; cat "$WORK/.run"; return 1; }
    cmp "$WORK/alone.$schedule.safetensors" "$out" && nothing_left
}
