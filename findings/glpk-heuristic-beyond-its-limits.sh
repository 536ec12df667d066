#!/bin/bash
# GLPK 5.0 (wheel swiglpk 5.0.13): glp_intopt() with iocp.tm_lim = 500 ms and iocp.msg_lev =
# GLP_MSG_OFF. With iocp.ps_heur on, the proximity search heuristic heeds neither: it has a limit
# of its own, iocp.ps_tm_lim (60,000 ms unless set), and prints its progress on standard output.
# tm_lim is looked at when it has ended, and the return is GLP_ETMLIM as if all were in time.
# Clique cuts (iocp.clq_cuts) print with messages off, too. So a program whose standard output is
# data, or that promises an answer within a time, cannot switch them on by their flags alone.
#
# Seen, 50 tasks on 10 unrelated machines: without 0.5 s and nothing printed; with clq_cuts 0.5 s,
# 2 lines; with ps_heur and ps_tm_lim 3000: 2.5 s, 23 lines; each returns 9 (GLP_ETMLIM).
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
"$T/v/bin/pip" install -q --disable-pip-version-check --no-deps swiglpk==5.0.13
cat > "$T/solve.py" <<'PY'
import random, sys, time
from swiglpk import *

TASKS, MACHINES = 50, 10
r = random.Random(1)
base = [r.randint(20, 100) for _ in range(TASKS)]
p = glp_create_prob()
last = TASKS * MACHINES + 1                                  # the makespan, which is minimised
glp_add_cols(p, last)
glp_set_obj_coef(p, last, 1.0)
glp_set_col_bnds(p, last, GLP_LO, 0, 0)
glp_add_rows(p, TASKS + MACHINES)
for i in range(TASKS):                                       # each task on one machine
    columns, ones = intArray(MACHINES + 1), doubleArray(MACHINES + 1)
    for j in range(MACHINES):
        columns[j + 1], ones[j + 1] = i * MACHINES + j + 1, 1.0
        glp_set_col_kind(p, i * MACHINES + j + 1, GLP_BV)
    glp_set_row_bnds(p, i + 1, GLP_FX, 1, 1)
    glp_set_mat_row(p, i + 1, MACHINES, columns, ones)
for j in range(MACHINES):                                    # none ends after the makespan
    columns, times = intArray(TASKS + 2), doubleArray(TASKS + 2)
    for i in range(TASKS):
        columns[i + 1], times[i + 1] = i * MACHINES + j + 1, base[i] * r.uniform(0.5, 2)
    columns[TASKS + 1], times[TASKS + 1] = last, -1.0
    glp_set_row_bnds(p, TASKS + j + 1, GLP_UP, 0, 0)
    glp_set_mat_row(p, TASKS + j + 1, TASKS + 1, columns, times)
o = glp_iocp()
glp_init_iocp(o)
o.msg_lev, o.presolve, o.tm_lim, o.ps_tm_lim = GLP_MSG_OFF, GLP_ON, 500, 3000
for flag in sys.argv[1:]:
    setattr(o, flag, GLP_ON)
began = time.monotonic()
code = glp_intopt(p, o)
print(glp_version(), code, "%.2f" % (time.monotonic() - began), file=sys.stderr)
PY
good=yes
for flag in "" clq_cuts ps_heur; do
    # shellcheck disable=SC2086
    "$T/v/bin/python" "$T/solve.py" $flag > "$T/out" 2> "$T/err"
    read -r version code seconds < "$T/err"
    lines=$(wc -l < "$T/out")
    echo "GLPK $version, ${flag:-neither}: returned $code after $seconds s, $lines lines printed"
    [ "$code" = 9 ] || good=
    case $flag in
        "")       [ "$lines" -eq 0 ] || good= ;;
        clq_cuts) [ "$lines" -gt 0 ] || good= ;;
        ps_heur)  [ "$lines" -gt 5 ] && awk -v s="$seconds" 'BEGIN { exit !(s > 1.5) }' || good= ;;
    esac
done
[ "$good" ] && echo "as described" || { echo "otherwise"; exit 1; }
