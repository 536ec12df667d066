#!/bin/bash
# pipebd-run as a user meets it: what train prints and leaves, what it refuses before it trains.
. "$(dirname "$0")/tap.sh"

needs_cpu_devices

out=$WORK/student.safetensors
train() { pipebd-run train --workload digits -o "$out" "$@"; }

# The same network in steps that are soon over: for what is said, and not what is learned.
sed 's/"samples": 1437/"samples": 256/; s/"data": "digits"/"data": "synthetic"/' \
    "$PIPEBD_ROOT/workloads/digits.json" > "$WORK/few.json"
cp "$PIPEBD_ROOT/workloads/digits-teacher.safetensors" "$WORK"
train_few() { pipebd-run train --workload "$WORK/few.json" -o "$out" "$@"; }

# refuses STATUS DESCRIPTION TEXT ARGUMENT...: train fails so, prints nothing, says TEXT last,
# and leaves no file.
refuses() {
    local want=$1 name=$2 text=$3
    shift 3
    check() {
        local output status
        output=$(train "$@" 2> "$WORK/.err")
        status=$?
        printf 'status %d, stdout: %s, stderr: %s\n' "$status" "$output" "$(cat "$WORK/.err")"
        [ "$status" -eq "$want" ] && [ -z "$output" ] && [ ! -e "$out" ] \
            && [[ $(tail -n 1 "$WORK/.err") == "pipebd-run train: "*"$text"* ]]
    }
    ok "$name" check "$@"
}

# ---- what is refused ------------------------------------------------------------

# in_training COMMAND ARGUMENT...: refuses a teacher in training mode, and says who takes one.
sed 's/"blocks"/"teacher_statistics": "batch", &/' "$WORK/few.json" > "$WORK/training.json"
in_training() {
    pipebd-run "$1" --workload "$WORK/training.json" --devices cpu:1 "${@:2}" > /dev/null \
        2> "$WORK/.err"
    [ $? -eq 1 ] \
        && grep -q 'training.json: teacher_statistics is "batch", expected "running"' "$WORK/.err"
}
ok 'train: a teacher in training mode' in_training train --schedule dp -o "$out"
ok 'profile: the same' in_training profile -o "$out"
ok 'validate: the same' in_training validate -o "$out"
ok 'choose: the same' in_training choose --student x -o "$out"
ok 'evaluate: the same' in_training evaluate

refuses 2 'no plan' 'expected either --plan or --schedule'
refuses 2 'both' 'expected either --plan or --schedule' --plan p --schedule dpu
refuses 2 'a schedule without devices' '--schedule needs --devices' --schedule dpu
refuses 2 'a trace for a plan' '--trace: no effect with --plan, but for --replan' --plan p --trace t
refuses 2 'lanes without prefetch' '--workers: no effect' --schedule dpu --devices cpu:2 \
    --workers 2 --prefetch 0
refuses 2 'two things on standard output' 'expected a file' --schedule dpu --devices cpu:2 \
    --timeline -
refuses 2 'resume without a folder' '--resume needs --checkpoint' --schedule dpu --devices cpu:2 \
    --resume
refuses 2 'every without a folder' '--checkpoint-every: no effect' --schedule dpu --devices cpu:2 \
    --checkpoint-every 3
own() { refuses 2 "$1" "$2 are the same file" --schedule dpu --devices cpu:2 "${@:3}"; }
own 'the teacher as output' '--teacher and -o' --teacher "$out"
own 'the log as output' '--log and -o' --log "$WORK/./student.safetensors"
own 'the timeline as output' '--timeline and -o' --timeline "$out"
own 'the log as timeline' '--log and --timeline' --log "$WORK/same" --timeline "$WORK/same"
own 'the checkpoints as output' '--checkpoint and -o' --checkpoint "$out"
refuses 2 'the plan as output' '--plan and -o are the same file' --plan "$out"
refuses 1 'a folder that cannot be' 'nothere/deep' --schedule dpu --devices cpu:2 \
    --checkpoint nothere/deep
