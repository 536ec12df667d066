#!/bin/sh
# validate.sh [WORKLOAD...]: predicted and measured epochs of every schedule on this machine's
# cores, kept in bench/results/validation.md. Default: the digits and the small VGG-16. It
# wants a machine that does nothing else.
set -eu
cd "$(dirname "$0")/.."
bin=${BUILD:-build}/bin devices=${DEVICES:-cpu:2}
[ $# -gt 0 ] || set -- digits vgg16-dsconv-cifar10-small

device() { sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{
    printf '# pipebd-run validate\n\nMade by `bench/validate.sh'
    printf '`; do not edit. Each table by `pipebd-run validate --workload W --devices %s`:\n' "$devices"
    printf 'predicted from a profile of single blocks made just before, then run: medians of 5 runs in turns.\n\n'
    printf '| | |\n|---|---|\n| device | %s, %s cores online |\n' "$(device)" "$(getconf _NPROCESSORS_ONLN)"
    printf '| compiler | %s |\n| system | %s |\n| date | %s |\n' "$(${CC:-cc} --version | head -n 1)" "$(uname -sm)" "$(date -u +%F)"
    for workload; do
        printf '\n## %s\n\n```\n' "$workload"
        "$bin/pipebd-run" validate --workload "$workload" --devices "$devices" -o "$folder/$workload" 2> "$folder/log" \
            || { cat "$folder/log" >&2; exit 1; }
        printf '```\n'
    done
} > "$folder/validation.md"
cp "$folder/validation.md" bench/results/validation.md
cat bench/results/validation.md
