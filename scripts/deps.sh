#!/bin/sh
# deps.sh build|test|demo|fuzz|valgrind: installs what is missing, with apt.
#
# Says nothing and does nothing when all is there. What is there is found by
# trying (compile, link, look up), so software not installed by apt counts too.
# Without root and without sudo it prints the line to run and exits 1. For tests it also
# installs PyTorch, Chromium and Slurm where CI is set, if it can: they are large, or run daemons, and without
# them only the tests of traces/capture_torch.py and of kernels/ beside PyTorch, those of a report
# in a browser, and those of jobs are skipped.
set -u

CC=${CC:-cc} CLANG=${CLANG:-clang} PYTHON=${PYTHON:-python3}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
packages=

want() { packages="$packages $1"; }

program() { command -v "$1" >/dev/null 2>&1 || want "$2"; }

# library NAME PACKAGE HEADER...: a program that includes the headers links.
library() {
    name=$1 package=$2
    shift 2
    printf '#include <%s>\n' "$@" > "$folder/try.c"
    echo 'int main(void) { return 0; }' >> "$folder/try.c"
    # shellcheck disable=SC2046,SC2086  # flags are words
    "$CC" ${CPPFLAGS:-} "$folder/try.c" -o "$folder/try" ${LDFLAGS:-} \
        $("${PKG_CONFIG:-pkg-config}" --cflags --libs "$name" 2>/dev/null || echo "-l$name") \
        >/dev/null 2>&1 || want "$package"
}

# What trains for real.
executor() {
    library dnnl libdnnl-dev oneapi/dnnl/dnnl.h
    library jpeg libjpeg-dev stdio.h jpeglib.h
    mpi
}

# Any MPI that pkg-config knows; Open MPI where there is none.
mpi() {
    for name in ompi-c mpi-c mpich none; do
        if "${PKG_CONFIG:-pkg-config}" --exists "$name" 2>/dev/null; then break; fi
    done
    if [ "$name" = none ]; then want libopenmpi-dev; else library "$name" libopenmpi-dev mpi.h; fi
    program mpirun openmpi-bin
}

fuzzing_works() {
    echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' > "$folder/fuzz.c"
    "$CLANG" -fsanitize=fuzzer,address,undefined "$folder/fuzz.c" -o "$folder/fuzz" \
        >/dev/null 2>&1
}

# Sets packages to what is missing for the kind of work named.
find_missing() {
    packages=
    program "$CC" build-essential
    program make build-essential
    program "${PKG_CONFIG:-pkg-config}" pkg-config
    library jansson libjansson-dev jansson.h
    library glpk libglpk-dev glpk.h
    library zlib zlib1g-dev zlib.h
    case $1 in
    build) ;;
    demo)
        executor
        program gnuplot gnuplot-nox
        program rsvg-convert librsvg2-bin ;;
    test)
        executor
        library cmocka libcmocka-dev stdarg.h stddef.h setjmp.h stdint.h cmocka.h
        program "$PYTHON" python3
        program gnuplot gnuplot-nox
        program jq jq ;;
    valgrind)
        program valgrind valgrind ;;
    fuzz)
        if ! command -v "$CLANG" >/dev/null 2>&1; then want clang
        elif ! fuzzing_works; then
            # Debian keeps the sanitizers' run-time libraries in a package of their own.
            want "libclang-rt-$("$CLANG" -dumpversion | cut -d. -f1)-dev"
        fi ;;
    *)
        echo "usage: scripts/deps.sh build|test|demo|fuzz|valgrind" >&2
        exit 2 ;;
    esac
}

# as_root COMMAND...: as root, or through sudo; fails where neither is possible.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif sudo -n true 2>/dev/null || [ -t 0 ]; then
        sudo DEBIAN_FRONTEND=noninteractive "$@"
    else return 1; fi
}

install_missing() {
    line="apt-get install -y --no-install-recommends$packages"
    export DEBIAN_FRONTEND=noninteractive
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Missing here (Debian names):$packages" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
        echo "Missing, run as root: $line" >&2
        return 1
    fi
    echo "Installing:$packages" >&2
    # An update that fails (one dead mirror) need not stop the install.
    as_root apt-get update -q >&2 || true
    # shellcheck disable=SC2086  # a list of names
    as_root $line >&2 || { echo "Missing, run: sudo $line" >&2; return 1; }
}

# Never a reason to stop.
install_torch() {
    for python in "$PYTHON" /usr/bin/python3; do
        if "$python" -c 'import torch' 2>/dev/null; then return; fi
    done
    packages=" python3-torch"
    install_missing || echo "No PyTorch: tests/test_capture.py and tests/test_torch.py will be skipped." >&2
}

install_browser() {
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null 2>&1; then return; fi
    done
    packages=" chromium"
    install_missing || echo "No Chromium: tests/test_report.sh will skip what needs a browser." >&2
}

# Daemons, which nobody wants on a machine of their own for the sake of a test.
install_slurm() {
    packages=
    program slurmctld slurmctld
    program slurmd slurmd
    program srun slurm-client
    [ -z "$packages" ] || install_missing || echo "No Slurm: tests/test_slurm.sh will be skipped." >&2
}

kind=${1:-}
find_missing "$kind"
# Twice: whether clang can fuzz is known only once clang is there.
for attempt in 1 2; do
    [ -n "$packages" ] || break
    install_missing || exit 1
    find_missing "$kind"
done
if [ -n "$packages" ]; then
    echo "Installed, and still not usable:$packages" >&2
    exit 1
fi
if [ "$kind" = test ] && [ -n "${CI:-}" ]; then install_torch; install_browser; install_slurm; fi
