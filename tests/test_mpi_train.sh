#!/bin/bash
# Training as several processes on this machine: the students are those of one process with as
# many devices, to the byte, under every schedule; and what does not go together is refused.
. "$(dirname "$0")/tap.sh"
. "$(dirname "$0")/mpi.sh"
. "$(dirname "$0")/training.sh"

# Its second block twice: one for each of four devices.
jq '.name = "ranks" | .blocks |= (.[:2] + [.[1] + {name: "b2"}] + [.[2] + {name: "b3"}])' \
    "$WORK/w.json" > "$WORK/four.json"
mv "$WORK/four.json" "$WORK/w.json"
epochs=1

# stage FIRST LAST DEVICES ROWS: one of a plan; plan_of SCHEDULE DEVICES STAGE... [EXTRA]
stage() { printf '{"first": %s, "last": %s, "devices": [%s], "rows": [%s]}' "$1" "$2" "$3" "$4"; }
plan_of() {
    local schedule=$1 devices=$2 extra=$3 gap=
    shift 3
    printf '{"format": "pipebd-plan", "version": 1, "schedule": "%s",%s "blocks": 4, "devices": %s, "batch": 32, "stages": [' \
        "$schedule" "$extra" "$devices"
    for one in "$@"; do printf '%s%s' "$gap" "$one"; gap=', '; done
    echo ']}'
}
lists='"stealing": false,' stealing='"stealing": true,'
plan_of ls 2 "" "$(stage 0 0 0 32)" "$(stage 1 1 1 32)" "$(stage 2 2 1 32)" "$(stage 3 3 0 32)" \
    > "$WORK/lists2.json"
plan_of ls 4 "" "$(stage 0 0 0 32)" "$(stage 1 1 3 32)" "$(stage 2 2 1 32)" "$(stage 3 3 3 32)" \
    > "$WORK/lists4.json"
for n in 2 4; do
    plan_of ls $n "$stealing" "$(stage 3 3 "" "")" "$(stage 2 2 "" "")" "$(stage 1 1 "" "")" \
        "$(stage 0 0 "" "")" > "$WORK/stealing$n.json"
done
plan_of ahd 2 "" "$(stage 0 3 "0, 1" "20, 12")" > "$WORK/ahd2.json"
plan_of ahd 4 "" "$(stage 0 1 "0, 1, 2" "13, 8, 11")" "$(stage 2 3 3 32)" > "$WORK/ahd4.json"

# Devices in any order, also of tasks.
plan_of ahd 4 "" "$(stage 0 1 "3, 0, 2" "11, 13, 8")" "$(stage 2 3 1 32)" > "$WORK/unsorted4.json"
plan_of split 2 "" "$(stage 0 3 "1, 0" "20, 12")" \
    | jq '.tasks = [range(4) | {block: ., devices: [1, 0], rows: [18, 14]}]' \
    > "$WORK/unsorted2.json"

# ranks NUMBER OUT HOW ARGUMENT...: as so many processes, with ${devices} each.
ranks() {
    local number=$1 out=$2 how=$3
    shift 3
    case $how in
    *.json) set -- --plan "$how" "$@" ;;
    *)      set -- --schedule "$how" "$@" ;;
    esac
    launch "$number" pipebd-run train --workload "$WORK/w.json" --epochs "$epochs" \
        --devices "${devices:-cpu:1}" -o "$out" "$@"
}

# same NUMBER EACH HOW ARGUMENT...: ranks of so many devices train what one process does.
same() {
    local number=$1 each=$2 how=$3
    local all=$((number * each)) one=$WORK/one.safetensors several=$WORK/several.safetensors
    shift 3
    case $how in
    lists|stealing|ahd|unsorted) how=$WORK/$how$all.json ;;
    esac
    one=$WORK/one-$(echo "$how $all $*" | md5sum | cut -c 1-16).safetensors
    rm -f "$several"
    [ -e "$one" ] || devices=cpu:$all run "$one" "$how" "$@" || return 1
    devices=cpu:$each ranks "$number" "$several" "$how" "$@" || return 1
    cmp "$one" "$several"
}