refuses 2 'a schedule that nobody knows' 'schedule "dup"' --schedule dup --devices cpu:2
refuses 2 'ahd without times' '--schedule ahd needs --trace' --schedule ahd --devices cpu:2
refuses 1 'more stages than blocks' '6 blocks cannot make 7 stages' --schedule tr --devices cpu:7
refuses 2 'devices that nobody has' 'cpu:0' --schedule dpu --devices cpu:0
refuses 2 'devices of another kind' 'expected cpu:N' --schedule dpu --devices gpu:8
refuses 2 'a precision of GPUs' 'cpu devices compute in fp32 or bf16' --schedule dpu \
    --devices cpu:2 --precision tf32
refuses 2 'and where the plan says how many' 'cpu devices compute in fp32 or bf16' --plan p \
    --precision tf32
refuses 2 'data of no source' 'data source "nothere" is not known' --schedule dpu --devices cpu:2 \
    --data nothere
refuses 2 'images of no folder' 'needs a folder' --schedule dpu --devices cpu:2 --data images
[ -e /proc/driver/nvidia ] \
    || refuses 1 'a GPU that is not there' 'cuda' --schedule dpu --devices cuda:0
refuses 1 'a batch of more samples than there are' \
    'a batch of 100000 is more than the 1437 samples of digits' \
    --schedule dpu --devices cpu:2 --batch 100000
refuses 1 'of synthetic ones, too' 'a batch of 1438 is more than the 1437 samples of synthetic' \
    --schedule dpu --devices cpu:2 --batch 1438 --data synthetic
refuses 1 'data that does not fit' 'images are 3 x 32 x 32' --schedule dpu --devices cpu:2 \
    --data cifar10:nothere
refuses 1 'a teacher that is not there' 'nothere' --schedule dpu --devices cpu:2 \
    --teacher nothere.safetensors
# edit NAME EDIT...: the digits' teacher, changed.
edit() {
    "${PYTHON:-python3}" "$PIPEBD_ROOT/tests/edit_weights.py" \
        "$PIPEBD_ROOT/workloads/digits-teacher.safetensors" "$WORK/$1" "${@:2}"
}
edit double.safetensors blocks.0.0.weight:f64
refuses 1 'a weight of a type that is not read' \
    'tensor blocks.0.0.weight is of type F64, expected F32, F16 or BF16' \
    --schedule dpu --devices cpu:2 --teacher "$WORK/double.safetensors"
edit nan.safetensors blocks.0.3.weight=nan
refuses 1 'a teacher with a number that is none' \
    'nan.safetensors: tensor blocks.0.3.weight has a number that is not finite' \
    --schedule dpu --devices cpu:2 --teacher "$WORK/nan.safetensors"
edit infinite.safetensors blocks.1.1.running_var=inf
refuses 1 'an infinite one' \
    'infinite.safetensors: tensor blocks.1.1.running_var has a number that is not finite' \
    --schedule dpu --devices cpu:2 --teacher "$WORK/infinite.safetensors"
edit below.safetensors blocks.0.1.running_var=-0.5
refuses 1 'a variance below 0' \
    'below.safetensors: tensor blocks.0.1.running_var has a variance below 0' \
    --schedule dpu --devices cpu:2 --teacher "$WORK/below.safetensors"
refuses 2 'nccl between cpu devices' '--nccl: no effect with cpu devices' --schedule dpu \
    --devices cpu:2 --nccl
refuses 2 'nccl on one GPU' '--nccl: no effect with one device' --schedule dpu --devices cuda:0 \
    --nccl
refuses 2 'nccl on slices' '--nccl: NCCL takes a GPU once, these are 4 slices of each' \
    --schedule dpu --devices cuda:0/4 --nccl
refuses 1 'an option without effect' '--sync-batchnorm: no effect' --schedule dpu --devices cpu:2 \
    --sync-batchnorm

