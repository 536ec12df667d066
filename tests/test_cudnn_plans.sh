#!/bin/bash
# Convolutions that cuDNN has plans for, on GPUs that are not there (tests/cuda/cudnn_plans.c).
PROGRAM=${PIPEBD_BIN:-build/bin}/../tests/cuda/cudnn_plans
if [ ! -x "$PROGRAM" ]; then
    echo '1..0 # SKIP cuDNN is not installed'
    exit 0
fi
# Leaks of cuDNN's own, and of libraries that it has closed by then, are not ours to report.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
exec "$PROGRAM" "$@"
