#!/bin/bash
# What each program and library is linked with, by what its file says (readelf) and by what is
# loaded (ldd).
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

# GLPK is GPL: no process holds it beside a library that is not free, nor do those who load
# libpipebd.
if grep -q DHAVE_GLPK "$build/optional.txt"; then
    for tool in plan sim; do ok "pipebd-$tool has GLPK" linked "$PIPEBD_BIN/pipebd-$tool" glpk; done
    ok "--ls glpk plans" pipebd-plan "$PIPEBD_ROOT/traces/vgg-cpu.json" --schedules dp,ls --ls glpk
    ok "and simulates" pipebd-sim "$PIPEBD_ROOT/traces/vgg-cpu.json" --schedule ls --ls glpk
fi
for tool in run trace plot; do
    [ ! -x "$PIPEBD_BIN/pipebd-$tool" ] \
        || ok "pipebd-$tool has no GLPK" lacks "$PIPEBD_BIN/pipebd-$tool" glpk
done
for tool in plan sim; do
    ok "pipebd-$tool computes nothing: no cuDNN, oneDNN or MPI" lacks "$PIPEBD_BIN/pipebd-$tool" \
        'cudnn|nccl|cublasLt|dnnl|mpi'
done

# The CUDA backend is loaded when cuda: is asked for, and not before.
plugin=$build/lib/pipebd/libpipebd-cuda.so
if [ -x "$PIPEBD_BIN/pipebd-run" ]; then
    ok "pipebd-run starts without CUDA's libraries" lacks "$PIPEBD_BIN/pipebd-run" \
        'cudart|cudnn|nccl|cublasLt|cuda'
    asks() { # MESSAGE: what pipebd-run says of cuda: devices, in one line, with status 1
        local said status
        said=$(pipebd-run profile --workload digits --devices cuda:0 -o "$WORK/trace.json" 2>&1 \
            > /dev/null)
        status=$?
        [ $status -eq 1 ] && echo "$said" | tail -n 1 | grep -qF -- "$1" \
            || { echo "$status: $said"; return 1; }
    }
    mkdir -p "$WORK/none" "$WORK/bad"
    echo 'no library' > "$WORK/bad/libpipebd-cuda.so"
    PIPEBD_PLUGINS=$WORK/none ok "a folder without the plug-in" asks \
        "cuda devices: no libpipebd-cuda.so in $WORK/none, which PIPEBD_PLUGINS names"
    PIPEBD_PLUGINS=$WORK/bad ok "a plug-in that is none" asks \
        "the CUDA backend cannot be loaded: $WORK/bad/libpipebd-cuda.so"
    if [ -e "$plugin" ]; then
        for other in cudnn cublasLt; do ok "the plug-in has $other" needs "$plugin" $other; done
        ok "the plug-in has no GLPK" lacks "$plugin" glpk
        # A machine with a driver goes on from here to its GPUs.
        [ -e /dev/nvidia0 ] || ok "it is found beside the program" asks "no NVIDIA driver"
    else
        ok "a build without it says so" asks "cuda devices: this build has no CUDA"
    fi
fi

# Guards against overflows, where the build has them: not under sanitizers, nor without
# optimisation.
relro()     { readelf -lW "$1" | grep -q GNU_RELRO && readelf -dW "$1" | grep -q BIND_NOW; }
protected() { readelf -sW "$1" | grep -q __stack_chk_fail; }
fortified() {
    readelf -sW "$1" | grep -qE '__(v?snprintf|v?fprintf|v?printf|memcpy|strcpy|read)_chk'
}
for file in "$PIPEBD_BIN"/pipebd-* "$build"/lib/libpipebd.so "$plugin"; do
    name=$(basename "$file")
    [ -f "$file" ] || continue
    if ! grep -q -- ' -fstack-protector-strong ' "$build/flags.txt"; then
        grep -q -- '-fsanitize=' "$build/flags.txt" \
            || ok "$name: only sanitizers go without guards" false
        continue
    fi
    ok "$name: all is bound at the start, and then cannot be written" relro "$file"
    ok "$name: the stack is guarded" protected "$file"
    if grep -q -- '-D_FORTIFY_SOURCE=' "$build/flags.txt"; then
        ok "$name: libc's calls are checked" fortified "$file"
    fi
done
if ! grep -q -- '-fsanitize=' "$build/flags.txt" && grep -qE -- ' -O[123s] ' "$build/flags.txt" \
    && [ "$(uname -s)" = Linux ] &&
    ldd --version 2>&1 | grep -qiE 'glibc|gnu libc'; then
    ok "a build that optimises checks libc's calls" grep -q -- '-D_FORTIFY_SOURCE=' \
        "$build/flags.txt"
fi

library=$build/lib/libpipebd.so
if [ ! -e "$library" ]; then
    skip "libpipebd" "a build under sanitizers has no library to install"
    done_testing
fi
for other in glpk dnnl cudnn mpi jpeg; do ok "libpipebd has no $other" lacks "$library" $other; done
plans_only() { # no function or table of pages, plots or the executor, hidden ones included
    nm "$1" > "$WORK/names" && [ "$(grep -c pipebd_ "$WORK/names")" -gt 20 ] &&
        ! grep -E ' [tTdDbBrR] (plot_|gnuplot_|html_|report_page|figure_|svg_|paper_|worker_|checkpoint_|transport_|glp_)' "$WORK/names"
}
ok "libpipebd.so has neither pages nor plots nor what trains" plans_only "$library"
ok "nor has libpipebd.a" plans_only "$build/lib/libpipebd.a"
done_testing
