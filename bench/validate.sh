#!/bin/sh
# validate.sh [WORKLOAD...]: predicted and measured epochs of every schedule on this machine's
# cores, kept in bench/results/validation.md. Default: the digits, the small VGG-16, and the
# whole one with a smaller batch and fewer runs. It wants a machine that does nothing else.
set -eu
cd "$(dirname "$0")/.."
bin=${BUILD:-build}/bin devices=${DEVICES:-cpu:2}
[ $# -gt 0 ] || set -- digits vgg16-dsconv-cifar10-small vgg16-dsconv-cifar10

. bench/machine.sh

options() {   # of a workload
    case $1 in
    vgg16-dsconv-cifar10) echo "--batch 64 --data synthetic --trials 6 --rounds 3" ;;
    esac
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{
    printf '# pipebd-run validate\n\nMade by `bench/validate.sh'
    printf '`; do not edit. Predicted from a profile of single blocks made just before,\n'
    printf 'then run in turns: docs/measuring.md says what each column is.\n\n'
    printf '| | |\n|---|---|\n| device | %s, %s cores online |\n' "$(device)" \
        "$(getconf _NPROCESSORS_ONLN)"
    printf '| compiler | %s |\n| system | %s |\n| date | %s |\n' "$(${CC:-cc} --version \
        | head -n 1)" "$(uname -sm)" "$(date -u +%F)"
    for workload; do
        # shellcheck disable=SC2046  # options are words
        printf \
            '\n## %s\n\n    pipebd-run validate --workload %s --devices %s%s -o FOLDER\n\n```\n' \
            "$workload" \
            "$workload" "$devices" "$(printf ' %s' $(options "$workload"))"
        # shellcheck disable=SC2046
        "$bin/pipebd-run" validate --workload "$workload" --devices "$devices" \
            $(options "$workload") -o "$folder/$workload" 2> "$folder/log" \
            || { cat "$folder/log" >&2; exit 1; }
        printf '```\n'
    done
} > "$folder/validation.md"
cp "$folder/validation.md" bench/results/validation.md
cat bench/results/validation.md
