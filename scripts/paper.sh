#!/bin/bash
# paper.sh: what `make paper` runs once all is built: the workloads of Pipe-BD (Jang et al., DATE
# 2023) on modelled GPUs, compared with its poster, into paper-report/: index.html, and its tables
# as CSV. No GPU and no network. Every number on the page comes of the commands that are printed
# here and beside it; each is run as it stands, in the sources' root, with build/bin on the PATH.
#
# PAPER_WORKLOADS, PAPER_DEVICES   fewer of them: names as below, separated by spaces
# PAPER_FIGURES                    fewer figures: of original batch cores devices
# PAPER_ROOT                       run there instead, and write to paper-report/ there
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "${PAPER_ROOT:-$root}"
PATH=${PIPEBD_BIN:-$(cd "$root" && cd "${BUILD:-build}/bin" && pwd)}:$PATH
export PATH

out=paper-report
workloads="nas-cifar10 nas-imagenet vgg16-dsconv-cifar10 vgg16-dsconv1-cifar10"
workloads=${PAPER_WORKLOADS:-$workloads vgg16-dsconv-imagenet vgg16-dsconv1-imagenet}
devices=${PAPER_DEVICES:-rtx-2080-ti rtx-a6000}
figures=" ${PAPER_FIGURES-original batch cores devices} "
schedules=dp,ls,tr,dpu,ir,ahd,split

# original WORKLOAD: what the original's program does: 32 loader workers, Pillow, a teacher in
# training mode where it has batch norms (VGG-16 has none), transfers that occupy their sender.
original() {
    local options=' --workers 32 --transfers blocking'
    case $1 in nas-*) options+=' --teacher-statistics batch' ;; esac
    case $1 in *imagenet) options+=' --loader pillow' ;; esac
    echo "$options"
}

wanted() { [[ $figures == *" $1 "* ]]; }

rm -rf "$out/runs"
mkdir -p "$out/runs"
jobs=$out/runs/jobs.txt
: > "$jobs"
runs=$out/runs/runs.csv
: > "$runs"

title() {
    case $1 in
    nas-cifar10)           echo "NAS, CIFAR-10" ;;
    nas-imagenet)          echo "NAS, ImageNet" ;;
    vgg16-dsconv-cifar10)   echo "Compression, CIFAR-10" ;;
    vgg16-dsconv-imagenet)  echo "Compression, ImageNet" ;;
    vgg16-dsconv1-cifar10)  echo "Compression, CIFAR-10, one separable convolution for each" ;;
    vgg16-dsconv1-imagenet) echo "Compression, ImageNet, one separable convolution for each" ;;
    *)                     echo "$1" ;;
    esac
}

# run FIGURE WORKLOAD DEVICE DEVICES BATCH CORES MODEL_OPTIONS PLAN_OPTIONS: notes a run, to be done
# below.
run() {
    local figure=$1 workload=$2 device=$3 count=$4 batch=$5 cores=$6
    local name=$out/runs/$workload-$device-$count-$batch-$cores
    case $figure in *original*|ideal) name=$name-$figure ;; esac
    local trace="pipebd-trace model --workload $workload --device $device --devices $count --batch $batch --cores $cores$7 -o $name.trace.json"
    local plan="pipebd-plan $name.trace.json --sensitivity no --format json $8"
    echo "$name|$figure,$workload,\"$(title \
        "$workload")\",$device,$count,$batch,$cores|$trace,\"$plan\"" >> "$runs"
    # A comparison of which no schedule is possible says why, and is a result too.
    echo "$trace > /dev/null && { $plan > $name.json 2> $name.why || grep -q 'no schedule is possible' $name.why; }" >> "$jobs"
}

for device in $devices; do
    for workload in $workloads; do
        run main "$workload" "$device" 4 256 16 '' "--schedules $schedules"
        # All blocks on one device that memory does not limit.
        run ideal "$workload" "$device" 1 256 4 '' "--schedules ir --memory 1TiB"
        if wanted original; then
            run original "$workload" "$device" 4 256 16 "$(original "$workload")" \
                "--schedules $schedules"
            run ideal-original "$workload" "$device" 1 256 4 "$(original "$workload")" \
                "--schedules ir --memory 1TiB"
        fi
        if wanted batch; then
            for batch in 128 192 384 512; do
                run batch "$workload" "$device" 4 $batch 16 '' "--schedules $schedules"
            done
        fi
        if wanted cores; then
            for cores in 4 8 32 64; do
                run cores "$workload" "$device" 4 256 $cores '' "--schedules $schedules"
            done
        fi
        if wanted original && wanted cores; then
            for cores in 2 4 8 32; do
                run original-cores "$workload" "$device" 4 256 $cores "$(original "$workload")" \
                    "--schedules dp,ahd"
            done
        fi
        if wanted devices; then
            for count in 2 8 16; do
                run devices "$workload" "$device" $count 256 $((4 * count)) '' \
                    "--schedules $schedules"
            done
        fi
    done
done

echo "paper: $(wc -l < "$jobs") runs" >&2
tr '\n' '\0' < "$jobs" | xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" sh -c
echo "figure,workload,title,device,devices,batch,cores,file,why,trace_command,command" \
    > "$out/index.csv"
while IFS='|' read -r name what how; do
    file='' why=''
    if [ -s "$name.json" ]; then file=$name.json
    else why=$(sed -e 's/^pipebd-plan: //' -e 's/"/""/g' "$name.why"); fi
    echo "$what,$file,\"$why\",$how"
done < "$runs" >> "$out/index.csv"
pipebd-plot paper "$out/index.csv" "$root/paper/poster.csv" -o "$out"
echo "Written to $out/: index.html (open it in a browser), results.csv, breakdown.csv, poster.csv"
