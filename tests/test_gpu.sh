#!/bin/bash
# tests/gpu.sh without a GPU: that it says so, and, on devices of the CPU, quick, that each of its
# parts does its work; what a part says when it fails or is cut short.
. "$(dirname "$0")/tap.sh"

if [ ! -x "$PIPEBD_BIN/pipebd-run" ] || [ ! -x "$PIPEBD_BIN/../bench/blocks" ]; then
    echo '1..0 # SKIP pipebd-run or bench/blocks is not built'
    exit 0
fi

# What was built but for what wants a GPU (make cuda-tests).
mkdir -p "$WORK/built/bench"
ln -s "$PIPEBD_BIN" "$WORK/built/bin"
ln -s "$(realpath "$PIPEBD_BIN/../bench/blocks")" "$WORK/built/bench/blocks"
export GPU_BUILD=$WORK/built GPU_QUICK=1 GPU_WORKLOADS=digits GPU_PRECISIONS=fp32
gpu=$PIPEBD_ROOT/tests/gpu.sh
mkdir -p "$WORK/bin"
printf '#!/bin/sh\nexit 9\n' > "$WORK/bin/nvidia-smi"
chmod +x "$WORK/bin/nvidia-smi"

no_card() {
    local text status
    text=$(PATH=$WORK/bin:$PATH bash "$gpu" "$WORK/none" 2>&1)
    status=$?
    echo "$text"
    [ $status -eq 1 ] && [ "$text" = 'gpu.sh: no NVIDIA GPU here: nvidia-smi lists none' ]
}
ok 'no GPU: one line, and status 1' no_card

# What a GPU is called, and that parts without time are left out: with a stand-in of nvidia-smi.
cat > "$WORK/bin/nvidia-smi" <<'END'
#!/bin/sh
case $1 in
-L) echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'; echo 'GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2)' ;;
--query-gpu=compute_cap) echo 9.0 ;;
esac
END
named() {
    PATH=$WORK/bin:$PATH GPU_SECONDS=1 GPU_BUILD=$WORK bash "$gpu" "$WORK/named"
    cat "$WORK/named/summary.md"
    [ "$(head -n 1 "$WORK/named/summary.md")" = '# h100' ] \
        && grep -q 'Devices: cuda:0 and cuda:0/4 and cuda:0,1\.$' "$WORK/named/summary.md" \
        && grep -q '^| profile-digits | left out: the time was used up |$' "$WORK/named/summary.md"
}
ok 'two GPUs, and no time' named

on_the_cpu() { GPU_DEVICE=cpu:2 GPU_SLICES=cpu:2 bash "$gpu" "$WORK/results"; }
ok 'every part, on devices of the CPU' on_the_cpu

# result PART: what the summary says of it.
result() { awk -F '\t' -v part="$1" '$1 == part { print $2 }' "$WORK/results/parts.txt"; }
was() { cat "$WORK/results/logs/$1.log"; [ "$(result "$1")" = ok ]; }
ok 'students are the golden ones' was students-like-the-cpu
ok 'the same bits under every schedule' was same-bits-under-every-schedule
ok 'a profile' was profile-digits
ok 'its trace' pipebd-trace check "$WORK/results/cpu-digits.json"
ok 'a validation on slices' was validate-digits-slices
ok 'a validation on one' was validate-digits-one
ok 'blocks' was blocks-digits-fp32
timelines() { ls -R "$WORK/results"; ls "$WORK"/results/validate-digits-slices/dp-measured.json; }
ok 'timelines' timelines
in_the_summary() {
    cat "$WORK/results/summary.md"
    grep -q '^| profile-digits | ok |$' "$WORK/results/summary.md" \
        && grep -q 'error of the epoch time' "$WORK/results/summary.md"
}
ok 'all in one page' in_the_summary
packed() {
    local list=$WORK/list
    tar tzf "$WORK/results/results.tar.gz" | tee "$list"
    grep -q 'cpu-digits.json' "$list" && grep -q 'plan-dp.json' "$list" \
        && ! grep -q 'measured.json\|tar.gz' "$list" \
        && tar tzf "$WORK/results/timelines.tar.gz" \
        | grep -q 'validate-digits-slices/dp-measured.json'
}
ok 'and packed, timelines apart' packed
again() {
    local text
    text=$(GPU_DEVICE=cpu:2 GPU_SLICES=cpu:2 bash "$gpu" "$WORK/results" 2>&1) && return 1
    echo "$text"
    [ "$text" = "gpu.sh: $WORK/results is not empty: name another folder, so that results of two runs do not mix" ]
}
ok 'results of two runs do not mix' again
if "${PYTHON:-python3}" -c 'import torch' 2> /dev/null; then ok 'PyTorch beside' was torch
else skip 'PyTorch beside' "there is no PyTorch, the summary says: $(result torch)"; fi

