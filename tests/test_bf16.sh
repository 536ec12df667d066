#!/usr/bin/env bash
# bfloat16 on CPUs: what is chosen by measurement, kept, and recorded.
. "$(dirname "$0")/tap.sh"

needs_cpu_devices
cd "$WORK" || exit 1
export PIPEBD_CHOICES=$WORK/choices.txt
train() {
    local to=$1
    pipebd-run train --workload digits --schedule dpu --devices cpu:2 --epochs 1 --batch 479 \
        -o "$to" "${@:2}" > out
}
# Where oneDNN may not use the instructions, on every machine.
limited() { ONEDNN_MAX_CPU_ISA=AVX2 DNNL_MAX_CPU_ISA=AVX2 "$@"; }
says_so() { limited train half.st --precision bf16 2> said && grep -q "computing in fp32" said; }
ok 'a machine without bfloat16 says so' says_so
ok 'in one line' test "$(grep -c 'computing in fp32' said)" -eq 1
ok 'and computes in float32' limited train plain.st
ok 'the same bits' cmp half.st plain.st
ok 'nothing is chosen' test ! -e choices.txt

ok 'in float32' train plain.st
ok 'in bfloat16' train half.st --precision bf16 2> said
if grep -q "computing in fp32" said; then
    skip 'choices' 'this machine has no bfloat16'
    done_testing
    exit
fi
lines() { grep -c "$1" choices.txt; }
all=$(lines .)
ok 'choices are kept' test "$all" -gt 10
ok 'of all three passes' eval 'lines ", forward, 1 thread" && lines "gradient of weights" \
    && lines "gradient of input"'
ok 'of no depthwise convolution' eval '! grep -E "groups ([2-9]|[0-9]{2})" choices.txt'
ok 'again' train again.st --precision bf16
ok 'the same bits' cmp half.st again.st
ok 'nothing was measured again' test "$(lines .)" -eq "$all"

# of CHOICE: the file says so of all passes.
of() { awk -F'\t' -v OFS='\t' -v choice="$1" '{ $3 = choice; print }' choices.txt > "$1.txt"; }
of fp32
of bf16
with() { PIPEBD_CHOICES=$WORK/$1.txt train "$2" --precision bf16; }
ok 'where the file says fp32 of all' with fp32 all32.st
ok 'the bits are those of float32' cmp plain.st all32.st
ok 'where it says bf16 of all' with bf16 all16.st
ok 'they are others' eval '! cmp -s plain.st all16.st'
ok 'the same each time' eval 'with bf16 more16.st && cmp all16.st more16.st'
{ printf 'no fields\n'; sed 's/oneDNN [0-9.]*/oneDNN 0.1/; s/fp32/bf16/' fp32.txt; cat fp32.txt
  sed 's/[0-9.]*$/zz/' bf16.txt; } > mixed.txt
ok 'what cannot be read, and of other machines, is passed over' with mixed others.st
ok 'the bits are those of float32' cmp plain.st others.st
ok 'and nothing is added' test "$(wc -l < mixed.txt)" -eq $((3 * all + 1))
readonly_file() { PIPEBD_CHOICES=$WORK/nothere/c.txt train lost.st --precision bf16; }
ok 'where none can be written' readonly_file

profile() {
    pipebd-run profile --workload digits --devices cpu:2 --precision bf16 \
        --trials 3 --limit 0 --batch 16 \
        -o trace.json
}
ok 'a profile' profile
ok 'names the precision' grep -q '"kind": ".*, bf16"' trace.json
ok 'and what was chosen' grep -q 'conv .*forward, frozen, 1 thread: [bf].*, [0-9.]* us; ' trace.json
done_testing
