#!/bin/bash
# store.sh [WORKLOAD[:SAMPLES]...]: how long a job of EPOCHS epochs (10) takes under relaying (tr,
# ahd), sequential and store, measured and predicted, kept in bench/results/store.md. RUNS times (3)
# each workload is validated in turns: profiled with its tier (host memory), planned for cpu:2, and
# run for up to LIMIT seconds (60) beyond five rounds; then each plan's job is trained once
# as a whole. SAMPLES: of synthetic data, instead of the workload's. NOTE: what else to say of the
# machine. It wants one that does nothing else, and takes some two and a half minutes a validation.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
PATH=$root/${BUILD:-build}/bin:$PATH
epochs=${EPOCHS:-10} runs=${RUNS:-3} limit=${LIMIT:-60} schedules=tr,ahd,sequential,store
[ $# -gt 0 ] || set -- digits vgg16-dsconv-cifar10-small:1920

. bench/machine.sh

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp workloads/*.safetensors "$folder"

# jobs WORKLOAD FOLDER: the seconds of a whole job of each plan there, into FOLDER/SCHEDULE.job.
jobs() {
    for schedule in ${schedules//,/ }; do
        where=()
        case $schedule in sequential | store) where=(--store host) ;; esac
        pipebd-run train -w "$folder/$1.json" --plan "$2/plan-$schedule.json" --devices cpu:2 \
            --epochs "$epochs" "${where[@]}" -o "$folder/s.safetensors" 2> /dev/null |
            sed -n 's/^\([0-9.]*\) s, .*/\1/p' > "$2/$schedule.job"
    done
}

for ((i = 0; i < runs; i++)); do
    for word; do
        workload=${word%%:*} samples=${word#"$workload"}
        jq --arg s "${samples#:}" 'if $s == "" then . else .samples = ($s | tonumber) end' \
            "workloads/$workload.json" > "$folder/$workload.json"
        pipebd-run validate -w "$folder/$workload.json" --devices cpu:2 --schedules $schedules \
            --store host --epochs "$epochs" --limit "$limit" -o "$folder/$workload-$i" >&2
        jobs "$workload" "$folder/$workload-$i"
    done
done

# job WORKLOAD SCHEDULE: the median of its whole jobs.
job() {
    sort -g "$folder/$1"-*/"$2.job" | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }'
}

# rows WORKLOAD: a line a schedule, of all its validations.
rows() {
    local rest=() schedule
    for schedule in ${schedules//,/ }; do
        rest+=(--arg "$schedule" "$(job "$1" "$schedule")")
    done
    jq -rs --arg workload "$1" --argjson epochs "$epochs" "${rest[@]}" '
        def middle: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
        def shown: . * 100 | round / 100;
        def signed: . * 1000 | round / 10 | if . > 0 then "+\(.)" else "\(.)" end;
        [.[].schedules[]] | group_by(.schedule) | sort_by(-([.[].measured_epoch_s] | middle))[]
        | [$workload, .[0].schedule, ([.[].predicted_epoch_s * $epochs] | middle | shown),
           ([.[].measured_epoch_s * $epochs] | middle | shown),
           ([.[].error | signed] | join(", ")),
           ([.[].standard_error * 1000 | round / 10 | tostring] | join(", ")),
           $ARGS.named[.[0].schedule]]
        | "| \(join(" | ")) |"' "$folder/$1"-*/validation.json
}

{
    printf '# Totals of a job: relaying, sequential, store\n\nMade by `bench/store.sh`; do not edit. Jobs of %d epochs on two devices of one core each: ' "$epochs"
    printf '`pipebd-run validate\n--schedules %s --store host --epochs %d --limit %s`, %d times. tr and ahd relay in every epoch.\n' "$schedules" "$epochs" "$limit" "$runs"
    printf 'Totals are medians over the validations, at the speed that the machine had in the profile; errors are measured / predicted - 1\n'
    printf 'of each, with their standard errors (docs/measuring.md). A whole job: by the clock, median, the speed left in.\n\n'
    printf '| | |\n|---|---|\n| device | %s, %s cores online |\n' "$(device)" \
        "$(getconf _NPROCESSORS_ONLN)"
    [ -z "${NOTE:-}" ] || printf '| note | %s |\n' "$NOTE"
    printf '| system | %s |\n| date | %s |\n\n' "$(uname -sm)" "$(date -u +%F)"
    printf '| workload | schedule | predicted, s | measured, s | errors, %% | known to, %% | a whole job, s |\n|---|---|--:|--:|---|---|--:|\n'
    for word; do rows "${word%%:*}"; done
    printf '\nOrder as predicted: %s of %s validations. Chosen: %s.\n' \
        "$(jq -s 'map(select(.same_order)) | length' "$folder"/*/validation.json)" \
        "$(jq -s length "$folder"/*/validation.json)" \
        "$(jq -rs '[.[].plan.schedule] | group_by(.) | map("\(.[0]) in \(length)") | join(", ")' "$folder"/*/validation.json)"
} > "$folder/store.md"
cp "$folder/store.md" bench/results/store.md
cat bench/results/store.md
