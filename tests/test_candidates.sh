#!/bin/bash
# Several students a block, end to end: make-students, profile, plan, train, evaluate, pick.
. "$(dirname "$0")/tap.sh"

needs_cpu_devices

python=${PYTHON:-python3}
cd "$WORK" || exit 1

# A small transformer on bytes, whose students are its teachers': what they learn is the teacher of
# the rest.
"$python" - "$PIPEBD_ROOT" << 'P'
import json, os, sys
text = open(os.path.join(sys.argv[1], "docs", "design.md"), "rb").read()[:3000]
os.makedirs("text")
open("text/train.txt", "wb").write(text[:2400])
open("text/val.txt", "wb").write(text[2400:])
block = [{"layer": "residual", "body": [
             {"layer": "rmsnorm"}, {"layer": "linear", "out": 48, "bias": False},
             {"layer": "attention", "heads": 2, "kv_heads": 2, "head_dim": 8, "causal": True},
             {"layer": "linear", "out": 16, "bias": False}]},
         {"layer": "residual", "body": [
             {"layer": "rmsnorm"}, {"layer": "linear", "out": 32}, {"layer": "gelu"}, {"layer": "linear", "out": 16}]}]
chains = [[{"layer": "embedding", "vocabulary": 256, "out": 16}] + block, block,
          [{"layer": "rmsnorm"}, {"layer": "linear", "out": 256}]]
w = {"format": "pipebd-workload", "version": 1, "name": "text", "input": {"tokens": 24, "vocabulary": 256},
     "batch": 8, "samples": 80, "training": {"optimizer": "adamw", "learning_rate": 3e-3}, "data": "bytes:text",
     "blocks": [{"name": "b%d" % i, "loss": "soft_cross_entropy" if i == 2 else "mse", "teacher": layers, "student": layers}
                for i, layers in enumerate(chains)]}
json.dump(w, open("first.json", "w"))
w["teacher_weights"] = "teacher.safetensors"
json.dump(w, open("teacher.json", "w"))
P
cat > same.py << 'P'
"""Whether two files have the same bytes of every tensor whose name begins with a prefix; rename: a prefix of the first
file's names that is another in the second."""
import json, struct, sys
def read(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    return {k: raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]] for k, v in header.items()}
a, b = read(sys.argv[1]), read(sys.argv[2])
pairs = [p.split("=") for p in sys.argv[3:]] or [["", ""]]
count = 0
for old, new in pairs:
    names = [k for k in a if k.startswith(old)]
    if not names: sys.exit("nothing named " + old)
    for k in names:
        if a[k] != b[new + k[len(old):]]: sys.exit(k + " differs")
        count += 1
print(count)
P
same() { "$python" same.py "$@"; }
run() { OMP_NUM_THREADS=1 pipebd-run "$@"; }
train() { run train --workload "$1" --devices cpu:2 --epochs 2 "${@:2}"; }

ok 'a teacher' train first.json --schedule dpu -o teacher.safetensors

ok 'make-students takes lists' pipebd-workload make-students teacher.json -o library --ffn 0.5,0.25
ok 'the head is no FFN: its block keeps one student' "$python" -c '
import json
b = json.load(open("library.json"))["blocks"]
assert [[s["name"] for s in x.get("students", [])] for x in b] == [["ffn50", "ffn25"]] * 2 + [[]], b
assert "student" in b[2]'
ok 'check counts them' grep -F 'library.json: ok, 3 blocks, 5 students' \
    <(pipebd-workload check library.json)
ok 'one of a list is what it is alone' pipebd-workload make-students teacher.json -o half --ffn 0.5
ok 'with the same weights' same library.safetensors half.safetensors blocks.0.ffn50.=blocks.0. \
    blocks.1.ffn50.=blocks.1. blocks.2.=blocks.2.
ok 'each value with each' pipebd-workload make-students teacher.json -o many --ffn 1,0.5 --rank 4,99
names() {
    "$python" -c 'import json; print(*[s["name"] for s in json.load(open("many.json"))["blocks"][0]["students"]])'
}
four() { [ "$(names)" = 'ffn100-rank4 ffn50-rank4 ffn100-rank99 ffn50-rank99' ]; }
ok 'under names of what varies' four
ok 'a rank that nothing has gives the same as none' pipebd-workload make-students teacher.json \
    -o many --ffn 0.5 --rank 99,98
