#!/bin/bash
# fuzz.sh FUZZER...: runs each for FUZZ_SECONDS. A fuzzer fuzz_NAME starts from
# tests/fixtures/NAME/good and bad, with the words of tests/fuzz_NAME.dict; what it finds new is
# kept in $BUILD/corpus/NAME for the next run, and an input that crashes it in $BUILD/crashes.
set -uo pipefail

build=${BUILD:-build/fuzz}
seconds=${FUZZ_SECONDS:-10}
failed=0

if [ $# -eq 0 ]; then
    echo 'No fuzzers: there is no tests/fuzz_*.c.'
    exit 0
fi

mkdir -p "$build/crashes"
for fuzzer in "$@"; do
    name=$(basename "$fuzzer")
    name=${name#fuzz_}
    corpus=$build/corpus/$name
    mkdir -p "$corpus"
    seeds=()
    for folder in "tests/fixtures/$name/good" "tests/fixtures/$name/bad"; do
        if [ -d "$folder" ]; then seeds+=("$folder"); fi
    done
    words=()
    if [ -f "tests/fuzz_$name.dict" ]; then words=("-dict=tests/fuzz_$name.dict"); fi
    log=$build/fuzz_$name.log
    if "$fuzzer" -max_total_time="$seconds" -timeout=10 -artifact_prefix="$build/crashes/$name-" \
        "${words[@]}" "$corpus" "${seeds[@]}" > "$log" 2>&1
    then
        echo "fuzz_$name: no fault in $seconds s, seeds: ${seeds[*]:-none}"
        grep -E '^Done ' "$log" | sed 's/^/    /'
    else
        failed=1
        echo "fuzz_$name: FAILED, log in $log"
        tail -n 40 "$log" | sed 's/^/    /'
    fi
done
exit $failed
