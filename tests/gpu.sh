#!/bin/bash
# gpu.sh [RESULTS_DIR]: everything that wants a GPU, in one command, within eight minutes: builds,
# tests, profiles, validates, trains, compares with the CPU's students and with PyTorch, and
# leaves tables, traces and timelines in RESULTS_DIR (gpu-results; new, or empty), packed in
# results.tar.gz (without timelines) and timelines.tar.gz too.
#
# It needs a GPU, its driver, make, a C compiler and CUDA with cuDNN (installed, or in
# Python's packages). Python is used where it is there, PyTorch and compute-sanitizer too.
#
# Every part has a number of seconds and none stops the others: what failed, was cut short or was
# left out stands in RESULTS_DIR/summary.md, which is written anew after every part. What matters
# most comes first: tests, then all of the small workloads, then those of ImageNet, then
# compute-sanitizer. TERM and INT end the part that runs, and the rest is left. Exit status: 1 when
# a part failed, was cut short or had no time left, or there is no GPU; 0 when all ran, but for what
# the machine lacks.
#
#     GPU_SECONDS     all in all (480)
#     GPU_DEVICE      one device (cuda:0)           GPU_SLICES   four of them (cuda:0/4)
#     GPU_ALL         all GPUs; by default cuda:0,1,... where there are several
#     GPU_WORKLOADS   what is profiled and validated: NAME[:BATCH[:ROWS]] ...; of ROWS are the steps
#                     of single blocks (BATCH, or 256); ' ' is none
#     GPU_PRECISIONS  (fp32 tf32 bf16)
#     GPU_BUILD       the build folder (build/gpu); built already: nothing is built
#     GPU_QUICK=1     few and short runs: whether it works, not how fast
#
# With devices of the CPU (GPU_DEVICE=cpu:2 GPU_SLICES=cpu:2) no GPU is looked for:
# tests/test_gpu.sh runs it so.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-gpu-results}
if [ -n "$(ls -A "$out" 2> /dev/null)" ]; then
    echo "gpu.sh: $out is not empty: name another folder, so that results of two runs do not mix" \
        >&2
    exit 1
fi
case $out in /*) ;; *) out=$PWD/$out ;; esac
cd "$root" || exit 1

python=${PYTHON:-python3}
device=${GPU_DEVICE:-cuda:0} slices=${GPU_SLICES:-cuda:0/4} gpus=${GPU_ALL:-}
build=${GPU_BUILD:-} quick=${GPU_QUICK:-}
workloads='nas-cifar10 vgg16-dsconv-cifar10 nas-imagenet:64 vgg16-dsconv-imagenet:8:64'
workloads=${GPU_WORKLOADS:-$workloads}
began=$(date +%s) total=${GPU_SECONDS:-480}
failures=0 short=0 running='' running_name=''

left() { echo $((total - ($(date +%s) - began))); }

# note NAME RESULT: one line of the summary, which is whole at any time.
note() {
    printf '%s\t%s\n' "$1" "$2" >> "$out/parts.txt"
    printf '%4d s  %-34s %s\n' $(($(date +%s) - began)) "$1" "$2"
    summary
}

no_time() { note "$1" 'left out: the time was used up'; short=$((short + 1)); }

# of_session ID: the processes of a session, whatever group they made for themselves. Some end while
# they are read.
of_session() {
    { cat /proc/[0-9]*/stat 2> /dev/null || true; } \
        | awk -v id="$1" '{ pid = $1; sub(/.*\) /, ""); if ($4 == id && $1 != "Z") print pid }'
}

# end_session ID: asks its processes to end, and kills those that have not 3 s later.
end_session() {
    local pids signal i
    for signal in TERM KILL; do
        pids=$(of_session "$1")
        # shellcheck disable=SC2086  # words
        [ -z "$pids" ] || kill -$signal $pids 2> /dev/null
        for ((i = 0; i < 15; i++)); do
            [ -n "$(of_session "$1")" ] || return 0
            sleep 0.2
        done
    done
}

