#!/bin/sh
# config.sh: prints the tools and libraries that were found, with versions, and what is missing,
# with how to get it. Exits with 1 when something without which nothing is built is missing.
# Programs are looked up, libraries are tried (scripts/library.sh); one that is too old or too new
# is left out.
set -u

CC=${CC:-cc} PYTHON=${PYTHON:-python3}
export CC
here=$(dirname "$0")
missing=0

# row NAME STATE PURPOSE PACKAGE NEEDED: one line of the table. STATE: found VERSION, unfit ...,
# missing.
row() {
    case $2 in
    found*) printf '  %-12s %-16s %s\n' "$1" "$2" "$3"; return ;;
    unfit*) printf '  %-12s %-16s %s: left out\n' "$1" LEFT-OUT "${2#unfit }" ;;
    *)      printf '  %-12s %-16s %s: apt-get install %s\n' "$1" MISSING "$3" "$4" ;;
    esac
    if [ "$5" = needed ]; then missing=1; fi
}

program() {   # program COMMAND PURPOSE PACKAGE NEEDED
    if command -v "$1" >/dev/null 2>&1; then row "$1" found "$2" "$3" "$4"
    else row "$1" missing "$2" "$3" "$4"; fi
}

library() {   # library NAME PURPOSE PACKAGE NEEDED
    state=$("$here/library.sh" "$1")
    if [ "$state" = found ]; then state="found $("$here/library.sh" version "$1")"; fi
    row "$1" "$state" "$2" "$3" "$4"
}

echo 'Needed to build:'
program "$CC" 'C17 compiler' build-essential needed
library jansson 'reads JSON' libjansson-dev needed
echo 'Needed to test:'
library cmocka 'C tests' libcmocka-dev optional
program "$PYTHON" 'script tests' python3 optional
program jq 'script tests' jq optional
program chromium 'reports, tested in a browser' chromium optional
program slurmd 'jobs of Slurm, tested on a cluster of its own' 'slurmctld slurmd slurm-client' \
    optional
echo 'Optional:'
library zlib 'reads .gz: profiles of PyTorch' zlib1g-dev optional
library sqlite 'reads databases of Nsight Systems' libsqlite3-dev optional
library glpk 'pipebd-plan --ls glpk' libglpk-dev optional
program gnuplot 'plots' gnuplot-nox optional
program rsvg-convert 'plots as PNG' librsvg2-bin optional
program clang 'make fuzz' clang optional
library dnnl 'oneDNN: kernels/, executor/ and pipebd-run' libdnnl-dev optional
library jpeg 'libjpeg: reads folders of JPEG files' libjpeg-dev optional
library mpi 'MPI: runs of several processes' libopenmpi-dev optional
program mpirun 'launches them' openmpi-bin optional
words=$(PYTHON="$PYTHON" "$here/cuda.sh")
if [ -n "$words" ]; then row cuda found \
    "NVIDIA GPUs: ${words%% *}$(case $words in *HAVE_NCCL*) echo ', with NCCL' ;; esac)" '' optional
else printf '  %-12s %-16s %s\n' cuda MISSING \
    'NVIDIA GPUs: nvcc, cuDNN, cuBLAS and NVTX, installed or as Python packages'; fi
program valgrind 'make valgrind' valgrind optional

if [ "$missing" = 1 ]; then
    echo 'Something needed to build is missing or unfit: run "make deps".' >&2
    exit 1
fi
