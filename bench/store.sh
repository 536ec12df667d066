#!/bin/bash
# store.sh [WORKLOAD[:SAMPLES]...]: how long a job of EPOCHS epochs (10) takes under relaying (tr,
# ahd), sequential and store, and what the planner says that it takes, kept in
# bench/results/store.md. RUNS times (5) each workload is profiled with its tier (host memory),
# planned for cpu:2, and trained under each plan. SAMPLES: of synthetic data, instead of the
# workload's. NOTE: what else to say of the machine. It wants one that does nothing else.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
PATH=$root/${BUILD:-build}/bin:$PATH
epochs=${EPOCHS:-10} runs=${RUNS:-5} trials=${TRIALS:-30} schedules="tr ahd sequential store"
[ $# -gt 0 ] || set -- digits vgg16-dsconv-cifar10-small:320

. bench/machine.sh

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# median COLUMN FILE: of a column of numbers; least and most: "0.9 to 1.1".
median() {
    cut -d' ' -f"$1" "$2" | sort -g \
        | awk '{ t[NR] = $1 } END { printf "%.2f", t[int((NR + 1) / 2)] }'
}
range() {
    cut -d' ' -f"$1" "$2" | sort -g \
        | awk '{ t[NR] = $1 } END { printf "%.2f to %.2f", t[1], t[NR] }'
}

# one_round: a profile, and a job of each schedule as it plans it; adds "predicted measured ratio"
# to SCHEDULE.times.
one_round() {
    pipebd-run profile -w w.json --devices cpu:2 --trials "$trials" --store host -o trace.json \
        2> /dev/null
    for schedule in $schedules; do
        where=()
        case $schedule in sequential | store) where=(--store host) ;; esac
        pipebd-plan trace.json --epochs "$epochs" --schedules "$schedule" -o plan.json > /dev/null
        pipebd-run train -w w.json --plan plan.json --devices cpu:2 --epochs "$epochs" \
            "${where[@]}" -o s.safetensors 2> /dev/null |
            sed -n 's/^\([0-9.]*\) s, .*/\1/p' |
            awk -v p="$(jq ".predicted.epoch_us * $epochs / 1e6" plan.json)" \
                '{ print p, $1, $1 / p }' >> "$schedule.times"
    done
}

# totals NAME SAMPLES: a line a schedule.
totals() {
    cp workloads/*.safetensors "$folder"
    jq --arg s "$2" 'if $s == "" then . else .samples = ($s | tonumber) end' "workloads/$1.json" \
        > "$folder/w.json"
    (
        cd "$folder"
        rm -f ./*.times
        for ((i = 0; i < runs; i++)); do one_round; done
        for schedule in $schedules; do
            printf '| %s | %s | %s | %s | %s | %s |\n' "$1" "$schedule" \
                "$(median 1 $schedule.times)" "$(median 2 $schedule.times)" \
                "$(median 3 $schedule.times)" "$(range 3 $schedule.times)"
        done
    )
}

{
    printf '# Totals of a job: relaying, sequential, store\n\nMade by `bench/store.sh`; do not edit. Jobs of %d epochs on two devices of one core each,\n' "$epochs"
    printf 'each planned from a profile made just before. tr and ahd relay in every epoch. Boundaries are kept in memory\n(`--store host`). '
    printf 'Medians of %d rounds of a profile and a job of each schedule, as `pipebd-run train` tells their time.\n\n' "$runs"
    printf '| | |\n|---|---|\n| device | %s, %s cores online |\n' "$(device)" \
        "$(getconf _NPROCESSORS_ONLN)"
    printf '| load of others | load average %s when this began |\n' "$(cut -d' ' -f1 /proc/loadavg)"
    [ -z "${NOTE:-}" ] || printf '| note | %s |\n' "$NOTE"
    printf '| system | %s |\n| date | %s |\n\n' "$(uname -sm)" "$(date -u +%F)"
    printf '| workload | schedule | predicted, s | measured, s | measured / predicted | range |\n|---|---|---|---|---|---|\n'
    for workload; do
        case $workload in
        *:*) totals "${workload%%:*}" "${workload#*:}" ;;
        *)   totals "$workload" "" ;;
        esac
    done
} > bench/results/store.md
cat bench/results/store.md
