#!/bin/sh
# deps.sh build|test|demo|fuzz|valgrind: installs what is missing, with apt.
#
# Says nothing and does nothing when all is there. What is there is found by trying
# (scripts/library.sh, looking up), so software not installed by apt counts too. Without apt, or
# without root and sudo, it prints the lines that install it. What cannot be had is left out;
# exit status 1 only without what nothing is built without: a compiler, make, jansson.
#
# For tests it also installs PyTorch, Chromium, Slurm, clang-tidy and cppcheck where CI is set, if
# it can: they are large, or run daemons, and without them only the tests of
# traces/capture_torch.py, of workloads/export_torch.py, of workloads/gpt_teacher.py and of kernels/
# beside PyTorch, those of a report in a browser, those of jobs, and the linters' are skipped.
set -u

CC=${CC:-cc} CLANG=${CLANG:-clang} PYTHON=${PYTHON:-python3}
export CC
here=$(dirname "$0")
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
packages= needed=

# want PACKAGE [needed]: a package of Debian that is missing.
want() {
    case " $packages " in *" $1 "*) ;; *) packages="$packages $1" ;; esac
    if [ "${2:-}" = needed ]; then needed="$needed $1"; fi
}

program() { command -v "$1" >/dev/null 2>&1 || want "$2" "${3:-}"; }

# library NAME PACKAGE [needed]: one that is too old or too new is what this system has.
library() {
    if [ "$("$here/library.sh" "$1")" = missing ]; then want "$2" "${3:-}"; fi
}

# What trains for real.
executor() {
    library dnnl libdnnl-dev
    library jpeg libjpeg-dev
    library mpi libopenmpi-dev
    program mpirun openmpi-bin
}

fuzzing_works() {
    echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' > "$folder/fuzz.c"
    "$CLANG" -fsanitize=fuzzer,address,undefined "$folder/fuzz.c" -o "$folder/fuzz" \
        >/dev/null 2>&1
}

# Sets packages to what is missing for the kind of work named, needed to those that it is not done
# without.
find_missing() {
    packages= needed=
    program "$CC" build-essential needed
    program make build-essential needed
    program "${PKG_CONFIG:-pkg-config}" pkg-config
    library jansson libjansson-dev needed
    library glpk libglpk-dev
    library zlib zlib1g-dev
    library sqlite libsqlite3-dev
    case $1 in
    build) ;;
    demo)
        executor
        program gnuplot gnuplot-nox
        program rsvg-convert librsvg2-bin ;;
    test)
        executor
        library cmocka libcmocka-dev
        program "$PYTHON" python3
        program gnuplot gnuplot-nox
        program jq jq ;;
    valgrind)
        program valgrind valgrind needed ;;
    fuzz)
        if ! command -v "$CLANG" >/dev/null 2>&1; then want clang needed
        elif ! fuzzing_works; then
            # Debian keeps the sanitizers' run-time libraries in a package of their own.
            want "libclang-rt-$("$CLANG" -dumpversion | cut -d. -f1)-dev" needed
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

can_install() {
    command -v apt-get >/dev/null 2>&1 && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null 2>&1; }
}

# The same packages elsewhere: Debian's name, then those of dnf, pacman, conda-forge; - is none of
# its own.
names='build-essential gcc,make base-devel compilers,make
pkg-config pkgconf-pkg-config pkgconf pkg-config
libjansson-dev jansson-devel jansson jansson
libglpk-dev glpk-devel glpk glpk
libdnnl-dev onednn-devel onednn onednn
libjpeg-dev libjpeg-turbo-devel libjpeg-turbo libjpeg-turbo
zlib1g-dev zlib-devel zlib zlib
libsqlite3-dev sqlite-devel sqlite libsqlite
libopenmpi-dev openmpi-devel openmpi openmpi
openmpi-bin openmpi openmpi openmpi
libcmocka-dev libcmocka-devel cmocka cmocka
python3 python3 python python
gnuplot-nox gnuplot gnuplot gnuplot
librsvg2-bin librsvg2-tools librsvg librsvg
jq jq jq jq
valgrind valgrind valgrind valgrind
clang clang,compiler-rt clang,compiler-rt clangxx,compiler-rt'

# elsewhere COLUMN: what is missing under the names of another system.
elsewhere() {
    for package in $packages; do
        echo "$names" | awk -v name="$package" -v column="$1" \
            '$1 == name { gsub(",", " ", $column); print $column }'
    done | tr ' ' '\n' | awk '!seen[$0]++' | tr '\n' ' '
}

print_lines() {
    echo "Missing; to install it, one of these (the first is tested, the others are not):"
    echo "  apt-get install -y --no-install-recommends$packages"
    echo "  dnf install -y $(elsewhere 2)"
    echo "  pacman -S --needed $(elsewhere 3)"
    echo "  conda install -c conda-forge $(elsewhere 4)"
}

# At once or, where one of them cannot be had, each by itself.
install_missing() {
    line="apt-get install -y --no-install-recommends"
    export DEBIAN_FRONTEND=noninteractive
    echo "Installing:$packages" >&2
    # An update that fails (one dead mirror) need not stop the install.
    as_root apt-get update -q >&2 || true
    # shellcheck disable=SC2086  # lists of words
    as_root $line $packages >&2 || {
        for package in $packages; do as_root $line "$package" >&2; done
    }
}

# extra PURPOSE: installs packages for CI; never a reason to stop.
extra() {
    if [ -n "$packages" ] && ! { can_install && install_missing; }; then
        echo "Not to be had:$packages: $1" >&2
    fi
}

install_extras() {
    packages=
    for python in "$PYTHON" /usr/bin/python3; do
        if "$python" -c 'import torch' 2>/dev/null; then torch=there; fi
    done
    if [ -z "${torch:-}" ]; then want python3-torch; fi
    extra \
        'tests/test_capture.py, tests/test_export_torch.py and tests/test_torch.py will be skipped'
    packages=
    if ! { command -v chromium || command -v chromium-browser \
        || command -v google-chrome; } >/dev/null 2>&1; then
        want chromium
    fi
    extra 'tests/test_report.sh will skip what needs a browser'
    # Daemons, which nobody wants on a machine of their own for the sake of a test.
    packages=
    program slurmctld slurmctld
    program slurmd slurmd
    program srun slurm-client
    extra 'tests/test_slurm.sh will be skipped'
    packages=
    program clang-tidy clang-tidy
    program cppcheck cppcheck
    extra 'tests/test_lint.sh will skip what needs them'
}

kind=${1:-}
find_missing "$kind"
if [ -n "$packages" ] && can_install; then
    install_missing
    find_missing "$kind"
    # Whether clang can fuzz is known only once clang is there.
    if [ "$kind" = fuzz ] && [ -n "$packages" ]; then install_missing; find_missing "$kind"; fi
fi
if [ -n "$packages" ]; then
    print_lines >&2
    if [ -n "$needed" ]; then echo "Not without:$needed" >&2; exit 1; fi
    echo "Going on without:$packages" >&2
fi
if [ "$kind" = test ] && [ -n "${CI:-}" ]; then install_extras; fi