one() {
    "$python" \
        -c 'import json; assert all("student" in b for b in json.load(open("many.json"))["blocks"])'
}
ok 'and equal students are one' one
says() {
    pipebd-workload "${@:3}" > .said 2>&1
    [ $? -eq "$1" ] && grep -F -- "$2" .said
}
ok 'a share of 0' says 2 'expected a share above 0' make-students teacher.json -o x --ffn 0.5,0
ok 'a share that is none' says 2 'expected a share above 0' make-students teacher.json -o x \
    --ffn 0.5,half
ok 'a share too many' says 2 'expected a share above 0' make-students teacher.json -o x --ffn 0.5,
ok 'one share of all' says 2 'expected a share above 0 and below 1' make-students teacher.json \
    -o x --ffn 1
ok 'a value twice' says 2 'given twice: student "ffn50"' make-students teacher.json -o x \
    --ffn 0.5,0.5
ok 'too many' says 2 'students a block, expected at most 256' make-students teacher.json -o x \
    --ffn 0.5,0.4,0.3,0.2,0.1 \
    --heads 1,2,3,4,5,6,7,8 --width 1,2,3,4,5,6,7,8
ok 'its own teacher is not written over' says 1 'is read, expected another name' make-students \
    teacher.json -o teacher --ffn 0.5

ok 'profile measures each' run profile --workload library.json --devices cpu:2 \
    --trials 3 --limit 0 \
    -o trace.json
students() {
    "$python" -c '
import json
for b in json.load(open("trace.json"))["blocks"][:2]:
    assert [s["name"] for s in b["students"]] == ["ffn50", "ffn25"], b
    half, quarter = b["students"]
    assert 0 < quarter["gradient_bytes"] < half["gradient_bytes"]
    assert quarter["timings"] and "student" not in b'
}
ok 'in a list of the trace' students
ok 'and so does a model' pipebd-trace model --workload library.json --device rtx-a6000 --devices 2 \
    -o modelled.json
ok 'plan balances them' pipebd-plan trace.json --schedules tr,dpu -o plan.json
ok 'train does as planned' train library.json --plan plan.json --init library.safetensors \
    -o dpu.safetensors
cp .tap table.txt
rows() {
    [ "$(grep -Ec '^(b0/ffn50|b0/ffn25|b1/ffn50|b1/ffn25|b2) +[0-9]+ +[0-9.]+ +[0-9.]+$' \
        table.txt)" -eq 5 ]
}
ok 'a row a student' rows
ok 'the best of each block in a row' grep \
    -E '^of each block the student with the least loss: ffn(50|25),ffn(50|25),0$' table.txt

# Each as if it were alone, whatever the schedule.
ok 'half alone' train half.json --schedule dpu --init half.safetensors -o half-dpu.safetensors
for schedule in tr ls ahd split; do
    ok "$schedule trains all" train library.json --schedule $schedule --trace trace.json \
        --init library.safetensors \
        -o $schedule.safetensors
done
alone() { same half-dpu.safetensors "$1" blocks.2.=blocks.2. && same dpu.safetensors "$1"; }
for schedule in dpu tr ls; do
    ok "$schedule gives the bits of one alone" alone $schedule.safetensors
done
for schedule in dp ir; do
    ok "$schedule trains all" train library.json --schedule $schedule --init library.safetensors \
        -o $schedule.safetensors
done
ok 'dp and ir give the same' same dp.safetensors ir.safetensors
for schedule in sequential store; do
    ok "$schedule trains all" train library.json --schedule $schedule --store host \
        --init library.safetensors \
        -o $schedule.safetensors
done

# Stopped and gone on with, under another schedule.
ok 'a run with checkpoints' train library.json --schedule dpu --init library.safetensors \
    --checkpoint kept \
    --checkpoint-every 7 -o kept.safetensors --log kept.jsonl
ok 'is the run without' same dpu.safetensors kept.safetensors
newest() { ls kept | sort | tail -n 1; }
rm "kept/$(newest)"
ok 'goes on under another schedule' train library.json --schedule ls --trace trace.json \
    --init library.safetensors \
    --checkpoint kept --resume -o again.safetensors
