#!/bin/bash
# On CPUs with fewer instructions oneDNN computes by other kernels: the tests of all operators, and
# those of a teacher's rows, which have the same bits in any call, limited to what such CPUs have.
# Operators with less than AVX2 where tests are to be thorough (PIPEBD_THOROUGH).
. "$(dirname "$0")/tap.sh"

needs_cpu_devices
programs=$PIPEBD_BIN/../tests
[ -x "$programs/test_rows" ] || { echo '1..0 # SKIP test_rows is not built'; exit 0; }
limited() { ONEDNN_MAX_CPU_ISA=$isa DNNL_MAX_CPU_ISA=$isa "$@"; }
for isa in AVX2 AVX SSE41; do
    if [ $isa = AVX2 ] || [ -n "${PIPEBD_THOROUGH:-}" ]; then
        ok "operators with $isa" limited "$programs/test_kernels"
    fi
    ok "rows with $isa" limited "$programs/test_rows"
    ok "work of a head is bounded with $isa" limited "$programs/test_head"
done
done_testing
