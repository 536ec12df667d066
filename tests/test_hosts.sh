#!/bin/bash
# Two hosts, made of network namespaces: each has a name, an address and a core of its own, and
# the link between them is slow. mpirun reaches the other one through an agent that enters its
# namespace, as ssh would.
#
#     namespace a  10.77.N.1 --- veth, 40 Mbit/s, 0.2 ms where netem is there --- 10.77.N.2  namespace b
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"
. "$(dirname "$0")/training.sh"

a=pipebd-$$-a b=pipebd-$$-b net=10.77.$(($$ % 250))

remove_hosts() {
    ip netns del $a 2> /dev/null
    ip netns del $b 2> /dev/null
    rm -rf "$WORK"
}
trap remove_hosts EXIT

make_hosts() {
    ip netns add $a && ip netns add $b || return 1
    ip link add pa netns $a type veth peer name pb netns $b || return 1
    ip -n $a addr add "$net.1/24" dev pa && ip -n $b addr add "$net.2/24" dev pb || return 1
    ip -n $a link set lo up && ip -n $b link set lo up && ip -n $a link set pa up && ip -n $b link set pb up || return 1
    ip netns exec $a unshare -u true
}

slow_down() {
    tc -n "$1" qdisc add dev "$2" root netem delay 0.2ms rate 40mbit 2> /dev/null && return
    tc -n "$1" qdisc add dev "$2" root tbf rate 40mbit burst 32kb latency 200ms
}

if ! make_hosts > "$WORK/.hosts" 2>&1; then
    echo "1..0 # SKIP network namespaces cannot be made here: $(tail -1 "$WORK/.hosts")"
    exit 0
fi
shaped=yes
slow_down $a pa 2> "$WORK/.tc" && slow_down $b pb 2> "$WORK/.tc" || shaped=no

cores=$(nproc)
# enter NAMESPACE CORE COMMAND: a shell's command, on that host.
cat > "$WORK/enter" <<E2
#!/bin/bash
namespace=\$1 core=\$2
shift 2
exec ip netns exec "\$namespace" unshare -u bash -c "hostname \$namespace; exec taskset -c \$core \$*"
E2
# As ssh is called: a host, then words that a shell there puts together.
cat > "$WORK/agent" <<E2
#!/bin/bash
shift
exec "$WORK/enter" $b $((cores > 1 ? 1 : 0)) "\$*"
E2
chmod +x "$WORK/enter" "$WORK/agent"

# on_hosts COMMAND...: a rank on each host.
on_hosts() {
    timeout -k 2 200 "$WORK/enter" $a 0 mpirun -np 2 --host "$net.1:1,$net.2:1" \
        --mca plm_rsh_agent "$WORK/agent" --mca btl tcp,self --mca btl_tcp_if_include "$net.0/24" \
        --mca oob_tcp_if_include "$net.0/24" "$(printf '%q ' "$@")"
}

trains() {
    run "$WORK/one.safetensors" "$1" || return 1
    on_hosts pipebd-run train --workload "$WORK/w.json" --epochs "$epochs" --schedule "$1" --devices cpu:1 \
        -o "$WORK/two.safetensors" > "$WORK/out" 2> "$WORK/err"
    local status=$?
    cat "$WORK/err"
    [ $status -eq 0 ] || return 1
    grep -q "rank 0 .*on $a .*device 0" "$WORK/err" && grep -q "rank 1 .*on $b .*device 1" "$WORK/err" || return 1
    cmp "$WORK/one.safetensors" "$WORK/two.safetensors"
}
epochs=1
ok 'relays over two hosts train what one process does' trains dpu
ok 'sums over two hosts too' trains ir

# Two devices a host: links within, and between.
profiles() {
    on_hosts pipebd-run profile --workload "$WORK/w.json" --devices cpu:2 --trials 3 -o "$WORK/trace.json" || return 1
    jq -e '.nodes.devices_per_node == 2 and (.nodes.p2p | length) > 0 and ([.nodes.allreduce[].devices] | unique) == [2, 3, 4]
           and ([.allreduce[].devices] | unique) == [2]' "$WORK/trace.json"
}
ok 'a profile measures links within hosts and between them' profiles

# The largest message: at 40 Mbit/s it takes many times what memory takes.
sees_the_slow_link() {
    jq -e '(.p2p[-1].bytes) == (.nodes.p2p[-1].bytes) and .nodes.p2p[-1].us > 3 * .p2p[-1].us
           and .nodes.p2p[-1].us > .nodes.p2p[-1].bytes * 8 / 40 / 2' "$WORK/trace.json"
}
avoids_the_slow_link() {
    pipebd-plan "$WORK/trace.json" --format json > "$WORK/plan.json" || return 1
    # With the links within hosts for all, groups span all devices; with what was measured, none spans hosts.
    jq -e '[.schedules[] | select(.schedule == "ahd") | .stages[].devices | map(. / 2 | floor) | unique | length] | max == 1' \
        "$WORK/plan.json"
}
if [ $shaped = yes ]; then
    ok 'it sees that the one between is slower' sees_the_slow_link
    ok 'and no group of the plan spans both hosts' avoids_the_slow_link
else
    skip 'it sees that the one between is slower' "no traffic control: $(tail -1 "$WORK/.tc")"
    skip 'and no group of the plan spans both hosts' 'no traffic control'
fi

# How far off is reported, not demanded: other programs run here too.
validates() {
    on_hosts pipebd-run validate --workload "$WORK/w.json" --devices cpu:1 --trials 12 --seconds 0.3 --rounds 3 \
        --schedules dp,ls,dpu,ir -o "$WORK/v" > "$WORK/table" || return 1
    cat "$WORK/table"
    jq -e '[.schedules[] | select(.measured_epoch_s > 0 and .predicted_epoch_s > 0)] | length == 4' "$WORK/v/validation.json"
}
ok 'validate runs over two hosts' validates
sed -n 's/^error of the epoch time/# across two hosts: error of the epoch time/p; s/^the machine was busy/# &/p' "$WORK/table"

gone() { remove_hosts; [ -z "$(ip netns list | grep "pipebd-$$-")" ]; }
ok 'nothing of the hosts is left' gone

done_testing
