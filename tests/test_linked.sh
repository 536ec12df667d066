#!/bin/bash
# What each program and library is linked with, by what its file says (readelf) and by what is loaded (ldd).
. "$(dirname "$0")/tap.sh"

build=$(dirname "$PIPEBD_BIN")
if ! command -v readelf > /dev/null || ! command -v ldd > /dev/null; then
    echo '1..0 # SKIP no readelf or ldd'
    exit 0
fi

needs()  { readelf -d "$1" | grep -q "(NEEDED).*\[lib$2\."; }
loads()  { ldd "$1" | grep -qE "lib($2)\."; }
lacks()  { ! needs "$1" "$2" && ! loads "$1" "$2"; }
linked() { needs "$1" "$2" && loads "$1" "$2"; }

# GLPK is GPL: no process holds it beside a library that is not free, nor do those who load libpipebd.
if grep -q DHAVE_GLPK "$build/flags.txt"; then
    for tool in plan sim; do ok "pipebd-$tool has GLPK" linked "$PIPEBD_BIN/pipebd-$tool" glpk; done
    ok "--ls glpk plans" pipebd-plan "$PIPEBD_ROOT/traces/vgg-cpu.json" --schedules dp,ls --ls glpk
    ok "and simulates" pipebd-sim "$PIPEBD_ROOT/traces/vgg-cpu.json" --schedule ls --ls glpk
fi
for tool in run trace plot; do
    [ ! -x "$PIPEBD_BIN/pipebd-$tool" ] || ok "pipebd-$tool has no GLPK" lacks "$PIPEBD_BIN/pipebd-$tool" glpk
done
for tool in plan sim; do
    ok "pipebd-$tool computes nothing: no cuDNN, oneDNN or MPI" lacks "$PIPEBD_BIN/pipebd-$tool" 'cudnn|nccl|cublasLt|dnnl|mpi'
done

library=$build/lib/libpipebd.so
if [ ! -e "$library" ]; then skip "libpipebd" "a build under sanitizers has no library to install"; done_testing; fi
for other in glpk dnnl cudnn mpi jpeg; do ok "libpipebd has no $other" lacks "$library" $other; done
plans_only() { # no function or table of pages, plots or the executor, hidden ones included
    nm "$1" > "$WORK/names" && [ "$(grep -c pipebd_ "$WORK/names")" -gt 20 ] &&
        ! grep -E ' [tTdDbBrR] (plot_|gnuplot_|html_|report_page|figure_|svg_|paper_|worker_|checkpoint_|transport_|glp_)' "$WORK/names"
}
ok "libpipebd.so has neither pages nor plots nor what trains" plans_only "$library"
ok "nor has libpipebd.a" plans_only "$build/lib/libpipebd.a"
done_testing
