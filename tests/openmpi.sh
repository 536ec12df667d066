# Sourced by what launches Open MPI here, whatever the number of cores. Containers run tests as
# root.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_mpi_yield_when_idle=1
mpirun_version=$(mpirun --version 2> /dev/null | head -n 1)
case $mpirun_version in      # each version heeds names of its own, and warns of the former
*' 4.'*) export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none ;;
*' 5.'*) export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe \
    PRTE_MCA_hwloc_default_binding_policy=none ;;
*)       export PRTE_MCA_mapby=:oversubscribe PRTE_MCA_bindto=none ;;
esac
# Leaks of MPI's own are not ours to report.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
