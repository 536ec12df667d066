#!/bin/bash
# Stored boundaries of two machines, made of network namespaces (tests/hosts.sh): a folder that both
# see, and one that they do not. The students are those of one process, to the byte, also when the
# run is killed and goes on.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"
. "$(dirname "$0")/hosts.sh"
hosts_enter "$@"
. "$(dirname "$0")/training.sh"

if [ -n "$hosts_missing" ]; then echo "1..0 # SKIP $hosts_missing"; exit 0; fi
if ! hosts_up 2 > "$WORK/.hosts" 2>&1; then
    echo "1..0 # SKIP no hosts: $(tail -1 "$WORK/.hosts")"
    exit 0
fi
at_random 1
cd "$WORK" || exit 1
epochs=3

# train_hosts OUT HOW ARGUMENT...: as train of training.sh, a device on each of the two.
train_hosts() {
    local out=$1 how=$2
    shift 2
    case $how in
    *.json) set -- --plan "$WORK/$how" "$@" ;;
    *)      set -- --schedule "$how" "$@" ;;
    esac
    hosts_mpirun 2 pipebd-run train --workload "$WORK/w.json" --epochs "$epochs" --devices cpu:1 \
        -o "$out" "$@"
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
    wait_for eval '[ -z "$(left)" ]'
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

in_memory() {
    hosts "$WORK/no.safetensors" store --store host > no.out 2>&1
    local got=$?
    cat no.out
    [ $got -eq 1 ] && [ ! -e no.safetensors ] &&
        grep -q -- '--store host: the processes are on several machines' no.out
}
ok 'memory of several machines is refused' in_memory

done_testing
