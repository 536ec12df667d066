#!/bin/sh
# Prints a table of what this build found and what it did not, with the Debian
# package of each. Exits 1 when something that the library needs is missing.
# Found means tried: programs are looked up, libraries are compiled and linked.
set -u

CC=${CC:-cc} PYTHON=${PYTHON:-python3}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
missing=0

# row NAME FOUND PURPOSE PACKAGE NEEDED: one line of the table.
row() {
    if [ "$2" = yes ]; then
        printf '  %-12s found     %s\n' "$1" "$3"
    else
        printf '  %-12s MISSING   %s: apt-get install %s\n' "$1" "$3" "$4"
        if [ "$5" = needed ]; then missing=1; fi
    fi
}

program() {   # program COMMAND PURPOSE PACKAGE NEEDED
    if command -v "$1" >/dev/null 2>&1; then row "$1" yes "$2" "$3" "$4"
    else row "$1" no "$2" "$3" "$4"; fi
}

library() {   # library NAME INCLUDES PURPOSE PACKAGE NEEDED
    for header in $2; do echo "#include <$header>"; done > "$folder/try.c"
    echo 'int main(void) { return 0; }' >> "$folder/try.c"
    # shellcheck disable=SC2046  # flags are words
    if "$CC" ${CPPFLAGS:-} "$folder/try.c" -o "$folder/try" ${LDFLAGS:-} \
        $("${PKG_CONFIG:-pkg-config}" --cflags --libs "$1" 2>/dev/null || echo "-l$1") \
        >/dev/null 2>&1
    then row "$1" yes "$3" "$4" "$5"
    else row "$1" no "$3" "$4" "$5"; fi
}

echo 'Needed to build:'
program "$CC" 'C17 compiler' build-essential needed
library jansson jansson.h 'reads JSON' libjansson-dev needed
echo 'Needed to test:'
library cmocka 'stdarg.h stddef.h setjmp.h stdint.h cmocka.h' 'C tests' libcmocka-dev optional
program "$PYTHON" 'script tests' python3 optional
program jq 'script tests' jq optional
program chromium 'reports, tested in a browser' chromium optional
program slurmd 'jobs of Slurm, tested on a cluster of its own' 'slurmctld slurmd slurm-client' optional
echo 'Optional:'
library zlib zlib.h 'reads .gz: profiles of PyTorch' zlib1g-dev optional
library glpk glpk.h 'pipebd-plan --ls glpk' libglpk-dev optional
program gnuplot 'plots' gnuplot-nox optional
program rsvg-convert 'plots as PNG' librsvg2-bin optional
program clang 'make fuzz' clang optional
library dnnl oneapi/dnnl/dnnl.h 'oneDNN: kernels/, executor/ and pipebd-run' libdnnl-dev optional
library jpeg 'stdio.h jpeglib.h' 'reads folders of JPEG files' libjpeg-dev optional
mpi=mpi
for name in ompi-c mpi-c mpich; do
    if "${PKG_CONFIG:-pkg-config}" --exists "$name" 2>/dev/null; then mpi=$name; break; fi
done
library "$mpi" mpi.h 'MPI: runs of several processes' libopenmpi-dev optional
program mpirun 'launches them' openmpi-bin optional
words=$(PYTHON="$PYTHON" "$(dirname "$0")/cuda.sh")
if [ -n "$words" ]; then row cuda yes "NVIDIA cards: ${words%% *}$(case $words in *HAVE_NCCL*) echo ', with NCCL' ;; esac)" '' optional
else printf '  %-12s MISSING   %s\n' cuda 'NVIDIA cards: nvcc, cuDNN, cuBLAS and NVTX, installed or as Python packages'; fi
program valgrind 'make valgrind' valgrind optional

if [ "$missing" = 1 ]; then
    echo 'Something needed to build is missing: run "make deps".' >&2
    exit 1
fi
