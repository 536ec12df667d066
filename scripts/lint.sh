#!/bin/sh
# lint.sh tidy|cppcheck [FLAG...]: faults that a linter sees in the sources, one a line; status 1
# where there are any, 77 without the tool. FLAGs are those of the compiler. Sources that need CUDA,
# MPI or GLPK are left out.
set -eu
tool=$1
shift
cd "$(dirname "$0")/.."

sources=$(find base workloads traces schedule sim planner kernels executor plots paper tools \
    -name '*.c' |
          grep -Ev '^(kernels/cuda|executor/plugin|executor/transport/nccl|executor/net/mpi|planner/ls/glpk)/' | sort)

case $tool in
tidy)
    command -v "${CLANG_TIDY:-clang-tidy}" > /dev/null \
        || { echo 'lint.sh: clang-tidy is not installed' >&2; exit 77; }
    export LINT_FLAGS="-std=c17 -D_GNU_SOURCE -I. -DPIPEBD_PLUGIN_DIR=\"\" $*"
    # shellcheck disable=SC2016,SC2086  # flags and paths have no blanks
    printf '%s\n' $sources \
        | xargs -P 2 -n 20 sh -c '"${CLANG_TIDY:-clang-tidy}" --quiet "$@" -- $LINT_FLAGS' tidy ;;
cppcheck)
    command -v "${CPPCHECK:-cppcheck}" > /dev/null \
        || { echo 'lint.sh: cppcheck is not installed' >&2; exit 77; }
    # Leaks are left to the sanitizers: it does not see what a compound literal keeps.
    # shellcheck disable=SC2086
    "${CPPCHECK:-cppcheck}" -q -j 2 --std=c11 --language=c --library=posix \
        --enable=warning,portability --max-configs=1 \
        --error-exitcode=1 --inline-suppr --suppress=memleak --suppress=resourceLeak \
        --suppress=invalidFunctionArg \
        --suppress=identicalInnerCondition --suppress=readdirCalled \
        --suppress=duplicateAssignExpression -D__GNUC__ "$@" -I. $sources ;;
*)  echo "usage: scripts/lint.sh tidy|cppcheck [FLAG...]" >&2
    exit 2 ;;
esac