# part NAME SECONDS COMMAND...: runs it for as long, at most for what is left; its output goes to
# logs/NAME.log. Status 77: there was nothing to do. Returns whether it succeeded.
# It has a session of its own: tests/run.sh and pipebd-run make groups, which a signal to one group
# would miss.
part() {
    local name=$1 most=$2 status last end cut=
    shift 2
    [ -z "$quick" ] || most=$((3 * most))                       # of a busy machine without a GPU
    if [ "$(left)" -lt 5 ]; then no_time "$name"; return 1; fi
    if [ "$most" -gt "$(left)" ]; then most=$(left); fi
    end=$(($(date +%s) + most))
    # A test program that hangs ends before the part does, so that tests/run.sh says which it was.
    PIPEBD_TEST_LIMIT=$((most > 10 ? most - 5 : most)) \
        setsid bash -o pipefail -c '"$@"' "$name" "$@" > "$out/logs/$name.log" 2>&1 < /dev/null &
    running=$! running_name=$name
    while kill -0 "$running" 2> /dev/null; do
        if [ "$(date +%s)" -ge "$end" ]; then cut=1; end_session "$running"; break; fi
        sleep 0.1
    done
    wait "$running" 2> /dev/null
    status=$?
    end_session "$running"                                      # what it left behind
    running=
    last=$(grep -v '^ *$' "$out/logs/$name.log" | tail -n 1 | tr '\t' ' ' | cut -c 1-160)
    if [ -n "$cut" ]; then
        note "$name" "cut short after $most s: $last"
        short=$((short + 1))
        return 1
    fi
    case $status in
    0)       note "$name" ok; return 0 ;;
    77)      note "$name" "left out: $last" ;;
    *)       note "$name" "FAILED, status $status: $last"; failures=$((failures + 1)) ;;
    esac
    return 1
}

has() { command -v "$1" > /dev/null 2>&1; }

# ---- the GPU ---------------------------------------------------------------------

find_gpu() {
    local list
    case $device in cuda:*) ;; *) slug=cpu arch=; return 0 ;; esac
    list=$(nvidia-smi -L 2>/dev/null | grep '^GPU ')
    if [ -z "$list" ]; then
        echo "gpu.sh: no NVIDIA GPU here: nvidia-smi $(has nvidia-smi && echo 'lists none' \
            || echo 'is not installed')" >&2
        exit 1
    fi
    # "GPU 0: NVIDIA H100 80GB HBM3 (UUID: ...)" gives h100
    slug=$(echo "$list" | head -n 1 | sed 's/^GPU [0-9]*: //; s/ (UUID.*//' | tr 'A-Z' 'a-z' \
        | tr -c 'a-z0-9\n' ' ' |
        awk '{ for (i = 1; i <= NF; i++) if ($i ~ /[0-9]/) { print $i; exit } print $NF }')
    arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 \
        | tr -d '. ')
    count=$(echo "$list" | wc -l)
    if [ -z "$gpus" ] && [ "$count" -gt 1 ]; then gpus=cuda:$(seq -s , 0 $((count - 1))); fi
}

# ---- parts -------------------------------------------------------------------------

# make_all: machine code for this GPU only; every library but CUDA is optional.
make_all() {
    # shellcheck disable=SC2086  # words
    make -j"$(nproc)" BUILD="$build" ${arch:+CUDA_ARCHS=$arch} all "$build/bench/blocks"
}

make_tests() {
    # shellcheck disable=SC2086
    make -j"$(nproc)" BUILD="$build" ${arch:+CUDA_ARCHS=$arch} cuda-tests
}

