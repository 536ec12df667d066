#!/bin/bash
# Runs of several processes through faults: a rank killed, stopped, its host cut off from the
# network, the launcher killed, at random moments. All ranks end, a line names the one that was
# lost, nothing is left behind, and resumed, by hand or by --restarts, the students are those of a
# run that was left alone, to the byte. PIPEBD_ROUNDS rounds of 10 faults (1; make check-faults
# has 20), PIPEBD_SEED chooses the moments.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"
. "$(dirname "$0")/hosts.sh"
hosts_enter "$@"
. "$(dirname "$0")/training.sh"
. "$(dirname "$0")/faults.sh"

at_random 1
epochs=40

ok 'a run left alone' alone dpu

many() {
    local what=$1
    shift
    for ((r = 0; r < rounds; r++)); do $what "$@" || return 1; done
}

ok 'ranks killed and stopped under mpirun, resumed' many disturbed mpirun kill kill stop
ok 'ranks killed and stopped, restarted by itself' many restarted kill kill launcher stop kill
# Nothing is kept of a profile, but it does not hang either.
profile() {
    clear
    in_background exec mpirun -np 2 "$PIPEBD_BIN/pipebd-run" profile --workload "$WORK/w.json" \
        --devices cpu:1 \
        --trials 100000 --limit 0 -o "$WORK/trace.json"
    wait_for watched || return 1
    fault kill $((RANDOM % 2)) && over && named kill && grep -q 'nothing is kept' "$WORK/.run" \
        && nothing_left
}
ok 'a profile of which a rank is killed' profile

# A rank that never comes: the others wait for a minute, hence not in make check.
late() {
    local began=$(milliseconds) status
    clear
    cat > "$WORK/late" <<'L'
#!/bin/sh
[ "$OMPI_COMM_WORLD_RANK" != 1 ] || kill -STOP $$
exec "$@"
L
    chmod +x "$WORK/late"
    mpirun -np 3 "$WORK/late" "$PIPEBD_BIN/pipebd-run" train --workload "$WORK/w.json" \
        --schedule dpu --devices cpu:1 -o "$out" \
        > "$WORK/.run" 2>&1
    status=$?
    cat "$WORK/.run"
    [ $status -ne 0 ] \
        && grep -q 'have not come together within a minute; is one stopped' "$WORK/.run" || return 1
    [ $(($(milliseconds) - began)) -lt 80000 ] && injections=$((injections + 1)) && nothing_left
}
if [ "$rounds" -gt 1 ]; then ok 'a rank that is stopped before it has come' late
else skip 'a rank that is stopped before it has come' 'takes a minute, see make check-faults'; fi

if [ -n "$hosts_missing" ]; then
    skip 'hosts cut off and a rank of them killed, resumed' "$hosts_missing"
else
    ok 'hosts' hosts_up $processes
    ok 'hosts cut off and a rank of them killed, resumed' many disturbed hosts cut kill
fi
echo "# $injections faults, $noticed lines that name the rank"

done_testing
