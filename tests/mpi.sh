# Sourced after tests/tap.sh by scripts that launch ranks. Ends the script with a skipped test
# where that is not possible.
#
#     launch 4 PROGRAM ARGUMENT...       under mpirun, whatever the number of cores

if [ ! -x "$PIPEBD_BIN/../tests/mpi/world" ]; then
    echo '1..0 # SKIP built without MPI'
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
