#!/bin/bash
# Runs of several processes through faults: a rank killed, stopped, its host cut off from the
# network, the launcher killed, at random moments. All ranks end, a line names the one that was
# lost, nothing is left behind, and resumed, by hand or by --restarts, the students are those of a
# run that was left alone, to the byte. PIPEBD_ROUNDS rounds of 10 faults (1; make check-faults
# has 20), PIPEBD_SEED chooses the moments.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/training.sh"
. "$(dirname "$0")/faults.sh"
if ! can_run_ranks; then
    echo '1..0 # SKIP pipebd-run with MPI is not built'
    exit 0
fi
hosts_enter "$@"

rounds=${PIPEBD_ROUNDS:-1}
seed=${PIPEBD_SEED:-1}
echo "# PIPEBD_SEED=$seed"
RANDOM=$seed
epochs=80

ok 'a run left alone' alone dpu

many() {
    local what=$1
    shift
    for ((r = 0; r < rounds; r++)); do $what "$@" || return 1; done
}

ok 'ranks killed and stopped under mpirun, resumed' many disturbed mpirun kill kill stop
ok 'ranks killed and stopped, restarted by itself' many restarted kill kill launcher stop kill
if [ -n "$hosts_missing" ]; then
    skip 'hosts cut off and a rank of them killed, resumed' "$hosts_missing"
else
    ok 'hosts' hosts_up $processes
    ok 'hosts cut off and a rank of them killed, resumed' many disturbed hosts cut kill
fi
echo "# $injections faults, $noticed lines that name the rank"

done_testing