# backend_tests [WRAPPER [NAME]]: programs that write TAP themselves (tests/run.sh counts).
backend_tests() {
    local found=() program
    for program in "$build"/tests/cuda/${2:-test_*}; do
        if [ -x "$program" ] && [ -f "$program" ]; then found+=("$program"); fi
    done
    if [ ${#found[@]} -eq 0 ]; then echo 'no test of the backend was built'; return 77; fi
    PIPEBD_THOROUGH=$([ -n "${1:-}" ] || echo 1) PIPEBD_TEST_JOBS=1 \
        PIPEBD_TEST_WRAPPER=${1:-} PIPEBD_ROOT=$root PIPEBD_BIN=$bin tests/run.sh "${found[@]}"
}

# compute-sanitizer in PATH, or beside the nvcc that builds.
find_sanitizer() {
    local words beside
    command -v compute-sanitizer && return
    words=$(PYTHON=$python scripts/cuda.sh)
    beside=$(dirname "${words%% *}")/compute-sanitizer
    [ ! -x "$beside" ] || echo "$beside"
}

# The same tests again, slowly: memory first, then races of the kernels. A test asks for more memory
# than there is, so calls that fail are no errors here.
sanitized() {
    local sanitizer
    sanitizer=$(find_sanitizer)
    if [ -z "$sanitizer" ]; then
        note backend-tests-sanitized 'left out: no compute-sanitizer in PATH or beside nvcc'
        return
    fi
    part backend-tests-sanitized 120 backend_tests \
        "$sanitizer --report-api-errors no --error-exitcode 99"
    part kernels-racecheck 120 backend_tests \
        "$sanitizer --tool racecheck --report-api-errors no --error-exitcode 99" 'test_cuda_[ks]*'
}

# What is tested with a fake CUDA elsewhere.
run_tests() {
    case $device in cuda:*) ;; *) echo 'not a GPU'; return 77 ;; esac
    PIPEBD_ROOT=$root PIPEBD_BIN=$bin PIPEBD_RUN=$bin/pipebd-run tests/run.sh \
        tests/test_cuda_fake.sh
}

# of_workload NAME[:BATCH[:ROWS]]: sets workload, options and rows.
of_workload() {
    local batch
    IFS=: read -r workload batch rows <<< "$1"
    rows=${rows:-${batch:-256}}
    options=(--workload "$workload" --data synthetic)
    [ -z "$batch" ] || options+=(--batch "$batch")
    case $workload in digits) options=(--workload digits) ;; esac
}

profile() {
    of_workload "$1"
    "$bin/pipebd-run" profile "${options[@]}" --devices "$slices" \
        --trials "$trials" --limit "$limit" \
        -o "$out/$slug-$workload.json"
}

# validate SPEC DEVICES FOLDER [TRACE]: without a trace it profiles first.
validate() {
    of_workload "$1"
    local trace=(--trials "$trials") schedules=()
    if [ -n "${4:-}" ]; then
        # what was too slow or failed is so again
        if [ ! -s "$4" ]; then echo 'there is no profile'; return 77; fi
        trace=(--trace "$4")
    fi
    # the others are these on one device
    if [ "$2" = "$device" ]; then schedules=(--schedules dp,ls,tr); fi
    "$bin/pipebd-run" validate "${options[@]}" --devices "$2" \
        "${trace[@]}" "${schedules[@]}" --seconds "$seconds" --rounds "$rounds" --limit "$limit" \
        -o "$out/$3" | tee "$out/$3.txt"
}

train() {   # train NAME ARGUMENT...
    local name=$1
    shift
    "$bin/pipebd-run" train --workload digits --seed 1 -o "$out/$name.safetensors" "$@"
}

# Students of the digits, the CPU's but for rounding, which 23 steps at a rate of 0.6 make more of:
# devices of the CPU of different widths differ by 1e-4, the fake CUDA by 4e-3.
like_the_cpu() {
    train student --schedule dpu --devices "$device" || return 1
    "$python" tests/students.py compare "$out/student.safetensors" tests/golden/digits-student.csv \
        2e-2
}

# Bit for bit the same under every schedule that splits no batch.
same_bits() {
    local schedule
    for schedule in tr dpu ls ahd; do
        case $schedule in
        tr|dpu) train "$schedule" --schedule $schedule --devices "$slices" || return 1 ;;
        ls)     plan ls && train ls --plan "$out/ls.plan.json" --devices "$slices" || return 1 ;;
        ahd)    plan ahd && train ahd --plan "$out/ahd.plan.json" --devices "$slices" || return 1 ;;
        esac
        "$python" tests/students.py same "$out/tr.safetensors" "$out/$schedule.safetensors" \
            || return 1
    done
    rm -f "$out"/{tr,dpu,ls,ahd}.safetensors
}