plan() {
    printf '{"format": "pipebd-plan", "version": 1, "schedule": "dpu", "blocks": %d,
  "devices": %d, "batch": %d, "stages": [{"first": 0, "last": 1, "devices": [0], "rows": [%d]},
  {"first": 2, "last": %d, "devices": [1], "rows": [%d]}]}' \
        "$1" "$2" "$3" "$3" $(($1 - 1)) "$3"
}
plan 5 2 64 > "$WORK/blocks.json"
plan 6 3 64 > "$WORK/devices.json"
plan 6 2 32 > "$WORK/batch.json"
refuses 1 'a plan for other blocks' 'the plan has 5 blocks, workload digits has 6' \
    --plan "$WORK/blocks.json"
refuses 1 'a plan for other devices' 'the plan is for 2 devices, --devices gives 3' \
    --plan "$WORK/batch.json" --devices cpu:3
refuses 1 'a plan for another batch' 'batch of 32' --plan "$WORK/batch.json"

# What is there is found by whatever name, and stays.
linked() {
    echo weights > "$WORK/te.st"
    ln "$WORK/te.st" "$WORK/link.st"
    train --schedule dpu --devices cpu:2 --teacher "$WORK/te.st" --log "$WORK/link.st" \
        2> "$WORK/.err"
    local status=$?
    cat "$WORK/.err"
    [ $status -eq 2 ] && grep -q -- '--teacher and --log are the same file' "$WORK/.err" \
        && [ "$(cat "$WORK/te.st")" = weights ]
}
ok 'a file is known by another name' linked
nowhere() {
    train_few --schedule dpu --devices cpu:2 --epochs 1 --log /dev/null --timeline /dev/null \
        > /dev/null 2> "$WORK/.err"
}
ok '/dev/null takes anything' nowhere
rm -f "$out"
with_teacher() {
    jq '.teacher_weights = "mine.safetensors"' "$PIPEBD_ROOT/workloads/digits.json" \
        > "$WORK/mine.json"
    echo weights > "$WORK/mine.safetensors"
    pipebd-run train --workload "$WORK/mine.json" --schedule dpu --devices cpu:2 \
        -o "$WORK/mine.safetensors" 2> "$WORK/.err"
    local status=$?
    cat "$WORK/.err"
    [ $status -eq 1 ] && grep -q "the workload's teacher and -o are the same file" "$WORK/.err" \
        && [ "$(cat "$WORK/mine.safetensors")" = weights ]
}
if command -v jq > /dev/null; then ok 'the teacher that the workload names' with_teacher
else skip 'the teacher that the workload names' 'no jq'; fi

unwritable() {
    mkdir -p "$WORK/folder.safetensors"
    pipebd-run train --workload digits --schedule dpu --devices cpu:2 -o "$WORK/$1" 2> "$WORK/.err"
    local status=$?
    cat "$WORK/.err"
    [ $status -eq 1 ] && grep -qE 'cannot create|is a directory' "$WORK/.err" \
        && ! grep -q images "$WORK/.err"
}
ok 'an output in a folder that is not there' unwritable nothere/student.safetensors
ok 'an output that is a folder' unwritable folder.safetensors
expect_status 2 'an unknown subcommand' pipebd-run trian
expect_status 2 'no subcommand' pipebd-run
expect_status 0 'help' pipebd-run --help
golden 'help of train' run-train-help.txt pipebd-run train --help
describes() { pipebd-run describe --workload digits | grep -q '^digits: 6 blocks'; }
ok 'describe' describes

# ---- divergence ----------------------------------------------------------------------

