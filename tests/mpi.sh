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

# Containers run tests as root. Leaks of MPI's own are not ours to report.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"

launch() {
    local ranks=$1
    shift
    timeout -k 2 120 mpirun -np "$ranks" "$@"
}
