#!/bin/bash
# check_subsets.sh [ROW...]: builds and tests with each of the libraries left out by itself, then
# with all left out, and prints what passed, failed and was skipped. A row is dnnl, cuda, mpi, glpk,
# jpeg, zlib, sqlite, gnuplot or all. Called by `make check-subsets`, which sets MAKE and BUILD; a
# row is built into BUILD/without-ROW, where tools find the bundled files (base/bundled.c), and
# removed again; logs are in BUILD/subsets.
#
# Exit status 1: something failed, did not build, or a test of planner, simulator or traces was
# skipped.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

build=${BUILD:-build} folder=${BUILD:-build}/subsets
[ $# -gt 0 ] || set -- dnnl cuda mpi glpk jpeg zlib sqlite gnuplot all
mkdir -p "$folder"
folder=$(realpath "$folder")
build=$(realpath "$build")
bad=0

# without_gnuplot: PATH, with copies (of links) in the place of folders that have gnuplot.
without_gnuplot() {
    local path=$folder/path entry number=0 list=
    rm -rf "$path" && mkdir "$path"
    while read -r -d : entry; do
        if [ -e "$entry/gnuplot" ]; then
            number=$((number + 1))
            mkdir "$path/$number"
            find -H "$entry" -maxdepth 1 ! -type d ! -name 'gnuplot*' -exec ln -st "$path/$number" \
                -- {} +
            entry=$path/$number
        fi
        list=$list:$entry
    done <<< "$PATH:"
    echo "${list#:}"
}

# What plans and simulates: its C tests include nothing of kernels/ and executor/.
never_skipped() {
    grep -LE '^#include "((kernels|executor)/|tests/(async_device|four_blocks|hand_nets|nccl_fake|net_checks|slow_net|slow_sequence))' tests/test_*.c |
        sed 's|.*/||; s|\.c$||'
    printf '%s\n' test_sim.sh test_model.sh
}

# skipped NAME LOG: whether it skips more there than the build with all libraries does, which a
# machine without some locale makes do so, too.
skipped() {
    local found anyway=0
    found=$(sed -n "s/^$1 .* \([0-9]*\) skipped$/\1/p" "$2")
    [ -n "$found" ] || return
    case $1 in
    *.sh) ;;
    *)  "${MAKE:-make}" -s BUILD="$build" "$build/tests/$1" > /dev/null
        anyway=$(CMOCKA_MESSAGE_OUTPUT=TAP "$build/tests/$1" 2>&1 | grep -c '# SKIP') ;;
    esac
    [ "$found" -gt "$anyway" ]
}

# counts LOG: passed, failed, skipped of the last line of tests/run.sh.
counts() {
    sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed\(, \([0-9]*\) skipped\)\?$/\1 \2 \4/p' "$1" \
        | tail -n 1
}

# row NAME: builds and tests without it.
row() {
    local name=$1 log=$folder/$1.log path=$PATH flags=() start=$SECONDS passed='' failed='' \
        skipped='' verdict=ok library each wrong
    for library in dnnl cuda mpi glpk jpeg zlib sqlite; do
        if [ "$name" = "$library" ] || [ "$name" = all ]; then flags+=("HAVE_${library^^}="); fi
    done
    case $name in gnuplot | all) path=$(without_gnuplot) ;; esac
    # Nothing of an outer make but what is said here.
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES PATH="$path" \
        "${MAKE:-make}" -j"$(nproc)" check-run \
        BUILD="$build/without-$name" CUDA_BUILD="$build" WERROR=1 "${flags[@]}" > "$log" 2>&1
    read -r passed failed skipped <<< "$(counts "$log")"
    wrong=$(for each in $(never_skipped); do
        if skipped "$each" "$log"; then printf '%s ' "$each"; fi
    done)
    if [ -z "$passed" ]; then verdict="does not build: $log"
    elif [ "$failed" != 0 ]; then verdict="failed: $log"
    elif [ -n "$wrong" ]; then verdict="skipped: $wrong"
    fi
    [ "$verdict" = ok ] || bad=1
    printf '| %-8s | %6s | %6s | %7s | %7s | %s |\n' "$name" \
        "${passed:--}" "${failed:--}" "${skipped:-0}" "$((SECONDS - start))" "$verdict"
    if [ "$verdict" = ok ]; then rm -rf "${build:?}/without-$name"; fi
}

printf '| %-8s | passed | failed | skipped | seconds | |\n|---|--:|--:|--:|--:|---|\n' without
for name; do row "$name"; done
exit $bad