# diverges STEP TENSOR ARGUMENT...: status 1 at that step, no output, and what is kept can be read.
diverges() {
    local step=$1 tensor=$2 status
    shift 2
    rm -rf "$WORK/ck" "$out"
    pipebd-run train -o "$out" --devices cpu:2 --schedule dpu "$@" > /dev/null 2> "$WORK/.err"
    status=$?
    cat "$WORK/.err"
    [ $status -eq 1 ] && [ ! -e "$out" ] && ! grep -q 'to go on:' "$WORK/.err" \
        && grep -q "^pipebd-run train: .*block [0-9] (.*) has diverged by step $step: tensor $tensor is not finite; a smaller learning_rate" "$WORK/.err" \
        && { ! compgen -G "$WORK/ck/*.safetensors" > /dev/null \
        || "${PYTHON:-python3}" "$PIPEBD_ROOT/tests/finite.py" "$WORK"/ck/*.safetensors; }
}
sed 's/"learning_rate": *[0-9.]*/"learning_rate": 30/' "$PIPEBD_ROOT/workloads/digits.json" \
    > "$WORK/lr30.json"
ok 'running variances that overflow are not kept' diverges 23 'blocks.*running_var' \
    --workload "$WORK/lr30.json" \
    --teacher "$PIPEBD_ROOT/workloads/digits-teacher.safetensors" --epochs 3 --checkpoint "$WORK/ck"
hidden=$PIPEBD_ROOT/tests/fixtures/diverge/hidden.json
ok 'NaN that a ReLU hides is found before it is kept' diverges 23 'blocks.0.*' \
    --workload "$hidden" --epochs 2 --checkpoint "$WORK/ck"
ok 'and without checkpoints, some steps later' diverges 64 'blocks.0.*' --workload "$hidden" \
    --epochs 6
ok 'and at the end, before anything is written' diverges 23 'blocks.0.*' --workload "$hidden" \
    --epochs 1

# ---- OpenMP's variables --------------------------------------------------------------

# openmp VARIABLE=VALUE: the same bits as without, and the same cores a device.
printf '%s' '{"format": "pipebd-workload", "version": 1, "name": "team",
 "input": {"channels": 1, "height": 8, "width": 8},
 "classes": 10, "batch": 64, "samples": 1437, "training": {"learning_rate": 0.1, "momentum": 0.9},
 "data": "digits", "blocks": [
 {"name": "a", "loss": "mse", "teacher": [{"layer": "avgpool", "kernel": 2}],
  "student": [{"layer": "avgpool", "kernel": 2}, {"layer": "batchnorm"}]},
 {"name": "h", "loss": "soft_cross_entropy", "teacher": [{"layer": "flatten"},
  {"layer": "linear", "out": 10}], "student": [{"layer": "conv", "out": 4, "kernel": 3},
  {"layer": "batchnorm"}, {"layer": "flatten"}, {"layer": "linear", "out": 10}]}]}' \
    > "$WORK/team.json"
team() {
    env "$1" pipebd-run train --workload "$WORK/team.json" --schedule dp --devices cpu:1 \
        -o "$WORK/$2.st" > /dev/null 2> "$WORK/$2.err" \
        && grep -o '[0-9/]* cores* of .* each;' "$WORK/$2.err" > "$WORK/$2.cores"
}
team PLAIN= plain
openmp() {
    team "$1" limited && cmp "$WORK/plain.st" "$WORK/limited.st" \
        && diff "$WORK/plain.cores" "$WORK/limited.cores"
}
for variable in OMP_THREAD_LIMIT=1 OMP_DYNAMIC=true OMP_NUM_THREADS=1 OMP_MAX_ACTIVE_LEVELS=0 \
    OMP_PLACES=cores OMP_PROC_BIND=true; do
    ok "$variable changes nothing" openmp $variable
done

# ---- what is trained ---------------------------------------------------------------

# trained DESCRIPTION LINES ARGUMENT...: train succeeds, prints a row a block, leaves the students.
trained() {
    local name=$1
    shift
    check() {
        rm -f "$out"
        train_few --epochs 1 "$@" > "$WORK/.out" 2> "$WORK/.err"
        local status=$?
        cat "$WORK/.out" "$WORK/.err"
        [ $status -eq 0 ] && [ -s "$out" ] && [ "$(grep -c '^b[0-5] ' "$WORK/.out")" -eq 6 ] \
            && grep -q 'images/s' "$WORK/.out" \
            && grep -q '^accuracy: teacher .*, student before .*, after ' "$WORK/.out"
    }
    ok "$name" check "$@"
}

for schedule in dp ir tr dpu; do
    trained "$schedule" --schedule $schedule --devices cpu:2
    cp "$out" "$WORK/$schedule.safetensors"
done
weights() { "${PYTHON:-python3}" - "$1" <<'P'
import hashlib, json, struct, sys
data = open(sys.argv[1], "rb").read()
(n,) = struct.unpack("<Q", data[:8])
head = json.loads(data[8:8 + n])
head.pop("__metadata__")
print(hashlib.sha256(json.dumps(head).encode() + data[8 + n:]).hexdigest())
P
}
same() { [ "$(weights "$1")" = "$(weights "$2")" ]; }
ok 'tr and dpu give the same students' same "$WORK/tr.safetensors" "$WORK/dpu.safetensors"
# What the demo shows: the assembled students of the digits come within 1.5 points of the teacher.
learned() {
    train --epochs 16 --batch 32 --schedule dpu --devices cpu:2 > "$WORK/.out" 2> "$WORK/.err" \
        || return 1
    cat "$WORK/.out"
    awk '/^accuracy:/ { gsub(/[,%]/, ""); teacher = $3; after = $(NF - 4)
         for (i = 1; i < NF; i++) if ($i == "after") after = $(i + 1)
         found = 1; exit !(teacher >= 97 && after >= teacher - 1.5) }
         END { if (!found) exit 1 }' "$WORK/.out"
}
ok 'the digits are learned' learned
plan 6 2 64 > "$WORK/plan.json"
trained 'a plan' --plan "$WORK/plan.json"
ok 'the plan gives the students of dpu' same "$WORK/dpu.safetensors" "$out"
trained 'with lanes that load ahead' --plan "$WORK/plan.json" --workers 1 --prefetch 3
ok 'which changes nothing' same "$WORK/dpu.safetensors" "$out"
edit counted.safetensors blocks.0.1.num_batches_tracked:add blocks.1.1.num_batches_tracked:add
trained "a teacher with PyTorch's counts of batches" --schedule dpu --devices cpu:2 \
    --teacher "$WORK/counted.safetensors"
