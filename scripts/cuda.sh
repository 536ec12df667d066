#!/bin/sh
# cuda.sh: looks for CUDA (compiler, runtime, cuDNN, cuBLASLt, NVTX, NCCL) and prints in one line
# what the build needs: the path of nvcc, flags for compiling and flags for linking. Prints nothing
# when something but NCCL is missing.
#
# Looked at in this order: CUDA_HOME, nvcc in PATH (where that is a script outside of its toolkit,
# the toolkit that it runs), /usr/local/cuda, Python's packages (site-packages/nvidia/cu13 and
# /cudnn, /nccl, /nvtx, ..., as pip installs them for PyTorch). Libraries in packages have no names
# without a version, so files are named.
set -u

PYTHON=${PYTHON:-python3}

# The nvidia folders of Python's packages.
packages() {
    command -v "$PYTHON" >/dev/null 2>&1 || return 0
    "$PYTHON" -c '
import glob, site, sys
for folder in sys.path + site.getsitepackages() + [site.getusersitepackages()]:
    for found in sorted(glob.glob(folder + "/nvidia/*/")):
        print(found.rstrip("/"))' 2>/dev/null | awk '!seen[$0]++'
}

# The toolkit of nvcc in PATH: beside it, or where it says that its own is.
toolkit() {
    found=$(command -v nvcc 2>/dev/null) || return 0
    beside=$(dirname "$(dirname "$(readlink -f "$found")")")
    echo "$beside"
    [ -e "$beside/include/cuda_runtime_api.h" ] \
        || "$found" --dryrun -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p'
}

roots=$(
    [ -n "${CUDA_HOME:-}" ] && echo "$CUDA_HOME"
    toolkit
    echo /usr/local/cuda
)
[ -e /usr/local/cuda/include/cudnn.h ] && [ -x /usr/local/cuda/bin/nvcc ] || roots="$roots
$(packages)
/usr"

# file PATTERN...: the first file that a root has.
file() {
    for root in $roots; do
        for pattern in "$@"; do
            # shellcheck disable=SC2086  # patterns are to be expanded
            for found in $root/$pattern; do
                if [ -e "$found" ]; then echo "$found"; return 0; fi
            done
        done
    done
    return 1
}

# library NAME: its file, with or without a version, static where NAME says so.
library() {
    case $1 in
    *.a) file "lib64/$1" "lib/$1" "lib/x86_64-linux-gnu/$1" ;;
    *) file "lib64/$1" "lib/$1" "lib/x86_64-linux-gnu/$1" "lib64/$1.[0-9]*" "lib/$1.[0-9]*" \
        "lib/x86_64-linux-gnu/$1.[0-9]*" ;;
    esac
}

nvcc=$(file bin/nvcc) || exit 0
runtime=$(file include/cuda_runtime_api.h) || exit 0
cudnn=$(file include/cudnn.h include/x86_64-linux-gnu/cudnn.h) || exit 0
blas=$(file include/cublasLt.h) || exit 0
nvtx=$(file include/nvtx3/nvToolsExt.h) || exit 0
compile=
for header in "$runtime" "$cudnn" "$blas" "$(dirname "$nvtx")"; do
    case " $compile " in *" -isystem$(dirname "$header") "*) ;; *) \
        compile="$compile -isystem$(dirname "$header")" ;; esac
done
link=
for name in libcudnn.so libcublasLt.so; do
    found=$(library $name) || exit 0
    folder=$(dirname "$found")
    link="$link -L$folder -l:$(basename "$found") -Wl,-rpath,$folder"
done
found=$(library libcudart_static.a) || exit 0
link="$link -L$(dirname "$found") -l:libcudart_static.a"
if nccl=$(file include/nccl.h) && found=$(library libnccl.so); then
    folder=$(dirname "$found")
    compile="$compile -isystem$(dirname "$nccl") -DHAVE_NCCL"
    link="$link -L$folder -l:$(basename "$found") -Wl,-rpath,$folder"
fi
echo "$nvcc" $compile $link -ldl -lrt
