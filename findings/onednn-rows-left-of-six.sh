#!/bin/bash
# oneDNN 2.6.0 (wheel onednn-cpu-gomp 2022.2.0; 2.6.3 of Debian 12 and 3.7.2 of Debian 13 do so
# too, 3.12.1 did not), limited to AVX2: in one dnnl_sgemm() of equal rows the results are not
# equal. What is left of sixes of rows is multiplied by another kernel, which adds up in another
# order, so a row's bits depend on its place in the call, on how many rows the call has, and on how
# threads share them. With AVX-512 all rows are the same, on the same machine.
#
# Seen, y [rows][10] = x [rows][512] w^T, one thread: of 32 rows the last 2 have other bits than the
# first, of 33 the last 3, of 48 none.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
"$T/v/bin/pip" install -q --disable-pip-version-check --no-deps \
    onednn-cpu-gomp==2022.2.0 onednn-devel-cpu-gomp==2022.2.0
cat > "$T/rows.c" <<'C'
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN = 512, OUT = 10, MOST = 48 };

static float x[MOST * IN], w[OUT * IN], y[MOST * OUT];

/* How many of the rows, which are all the same, have other results than the first. */
static int others(int rows)
{
    int count = 0;

    if (dnnl_sgemm('N', 'T', rows, OUT, IN, 1, x, IN, w, IN, 0, y, OUT) != dnnl_success) exit(1);
    for (int r = 0; r < rows; r++) count += memcmp(y, y + r * OUT, OUT * sizeof *y) != 0;
    return count;
}

int main(void)
{
    srand(1);
    for (int i = 0; i < OUT * IN; i++) w[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int i = 0; i < IN; i++) {
        float value = (float)rand() / (float)RAND_MAX - 0.5f;
        for (int r = 0; r < MOST; r++) x[r * IN + i] = value;
    }
    printf("%d %d %d\n", others(32), others(33), others(48));
    return 0;
}
C
P=$T/v
cc -O1 "$T/rows.c" -I"$P/include" -L"$P/lib" -Wl,-rpath,"$P/lib" -l:libdnnl.so.2 -o "$T/rows"
seen=$(OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=AVX2 "$T/rows")
echo "of 32, 33 and 48 equal rows other results than the first: $seen"
[ "$seen" = "2 3 0" ]
