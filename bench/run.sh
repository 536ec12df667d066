#!/bin/sh
# Runs the benchmarks named (all: none named) and keeps each one's tables, with what
# they were made on, in bench/results/NAME.md. `make bench` builds and runs all.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}

. bench/machine.sh

head_of() {
    printf '# bench/%s.c\n\n' "$1"
    printf 'Made by `make bench` (or `bench/run.sh %s`); do not edit.\n\n' "$1"
    printf '| | |\n|---|---|\n'
    printf '| device | %s, %s cores online, the benchmark uses one |\n' "$(device)" \
        "$(getconf _NPROCESSORS_ONLN)"
    printf '| compiler | %s, %s |\n' "$(${CC:-cc} --version | head -n 1)" "${CFLAGS:--O2 -g}"
    printf '| system | %s |\n' "$(uname -sm)"
    printf '| date | %s |\n' "$(date -u +%F)"
    printf '| times | processor time of the one thread |\n\n'
}

mkdir -p bench/results
# model_*: tables of docs/model.md; blocks: of GPUs, tests/gpu.sh; onednn, bf16: of several versions
[ $# -gt 0 ] \
    || set -- $(ls bench/*.c | sed '/model_/d; /blocks/d; /onednn/d; /bf16/d; s|bench/\(.*\)\.c|\1|')
for name; do
    if [ ! -x "$build/bench/$name" ]; then
        echo "bench/$name.c is not built here: left out" >&2
        continue
    fi
    table=$("$build/bench/$name")
    { head_of "$name"; printf '%s\n' "$table"; } > "bench/results/$name.md"
    printf '%s\n\n' "$table"
    echo "bench/results/$name.md" >&2
done
