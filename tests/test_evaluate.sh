#!/bin/bash
# pipebd-run evaluate: losses and accuracies that are known otherwise, and outputs that give the
# losses.
. "$(dirname "$0")/tap.sh"

needs_cpu_devices

cd "$WORK" || exit 1
# One block without a place that is not squared: its loss follows from the two outputs. As many
# pixels come out as go in.
layers='{"layer": "conv", "out": 3, "kernel": 3, "padding": 1}, {"layer": "batchnorm"}, {"layer": "relu"}'
cat > one.json <<END
{"format": "pipebd-workload", "version": 1, "name": "one", "batch": 16, "samples": 72,
 "input": {"channels": 2, "height": 5, "width": 4}, "training": {"learning_rate": 0.05, "momentum": 0.9},
 "blocks": [{"name": "a", "loss": "mse", "teacher": [$layers], "student": [$layers]}]}
END
evaluate() { pipebd-run evaluate "$@" 2> err; }

ok 'students to look at' pipebd-run train --workload one.json --schedule dpu --devices cpu:1 \
    --epochs 2 -o one.safetensors
digits() {
    pipebd-run train --workload digits --schedule dpu --devices cpu:2 --epochs 1 \
        -o digits.safetensors > train.txt
}
ok 'and of digits' digits

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
ok 'without labels, the cosine' says 'students in a row: cosine to the teacher 0.' \
    --workload one.json --student one.safetensors
ok 'a teacher that is the student loses nothing' says 'a                    0 (mse)' \
    --workload one.json --student one.safetensors --teacher one.safetensors
evaluate --workload one.json --teacher one.safetensors -o again.out > /dev/null
ok 'and gives the same outputs' cmp student.out again.out
evaluate --workload one.json --student one.safetensors --devices cpu:2 > two
ok 'two devices say what one says' cmp table two

# ---- as JSON ----------------------------------------------------------------------------

evaluate --workload one.json --student one.safetensors --format json -o json.out > one.out.json
as_the_table() {
    local loss cosine
    loss=$(sed -n 's/^a  *\([^ ]*\) (mse)$/\1/p' table) \
        cosine=$(sed -n 's/.*cosine to the teacher //p' table)
    jq -e --argjson loss "$loss" --argjson cosine "$cosine" \
        '.format == "pipebd-evaluation" and .version == 1 and .workload == "one"
        and (.workload_hash | test("^[0-9a-f]{16}$")) and .data == "synthetic"
        and .part == "validation" and .samples == 8
        and (.blocks | length) == 1 and .blocks[0].name == "a" and .blocks[0].loss == "mse"
        and (.blocks[0].value / $loss - 1 | fabs) < 1e-4
        and (.students.cosine - $cosine | fabs) < 1e-6
        and (has("teacher") | not) and .students.right == null' one.out.json
}
ok 'JSON says what the table says' as_the_table
ok 'and writes the same outputs' cmp student.out json.out
evaluate --workload one.json --format json > teacher.out.json
ok 'of a teacher alone, no blocks' jq -e '(keys
    | sort) == ["data", "format", "part", "samples", "version", "workload", "workload_hash"]' \
    teacher.out.json

# ---- students of an edited file -------------------------------------------------------------

evaluate --workload one.json --student one.safetensors > /dev/null
ok 'students of this file are worth no note' test -z "$(grep note: err)"
sed 's/"batchnorm"}/"batchnorm", "eps": 0.1}/g' one.json > eps.json
evaluate --workload eps.json --student one.safetensors > eps.table
ok 'another eps is another network' grep \
    -F 'note: one.safetensors is of a workload'"'"'s file of other bytes' err
ok 'with other losses' test "$(grep '^a ' eps.table)" != "$(grep '^a ' table)"
resumed_elsewhere() {
    pipebd-run train --workload one.json --schedule dpu --devices cpu:1 --epochs 1 \
        --checkpoint kept -o x.safetensors || return 9
    pipebd-run train --workload eps.json --schedule dpu --devices cpu:1 --epochs 2 \
        --checkpoint kept --resume -o x.safetensors
}
expect_status 1 'and a checkpoint of it is not gone on with' resumed_elsewhere

# ---- perplexity -------------------------------------------------------------------------

# Scores of the next byte from each byte alone: what they are worth follows from the outputs and the
# text.
cat > text.json <<'END'
{"format": "pipebd-workload", "version": 1, "name": "text", "batch": 4, "samples": 8, "data": "bytes:text",
 "input": {"tokens": 6, "vocabulary": 256}, "training": {"learning_rate": 0.5},
 "blocks": [{"name": "a", "loss": "soft_cross_entropy",
  "teacher": [{"layer": "embedding", "vocabulary": 256, "out": 8}, {"layer": "linear", "out": 256}],
  "student": [{"layer": "embedding", "vocabulary": 256, "out": 4}, {"layer": "linear", "out": 256}]}]}