# Plans made beforehand, of as many devices as the slices are: no planner is asked.
plan() {
    "$python" - "$1" "$("$bin/pipebd-run" describe --workload digits --format json)" "$devices" \
        > "$out/$1.plan.json" <<'END'
import json, sys
kind, what, devices = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
blocks, batch = len(what["blocks"]), what["batch"]
plan = {"format": "pipebd-plan", "version": 1, "schedule": kind, "blocks": blocks, "devices": devices, "batch": batch}
if kind == "ls":
    plan["stages"] = [{"first": b, "last": b, "devices": [b % devices], "rows": [batch]} for b in range(blocks)]
else:
    cuts = [d * blocks // devices for d in range(devices + 1)]
    plan["stages"] = [{"first": cuts[d], "last": cuts[d + 1] - 1, "devices": [d], "rows": [batch]} for d in range(devices)]
print(json.dumps(plan))
END
}

# Kernels and products beside the GPU's peaks.
kernels_bench() {
    local found=0 program
    for program in "$build"/bench/cuda/*; do
        if [ ! -x "$program" ] || [ -d "$program" ]; then continue; fi
        found=1
        "$program" | tee -a "$out/kernels.md" || return 1
    done
    if [ $found -eq 0 ]; then echo 'no bench of kernels was built'; return 77; fi
}

blocks_bench() {   # blocks_bench WORKLOAD PRECISION ROWS
    local file=$out/blocks-$1-$2.json
    "$build/bench/blocks" "$device" "$1" "$2" "$3" "$repeats" > "$file.new" \
        && mv "$file.new" "$file"
}

# torch_bench NAME SECONDS FILE...: its files are whole whenever it is cut short.
torch_bench() {
    local name=$1 limit=$2
    shift 2
    "$python" bench/blocks_torch.py --device "${device%%:*}" --seconds "$limit" \
        --compile "$compile" \
        --json "$out/$name.json" --table "$out/$name.md" "$@"
}

# all_of GROUP SPEC...: what is measured of workloads.
all_of() {
    local group=$1 spec precision files=()
    shift
    for spec in "$@"; do
        part "profile-${spec%%:*}" 60 profile "$spec"
        part "validate-${spec%%:*}-slices" 60 validate "$spec" "$slices" \
            "validate-${spec%%:*}-slices" "$out/$slug-${spec%%:*}.json"
    done
    for spec in "$@"; do
        part "validate-${spec%%:*}-one" 40 validate "$spec" "$device" "validate-${spec%%:*}-one"
        if [ -n "$gpus" ]; then
            part "validate-${spec%%:*}-gpus" 40 validate "$spec" "$gpus" "validate-${spec%%:*}-gpus"
        fi
    done
    for spec in "$@"; do
        of_workload "$spec"
        for precision in ${GPU_PRECISIONS:-fp32 tf32 bf16}; do
            if part "blocks-$workload-$precision" 30 blocks_bench "$workload" "$precision" \
                "$rows"; then
                files+=("$out/blocks-$workload-$precision.json")
            fi
        done
    done
    torch_beside "$group" "${files[@]}"
}

# torch_beside NAME FILE...: PyTorch ends of itself ten seconds before it would be cut short.
torch_beside() {
    local name=$1 most=150
    shift
    if [ "$most" -gt "$(left)" ]; then most=$(left); fi
    if [ -z "$has_torch" ]; then note "$name" 'left out: there is no PyTorch'
    elif [ "$most" -lt 20 ]; then no_time "$name"
    elif [ $# -eq 0 ]; then note "$name" 'left out: no times of blocks'
    else part "$name" "$most" torch_bench "$name" $((most - 10)) "$@"; fi
}

# ---- all of them ---------------------------------------------------------------------

summary() {
    local file
    {
        printf '# %s\n\n' "$slug"
        printf 'Made by tests/gpu.sh on %s, in %d s. Devices: %s and %s%s.\n\n' "$(date -u +%F)" \
            $(($(date +%s) - began)) "$device" \
            "$slices" "${gpus:+ and $gpus}"
        printf 'Workloads, with batches and rows of single blocks where they are not 256: %s.\n\n' \
            "$workloads"
        git -C "$root" log -1 --format='Commit %h.%n' 2>/dev/null
        printf '| part | result |\n|---|---|\n'
        awk -F '\t' '{ printf "| %s | %s |\n", $1, $2 }' "$out/parts.txt"
        for file in "$out"/validate-*.txt; do
            if [ -s "$file" ]; then
                printf '\n## %s\n\n```\n%s\n```\n' "$(basename "$file" .txt)" "$(cat "$file")"
            fi
        done
        for file in "$out/kernels.md" "$out"/torch*.md; do
            if [ -s "$file" ]; then printf '\n'; cat "$file"; fi
        done
    } > "$out/summary.md.new" && mv "$out/summary.md.new" "$out/summary.md"
}

# Timelines are most of what is written, and apart, so that the rest stays small.
pack() {
    (
        cd "$out" || exit 1
        rm -f ./*.new                       # of what was cut short
        find . -name '*-measured.json' -o -name '*-predicted.json' > timelines.txt
        [ ! -s timelines.txt ] || tar czf timelines.tar.gz -T timelines.txt
        tar czf results.tar.gz --exclude='*.tar.gz' --exclude=./timelines.txt -X timelines.txt ./*
        rm timelines.txt
    )
}

finish() {
    summary
    pack
    echo "results in $out: summary.md, results.tar.gz; $failures failed, $short cut short or left out for want of time"
    exit $((failures + short > 0))
}

interrupted() {
    trap '' TERM INT
    if [ -n "$running" ]; then
        end_session "$running"
        note "$running_name" 'cut short: interrupted'
    fi
    short=$((short + 1))
    finish
}

find_gpu
mkdir -p "$out/logs" || exit 1
: > "$out/parts.txt"
[ "$slug" = cpu ] || nvidia-smi > "$out/card.txt" 2>&1
set -a               # parts are shells of their own
trials=30 limit=5 seconds=0.7 rounds=3 repeats=48 compile=reduce-overhead
[ -z "$quick" ] || { trials=3 limit=0 seconds=0.05 rounds=1 repeats=3 compile=none; }
needs_build=
if [ -z "$build" ]; then build=build/gpu needs_build=1; fi
bin=$build/bin
case $bin in /*) ;; *) bin=$root/$bin ;; esac
devices=${slices##*[:/]}
# What is chosen by measurement is chosen once: another process would choose, and round, otherwise.
PIPEBD_CHOICES=$out/choices.txt
root=$root out=$out python=$python device=$device slices=$slices build=$build slug=$slug \
    arch=${arch:-}
# shellcheck disable=SC2046  # names
export -f $(declare -F | cut -d ' ' -f 3)

trap interrupted TERM INT

if [ -n "$needs_build" ]; then
    part build 240 make_all || finish
    part build-tests 120 make_tests
fi
part backend-tests 60 backend_tests
if has jq; then
    part pipebd-run-on-the-gpu 60 run_tests
else
    note pipebd-run-on-the-gpu 'left out: there is no jq'
fi
if has "$python"; then
    part students-like-the-cpu 40 like_the_cpu
    part same-bits-under-every-schedule 60 same_bits
else note students 'left out: there is no Python'; fi
has_torch=
if has "$python" && "$python" -c 'import torch' 2> /dev/null; then has_torch=1; fi
small=() large=()
for spec in $workloads; do
    case $spec in *imagenet*) large+=("$spec") ;; *) small+=("$spec") ;; esac
done
[ ${#small[@]} -eq 0 ] || all_of torch "${small[@]}"
part kernels 60 kernels_bench
[ ${#large[@]} -eq 0 ] || all_of torch-imagenet "${large[@]}"
[ "$slug" = cpu ] || sanitized
finish
