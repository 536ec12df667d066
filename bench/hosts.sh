#!/bin/bash
# hosts.sh [RATE...]: predicted and measured epochs over two ranks, on one host and on two that
# are network namespaces with a link of that rate (default: 40mbit 200mbit 1gbit), kept in
# bench/results/hosts.md. It wants two cores and a machine that does nothing else.
set -eu
root=$(realpath "$(dirname "$0")/..")
PATH=$root/${BUILD:-build}/bin:$PATH
WORK=$(mktemp -d)
. "$root/bench/machine.sh"
. "$root/tests/openmpi.sh"
. "$root/tests/hosts.sh"
hosts_enter "$@"
command -v pipebd-run > /dev/null \
    || { echo "bench/hosts.sh: no pipebd-run in ${BUILD:-build}/bin: run make first" >&2; exit 1; }
[ -z "$hosts_missing" ] || { echo "bench/hosts.sh: $hosts_missing" >&2; exit 1; }
cd "$root"
trap 'rm -rf "$WORK"' EXIT
[ $# -gt 0 ] || set -- 40mbit 200mbit 1gbit

on_hosts() { (hosts_mpirun 2 "$@"); }

options=(validate --workload digits --devices cpu:1 -o "$WORK/out")

section() {   # TITLE HOW...: runs pipebd-run by HOW
    echo "$1" >&2
    printf '\n## %s\n\n```\n' "$1"
    shift
    "$@" pipebd-run "${options[@]}" 2> "$WORK/log" || { cat "$WORK/log" >&2; exit 1; }
    printf '```\n'
}

hosts_up 2
for rate; do host_slow 0 "$rate"; done                   # what is no rate is refused now
{
    printf '# pipebd-run validate over two ranks\n\nMade by `bench/hosts.sh'
    printf '`; do not edit. A rank on each host, `--workload digits --devices cpu:1`, each with one core, on which\n'
    printf 'its device computes and MPI moves its messages. docs/measuring.md says what each column is.\n\n'
    printf '| | |\n|---|---|\n| device | %s, %s cores online |\n' "$(device)" "$(nproc)"
    printf '| MPI | %s |\n| system | %s |\n| date | %s |\n' "$(mpirun --version | head -n 1)" \
        "$(uname -srm)" "$(date -u +%F)"
    section 'One host, mpirun -np 2 --bind-to none' mpirun -np 2 --bind-to none
    for rate; do
        host_slow 0 "$rate"
        host_slow 1 "$rate"
        section "Two hosts, a link of $rate" on_hosts
    done
} > "$WORK/hosts.md"
cp "$WORK/hosts.md" bench/results/hosts.md
cat bench/results/hosts.md