END
mkdir text
printf 'what a pity that no wren sings in this row of words, all of which are short, and none of which rhymes at all' > text/train.txt
printf 'a word of truth: 5 x 6 is 30, and so on.' > text/val.txt
ok 'a model of text' pipebd-run train --workload text.json --schedule dpu --devices cpu:1 \
    --epochs 3 -o text.safetensors
evaluate --workload text.json --student text.safetensors -o text.out --format json > text.out.json
evaluate --workload text.json -o text.teacher --format json > /dev/null
cat > perplexity.py <<'END'
import array, json, math, sys
text, told = open("text/val.txt", "rb").read(), json.load(open("text.out.json"))
for who, path in (("students", "text.out"), ("teacher", "text.teacher")):
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        values = array.array("f", f.read())
    assert header["outputs"]["shape"] == [6, 256, 6, 1], header
    right = asked = 0
    loss = 0.0
    for s in range(6):
        for t in range(5):
            scores, next = values[s * 1536 + t:(s + 1) * 1536:6], text[6 * s + t + 1]
            right += max(range(256), key=lambda c: scores[c]) == next
            asked += 1
            loss += math.log(sum(math.exp(v) for v in scores)) - scores[next]
    found = told[who]
    assert (found["right"], found["asked"]) == (right, asked) and abs(found["accuracy"] - right / asked) < 1e-12, (found, right)
    assert abs(found["perplexity"] / math.exp(loss / asked) - 1) < 1e-4, (who, found, math.exp(loss / asked))
END
ok 'accuracy and perplexity follow from outputs and text' "${PYTHON:-python3}" perplexity.py

# ---- data beside the workload -------------------------------------------------------------

mkdir -p apart/text elsewhere
cp text.json apart/ && cp text/train.txt text/val.txt apart/text/
from() { (cd "$1" && shift && pipebd-run evaluate "$@" 2> ../err); }
ok 'data lies beside the workload, wherever one stands' from elsewhere --workload ../apart/text.json
ok 'which is not worth a word' test -z "$(grep note: err)"
mv apart/text elsewhere/text
ok 'for a release, it may lie where one stands' from elsewhere --workload ../apart/text.json
ok 'which is said' grep \
    -F 'note: ../apart/text is not there, so text is taken from the current folder' err
rm -r elsewhere/text
expect_status 1 'else it is missing' from elsewhere --workload ../apart/text.json
ok 'and the place beside the workload is named' grep -F '../apart/text' err

# ---- accuracy ---------------------------------------------------------------------------

evaluate --workload digits --student digits.safetensors > digits.txt
as_trained() {
    local teacher student
    teacher=$(sed -n 's/^teacher: accuracy \([0-9.]*\) %.*/\1/p' digits.txt)
    student=$(sed -n 's/^students in a row: accuracy \([0-9.]*\) %.*/\1/p' digits.txt)
    [ -n "$student" ] \
        && grep -F "accuracy: teacher $teacher %, " train.txt | grep -F "after $student %"
}
ok 'the accuracies that train says' as_trained
evaluate --workload digits --student digits.safetensors --format json > digits.out.json
ok 'a share in JSON' jq -e '(.students.right / .students.asked - .students.accuracy | fabs) < 1e-12
    and .teacher.asked == 360
    and (.teacher | has("perplexity") | not) and (.blocks | length) == 6' digits.out.json
ok 'a row a block' test "$(grep -c '(mse)$\|(soft_cross_entropy)$' digits.txt)" -eq 6
ok 'the training part' says 'training part' --workload digits --part training

# ---- what is refused ----------------------------------------------------------------------

expect_status 2 'no workload' pipebd-run evaluate
expect_status 2 'devices that are no cores' pipebd-run evaluate --workload one.json --devices cuda:0
expect_status 2 'no such format' pipebd-run evaluate --workload one.json --format csv
expect_status 2 'no such source of data' pipebd-run evaluate --workload one.json --data nothere
expect_status 2 'students written over' pipebd-run evaluate --workload one.json \
    --student one.safetensors -o one.safetensors
expect_status 2 'outputs among the results' pipebd-run evaluate --workload one.json -o -
expect_status 1 'students of another workload' pipebd-run evaluate --workload digits \
    --student one.safetensors
expect_status 1 'students with paths to choose from' pipebd-run evaluate --workload nas-digits \
    --student digits.safetensors
ok 'which is said' grep -F 'has no student of block' \
    <(pipebd-run evaluate --workload digits --student one.safetensors 2>&1)
expect_status 1 'no such folder for the outputs' pipebd-run evaluate --workload one.json \
    -o nothere/x

done_testing
