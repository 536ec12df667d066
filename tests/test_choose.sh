#!/bin/bash
# An architecture search as a user meets it: a supernet trained, the best network taken out of
# it within a budget, which is a workload that can be described and trained again.
. "$(dirname "$0")/tap.sh"

needs_cpu_devices

cd "$WORK" || exit 1
conv() {
    printf '{"layer": "conv", "out": 4, "kernel": %d}, {"layer": "batchnorm"}, {"layer": "relu"}' \
        "$1"
}
cat > super.json <<END
{"format": "pipebd-workload", "version": 1, "name": "super", "batch": 16, "samples": 64, "classes": 3,
 "input": {"channels": 2, "height": 6, "width": 6}, "training": {"learning_rate": 0.05, "momentum": 0.9},
 "blocks": [
  {"name": "a", "loss": "mse", "teacher": [$(conv 3)],
   "student": [{"layer": "choice", "paths": [[$(conv 1)], [$(conv 3)], [$(conv 5)]]},
               {"layer": "choice", "paths": [[], [{"layer": "mbconv", "out": 4, "kernel": 3, "expansion": 3}]]}]},
  {"name": "b", "loss": "soft_cross_entropy", "teacher": [{"layer": "flatten"}, {"layer": "linear", "out": 3}],
   "student": [{"layer": "choice", "paths": [[{"layer": "avgpool", "global": true}], [{"layer": "maxpool", "kernel": 6}]]},
               {"layer": "linear", "out": 3}]}]}
END
choose() { pipebd-run choose --workload super.json --student super.safetensors "$@"; }

ok 'the supernet is trained' pipebd-run train --workload super.json --schedule dpu --devices cpu:2 \
    --epochs 2 -o super.safetensors

# ---- what is refused ----------------------------------------------------------------

expect_status 2 'no workload' pipebd-run choose --student super.safetensors -o x
expect_status 2 'no student' pipebd-run choose --workload super.json -o x
expect_status 2 'no output' choose
expect_status 2 'devices that nobody has' choose -o x --devices gpu
expect_status 2 'no such source of data' choose -o x --data nothere
expect_status 1 'an output that cannot be written' choose -o nothere/x
# Weights and workload of the supernet are not written over.
own() { choose "${@:2}" 2>&1 > /dev/null | tail -n 1 | grep -F -- "$1 and -o are the same file, "; }
cp super.safetensors kept.safetensors
expect_status 2 'its own weights as output' choose -o super
ok 'which of the two is named' own --workload -o super
ln super.safetensors other.safetensors
ok 'so are weights by another name' own --student -o other
ok 'and a teacher that is not there yet' own --teacher --teacher x.safetensors -o x
ok 'all is as it was' cmp super.safetensors kept.safetensors
says() { local text=$1; shift; "$@" 2>&1 > /dev/null | grep -F -- "$text"; }
ok 'a budget that is too small' says 'but the cheapest paths need 300' choose -o x --max-macs 100
tensor=$(tail -c +9 super.safetensors | grep -aoE 'blocks\.0[^"]*\.running_var' | head -n 1)
"${PYTHON:-python3}" "$PIPEBD_ROOT/tests/edit_weights.py" super.safetensors nan.safetensors \
    "$tensor=nan"
ok 'students with a number that is none' says \
    "nan.safetensors: tensor $tensor has a number that is not finite" \
    pipebd-run choose --workload super.json --student nan.safetensors -o x
expect_status 1 'which is no wrong use' pipebd-run choose --workload super.json \
    --student nan.safetensors -o x
leaves_nothing() { ! ls x.* 2> /dev/null; }
ok 'nothing is left of these' leaves_nothing

# ---- what is chosen --------------------------------------------------------------------

# conv 1: 8 weights at 36 places; linear: 12.
ok 'the best of all' choose -o best.json
rows() {
    choose -o again > out && [ "$(grep -c '^[ab]  ' out)" -eq 2 ] \
        && grep -q '^held out, right of 7: teacher ' out
}
ok 'a row a block, and accuracies' rows
titles() {
    grep -q '^relative loss: 0 is the teacher, 1 is ' out \
        && grep -q '^block  *sets of paths  *relative loss  *MACs  *taken$' out
}
ok 'losses are called what they are' titles
twice() {
    mkdir -p twice && choose -o twice/best.json && cmp best.safetensors twice/best.safetensors \
        && cmp best.json twice/best.json
}
ok 'the same twice' twice
notes() {
    tail -c +9 small.safetensors | grep -aom 1 '^{"__metadata__":{[^}]*}' \
        | sed 's/$/}/' > header.json
    jq -e '.__metadata__
        | (keys == ["seed", "supernet", "supernet_hash", "workload", "workload_hash"])
        and .workload == "small"
        and .supernet == "super" and .workload_hash == $small and .supernet_hash == $super' \
        --arg small "$(pipebd-run describe --workload small.json --format json | jq -r .hash)" \
        --arg super "$(pipebd-run describe --workload super.json --format json | jq -r .hash)" \
        header.json
}
ok 'within a budget' choose -o small --max-macs 300
if command -v jq > /dev/null; then ok 'the weights say whose they are, and of what supernet' notes
else skip 'the weights say whose they are, and of what supernet' 'no jq'; fi
no_choices() { ! grep -q choice "$1" && grep -q '"name": "small"' "$1"; }
ok 'no choices are left' no_choices small.json
macs() {
    pipebd-run describe --workload "$1" --format json | grep '"student"' \
        | sed 's/.*"macs_mean": \([0-9]*\).*/\1/' | awk '{ sum += $1 } END { print sum }'
}
within() { [ "$(macs small.json)" -eq 300 ] && [ "$(macs best.json)" -ge 300 ]; }
ok 'the budget is kept' within
ok 'it can be trained again' pipebd-run train --workload small.json --schedule tr --devices cpu:2 \
    -o retrained.safetensors
ok 'a workload without choices is refused' says 'have no choices' \
    pipebd-run choose --workload small.json --student small.safetensors -o x
ok 'a sample of the paths' choose -o x --paths 2 --batches 1 --refresh 0

# An image workload that does not classify has nothing to be asked for.
cat > plain.json <<END
{"format": "pipebd-workload", "version": 1, "name": "plain", "batch": 16, "samples": 64,
 "input": {"channels": 2, "height": 6, "width": 6}, "training": {"learning_rate": 0.05},
 "blocks": [{"name": "a", "loss": "mse", "teacher": [$(conv 3)], "student": [$(conv 3)]}]}
END
ok 'a network that does not classify is trained' pipebd-run train --workload plain.json \
    --schedule dpu --devices cpu:1 --epochs 1 -o plain.out

done_testing
