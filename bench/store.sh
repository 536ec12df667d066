#!/bin/bash
# store.sh [WORKLOAD[:SAMPLES]...]: how long a job of EPOCHS epochs (10) takes under relaying (tr, ahd), sequential and store, and
# what the planner says that it takes, kept in bench/results/store.md. Each workload is profiled with its tier (host memory), planned
# for cpu:2, and trained RUNS times (5) under each plan, in turns. SAMPLES: of synthetic data, instead of the workload's. NOTE: what
# else to say of the machine. It wants one that does nothing else.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
PATH=$root/${BUILD:-build}/bin:$PATH
epochs=${EPOCHS:-10} runs=${RUNS:-5} trials=${TRIALS:-60} schedules="tr ahd sequential store"
[ $# -gt 0 ] || set -- digits vgg16-dsconv-cifar10-small:320

. bench/machine.sh

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# totals NAME SAMPLES: a line a schedule.
totals() {
    cp workloads/*.safetensors "$folder"
    jq --arg s "$2" 'if $s == "" then . else .samples = ($s | tonumber) end' "workloads/$1.json" > "$folder/w.json"
    (
        cd "$folder"
        rm -f ./*.times
        pipebd-run profile -w w.json --devices cpu:2 --trials "$trials" --store host -o trace.json 2> /dev/null
        for schedule in $schedules; do
            pipebd-plan trace.json --epochs "$epochs" --schedules $schedule -o $schedule.json > /dev/null
        done
        for ((i = 0; i < runs; i++)); do
            for schedule in $schedules; do
                where=()
                case $schedule in sequential | store) where=(--store host) ;; esac
                pipebd-run train -w w.json --plan $schedule.json --devices cpu:2 --epochs "$epochs" "${where[@]}" \
                    -o s.safetensors 2> /dev/null | sed -n 's/^\([0-9.]*\) s, .*/\1/p' >> $schedule.times
            done
        done
        for schedule in $schedules; do
            predicted=$(jq ".predicted.epoch_us * $epochs / 1e6" $schedule.json)
            sort -g $schedule.times | awk -v w="$1" -v s="$schedule" -v p="$predicted" '{ t[NR] = $1 }
                END { m = t[int((NR + 1) / 2)]
                      printf "| %s | %s | %.2f | %.2f | %.2f to %.2f | %.2f |\n", w, s, p, m, t[1], t[NR], m / p }'
        done
    )
}

{
    printf '# Totals of a job: relaying, sequential, store\n\nMade by `bench/store.sh`; do not edit. Jobs of %d epochs on two devices of one core each,\n' "$epochs"
    printf 'planned from a profile made just before. tr and ahd relay in every epoch. Boundaries are kept in memory\n(`--store host`); '
    printf 'measured is the median of %d runs in turns, as `pipebd-run train` tells their time.\n\n' "$runs"
    printf '| | |\n|---|---|\n| device | %s, %s cores online |\n' "$(device)" "$(getconf _NPROCESSORS_ONLN)"
    printf '| load of others | load average %s when this began |\n' "$(cut -d' ' -f1 /proc/loadavg)"
    [ -z "${NOTE:-}" ] || printf '| note | %s |\n' "$NOTE"
    printf '| system | %s |\n| date | %s |\n\n' "$(uname -sm)" "$(date -u +%F)"
    printf '| workload | schedule | predicted, s | measured, s | range, s | measured / predicted |\n|---|---|---|---|---|---|\n'
    for workload; do
        case $workload in
        *:*) totals "${workload%%:*}" "${workload#*:}" ;;
        *)   totals "$workload" "" ;;
        esac
    done
} > bench/results/store.md
cat bench/results/store.md