ok 'which are passed over' same "$WORK/dpu.safetensors" "$out"
differ() { ! same "$1" "$2"; }
trained 'another seed' --plan "$WORK/plan.json" --seed 2
ok 'which changes everything' differ "$WORK/dpu.safetensors" "$out"
trained 'with common statistics' --schedule dp --devices cpu:2 --sync-batchnorm

# A CIFAR folder with samples that have no label: 23 for training, one held out.
cat > "$WORK/cifar.json" <<'J'
{"format": "pipebd-workload", "version": 1, "name": "cifar",
 "input": {"channels": 3, "height": 32, "width": 32}, "classes": 10, "batch": 10, "samples": 50,
 "training": {"learning_rate": 0.01}, "blocks": [
  {"name": "b0", "loss": "mse", "teacher": [{"layer": "avgpool", "global": true}, {"layer": "linear", "out": 10}],
   "student": [{"layer": "avgpool", "global": true}, {"layer": "linear", "out": 10}]}]}
J
"${PYTHON:-python3}" - "$WORK" <<'P'
import sys
good, bad = bytes([1]) + bytes(3072), bytes([99]) + bytes(3072)
parts = {f"data_batch_{i}": [good] * 10 for i in range(1, 6)}
parts["data_batch_1"] = [good] + [bad] * 9
parts["data_batch_2"] = parts["data_batch_3"] = [good] * 3 + [bad] * 7
parts["test_batch"] = [good, bad, good]
for name, samples in parts.items():
    open(f"{sys.argv[1]}/{name}.bin", "wb").write(b"".join(samples))