for how in dp lists stealing tr dpu ir ahd; do
    ok "$how: 4 ranks train what one process does" same 4 1 $how
done
for how in dp stealing ahd ${PIPEBD_THOROUGH:+lists tr dpu ir}; do
    ok "$how: 2 ranks too" same 2 1 $how
done
for how in dp tr ahd; do ok "$how: 2 ranks with 2 devices each too" same 2 2 $how; done
ok 'devices in any order: 4 ranks train what one process does' same 4 1 unsorted
ok 'those of tasks too: 2 ranks' same 2 1 unsorted
for how in dp ir ahd; do
    ok "$how, batch statistics of all: 2 ranks" same 2 1 $how --sync-batchnorm
    ok "$how, batch statistics of all: 4 ranks" same 4 1 $how --sync-batchnorm
done
ok 'ahd, batch statistics of all: 2 ranks with 2 devices each' same 2 2 ahd --sync-batchnorm
ok 'loader lanes and a deeper queue: 2 ranks' same 2 1 dpu --workers 1 --prefetch 2 --queue-depth 4

# What is faster in bfloat16 is measured by whichever rank comes first, and read by the others.
in_bfloat16() {
    local -x PIPEBD_CHOICES=$WORK/choices.txt
    local one=$WORK/one-bf16.safetensors several=$WORK/several.safetensors
    rm -f "$PIPEBD_CHOICES"
    devices=cpu:1 ranks "$1" "$several" "$2" --precision bf16 || return 1
    devices=cpu:$1 run "$one" "$2" --precision bf16 && cmp "$one" "$several"
}
for how in dpu dp; do
    ok "$how, in bfloat16: 2 ranks" in_bfloat16 2 $how
done

# ---- several students a block ------------------------------------------------------------

cp "$WORK/w.json" "$WORK/one-student.json"
jq '.blocks |= map((.students = [{name: "own", layers: .student}, {name: "teachers", layers: .teacher}]) | del(.student))' \
    "$WORK/one-student.json" > "$WORK/w.json"
for how in dp tr dpu; do ok "$how, two students a block: 2 ranks" same 2 1 $how --seed 2; done
cp "$WORK/one-student.json" "$WORK/w.json"

# ---- files, of rank 0 ------------------------------------------------------------------

says_who_is_where() {
    ranks 2 "$WORK/s.safetensors" ahd2.json 2> "$WORK/err" > "$WORK/out" && return 1
    ranks 2 "$WORK/s.safetensors" "$WORK/ahd2.json" --timeline "$WORK/t.json" 2> "$WORK/err" \
        > "$WORK/out" || return 1
    cat "$WORK/err"
    [ "$(grep -c 'rank [01] .* device [01], core' "$WORK/err")" -eq 2 ] || return 1
    [ "$(grep -c '^[01]  *[0-9.]* ' "$WORK/out")" -eq 2 ] || return 1
    # Spans of both devices; sums beside the work, on a lane of their own.
    jq -e '[.traceEvents[] | select(.ph == "X" and (.name | test("ALLREDUCE")))] | length > 0' \
        "$WORK/t.json" > "$WORK/.jq"
    jq -e '[.traceEvents[] | select(.ph == "X") | .pid] | unique | length == 2' "$WORK/t.json" \
        > "$WORK/.jq"
}
ok 'rank 0 says who is where, prints the tables once, writes the timeline of all' says_who_is_where

# The mpirun, or pipebd-run, below a process.
launcher() {
    local pid=$1 name
    while :; do
        name=$(cat "/proc/$pid/comm")
        case $name in mpirun|orterun|prterun|pipebd-run) echo "$pid"; return ;; esac
        pid=$(children "$pid" | cut -d ' ' -f 1)
        [ -n "$pid" ] || return 1
    done
}

