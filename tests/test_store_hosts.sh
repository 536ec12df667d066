#!/bin/bash
# Stored boundaries of two machines and three, made of network namespaces (tests/hosts.sh): a folder
# that all see, one that they do not, and memory of each. The students are those of one process, to
# the byte, also when the run is killed and goes on. PIPEBD_ROUNDS (1) random plans of two and of
# three machines; PIPEBD_SEED chooses them.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"
. "$(dirname "$0")/hosts.sh"
hosts_enter "$@"
. "$(dirname "$0")/training.sh"
hosts_need 3

at_random 1
cd "$WORK" || exit 1
epochs=6
jq '.samples = 320 | .data = "synthetic"' w.json > few.json && mv few.json w.json

# train_hosts OUT HOW ARGUMENT...: as train of training.sh, ${each} devices on each of ${machines}.
machines=2
each=1
train_hosts() {
    local out=$1 how=$2
    shift 2
    case $how in
    *.json) set -- --plan "$WORK/$how" "$@" ;;
    *)      set -- --schedule "$how" "$@" ;;
    esac
    hosts_mpirun "$machines" pipebd-run train --workload "$WORK/w.json" --epochs "$epochs" \
        --devices "cpu:$each" -o "$out" "$@"
}
hosts() { (train_hosts "$@"); }
same() { [ "$(weights "$1")" = "$(weights "$2")" ]; }

ok 'one process: store' run "$WORK/store.safetensors" store --store "$WORK/one"
ok 'one process: sequential' run "$WORK/seq.safetensors" sequential --store "$WORK/oneseq"

# ---- a folder ---------------------------------------------------------------------------

ok 'store, each boundary made by one machine' hosts "$WORK/s.safetensors" store --store "$WORK/two"
ok 'its students are those of one process' same store.safetensors s.safetensors
same_boundaries() {
    for k in 1 2 3; do
        cmp "one/boundary-$k.safetensors" "two/boundary-$k.safetensors" || return 1
    done
    [ "$(ls -A two | wc -l)" -eq 3 ]
}
ok 'so is what is stored, and nothing else is left there' same_boundaries
ok 'sequential, each boundary made by both' hosts "$WORK/q.safetensors" sequential \
    --store "$WORK/twoseq"
ok 'its students are those of one process, too' same seq.safetensors q.safetensors
ok 'nothing is left there' test -z "$(ls -A twoseq)"
again() {
    hosts "$WORK/again.safetensors" store --store "$WORK/one" > again.out 2>&1 &&
        grep -q 'whole already: 1 to 3' again.out && same store.safetensors again.safetensors
}
ok 'what one process stored is taken up' again

# killed OUT HOW FOLDER: at random moments, first while both write a boundary; then it goes on.
goes_on() {
    rm -rf ck kill "$1"
    (epochs=$epochs; train_hosts "$WORK/$1" "$2" --store "$WORK/kill" --checkpoint "$WORK/ck" \
        --checkpoint-every 7) > kill.out 2>&1 &
    local pid=$!
    wait_for eval "$3"
    kill -KILL $pid
    wait $pid 2> /dev/null
    wait_for none_left
    hosts "$WORK/$1" "$2" --store "$WORK/kill" --checkpoint "$WORK/ck" --checkpoint-every 7 \
        --resume
}
killed_makers() {
    goes_on k.safetensors sequential '[ -e kill/boundary-1.safetensors.host1.partial ]' &&
        same seq.safetensors k.safetensors && [ -z "$(ls -A kill)" ]
}
for ((i = 0; i < rounds; i++)); do
    ok 'killed while both make a boundary, it goes on' killed_makers
done
killed_readers() {
    goes_on r.safetensors store 'ls ck/checkpoint-* > /dev/null 2>&1' &&
        same store.safetensors r.safetensors
}
ok 'killed after a checkpoint, it goes on' killed_readers

