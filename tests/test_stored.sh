#!/bin/bash
# Schedules that store boundaries (docs/operations.md, Stored boundaries): the students are those of
# ls, or dp, to the byte; a store is taken up by other runs; killed runs go on; a full disk, a
# damaged row, another teacher, other data and two runs at once are one clear error. PIPEBD_ROUNDS
# rounds of kills (1; make check-kill has 70), PIPEBD_SEED chooses the moments.
. "$(dirname "$0")/mounts.sh"
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/training.sh"
tests=$(cd "$(dirname "$0")" && pwd)

needs_cpu_devices

at_random 1
epochs=4
cd "$WORK" || exit 1

lists() { # BLOCKS BATCH FILE: ls on two devices
    jq -n --argjson n "$1" --argjson b "$2" \
        '{format: "pipebd-plan", version: 1, schedule: "ls", blocks: $n, devices: 2, batch: $b,
        stages: [range($n) | {first: ., last: ., devices: [. % 2], rows: [$b]}]}' > "$3"
}
same() { [ "$(weights "$1")" = "$(weights "$2")" ]; }

# ---- the same students ----------------------------------------------------------------

lists 3 32 ls.json
ok 'ls' run ls.safetensors ls.json
ok 'dp' run dp.safetensors dp
begun=$(milliseconds)
ok 'store, in a folder' run store.safetensors store --store store
length=$(lasted $begun)
ok 'its students are those of ls' same ls.safetensors store.safetensors
ok 'store, in memory' run host.safetensors store --store host
ok 'its students are those of ls, too' same ls.safetensors host.safetensors
ok 'sequential' run seq.safetensors sequential --store seq
ok 'its students are those of dp' same dp.safetensors seq.safetensors
ok 'no boundary is left of it' test -z "$(ls seq)"

cat > turns.json <<'J'
{"format": "pipebd-plan", "version": 1, "schedule": "store", "blocks": 3, "devices": 2, "batch": 32, "epochs": 4, "turns": true, "home": 0,
 "stored": [{"boundary": 1, "tier": 0}, {"boundary": 2, "tier": 0}],
 "stages": [{"first": 0, "last": 0, "devices": [1], "rows": [32]}, {"first": 1, "last": 2, "devices": [0], "rows": [32]}]}
J
ok 'stages that take turns' run turns.safetensors turns.json --store turns
ok 'their students are those of ls' same ls.safetensors turns.safetensors
ok 'no boundary is left of them' test -z "$(ls turns)"

bundled() { # WORKLOAD BATCH SAMPLES EPOCHS: synthetic data, store trains what ls does
    jq --argjson b "$2" --argjson s "$3" \
        '.batch = $b | .samples = $s | .data = "synthetic" | del(.teacher_weights)' \
        "$PIPEBD_ROOT/workloads/$1.json" > b.json
    lists "$(jq '.blocks | length' b.json)" "$2" b-ls.json
    rm -rf b
    pipebd-run train -w b.json --plan b-ls.json --epochs "$4" -o b-ls.safetensors &&
        pipebd-run train -w b.json --schedule store --devices cpu:2 --store b --epochs "$4" \
            -o b.safetensors &&
        same b-ls.safetensors b.safetensors
}
ok 'digits: as ls' bundled digits 64 300 2
ok 'nas-digits: as ls' bundled nas-digits 16 75 2
ok 'vgg16-dsconv-cifar10-small: as ls' bundled vgg16-dsconv-cifar10-small 4 8 2
ok 'nas-cifar10: as ls' bundled nas-cifar10 4 8 2

# ---- taken up by other runs --------------------------------------------------------------

again() { # another student, another learning rate: nothing is stored, the teacher does not run
    jq '.training.learning_rate = 0.01' w.json > rate.json
    run again.safetensors store --store store --init store.safetensors > again.out 2>&1 &&
        grep -q 'whole already: 1 to 3' again.out || { cat again.out; return 1; }
    ls -i --time-style=full-iso -l store > before
    pipebd-run train -w rate.json --schedule store --devices cpu:2 --store store --epochs 2 \
        -o rate.safetensors &&
        ls -i --time-style=full-iso -l store | cmp - before
}
ok 'another student, another learning rate: taken up as it is' again
two_readers() {
    (epochs=40; train r1.safetensors store --store store) > r1.out 2>&1 &
    local pid=$!
    wait_for has_line r1.out 'whole already' && run r2.safetensors store --store store
    local status=$?
    wait $pid && [ $status -eq 0 ]
}
ok 'two runs read one store at once' two_readers

# ---- rows in bfloat16 ------------------------------------------------------------------------

