#!/bin/bash
# Convolutions that cuDNN has plans for, on GPUs that are not there (tests/cuda/cudnn_plans.c).
PROGRAM=${PIPEBD_BIN:-build/bin}/../tests/cuda/cudnn_plans
if [ ! -x "$PROGRAM" ]; then
    echo '1..0 # SKIP cuDNN is not installed'
    exit 0
fi
exec "$PROGRAM" "$@"
