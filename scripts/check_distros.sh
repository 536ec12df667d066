#!/bin/bash
# check_distros.sh [RELEASE...]: makes a fresh system of each release of Debian (bookworm, trixie,
# testing), clones the last commit into it, runs README's `make demo` and `make check` there, and
# prints a table. Called by `make check-distros`; needs root and debootstrap.
#
#     BUILD    the folder of its own is BUILD/distros: a system, its logs and its row a release
#     MIRROR   where packages come from (this system's own mirror of Debian, else deb.debian.org)
#
# All mounts are in a namespace that ends with the script, and so does every process: nothing is
# touched outside of the folder. Settings of this system's apt for fetching (proxies, checks of
# dates) hold in the new ones too. Exit status 1: something failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

fail() { echo "check-distros: $*" >&2; exit 1; }

folder=${BUILD:-build}/distros
mkdir -p "$folder"
folder=$(realpath "$folder")

# unshare passes no signal on, and ends no process of its namespace but when it is killed.
if [ -z "${PIPEBD_INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || fail 'needs root, to make systems in folders and run in them'
    command -v debootstrap > /dev/null \
        || fail 'debootstrap is not installed: apt-get install debootstrap'
    exec 9> "$folder/lock"
    flock -n 9 || fail "another run is at work in $folder"
    PIPEBD_INSIDE=yes unshare --mount --propagation private --pid --fork --kill-child "$0" "$@" &
    trap 'kill -KILL $!; exit 130' INT TERM HUP
    wait $!
    exit
fi
[ $# -gt 0 ] || set -- bookworm trixie testing

# own_mirror: the first mirror of Debian in the sources of this system's apt.
own_mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources \
        2> /dev/null |
        sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\/debian\)\/\? .*/\2/p; s/^URIs: *\([^ ]*\/debian\)\/\?\( .*\)\?$/\1/p' | head -n 1
}
mirror=${MIRROR:-$(own_mirror)}
mirror=${mirror:-http://deb.debian.org/debian}

# system RELEASE ROOT: a base system, with the project's last commit in /root/pipebd and nothing
# more than make.
system() {
    rm -rf --one-file-system "$2"
    debootstrap --variant=minbase "$1" "$2" "$mirror" || return 1
    apt-config dump 2> /dev/null | grep '^Acquire::' \
        | grep -v '^Acquire::IndexTargets' > "$2/etc/apt/apt.conf.d/00outer"
    # As every installer makes it. Without, MPI asks a name server for localhost at each start.
    printf '%s\n' '127.0.0.1 localhost' "127.0.1.1 $(uname -n)" '::1 localhost' > "$2/etc/hosts"
    git clone -q --no-hardlinks "file://$PWD" "$2/root/pipebd" || return 1
    mount -t proc proc "$2/proc" && mount --rbind /dev "$2/dev" && mount --rbind /sys "$2/sys" \
        || return 1
    inside "$2" 'apt-get update -q && apt-get install -y --no-install-recommends make'
}

# inside ROOT COMMAND: in the system, with an environment of its own.
inside() {
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive chroot "$1" /bin/sh -c "$2" < /dev/null
}

# version ROOT PACKAGE: upstream's part of it.
version() {
    inside "$1" "dpkg-query -W -f '\${source:Upstream-Version}' $2 2> /dev/null" | sed 's/[+~].*//'
}

# row RELEASE: makes it, runs both commands, prints the line.
row() {
    local root=$folder/$1 logs=$folder/$1.logs start demo=failed check='does not build' compiler
    rm -rf "$logs" && mkdir "$logs"
    if ! system "$1" "$root" > "$logs/system" 2>&1; then
        echo "| $1 | no system: $logs/system |"
        return 1
    fi
    start=$SECONDS
    if inside "$root" 'cd /root/pipebd && make demo' > "$logs/demo" 2>&1; then demo=ok; fi
    inside "$root" 'cd /root/pipebd && make check' > "$logs/check" 2>&1
    start=$((SECONDS - start))
    check=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$logs/check" | tail -n 1)
    compiler=$(inside "$root" 'cc -dumpfullversion')
    echo "| $1 $(cat "$root/etc/debian_version") | gcc $compiler | $(version "$root" \
        libdnnl-dev) | $(version "$root" libopenmpi-dev) |" \
        "$(version "$root" gnuplot-nox) | $(version "$root" libglpk-dev) | $(version "$root" \
        libjansson-dev) |" \
        "$(version "$root" libcmocka-dev) | $(cat "$logs"/* \
        | grep -c 'warning:.*\[-W') | $demo | ${check:-does not build} | $start |"
    umount -R "$root/proc" "$root/dev" "$root/sys"
    [ "$demo" = ok ] && [[ $check == *' 0 failed'* ]]
}

echo '| release | compiler | oneDNN | Open MPI | gnuplot | GLPK | jansson | cmocka | warnings | demo | check | seconds |'
echo '|---|---|---|---|---|---|---|---|--:|---|---|--:|'
bad=0
for release; do row "$release" || bad=1; done
exit $bad
