# Sourced by test scripts that want several hosts: network namespaces on one bridge, each with an
# address and a name of its own.
#
#     hosts_enter "$@"     runs the script again in namespaces of its own (mounts, network,
#                          processes: nothing of it outlives the script), if that is allowed;
#                          else hosts_missing says why it is not
#     hosts_up N           h0 (10.77.0.1), h1, ... and this one, 10.77.0.254
#     hosts_need N         the same, or ends the script with a skipped test
#     hosts_mpirun N ...   mpirun with a rank on each of N hosts; replaces the shell
#     host_cut I, host_mend I      its network down, up again
#     host_slow I RATE     what it sends goes at 40mbit, say, and 0.2 ms later where netem is there;
#                          fails where there is no traffic control
#
# mpirun reaches hosts through an agent that enters a namespace where ssh would log in.

hosts_missing=

hosts_enter() {
    local user=() word
    [ -n "${PIPEBD_NAMESPACES:-}" ] && { ip link set lo up; return; }
    [ "$(id -u)" -eq 0 ] || user=(--map-root-user)
    for word in unshare ip taskset; do
        command -v $word > /dev/null || { hosts_missing="$word is not installed"; return; }
    done
    unshare "${user[@]}" --mount --net --pid --fork --mount-proc sh -c \
        'mount -t tmpfs tmpfs /run && ip link add br0 type bridge && mkdir /run/netns && ip netns add h' > /dev/null 2>&1 \
        || { hosts_missing='network namespaces are not allowed here'; return; }
    rm -rf "$WORK"                       # the script makes another
    PIPEBD_NAMESPACES=1 exec unshare "${user[@]}" --mount --net --pid --fork --kill-child \
        --mount-proc bash "$0" "$@"
}

hosts_up() {
    mount -t tmpfs tmpfs /run && mkdir /run/netns || return 1
    ip link set lo up
    ip link add br0 type bridge && ip addr add 10.77.0.254/24 dev br0 && ip link set br0 up \
        || return 1
    for ((h = 0; h < $1; h++)); do
        ip netns add h$h && ip link add to$h type veth peer name eth0 netns h$h \
            && ip link set to$h master br0 up \
            && ip -n h$h addr add 10.77.0.$((h + 1))/24 dev eth0 && ip -n h$h link set eth0 up \
            && ip -n h$h link set lo up \
            || return 1
    done
    cat > "$WORK/agent" <<'A'
#!/bin/bash
# agent ADDRESS COMMAND...: as ssh would. Each host has one of the cores to itself, as far as they go.
number=$((${1##*.} - 1))
shift
exec ip netns exec h$number unshare --uts taskset -c $((number % $(nproc))) bash -c "hostname h$number; $*"
A
    chmod +x "$WORK/agent"
}

hosts_need() {
    if [ -n "$hosts_missing" ]; then echo "1..0 # SKIP $hosts_missing"; exit 0; fi
    hosts_up "$1" > "$WORK/.hosts" 2>&1 && return
    echo "1..0 # SKIP no hosts: $(tail -1 "$WORK/.hosts")"
    exit 0
}

hosts_mpirun() {
    local list=10.77.0.1 count=$1
    shift
    for ((h = 1; h < count; h++)); do list+=,10.77.0.$((h + 1)); done
    exec mpirun --mca plm_rsh_agent "$WORK/agent" --host $list -np "$count" "$@"
}

host_cut() { ip link set to"$1" down; }
host_mend() { ip link set to"$1" up; }

# tbf's bucket holds two packets, or what passes between two looks of a timer: after a larger one
# what follows a pause would be faster than the link, as no wire is.
host_slow() {
    local bucket=3kb

    case $2 in *gbit) bucket=16kb ;; esac
    tc -n h"$1" qdisc replace dev eth0 root netem delay 0.2ms rate "$2" 2> /dev/null && return
    tc -n h"$1" qdisc replace dev eth0 root tbf rate "$2" burst $bucket latency 200ms
}
