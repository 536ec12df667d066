# Sourced after tests/tap.sh by scripts that launch ranks. Ends the script with a skipped test
# where that is not possible.
#
#     launch 4 PROGRAM ARGUMENT...       under mpirun, whatever the number of cores
#     launch_two PROGRAM ARGUMENT... : PROGRAM ARGUMENT...       two ranks, each with a line of its
#                                                                own

if [ ! -x "$PIPEBD_BIN/../tests/mpi/world" ]; then
    echo '1..0 # SKIP built without MPI, or without devices of the CPU (oneDNN)'
    exit 0
fi
if ! command -v mpirun > /dev/null; then
    echo '1..0 # SKIP mpirun is not installed'
    exit 0
fi

. "$(dirname "${BASH_SOURCE[0]}")/openmpi.sh"

launch() {
    local ranks=$1
    shift
    timeout -k 2 120 mpirun -np "$ranks" "$@"
}

# By a script, not by mpirun's own ":": that of Open MPI 5.0.7 (Debian 13) ends in a segmentation
# fault.
launch_two() {
    {
        printf '#!/bin/bash\ncase ${OMPI_COMM_WORLD_RANK:-$PMI_RANK} in\n0) exec'
        while [ "$1" != : ]; do printf ' %q' "$1"; shift; done
        shift
        printf ' ;;\n*) exec'
        printf ' %q' "$@"
        printf ' ;;\nesac\n'
    } > "$WORK/.two"
    chmod +x "$WORK/.two"
    timeout -k 2 60 mpirun -np 2 "$WORK/.two"
}
