#!/bin/bash
# Processes of one run on this machine, launched by mpirun: what they say to each other, and the
# transport between them. PIPEBD_ROUNDS rounds (3) of random transfers, PIPEBD_SEED chooses them.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"

programs=$PIPEBD_BIN/../tests/mpi

for ranks in 2 4; do
    ok "$ranks ranks gather, broadcast, and know who is where" launch $ranks "$programs/world" \
        collectives
    ok "$ranks ranks: messages of any length arrive in order" launch $ranks "$programs/world" \
        messages
    ok "$ranks ranks: when one fails, all waits end, with its words" launch $ranks \
        "$programs/world" failure
done

seed=${PIPEBD_SEED:-1}
rounds=${PIPEBD_ROUNDS:-3}
echo "# PIPEBD_SEED=$seed"
for shape in '2 1' '4 1' '2 3' '3 2'; do
    read -r ranks each <<< "$shape"
    ok "transport, $ranks ranks with $each devices: random relays, sums, barriers" \
        launch "$ranks" "$programs/transport" random "$each" "$rounds" "$seed"
    ok "the same of asynchronous devices, by way of the host's memory" \
        launch "$ranks" "$programs/transport" random "$each" "$rounds" "$seed" async
done
for ranks in 2 4; do
    ok "transport, $ranks ranks: a full queue blocks, a failure ends every wait" launch $ranks \
        "$programs/transport" stop
done

# Processes of another MPI's launcher, each alone: all would write the same file.
alone() { # VARIABLE=VALUE...: refused, and nothing is written
    ! env "$@" timeout 300 pipebd-run profile --workload digits --devices cpu:1 \
        -o "$WORK/alone.json" > "$WORK/alone" 2>&1 &&
        [ ! -e "$WORK/alone.json" ] && grep -q 'do not know of each other' "$WORK/alone" \
            || { cat "$WORK/alone"; return 1; }
}
ok 'MPICH, Intel MPI: lone processes are refused' alone PMI_RANK=0 PMI_SIZE=2
ok 'MVAPICH2: lone processes are refused' alone MV2_COMM_WORLD_SIZE=2
ok 'PMIx: lone processes are refused' alone PMIX_RANK=1
ok 'one process, whatever started it, is not refused' \
    env PMI_RANK=0 PMI_SIZE=1 MPI_LOCALNRANKS=1 timeout 300 pipebd-run train --workload digits \
    --schedule dp --devices cpu:1 --epochs 1 -o "$WORK/one.safetensors"

# Where processes listen.
interfaces() { # ARGUMENT...: a short training of two processes
    timeout 300 pipebd-run train --processes 2 --workload digits --schedule dpu --devices cpu:1 \
        -o "$WORK/two.safetensors" "$@" > "$WORK/two" 2>&1
}
ok '--interface: by name' interfaces --interface lo
nowhere() {
    ! interfaces --interface nowhere0 \
        && grep -q 'interface nowhere0: this host has no such interface or address' "$WORK/two" \
        || { cat "$WORK/two"; return 1; }
}
ok '--interface: one that is not there is named' nowhere
lone() {
    timeout 300 pipebd-run "$@" --devices cpu:1 --workload digits --interface lo -o "$WORK/lone" \
        > "$WORK/said" 2>&1
    [ $? -eq 2 ] && grep -q 'interface: no effect on a run of one process' "$WORK/said"
}
ok '--interface: refused of a train of one process' lone train --schedule dp
ok '--interface: refused of a profile of one process' lone profile
ok '--interface: refused of a validate of one process' lone validate

done_testing