P
skips() {
    pipebd-run train --workload "$WORK/cifar.json" --data "cifar10:$WORK" --schedule dp \
        --devices cpu:1 --epochs 3 \
        --max-bad-samples "$@" -o "$WORK/cifar.safetensors" > "$WORK/.out" 2> "$WORK/.err"
}
names_skipped() {
    skips 23
    local status=$?
    cat "$WORK/.out" "$WORK/.err"
    [ $status -eq 0 ] && [ "$(grep -c '^training part: .*: skipped$' "$WORK/.err")" -eq 20 ] \
        && [ "$(grep '^training part: ' "$WORK/.err" | sort -u | wc -l)" -eq 21 ] \
        && grep -qx 'training part: 20 samples were skipped, more are only counted' "$WORK/.err" \
        && grep -qx "validation part: $WORK/test_batch.bin: sample 1 .*: skipped" "$WORK/.err" \
        && grep -qx '23 damaged samples were replaced by others' "$WORK/.out" \
        && grep -qx '1 damaged samples of the validation part were replaced by others' "$WORK/.out"
}
ok 'damaged samples that are skipped are named' names_skipped
too_many() {
    skips 22
    local status=$?
    cat "$WORK/.err"
    [ $status -eq 1 ] && [ "$(grep -c '^training part: .*: skipped$' "$WORK/.err")" -eq 20 ] \
        && [[ $(tail -n 1 \
        "$WORK/.err") == *'more damaged samples than the 22 that may be skipped; one more: '* ]]
}
ok 'one more than allowed is an error, which comes last' too_many
kept() {
    train --schedule dpu --devices cpu:2 --checkpoint "$WORK/kept" > /dev/null 2>&1 || return 1
    mv "$out" "$WORK/digits.safetensors"
    train --schedule dpu --devices cpu:2 --checkpoint "$WORK/kept" 2> "$WORK/.err" && return 1
    grep -F 'holds checkpoints of a run; resume that' "$WORK/.err" || return 1
    train --schedule dpu --devices cpu:2 --checkpoint "$WORK/kept" --resume --seed 9 \
        2> "$WORK/.err" && return 1
    grep -F 'has the seed 1, and this one 9' "$WORK/.err" || return 1
    [ ! -e "$out" ] && train --schedule dpu --devices cpu:2 --checkpoint "$WORK/kept" --resume \
        > /dev/null 2>&1 \
        && same "$WORK/digits.safetensors" "$out"
}
ok 'a checkpoint is not written over, and not read by another run' kept

from_other_data() {
    train --schedule dpu --devices cpu:2 --checkpoint "$WORK/kept" --resume "$@" 2>&1 > /dev/null \
        | grep -F -- "$text"
}
text='learned from digits, and this one from synthetic: see --data' ok \
    'a checkpoint of other data' from_other_data --data synthetic
text='had another teacher: see --teacher' ok 'a checkpoint of another teacher' from_other_data \
    --teacher "$WORK/dpu.safetensors"
text='began with other students: see --init' ok 'a checkpoint of other students' from_other_data \
    --init "$WORK/dpu.safetensors"

# Where one run ends another begins.
goes_on() {
    train_few --schedule dpu --devices cpu:2 2> /dev/null > "$WORK/first.txt" \
        && cp "$out" "$WORK/first.st" || return 1
    train_few --schedule dpu --devices cpu:2 --init "$WORK/first.st" \
        2> /dev/null > "$WORK/second.txt" || return 1
    after=$(sed -n 's/^accuracy:.*, after \([0-9.]*\) %.*/\1/p' "$WORK/first.txt")
    [ -n "$after" ] && grep -F "student before $after %" "$WORK/second.txt" \
        && ! same "$WORK/first.st" "$out"
}
ok 'students begin where others ended' goes_on
no_students() {
    train --schedule dpu --devices cpu:2 \
        --init "$PIPEBD_ROOT/tests/fixtures/tensors/good/no-tensors.safetensors" 2> "$WORK/.err"
    [ $? -eq 1 ] && grep -F 'has no student of block' "$WORK/.err"
}
ok 'a file of no students' no_students

all_samples() { train_few --schedule dpu --devices cpu:2 --batch 256; }
ok 'a batch of all samples' all_samples
settings() {
    train_few --schedule dpu --devices cpu:2 2>&1 > /dev/null | tee "$WORK/.err"
    ! grep '^  replan' "$WORK/.err"
}
ok 'settings of --replan are not printed without it' settings