ok 'to the same bits' same dpu.safetensors again.safetensors
log() {
    "$python" -c '
import json
lines = [json.loads(l) for l in open("kept.jsonl")]
assert lines[0]["blocks"] == ["b0/ffn50", "b0/ffn25", "b1/ffn50", "b1/ffn25", "b2"], lines[0]
assert all(len(l["losses"]) == 5 for l in lines[1:])
assert lines[-1]["why"] == "done"'
}
ok 'the log has a loss a student' log

# What they are worth.
ok 'evaluate takes the best' run evaluate --workload library.json --student dpu.safetensors
cp .tap best.txt
best() { [ "$(grep -c ' best$' best.txt)" -eq 2 ] && grep '^students in a row' best.txt; }
ok 'of each block' best
ok 'or those that are named' run evaluate --workload library.json --student dpu.safetensors \
    --students ffn25,0,0 --format json
cp .tap named.txt
ok 'and says which' grep -F '"student": "ffn25"' named.txt
wrong() {
    run evaluate --workload library.json "${@:2}" > /dev/null 2> .err
    [ $? -ne 0 ] && grep -F -- "$1" .err
}
ok 'a name that no student has' wrong 'has no student "ffn75"' --student dpu.safetensors \
    --students ffn75,0,0
ok 'too few' wrong 'names 2 students' --student dpu.safetensors --students ffn25,0
ok 'students of nobody' wrong 'no effect without --student' --students 0,0,0
ok 'weights of other students' wrong 'has no student ffn50 of block b0' \
    --student half-dpu.safetensors
unlisted() {
    run evaluate --workload half.json --student dpu.safetensors > /dev/null 2> .err
    [ $? -eq 1 ] && grep -F 'dpu.safetensors: has no student of block b0' .err
}
ok 'weights of a list, where the block has one student' unlisted
begins() {
    train library.json --schedule dpu --init half-dpu.safetensors -o x.safetensors > /dev/null \
        2> .err
    [ $? -eq 1 ] && grep -F 'half-dpu.safetensors: has no student ffn50 of block b0' .err
}
ok 'initial weights of other students' begins
a_plan_of_others() {
    train half.json --plan plan.json -o x.safetensors > /dev/null 2> .err
    [ $? -eq 1 ] && grep -F 'the plan trains 2 students of block "b0"' .err
}
ok 'a plan of other students' a_plan_of_others
unchosen() {
    pipebd-run choose --workload library.json --student dpu.safetensors -o x > /dev/null 2> .err
    [ $? -eq 1 ] && grep -F 'see pipebd-workload pick' .err
}
ok 'paths are chosen of one student a block' unchosen

# One of each block, as a workload of its own.
ok 'pick' pipebd-workload pick library.json --students ffn25,ffn50,0 --weights dpu.safetensors \
    -o picked
ok 'weights under the names of blocks with one student' same dpu.safetensors picked.safetensors \
    blocks.0.ffn25.=blocks.0. blocks.1.ffn50.=blocks.1. blocks.2.=blocks.2.
worth() { run evaluate --workload "$1" --student "$2" "${@:3}" 2> /dev/null | grep students; }
alike() {
    [ "$(worth library.json dpu.safetensors --students ffn25,ffn50,0)" = "$(worth picked.json \
        picked.safetensors)" ]
}
ok 'it is worth the same' alike
ok 'and trains on' train picked.json --schedule dpu --init picked.safetensors -o on.safetensors
home() {
    "$python" "$PIPEBD_ROOT/workloads/students_home.py" library.json dpu.safetensors nowhere x \
        2> .err
    [ $? -eq 1 ] \
        && grep -F 'lists its students: take one of each block with pipebd-workload pick first' .err
}
ok 'only one student a block goes home' home
ok 'nothing is picked of other weights' says 1 'has no student ffn50 of block b0' pick \
    library.json --students ffn50,0,0 \
    --weights half-dpu.safetensors -o x
ok 'nor by wrong names' says 1 'has no student "ffn1"' pick library.json --students ffn1,0,0 \
    --weights dpu.safetensors -o x
ok 'nor without weights' says 2 'expected --students, --weights and -o' pick library.json \
    --students 0,0,0 -o x
done_testing