# A tool that fails (validate's output goes through tee), one that hangs and takes no notice of
# being asked to end, in a group of its own as tests/run.sh has it, and a time that is used up.
mkdir -p "$WORK/build/bin" "$WORK/build/bench" "$WORK/build/tests/cuda"
cat > "$WORK/build/bin/pipebd-run" <<'END'
#!/bin/bash
case $1 in
profile) echo 'out of luck' >&2; exit 4 ;;
validate) echo 'out of line'; exit 5 ;;
*) exit 0 ;;
esac
END
cat > "$WORK/build/tests/cuda/test_deaf" <<'END'
#!/bin/bash
trap '' TERM
echo $$ > "${0%/*}/pid"
while :; do sleep 1; done
END
printf '#!/bin/sh\nexit 0\n' > "$WORK/build/bench/blocks"
chmod +x "$WORK/build/bin/pipebd-run" "$WORK/build/bench/blocks" "$WORK/build/tests/cuda/test_deaf"
trouble() {
    GPU_DEVICE=cpu:2 GPU_SLICES=cpu:2 GPU_BUILD=$WORK/build GPU_SECONDS=$1 exec bash "$gpu" \
        "$WORK/$2"
}
told() { cat "$WORK/$1/parts.txt"; grep -q "$2" "$WORK/$1/parts.txt"; }
# whoever takes in orphans may be slow
gone() { wait_for is_gone "$(cat "$WORK/build/tests/cuda/pid")"; }
cut_short() {
    (trouble 6 hung)
    [ $? -eq 1 ] && told hung '^backend-tests.cut short after [0-9]* s: ' && gone
}
ok 'what hangs is cut short, and gone' cut_short
ok 'what has no time is told' told hung '^blocks-digits-fp32.left out: the time was used up$'
interrupted() {
    local status
    rm "$WORK/build/tests/cuda/pid"
    trouble 60 interrupted &
    wait_for [ -s "$WORK/build/tests/cuda/pid" ]
    kill -TERM $!
    wait $!
    status=$?
    echo "status $status"
    [ $status -eq 1 ] && told interrupted '^backend-tests.cut short: interrupted$' \
        && [ -s "$WORK/interrupted/results.tar.gz" ] \
        && grep -q '^| backend-tests | cut short: interrupted |$' "$WORK/interrupted/summary.md" \
        && gone
}
ok 'what is interrupted ends, with a summary' interrupted
rm "$WORK/build/tests/cuda/test_deaf"
failing() { (trouble 20 failed); }
fails 'what fails stops nothing' failing
ok 'a command that fails' told failed '^profile-digits.FAILED, status 4: out of luck$'
ok 'one that fails in a pipe' told failed '^validate-digits-one.FAILED, status 5: out of line$'
ok 'nothing is validated from a profile that failed' told failed \
    '^validate-digits-slices.left out: there is no profile$'

# The sanitizer with a stand-in: what it is asked, and of which programs.
cat > "$WORK/bin/compute-sanitizer" <<'END'
#!/bin/bash
echo "$* " >> "$SANITIZED"
exec "${!#}"
END
printf '#!/bin/sh\necho 1..1; echo ok 1\n' > "$WORK/build/tests/cuda/test_cuda_kernels"
chmod +x "$WORK/bin/compute-sanitizer" "$WORK/build/tests/cuda/test_cuda_kernels"
cp "$WORK/build/tests/cuda/test_cuda_kernels" "$WORK/build/tests/cuda/test_cuda_nets"
sanitized() {
    PATH=$WORK/bin:$PATH SANITIZED=$WORK/asked GPU_BUILD=$WORK/build GPU_WORKLOADS=' ' bash "$gpu" \
        "$WORK/sanitized"
    cat "$WORK/asked"
    told sanitized '^backend-tests-sanitized.ok$' && told sanitized '^kernels-racecheck.ok$' \
        && [ "$(wc -l < "$WORK/asked")" -eq 3 ] \
        && [ "$(grep -c 'racecheck.*/test_cuda_kernels ' "$WORK/asked")" -eq 1 ]
}
ok 'under the sanitizer' sanitized

done_testing