# Two ranks begin, are interrupted, and others go on: processes and devices are no part of a state.
resumed() {
    local begin=$1 go_on=$2 reference=$WORK/whole.safetensors keep=$WORK/keep
    rm -rf "$keep"
    [ -e "$reference" ] || epochs=4 run "$reference" dpu || return 1
    epochs=4 $begin || return 1
    epochs=4 $go_on || return 1
    [ "$(weights "$WORK/r.safetensors")" = "$(weights "$reference")" ]
}
# A rank is killed when a checkpoint is there; mpirun then ends the other.
begin_with_ranks() {
    set -m
    ranks 2 "$WORK/r.safetensors" dpu --checkpoint "$WORK/keep" --checkpoint-every 5 \
        > "$WORK/.begin" 2>&1 &
    local pid=$!
    set +m
    until_checkpoint "$WORK/keep" || return 1
    kill -KILL "$(children "$(launcher $pid)" | cut -d ' ' -f 1)"
    wait $pid 2> /dev/null
    wait_for none_left && has_checkpoint "$WORK/keep"
}
begin_alone() {
    set -m
    (train "$WORK/r.safetensors" dpu --checkpoint "$WORK/keep" --checkpoint-every 5) \
        > "$WORK/.begin" 2>&1 &
    until_checkpoint "$WORK/keep" || return 1
    kill -KILL $!
    wait $! 2> /dev/null
    set +m
}
alone()    { run "$WORK/r.safetensors" dpu --checkpoint "$WORK/keep" --resume; }
four()     { ranks 4 "$WORK/r.safetensors" "$WORK/lists4.json" --checkpoint "$WORK/keep" --resume; }
two() { ranks 2 "$WORK/r.safetensors" "$WORK/stealing2.json" --checkpoint "$WORK/keep" --resume; }
ok 'a checkpoint of 2 ranks goes on in one process' resumed begin_with_ranks alone
ok 'a checkpoint of 2 ranks goes on in 4, under another schedule' resumed begin_with_ranks four
ok 'a checkpoint of one process goes on in 2 ranks, stealing tasks' resumed begin_alone two

# interrupted SIGNAL COMMAND...: all ranks stop after the same step, and what they had is kept.
interrupted() {
    local signal=$1 keep=$WORK/keep pid status
    shift
    rm -rf "$keep" "$WORK/err" "$WORK/i.jsonl"
    set -m
    (export epochs=3000; "$@" --checkpoint "$keep" --checkpoint-every 1000000 \
        --log "$WORK/i.jsonl" --log-every 1) > "$WORK/.begin" 2> "$WORK/err" &
    pid=$!
    set +m
    wait_for has_line "$WORK/i.jsonl" '"progress"'
    kill "-$signal" -- "$(launcher $pid)"
    wait $pid
    status=$?
    cat "$WORK/err"
    [ $status -ne 0 ] && has_checkpoint "$keep" \
        && [ "$(grep -c 'interrupted after step' "$WORK/err")" -eq 1 ] || return 1
    [ ! -e "$WORK/i.safetensors" ]
}
by_mpirun() { OMPI_MCA_odls_base_sigkill_timeout=3 ranks 2 "$WORK/i.safetensors" tr "$@"; }
by_itself() { devices=cpu:1 train "$WORK/i.safetensors" tr --processes 2 "$@"; }
case $mpirun_version in
*' 4.'*) ok 'an interrupt of mpirun stops all ranks after a step, with a checkpoint' interrupted \
    INT by_mpirun ;;
*) skip 'an interrupt of mpirun stops all ranks after a step, with a checkpoint' \
    'this mpirun kills its ranks half a second after it' ;;
esac
ok 'SIGUSR2, which mpirun passes on, does so without a deadline' interrupted USR2 by_mpirun
# The launcher's own line is not known to its ranks.
ok 'and the line to go on says on how many processes' grep \
    -q '^to go on, on 2 processes as before: pipebd-run train .* --resume$' "$WORK/err"
ok 'an interrupt of --processes does so too' interrupted INT by_itself

