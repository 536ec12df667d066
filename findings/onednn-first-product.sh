#!/bin/bash
# oneDNN 3.2.0 (wheel onednn-cpu-gomp 2023.2.0; 2.6.3 of Debian 12 does the same): the first product
# by its own gemm in a process generates the kernels of all gemms, for all transpositions and sizes,
# and takes thousands of times as long as the next. Making primitives does not do it: an inner
# product whose implementation is "x64:gemm:jit" pays it when it is executed first, in the middle of
# training, though creating a primitive is where oneDNN generates code.
#
# Seen on one core of a Xeon (AVX-512): an 8 x 8 x 8 product takes 60 ms, then 0.04 ms, also with
# other transpositions and sizes.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
"$T/v/bin/pip" install -q --disable-pip-version-check --no-deps onednn-cpu-gomp==2023.2.0
OMP_NUM_THREADS=1 LIBRARY=$(find "$T/v" -name 'libdnnl.so.3' | head -1) "$T/v/bin/python" - <<'PY'
import ctypes, os, sys, time
from ctypes import c_char, c_float, c_int64
dnnl = ctypes.CDLL(os.environ["LIBRARY"])

def product(n, a_order=b"N", b_order=b"N"):
    """Milliseconds of n x n x n, of ones and twos."""
    a, b, c = ((c_float * (n * n))(*[x] * (n * n)) for x in (1, 2, 0))
    size = c_int64(n)
    began = time.perf_counter()
    status = dnnl.dnnl_sgemm(c_char(a_order), c_char(b_order), size, size, size, c_float(1), a, size, b, size,
                             c_float(0), c, size)
    took = 1e3 * (time.perf_counter() - began)
    assert status == 0 and c[0] == 2 * n, (status, c[0])
    return took

first = product(8)
again = min(product(8) for _ in range(20))
transposed, larger = product(8, b"T", b"T"), product(64)
print("8 x 8 x 8: first %.1f ms, again %.3f ms; transposed first %.3f ms; 64 x 64 x 64 first %.3f ms"
      % (first, again, transposed, larger))
sys.exit(0 if first > 100 * again and transposed < first / 10 and larger < first / 2 else 1)
PY