rounded() { # half the bytes; students differ from those of float32, by rounding
    run half.safetensors store --store half --store-precision bf16 || return 1
    for k in 1 2 3; do
        python3 - "half/boundary-$k.safetensors" "store/boundary-$k.safetensors" <<'P' || return 1
import json, struct, sys

def rows(path):
    data = open(path, "rb").read()
    length, = struct.unpack("<Q", data[:8])
    place = json.loads(data[8:8 + length])["rows"]
    first, last = place["data_offsets"]
    return place["dtype"], data[8 + length + first:8 + length + last]

(half, h), (full, f) = rows(sys.argv[1]), rows(sys.argv[2])
assert (half, full) == ("BF16", "F32") and 2 * len(h) == len(f)
for i in range(0, len(h) // 2, 7):
    wide, = struct.unpack("<f", b"\0\0" + h[2 * i:2 * i + 2])
    exact, = struct.unpack("<f", f[4 * i:4 * i + 4])
    assert abs(wide - exact) <= abs(exact) / 256, (i, wide, exact)
P
    done
    ! same half.safetensors store.safetensors
}
ok 'rows in bfloat16: half the bytes, the nearest values' rounded
ok 'they are taken up' run again.safetensors store --store half --store-precision bf16

# ---- refused -------------------------------------------------------------------------------

refused() { # STATUS WORDS ARGUMENT...: and writes nothing
    local status=$1 words=$2
    shift 2
    (train no.safetensors "$@") > no.out 2>&1
    local got=$?
    cat no.out
    [ $got -eq "$status" ] && [ ! -e no.safetensors ] && grep -qF -- "$words" no.out
}
ok 'store without a place' refused 2 \
    'schedule store stores boundaries: it needs --store DIR, or --store host' store
ok 'a place without store' refused 2 '--store: no effect with schedule dpu, which stores nothing' \
    dpu --store x
# Of a plan only its file tells: the same errors, the same status.
ok 'a plan that stores, without a place' refused 2 'schedule store stores boundaries: it needs' \
    turns.json
ok 'a place, and a plan that does not' refused 2 '--store: no effect with schedule ls' \
    ls.json --store x
ok 'float32 from rows in bfloat16' refused 1 \
    'boundary-1.safetensors: has rows in BF16, expected F32 (--store-precision)' \
    store --store half
ok 'bfloat16 from rows in float32' refused 1 'has rows in F32, expected BF16' \
    store --store store --store-precision bf16
ok 'a precision without a place' refused 2 '--store-precision: no effect without --store' \
    dp --store-precision bf16
ok 'a precision that is none' refused 2 '--store-precision: "fp16", expected fp32 or bf16' \
    store --store x --store-precision fp16
ok 'an empty place' refused 2 '--store: expected host or a folder' store --store ''
echo '{}' > trace.json
ok 'planning again' refused 2 '--replan: not with --store' store --store x --replan \
    --trace trace.json
ok 'one folder for both' refused 2 'store' store --store x --checkpoint x
ok 'a folder that cannot be made' refused 1 'cannot make the folder' store --store nothere/x
ok 'another teacher' refused 1 'boundary-1.safetensors: was made with another teacher: it says teacher "seed 1", expected "seed 2"' \
    store --store store --seed 2
changed() { # JQ WORDS
    jq "$1" w.json > other.json
    pipebd-run train -w other.json --schedule store --devices cpu:2 --store store --epochs 2 \
        -o no.safetensors > no.out 2>&1
    local got=$?
    cat no.out
    [ $got -eq 1 ] && [ ! -e no.safetensors ] && grep -qF -- "$2" no.out
}
ok 'other data' changed '.data = "synthetic"' 'was made with other data'
ok 'other transforms' changed '.input.mean = [0.5]' 'was made with other transforms of the data'
ok 'other layers' changed '.blocks[0].teacher[1].layer = "relu6"' \
    'was made with other layers, or blocks that are cut elsewhere'
augmented() {
    mkdir -p cifar
    for i in 1 2 3 4 5; do head -c 6146 /dev/zero > cifar/data_batch_$i.bin; done
    head -c 6146 /dev/zero > cifar/test_batch.bin
    pipebd-run train -w vgg16-dsconv-cifar10-small --batch 2 --data "cifar10:$WORK/cifar" \
        --schedule store --devices cpu:2 --store aug \
        --epochs 2 -o no.safetensors > no.out 2>&1
    local got=$?
    cat no.out
    [ $got -eq 1 ] && [ ! -e aug ] \
        && grep -q 'boundaries cannot be stored: samples are augmented' no.out
}
ok 'augmented samples' augmented
another_writes() {
    (epochs=400; train w1.safetensors sequential --store one) > w1.out 2>&1 &
    local pid=$!
    wait_for has_line w1.out 'whole already'
    refused 1 'another run writes boundaries here' sequential --store one
    local status=$?
    kill -KILL $pid
    wait $pid 2> /dev/null
    [ $status -eq 0 ]
}
ok 'two runs that write one store' another_writes

# ---- faults ----------------------------------------------------------------------------------

# a byte of every row of boundary 2; the run ends, its checkpoint goes on with another store
damaged() {
    cp -r store bad
    rm -rf ck
    "${PYTHON:-python3}" - bad/boundary-2.safetensors <<'P'
import json, struct, sys
with open(sys.argv[1], "r+b") as f:
    (n,) = struct.unpack("<Q", f.read(8))
    begin, end = json.loads(f.read(n))["rows"]["data_offsets"]
    for row in range(1437):
        at = 8 + n + begin + (end - begin) // 1437 * row + row % 100
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 4]))
P
    (train no.safetensors store --store bad --checkpoint ck) > no.out 2>&1
    local got=$?
    cat no.out
    [ $got -eq 1 ] && [ ! -e no.safetensors ] \
        && [ "$(grep -c 'boundary-2.safetensors: row [0-9]* is damaged' no.out)" -eq 1 ] || return 1
    rm bad/boundary-2.safetensors
    run bad.safetensors store --store bad --checkpoint ck --resume \
        && same ls.safetensors bad.safetensors
}
ok 'a damaged row' damaged

