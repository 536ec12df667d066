#!/bin/bash
# Processes of one run on this machine, launched by mpirun: what they say to each other.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"

programs=$PIPEBD_BIN/../tests/mpi

for ranks in 2 4; do
    ok "$ranks ranks gather, broadcast, and know who is where" launch $ranks "$programs/world" collectives
    ok "$ranks ranks: messages of any length arrive in order" launch $ranks "$programs/world" messages
    ok "$ranks ranks: when one fails, all waits end, with its words" launch $ranks "$programs/world" failure
done

done_testing