# The line is ready for a shell, whatever a folder is called, and goes on with as many processes.
# A run of so many epochs, interrupted; 2: its end came first.
goes_on_from() {
    local keep="$WORK/go on" out=$WORK/g.safetensors line pid status
    rm -rf "$keep" "$out"
    set -m
    (export epochs=$1 devices=cpu:1; train "$out" tr --processes 2 --checkpoint "$keep" \
        --checkpoint-every 5) > "$WORK/.begin" 2> "$WORK/err" &
    pid=$!
    set +m
    until_checkpoint "$keep" || return 1
    kill -INT -- "$(launcher $pid)"
    wait $pid
    status=$?
    cat "$WORK/err"
    if [ $status -eq 0 ] && [ -s "$out" ]; then return 2; fi
    line=$(sed -n 's/^to go on: //p' "$WORK/err")
    [ $status -eq 130 ] && [ ! -e "$out" ] \
        && [[ $line == 'pipebd-run train '*' --processes 2 '*' --resume' ]] || return 1
    sh -c "$line" 2> "$WORK/err" || return 1
    cat "$WORK/err"
    [ -s "$out" ] && [ "$(grep -c 'rank [01] .* device [01], core' "$WORK/err")" -eq 2 ]
}
goes_on_as_it_says() {
    local epochs status
    for epochs in 20 100 500 2500; do
        goes_on_from $epochs
        status=$?
        [ $status -eq 2 ] || return $status
    done
    return 1
}
ok 'the line to go on of --processes does' goes_on_as_it_says

processes() {
    run "$WORK/p.safetensors" dpu || return 1
    devices=cpu:1 run "$WORK/q.safetensors" dpu --processes 2 || return 1
    cmp "$WORK/p.safetensors" "$WORK/q.safetensors"
}
ok '--processes launches the ranks itself' processes

# ---- what does not go together -----------------------------------------------------------

# refused STATUS TEXT COMMAND...: with this status, and TEXT once.
refused() {
    local status=$1 text=$2
    shift 2
    "$@" > "$WORK/.out" 2> "$WORK/err" < /dev/null
    local got=$?
    cat "$WORK/err"
    [ $got -eq "$status" ] && [ "$(grep -c -- "$text" "$WORK/err")" -eq 1 ] \
        && [ ! -e "$WORK/n.safetensors" ]
}
# Two ranks with a workload, and arguments, of their own.
differing() {
    local common=(pipebd-run train --epochs 1 --schedule dpu --devices cpu:1
        -o "$WORK/n.safetensors" --workload)
    # shellcheck disable=SC2086  # lists of arguments
    launch_two "${common[@]}" "$WORK/w.json" $1 : "${common[@]}" "$WORK/${3:-w.json}" $2
}
sed 's/"batch": 32/"batch": 16/' "$WORK/w.json" > "$WORK/other.json"
ok 'a plan for more devices than were launched is refused' \
    refused 1 'the plan is for 4 devices, the 2 ranks have 2 together' ranks 2 \
    "$WORK/n.safetensors" "$WORK/ahd4.json"
ok 'another seed in one rank is refused' \
    refused 1 '--seed: 1 on rank 0 (.*), 2 on rank 1' differing '' '--seed 2'
ok 'another batch in one rank is refused' \
    refused 1 'rank 1' differing '' '--batch 16'
ok 'another workload in one rank is refused' \
    refused 1 'hash of the workload: .* on rank 0' differing '' '--batch 32' other.json
ok 'an error of one rank is everybody'\''s, said once, with its rank' \
    refused 1 'rank 1 (.*): .*nothere' differing '' '--teacher /nothere.safetensors'
ok 'bad usage is said once' refused 2 'expected -o OUT' launch 3 pipebd-run train \
    --workload digits --schedule dpu --devices cpu:1
ok 'a batch that cannot be split is said once' \
    refused 1 'batch' launch 2 pipebd-run train --workload "$WORK/w.json" --schedule dp \
    --devices cpu:1 --batch 1 -o "$WORK/n.safetensors"
ok '--processes of a rank is refused' \
    refused 2 'this is a rank already' ranks 2 "$WORK/n.safetensors" dpu --processes 2
ok '--restarts of a rank is refused' \
    refused 2 'restarts: of a rank, no' ranks 2 "$WORK/n.safetensors" dpu \
    --checkpoint "$WORK/keep" --restarts 2

done_testing
