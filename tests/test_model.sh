#!/bin/bash
# pipebd-trace model as a user meets it: what it writes and prints, that every option has an
# effect, and what it refuses.
. "$(dirname "$0")/tap.sh"

# model OPTION...: a trace of the digits on four GPUs, on standard output.
model() { pipebd-trace model --workload digits --device rtx-a6000 --devices 4 -o - "$@"; }

golden 'a modelled trace' model-digits.json model
pipebd-trace model --workload nas-digits --device 'RTX A6000' --devices 2 -o "$WORK/nas.json" \
    > "$WORK/said"
golden 'what it says, and shows' model-nas-digits.txt \
    sh -c "sed 's|$WORK/||' '$WORK/said'; pipebd-trace show '$WORK/nas.json'"
ok 'the same input gives the same bytes' cmp <(model) <(model)

# Each device with the next workload in turn: there are more devices than workloads.
whole() {
    local i=0 workloads=(digits nas-digits nas-cifar10 nas-imagenet vgg16-dsconv-cifar10
        vgg16-dsconv-imagenet)
    for file in "$PIPEBD_ROOT"/traces/devices/*.json; do
        local w=${workloads[i++ % 6]}
        pipebd-trace model --workload "$w" --device "$file" --devices 5 -o "$WORK/$w.json" \
            && pipebd-trace check "$WORK/$w.json" \
            && pipebd-plan --sensitivity no --steps 20 "$WORK/$w.json" || return 1
    done
}
ok 'every workload, and every device: checked and planned' whole

# changes OPTION VALUE: the option makes another trace than its default does.
changes() { ! cmp -s <(model) <(model "$@") && model "$@" > /dev/null; }
for option in '--batch 48' '--precision fp32' '--precision bf16' '--name other' \
    '--date 2026-01-01' '--transfers blocking' \
              '--data jpeg' '--sample-us 70' '--cores 3' '--workers 2' '--prefetch 0' \
              '--layout channels-last' '--layout fused' \
              '--optimizer foreach' '--host-us 20' '--step-us 0' '--process-bytes 1GiB' \
              '--devices 3' '--device l40s' '--workload nas-digits'; do
    # shellcheck disable=SC2086
    case $option in
    --device*|--workload*) base=${option%% *}
        other() {
            ! cmp -s <(model) \
                <(pipebd-trace model --workload "$w" --device "$d" --devices "$n" -o -)
        }
        w=digits d=rtx-a6000 n=4
        case $base in --devices) n=3 ;; --device) d=l40s ;; *) w=nas-digits ;; esac
        ok "$option has an effect" other ;;
    *) ok "$option has an effect" changes $option ;;
    esac
done
ok '--machine-devices has an effect' changes --machine-devices 2 --network-gb-per-s 10
machines() {
    ! cmp -s <(model --machine-devices 2 --network-gb-per-s 10) \
        <(model --machine-devices 2 --network-gb-per-s 1)
}
ok '--network-gb-per-s has an effect' machines
planned() {
    pipebd-trace model --workload nas-cifar10 --device l40s --devices 12 --machine-devices "$1" \
        --network-gb-per-s 10 -o "$WORK/m.json" &&
        pipebd-trace check "$WORK/m.json" && pipebd-plan --sensitivity no --steps 20 "$WORK/m.json"
}
for n in 1 5 8; do ok "machines of $n: checked and planned" planned $n; done
photographs() {
    pipebd-trace model --workload vgg16-dsconv-imagenet --device rtx-a6000 --devices 4 -o - "$@"
}
by_pillow() { ! cmp -s <(photographs) <(photographs --loader pillow); }
ok '--loader pillow has an effect' by_pillow
statistics() { ! cmp -s \
    <(pipebd-trace model --workload nas-cifar10 --device rtx-a6000 --devices 4 -o -) \
                         <(pipebd-trace model --workload nas-cifar10 --device rtx-a6000 \
                         --devices 4 --teacher-statistics batch -o -); }
ok '--teacher-statistics batch has an effect' statistics
sed 's/"blocks"/"teacher_statistics": "batch", &/' "$PIPEBD_ROOT/workloads/nas-cifar10.json" \
    > "$WORK/training.json"
# in_training OPTION...: the times of a trace of a workload whose teacher runs in training mode.
in_training() {
    pipebd-trace model --workload "$WORK/training.json" --device rtx-a6000 --devices 4 -o - "$@" \
        | grep -v hash
}
of_option() {
    pipebd-trace model --workload nas-cifar10 --device rtx-a6000 --devices 4 -o - "$@" \
        | grep -v hash
}
ok 'a workload says teacher_statistics, as the option does' cmp <(in_training) \
    <(of_option --teacher-statistics batch)
ok 'the option overrules the workload' cmp <(in_training --teacher-statistics running) <(of_option)
attention() {
    local of=$PIPEBD_ROOT/tests/fixtures/workload/good/transformer.json
    ! cmp -s <(pipebd-trace model --workload "$of" --device t4 --devices 2 -o -) \
        <(pipebd-trace model --workload "$of" --device t4 --devices 2 -o - --attention eager)
}
ok '--attention eager has an effect' attention
link() { pipebd-trace model --workload digits --device h100-sxm --devices 4 -o - --link "$1"; }
ok '--link pcie has an effect' eval '! cmp -s <(link nvlink) <(link pcie)'
ok '--link auto is NVLink where it joins all' cmp <(link auto) <(link nvlink)

operators() {
    pipebd-trace model --workload nas-cifar10 --device rtx-a6000 --devices 4 -o "$WORK/t.json" \
        --operators "$WORK/o.csv" &&
        python3 - "$WORK/t.json" "$WORK/o.csv" <<'PY'
import csv, json, sys
trace = json.load(open(sys.argv[1]))
rows = list(csv.DictReader(open(sys.argv[2])))
for block in trace["blocks"]:
    point = [t for t in block["timings"] if t["batch"] == 256][0]
    for side, names, key in (("teacher", ["forward"], "teacher_us"), ("student", ["forward"], "forward_us"),
                             ("student", ["data gradient", "weight gradient"], "backward_us"), ("student", ["update"], "update_us")):
        mine = [r for r in rows if r["block"] == block["name"] and r["side"] == side and r["pass"] in names]
        us = max(sum(float(r["share"]) * float(r[of]) for r in mine) for of in ("us", "launch_us"))
        assert abs(us - point[key]) < 1e-4 * point[key] + 0.01, (block["name"], side, names, us, point[key])
PY
}
if command -v python3 > /dev/null; then ok '--operators: they sum to the trace' operators
else skip '--operators: they sum to the trace' 'no python'; fi

# The tables of docs/model.md are what these programs print.
shown() {
    sed -n "/^<!-- build\/bench\/$1 -->\$/,/^<!-- end -->\$/p" "$PIPEBD_ROOT/docs/model.md" \
        | sed '1d;$d'
}
told() { (cd "$PIPEBD_ROOT" && "$PIPEBD_BIN/../bench/$1"); }
for program in model_fit model_check; do
    ok "docs/model.md shows what $program prints" diff <(shown $program) <(told $program)
done

# refuses STATUS DESCRIPTION TEXT COMMAND...
refuses() {
    local want=$1 name=$2 text=$3
    shift 3
    check() {
        "$@" > /dev/null 2> "$WORK/.err"
        local status=$?
        cat "$WORK/.err"
        [ $status -eq "$want" ] && grep -qF -- "$text" "$WORK/.err"
    }
    ok "$name" check "$@"
}
m=(pipebd-trace model)
refuses 2 'no workload' 'expected --workload' "${m[@]}" --device l40s --devices 1 -o -
refuses 2 'no device' 'expected --device' "${m[@]}" --workload digits --devices 1 -o -
refuses 2 'no number of devices' 'expected --devices' "${m[@]}" --workload digits --device l40s -o -
refuses 2 'nowhere to write' 'expected --output' "${m[@]}" --workload digits --device l40s \
    --devices 1
of_kinds() {
    pipebd-trace model --workload nas-cifar10 --device "$1" -o "$WORK/k.json" \
        && pipebd-trace check "$WORK/k.json" \
        && pipebd-plan --sensitivity no --steps 20 --schedules dp,ahd "$WORK/k.json" \
        | tee "$WORK/.kinds" && grep -q "$2" "$WORK/.kinds"
}
ok 'GPUs of two kinds: checked and planned' of_kinds a100-sxm-80gb:2,rtx-4090:3 \
    'devices 0 to 1: A100 SXM 80GB, 2 to 4: RTX 4090'
ok 'slices of a GPU: checked and planned' of_kinds h200/4:4 \
    'nas-cifar10-h200/4: 6 blocks, 4 devices'
kinds=("${m[@]}" --workload digits -o -)
refuses 1 'a kind without a number' '"rtx-4090": expected NAME:COUNT' \
    "${kinds[@]}" --device t4:4,rtx-4090
refuses 1 'no number' 'is no number of devices' "${kinds[@]}" --device t4:0
refuses 1 'a slice of one' 'expected 2 to 16 slices' "${kinds[@]}" --device t4/1:2
refuses 1 'a kind given twice' 'T4: given twice' "${kinds[@]}" --device t4:2,t4:2
refuses 2 'two numbers' '--devices: no effect, --device says how many' "${kinds[@]}" --device t4:2 \
    --devices 2
refuses 1 'NVLink between two kinds' 'NVLink joins GPUs of one kind' \
    "${kinds[@]}" --device t4:2,a10:2 --link nvlink
refuses 1 'operators of two kinds' '--operators: expected one kind' \
    "${kinds[@]}" --device t4:2,a10:2 --operators "$WORK/o.csv"
refuses 2 'an operand too many' 'expected "check FILE..."' model digits
refuses 2 'an option of import' '--samples: no effect with model' model --samples 3
refuses 2 "an option of model's with check" '--cores: no effect with check' pipebd-trace check \
    --cores 3 x.json
refuses 2 'data and a time of its own' '--data: no effect with --sample-us' model --data raw \
    --sample-us 3
refuses 2 'a loader with a time of its own' '--loader: no effect with --sample-us' model \
    --loader pillow --sample-us 3
refuses 1 'a decoder without photographs' '--loader: no effect with raw pixels' model \
    --loader pillow
refuses 1 'attention that is not there' '--attention: no effect, the workload has none' model \
    --attention eager
refuses 2 'workers that do nothing' '--workers: no effect with --prefetch 0' model --workers 2 \
    --prefetch 0
refuses 2 'machines without a network' 'go together' model --machine-devices 2
refuses 1 'machines as large as the cluster' '--machine-devices 4: no effect with 4 devices' model \
    --machine-devices 4 --network-gb-per-s 1
refuses 1 'a network that carries nothing' 'expected more than 0' model --machine-devices 2 \
    --network-gb-per-s 0
refuses 2 'an unknown precision' 'fp8' model --precision fp8
refuses 1 'a precision that the device has not' 'no rate for tf32' "${m[@]}" --workload digits \
    --device rtx-2080-ti --devices 1 -o - --precision tf32
refuses 1 'a link that does not reach' 'its NVLink joins 2 devices, not 4' model --link nvlink
refuses 1 'a device that is not there' 'there is no "rtx-9090"' "${m[@]}" --workload digits \
    --device rtx-9090 --devices 1 -o -
refuses 1 'a workload that is not there' 'there is no "mnist"' "${m[@]}" --workload mnist \
    --device l40s --devices 1 -o -
refuses 1 'a malformed device' \
    "$PIPEBD_ROOT/tests/fixtures/device/bad/version.json:3:13: version 2" \
    "${m[@]}" --workload digits --device "$PIPEBD_ROOT/tests/fixtures/device/bad/version.json" \
    --devices 1 -o -
refuses 1 'a folder that is not there' 'nowhere' "${m[@]}" --workload digits --device l40s \
    --devices 1 -o /nowhere/t.json
done_testing