says() { train_few --schedule "$1" --devices cpu:2 2>&1 > /dev/null | grep -F -- "$2"; }
ok 'dp says whose statistics are used' says dp 'each device uses the statistics of its own rows'
ok 'dpu says how its stages were cut' says dpu 'even by multiply-accumulates'

# The plan that a trace decided, a line a stage, before the run.
says_plan() {
    train_few --schedule "$1" --devices cpu:2 --trace "$PIPEBD_ROOT/traces/mobilenet-cpu.json" \
        2> "$WORK/.err" > /dev/null || return 1
    cat "$WORK/.err"
    sed -n '/^plan: from .*mobilenet-cpu.json$/,$p' "$WORK/.err" | grep -E "$2"
}
ok 'tr says its stages' says_plan tr '^  blocks b0 to b[0-4] on device 0, 64 rows each step$'
ok 'ls says its tasks' says_plan ls '^  block b5 on device [01], 64 rows each step$'
ok 'split says where students are' says_plan split '^  students? b0 .*on devices? [01]'

# ---- whoever reads its words goes away ------------------------------------------------

# unheard ARGUMENT...: the first line is read and no more; the run comes to its end.
unheard() {
    rm -f "$out"
    pipebd-run train --workload "$WORK/team.json" -o "$out" --schedule dpu --epochs 8 "$@" \
        2>&1 > "$WORK/.out" | head -n 1
    local status=${PIPESTATUS[0]}
    echo "status $status"
    [ "$status" -eq 0 ] && [ -s "$out" ] && grep -q '^accuracy: ' "$WORK/.out"
}
ok 'a run whose words nobody reads goes on' unheard --devices cpu:2
ok 'one that may be started again, too' unheard --devices cpu:2 --restarts 1 \
    --checkpoint "$WORK/unheard"
if [ -x "$PIPEBD_BIN/../tests/mpi/world" ] && command -v mpirun > /dev/null; then
    . "$(dirname "$0")/openmpi.sh"
    # Three times, as mpirun by itself survives now and then.
    unheard_by_mpirun() { for _ in 1 2 3; do unheard "$@" || return 1; done; }
    ok 'one of several processes, too' unheard_by_mpirun --devices cpu:1 --processes 2
else
    skip 'one of several processes, too' 'no MPI'
fi

unread() {
    train_few --schedule dpu --devices cpu:2 2> "$WORK/.err" | true
    local status=${PIPESTATUS[0]}
    cat "$WORK/.err"
    [ "$status" -eq 1 ] && tail -n 1 "$WORK/.err" | grep -q 'cannot write: Broken pipe'
}
ok 'a table that nobody reads is an error' unread
too_large() {
    rm -f "$out"
    (ulimit -f 1; train_few --schedule dpu --devices cpu:2 2>&1 > "$WORK/.out") | tee "$WORK/.err"
    local status=${PIPESTATUS[0]}
    [ "$status" -eq 1 ] && tail -n 1 "$WORK/.err" | grep -q 'cannot write: File too large' \
        && [ ! -e "$out" ]
}
ok 'a file larger than is allowed, too' too_large

timeline() {
    train_few --schedule dpu --devices cpu:2 --epochs 2 --timeline "$WORK/timeline.json" \
        > /dev/null 2>&1 || return 1
    "${PYTHON:-python3}" - "$WORK/timeline.json" <<'P'
import json, sys
t = json.load(open(sys.argv[1]))
assert t["pipebd"]["kind"] == "measured" and t["pipebd"]["schedule"] == "dpu"
boxes = [e for e in t["traceEvents"] if e["ph"] == "X"]
assert {e["args"]["step"] for e in boxes} == {2, 3, 4, 5}
assert {e["args"]["op"] for e in boxes} >= {"LOAD", "TEACHER", "SEND", "FORWARD", "BACKWARD", "UPDATE"}
P
}
ok 'a timeline' timeline

done_testing