# Machine 1 has another folder of that name.
unseen() {
    mkdir -p unseen
    (hosts_mpirun 2 bash -c '[ "$(hostname)" = h0 ] || mount -t tmpfs pipebd "$0"
        exec pipebd-run train --workload "$1" --epochs 2 --devices cpu:1 --schedule store \
            --store "$0" -o "$2"' "$WORK/unseen" "$WORK/w.json" "$WORK/no.safetensors") \
        > no.out 2>&1
    local got=$?
    cat no.out
    [ $got -eq 1 ] && [ ! -e no.safetensors ] && [ -z "$(ls -A unseen)" ] &&
        [ "$(grep -c 'rank 1 (h1) does not see a file that rank 0 (h0) has written there, expected one folder that all machines see' no.out)" -eq 1 ]
}
ok 'a folder that machines do not share' unseen

# ---- memory -----------------------------------------------------------------------------------

# Each machine has what its device makes, and sends it to the other ahead of time.
ok 'memory: store' hosts "$WORK/m.safetensors" store --store host
ok 'its students are those of one process' same store.safetensors m.safetensors
ok 'memory: sequential' hosts "$WORK/mq.safetensors" sequential --store host
ok 'its students are those of one process, too' same seq.safetensors mq.safetensors

# Any plan, any number of messages in flight, fetched ahead or not: what one process trains.
random_plan() { "${PYTHON:-python3}" - "$@" <<'P'
import json, random, sys
seed, devices, epochs = map(int, sys.argv[1:])
rng = random.Random(seed)

def cut(most):
    cuts = sorted(rng.sample(range(1, 3), rng.randint(0, min(most, 3) - 1)))
    return list(zip([0] + cuts, [c - 1 for c in cuts] + [2]))

def stage(first, last, on):
    rows = [32 // len(on) + (i < 32 % len(on)) for i in range(len(on))]
    return {"first": first, "last": last, "devices": on, "rows": rows}

order = rng.sample(range(devices), devices)
chain = cut(devices)
ends = sorted(rng.sample(range(1, devices), len(chain) - 1)) + [devices]
stages = [stage(*part, order[begin:end])
          for part, begin, end in zip(chain, [0] + ends, ends)]
later = [stage(*part, rng.sample(range(devices), rng.randint(1, devices))) for part in cut(3)]
rng.shuffle(later)
print(json.dumps({"format": "pipebd-plan", "version": 1, "schedule": "store", "blocks": 3,
                  "devices": devices, "batch": 32, "epochs": epochs, "home": 0,
                  "stored": [{"boundary": k, "tier": 0} for k in range(4) if rng.random() < 0.75],
                  "stages": stages, "later": later}))
P
}
any_plan() { # MACHINES EACH SEED
    local how=(--prefetch $(($3 % 3)) --queue-depth $((1 + $3 % 4)))
    machines=$1 each=$2
    random_plan "$3" $(($1 * $2)) $epochs > any.json && cat any.json
    echo "${how[@]}"
    devices=cpu:$(($1 * $2)) run "$WORK/a1.safetensors" any.json --store host &&
        hosts "$WORK/a2.safetensors" any.json --store host "${how[@]}" &&
        same a1.safetensors a2.safetensors
}
for ((i = 0; i < rounds; i++)); do
    ok 'memory of two machines, two devices each: any plan' any_plan 2 2 $RANDOM
    ok 'of three: any plan' any_plan 3 1 $RANDOM
done
machines=2 each=1

# A checkpoint of the third epoch, which fetches: of 10 steps of 3 blocks each.
until_fetched() { until_steps 60 ck; }

# Memory is gone with a run that is killed: an epoch is relayed anew, as on one machine.
killed_in_time() { # a checkpoint every step, so that it does not end before
    rm -rf ck no.safetensors
    (train_hosts "$WORK/no.safetensors" store --store host --checkpoint "$WORK/ck" \
        --checkpoint-every 1) > kill.out 2>&1 &
    local pid=$!
    until_fetched
    kill -KILL $pid
    wait $pid 2> /dev/null
    wait_for none_left
    [ ! -e no.safetensors ]
}
memory_goes_on() {
    local epochs=100
    killed_in_time || killed_in_time || killed_in_time || return 1
    run "$WORK/e1.safetensors" store --store "$WORK/one" &&
        hosts "$WORK/e2.safetensors" store --store host --checkpoint "$WORK/ck" \
            --checkpoint-every 20 --resume &&
        same e1.safetensors e2.safetensors
}
ok 'memory: killed in a later epoch, it goes on' memory_goes_on

# A run that is asked to stop ends after a step, though rows are on their way.
stops() {
    local epochs=4000
    rm -rf ck
    (train_hosts "$WORK/no.safetensors" store --store host --prefetch 2 \
        --checkpoint "$WORK/ck" --checkpoint-every 20) > stop.out 2>&1 &
    local pid=$!
    until_fetched
    kill -USR2 $pid
    wait $pid
    local status=$?
    cat stop.out
    [ $status -eq 130 ] && [ ! -e no.safetensors ] && grep -q 'interrupted after step' stop.out
}
ok 'memory: SIGUSR2 ends it after a step' stops

# A machine that is gone while others wait for its rows.
lost() {
    local epochs=4000
    rm -rf ck
    (train_hosts "$WORK/no.safetensors" store --store host --fault-timeout 5 \
        --checkpoint "$WORK/ck" --checkpoint-every 20) > lost.out 2>&1 &
    local pid=$!
    until_fetched
    host_cut 1
    wait_for has_line lost.out 'has timed out\|cut off'
    host_mend 1                          # else mpirun waits for the host
    wait $pid
    local status=$?
    cat lost.out
    wait_for none_left
    [ $status -ne 0 ] && [ ! -e no.safetensors ]
}
ok 'memory: a machine that is cut off ends the run' lost

done_testing