# interrupt ARGUMENT...: SIGINT once there is a checkpoint; status 130.
interrupt() {
    (epochs=4000; train int.safetensors "$@" --checkpoint int --checkpoint-every 5) > int.out 2>&1 &
    local pid=$!
    until_checkpoint int
    kill -INT $pid
    wait $pid
    local status=$?
    cat int.out
    [ $status -eq 130 ] && grep -q '^to go on: .* --resume$' int.out
}
set -m
ok 'SIGINT ends it after a step, and says how to go on' interrupt store --store int-store
set +m

many() { # EXPECTED HOW ARGUMENT...: killed and resumed
    local expected=$1
    shift
    for ((i = 0; i < rounds; i++)); do
        rm -rf kill
        killed k.safetensors ck "$@" && same "$expected" k.safetensors || return 1
    done
}
ok 'killed and resumed: a folder' many ls.safetensors store --store kill
ok 'killed and resumed: memory, which is gone each time' many ls.safetensors store --store host
ok 'killed and resumed: turns' many ls.safetensors turns.json --store kill
ok 'killed and resumed: sequential' many dp.safetensors sequential --store kill
echo "# killed $kills times"

# of memory a sequential run cannot be resumed behind its first block: said, and nothing is lost
lost() {
    rm -rf ck
    (epochs=20; train no.safetensors sequential --store host --checkpoint ck --checkpoint-every 5) \
        > no.out 2>&1 &
    local pid=$!
    until_steps 900 ck                   # of the second block
    kill -KILL $pid
    wait $pid 2> /dev/null
    ls ck > before
    epochs=20 refused 1 'of its rows missing' sequential --store host --checkpoint ck --resume \
        && ls ck | cmp - before
}
ok 'what cannot be made again' lost

full() { # a disk for some of the boundaries: an error before a step, nothing is left
    mkdir -p full
    mount -t tmpfs -o size=$((1437 * 8 * 64 * 4 + 200000)) pipebd full || return 1
    (train no.safetensors store --store full --checkpoint ck-full) > no.out 2>&1
    local got=$?
    cat no.out
    ls -l full
    [ $got -eq 1 ] && [ ! -e no.safetensors ] && grep -q \
        'boundary-2.safetensors.partial: cannot take .* No space left on device' no.out &&
        [ "$(ls full)" = boundary-1.safetensors.partial ]
    got=$?
    mount -o remount,size=100m full
    run full.safetensors store --store full && same ls.safetensors full.safetensors || got=1
    umount full
    return $got
}
if [ -n "$PIPEBD_MOUNTS" ] && mkdir probe && mount -t tmpfs pipebd probe 2> /dev/null; then
    umount probe
    ok 'a full disk' full
else
    skip 'a full disk' 'may not mount'
fi

# ---- several processes ---------------------------------------------------------------------------

if [ -x "$PIPEBD_BIN/../tests/mpi/world" ] && command -v mpirun > /dev/null; then
    . "$tests/openmpi.sh"
    devices=cpu:1
    ok 'two processes, a folder' run p.safetensors store --store p --processes 2
    ok 'their students are those of one' same ls.safetensors p.safetensors
    ok 'two processes, shared memory' run ph.safetensors store --store host --processes 2
    ok 'their students are those of one, too' same ls.safetensors ph.safetensors
    ok 'two processes, sequential' run ps.safetensors sequential --store ps --processes 2
    ok 'their students are those of dp' same dp.safetensors ps.safetensors
else
    skip 'several processes' 'built without MPI, or without mpirun'
fi

done_testing
