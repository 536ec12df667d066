#!/bin/bash
# pipebd-run evaluate: losses and accuracies that are known otherwise, and outputs that give the losses.
. "$(dirname "$0")/tap.sh"

if [ ! -x "$PIPEBD_BIN/pipebd-run" ]; then
    echo '1..0 # SKIP pipebd-run is not built'
    exit 0
fi

cd "$WORK" || exit 1
# One block without a place that is not squared: its loss follows from the two outputs. As many pixels come out as go in.
layers='{"layer": "conv", "out": 3, "kernel": 3, "padding": 1}, {"layer": "batchnorm"}, {"layer": "relu"}'
cat > one.json <<END
{"format": "pipebd-workload", "version": 1, "name": "one", "batch": 16, "samples": 72,
 "input": {"channels": 2, "height": 5, "width": 4}, "training": {"learning_rate": 0.05, "momentum": 0.9},
 "blocks": [{"name": "a", "loss": "mse", "teacher": [$layers], "student": [$layers]}]}
END
evaluate() { pipebd-run evaluate "$@" 2> err; }

ok 'students to look at' pipebd-run train --workload one.json --schedule dpu --devices cpu:1 --epochs 2 -o one.safetensors
ok 'and of digits' pipebd-run train --workload digits --schedule dpu --devices cpu:2 --epochs 1 -o digits.safetensors

# ---- losses and outputs ---------------------------------------------------------------

ok 'outputs of the teacher' evaluate --workload one.json -o teacher.out
ok 'of the students' evaluate --workload one.json --student one.safetensors -o student.out
evaluate --workload one.json --student one.safetensors > table
cat > mse.py <<'END'
import array, json, sys
def outputs(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        values = array.array("f", f.read())
    assert header["outputs"]["shape"][1:] == [3, 5, 4], header
    return values
t, s = outputs("teacher.out"), outputs("student.out")
assert len(t) == len(s) > 0
mse = sum((a - b) ** 2 for a, b in zip(t, s)) / len(t)
told = float(next(l for l in open("table") if l.startswith("a ")).split()[1])
assert mse > 1e-6 and abs(mse - told) < 1e-4 * mse, (mse, told)
END
ok 'the loss of a block is the mean of squares over its outputs' "${PYTHON:-python3}" mse.py
says() { local text=$1; shift; evaluate "$@" | grep -qF -- "$text"; }
ok 'without labels, the cosine' says 'students in a row: cosine to the teacher 0.' --workload one.json --student one.safetensors
ok 'a teacher that is the student loses nothing' says 'a                    0 (mse)' \
    --workload one.json --student one.safetensors --teacher one.safetensors
evaluate --workload one.json --teacher one.safetensors -o again.out > /dev/null
ok 'and gives the same outputs' cmp student.out again.out
evaluate --workload one.json --student one.safetensors --devices cpu:2 > two
ok 'two devices say what one says' cmp table two

# ---- accuracy ---------------------------------------------------------------------------

evaluate --workload digits --student digits.safetensors > digits.txt
pipebd-run train --workload digits --schedule dpu --devices cpu:2 --epochs 1 -o x.safetensors 2> /dev/null > train.txt
as_trained() {
    local teacher student
    teacher=$(sed -n 's/^teacher: accuracy \([0-9.]*\) %.*/\1/p' digits.txt)
    student=$(sed -n 's/^students in a row: accuracy \([0-9.]*\) %.*/\1/p' digits.txt)
    [ -n "$student" ] && grep -F "accuracy: teacher $teacher %, " train.txt | grep -F "after $student %"
}
ok 'the accuracies that train says' as_trained
ok 'a row a block' test "$(grep -c '(mse)$\|(soft_cross_entropy)$' digits.txt)" -eq 6
ok 'the training part' says 'training part' --workload digits --part training

# ---- what is refused ----------------------------------------------------------------------

expect_status 2 'no workload' pipebd-run evaluate
expect_status 2 'devices that are no cores' pipebd-run evaluate --workload one.json --devices cuda:0
expect_status 2 'no such source of data' pipebd-run evaluate --workload one.json --data nothere
expect_status 2 'students written over' pipebd-run evaluate --workload one.json --student one.safetensors -o one.safetensors
expect_status 1 'students of another workload' pipebd-run evaluate --workload digits --student one.safetensors
expect_status 1 'students with paths to choose from' pipebd-run evaluate --workload nas-digits --student digits.safetensors
ok 'which is said' grep -F 'has no student of block' <(pipebd-run evaluate --workload digits --student one.safetensors 2>&1)
expect_status 1 'no such folder for the outputs' pipebd-run evaluate --workload one.json -o nothere/x

done_testing
