#!/bin/bash
# A build that finds nothing but a compiler and jansson: no GLPK, oneDNN, libjpeg, pkg-config.
# It plans, simulates and refuses as any other, byte for byte. Built once into build/lean, of the
# objects of the other build where they do not ask which libraries are there.
. "$(dirname "$0")/tap.sh"

lean=$PIPEBD_ROOT/build/lean
plain=$PIPEBD_BIN

# Nothing of an outer make: its variables, its flags, its job server.
build() {
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES make -s -C "$PIPEBD_ROOT" \
        -j2 BUILD=build/lean \
        WERROR="$(grep -q -e ' -Werror' "$PIPEBD_BIN/../flags.txt" && echo 1)" \
        PKG_CONFIG=false HAVE_GLPK= HAVE_DNNL= HAVE_JPEG= HAVE_ZLIB= HAVE_SQLITE= HAVE_CUDA= \
        HAVE_MPI= SANITIZE= "$@"
}

# Sources that ask (OPTIONAL_SOURCES of the Makefile) are not taken over.
take_over() {
    local build=$PIPEBD_BIN/.. file
    mkdir -p "$lean" && cp -p "$build/flags.txt" "$lean/" || return 1
    (cd "$build/obj" && find base workloads traces schedule sim planner plots paper executor tools \
        -name '*.o') | while read -r file; do
        grep -sqE 'HAVE_[A-Z]|search_options' "$PIPEBD_ROOT/${file%.o}.c" && continue
        [ -e "$lean/obj/$file" ] && [ ! "$build/obj/$file" -nt "$lean/obj/$file" ] && continue
        mkdir -p "$lean/obj/${file%/*}" && cp -p "$build/obj/$file" "$lean/obj/$file" || return 1
    done
}
ok 'a build without any library but jansson' eval 'take_over && build all'

needs_nothing() { ! ldd "$lean/bin/pipebd-plan" | grep -E 'glpk|dnnl|gomp|jpeg|mpi'; }
ok 'its tools need libc and jansson alone' needs_nothing

stops() {
    local text
    text=$(build all HAVE_JANSSON= 2>&1) && return 1
    echo "$text"
    [ "$(echo "$text" | wc -l)" -eq 1 ] && [[ $text == *'jansson is missing, which reads JSON: run "make deps", or "apt-get install libjansson-dev"'* ]]
}
ok 'without jansson make stops in one line' stops
ok 'make help works all the same' build help HAVE_JANSSON=

# same ARGUMENT...: a tool of this build prints, and refuses, as that of the other.
same() {
    local tool=$1 ours theirs
    shift
    cd "$PIPEBD_ROOT" || return 1
    ours=$("$lean/bin/$tool" "$@" 2>&1; echo "status $?")
    theirs=$("$plain/$tool" "$@" 2>&1; echo "status $?")
    diff <(echo "$theirs") <(echo "$ours")
}
ok 'a comparison of schedules' same pipebd-plan traces/nas-cifar10-a6000.json --format json
ok 'an exact search for lists' same pipebd-plan traces/vgg-cpu.json --schedules ls --ls exact
ok 'a plan, written' same pipebd-plan traces/vgg-cpu.json -o -
ok 'a simulation' same pipebd-sim traces/mobilenet-cpu.json --schedule dp,ls,tr,dpu,ir,ahd \
    --format json
ok 'a timeline' same pipebd-sim traces/nas-cifar10-a6000.json --schedule ahd --timeline -
every_fixture() {
    local file
    for file in "$PIPEBD_ROOT"/tests/fixtures/trace/{good,bad}/*.json; do
        same pipebd-trace check "$file" || return 1
    done
}
ok 'every trace, good and bad' every_fixture
same_install() {
    build install PREFIX="$WORK/prefix" && ! grep glpk "$WORK/prefix/lib/pkgconfig/pipebd.pc"
}
ok 'what is installed asks for nothing either' same_install

# Targets that make again: with the job server of the first, and with -n, which then shows what the
# second does.
shown() {
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES make -n -C "$PIPEBD_ROOT" \
        -j2 BUILD="$WORK/none" "$1" > "$WORK/.n" 2>&1 || return 1
    grep 'jobserver' "$WORK/.n" && return 1
    grep -q -- '-c base/text.c ' "$WORK/.n" && grep -q -- "$2" "$WORK/.n" && [ ! -e "$WORK/none" ]
}
ok 'make -n demo' shown demo scripts/demo.sh
ok 'make -n check' shown check tests/run.sh

refused() {
    local text status
    text=$("$lean/bin/pipebd-plan" "$PIPEBD_ROOT/traces/vgg-cpu.json" --schedules ls --ls glpk 2>&1)
    status=$?
    echo "$text"
    [ $status -eq 1 ] && [ "$text" = 'pipebd-plan: lists by glpk: this program has no GLPK, which only pipebd-plan and pipebd-sim have, where it was there when they were built; expected another method (exact finds the least makespan, too)' ]
}
ok 'lists by GLPK are refused in one line' refused

done_testing
