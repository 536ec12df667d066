#!/bin/bash
# pipebd-run on NVIDIA GPUs, without one: linked with a fake CUDA (tests/cuda/fake.h) that does
# its work as late as waits allow. The same script runs on a GPU: PIPEBD_RUN=build/bin/pipebd-run,
# where what only the fake can be asked is left out.
. "$(dirname "$0")/tap.sh"

RUN=${PIPEBD_RUN:-$PIPEBD_BIN/../tests/cuda-fake/pipebd-run}
if [ ! -x "$RUN" ]; then
    echo '1..0 # SKIP CUDA is not installed'
    exit 0
fi
cd "$WORK" || exit 1
ln -s "$(realpath "$RUN")" run
fake=$([ -n "${PIPEBD_RUN:-}" ] || echo yes)
export PIPEBD_CHOICES=choices.txt        # all processes choose alike
export PIPEBD_FAKE_GUARD=0               # tests/cuda/test_cuda_nets.c has it on

# Batch normalisation, a choice of paths, depthwise convolutions, a residual with a shortcut, both
# losses.
cat > four.json << 'END'
{"format": "pipebd-workload", "version": 1, "name": "four", "input": {"channels": 2, "height": 6, "width": 6},
 "classes": 5, "batch": 8, "samples": 40,
 "training": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": true, "weight_decay": 0.0001}, "data": "synthetic",
 "blocks": [
  {"name": "a", "loss": "mse",
   "teacher": [{"layer": "conv", "out": 6, "kernel": 3}, {"layer": "relu"}],
   "student": [{"layer": "conv", "out": 6, "kernel": 1}, {"layer": "batchnorm"}, {"layer": "relu"}]},
  {"name": "b", "loss": "mse",
   "teacher": [{"layer": "conv", "out": 8, "kernel": 3, "stride": 2}, {"layer": "relu"}],
   "student": [{"layer": "choice", "paths": [
     [{"layer": "separable", "out": 8, "kernel": 3, "stride": 2, "batchnorm": true, "relu": true}],
     [{"layer": "conv", "out": 8, "kernel": 1, "stride": 2}, {"layer": "batchnorm"}]]}]},
  {"name": "c", "loss": "mse",
   "teacher": [{"layer": "conv", "out": 8, "kernel": 3}, {"layer": "relu"}],
   "student": [{"layer": "residual", "body": [{"layer": "separable", "out": 8, "kernel": 3, "batchnorm": true, "relu": true}],
                "shortcut": [{"layer": "conv", "out": 8, "kernel": 1}, {"layer": "batchnorm", "eps": 0.001, "momentum": 0.2}]}]},
  {"name": "d", "loss": "soft_cross_entropy",
   "teacher": [{"layer": "avgpool", "global": true}, {"layer": "flatten"}, {"layer": "linear", "out": 5}],
   "student": [{"layer": "avgpool", "global": true}, {"layer": "flatten"}, {"layer": "linear", "out": 5}]}]}
END

# The tensors of a file, without what its header says of the run.
tensors() { tail -c +$((9 + $(od -An -t u8 -N8 "$1"))) "$1"; }
same() { [ -s "$1" ] && [ -s "$2" ] && cmp <(tensors "$1") <(tensors "$2"); }

# near A B LIMIT: no element is further off than LIMIT of its tensor's largest.
near() {
    "${PYTHON:-python3}" - "$@" << 'END'
import array, json, struct, sys
def read(path):
    data = open(path, "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, t in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            out[name] = array.array("f", data[8 + length + t["data_offsets"][0]:8 + length + t["data_offsets"][1]])
    return out
a, b, limit = read(sys.argv[1]), read(sys.argv[2]), float(sys.argv[3])
assert a.keys() == b.keys()
worst = 0
for name in a:
    largest = max(0.02, max(map(abs, a[name])))
    worst = max([worst] + [abs(x - y) / largest for x, y in zip(a[name], b[name])])
print("differs by", worst)
sys.exit(not worst <= limit)
END
}

# ---- measuring ----

ok 'a profile of four slices' ./run profile --workload four.json --devices cuda:0/4 \
    --trials 3 --limit 0 \
    -o trace.json
ok 'whose warm-up goes twice through all paths' grep \
    -q '3 steps a point in 1 turn after 7 of warm-up' trace.json
ok 'it says what was measured' jq \
    -e '.devices[0].count == 4 and (.devices[0].kind | test(" of [0-9]+ SMs$"))
    and (.provenance.notes | test("driver .*CUDA .*cuDNN .*cuBLAS .*fp32"))
    and (.provenance.algorithms | length > 3)' trace.json
ok 'messages run beside the computing' jq \
    -e '.transfers != "blocking" and (.p2p | length > 3) and (.allreduce | length > 3)
    and .loader.sample_us >= 0' trace.json
ok 'every schedule is validated' ./run validate --workload four.json --devices cuda:0/4 \
    --trace trace.json --seconds 0.01 \
    --rounds 1 --limit 0 -o results
ok 'with all that it writes' jq -e '[.schedules[].measured_epoch_s] | all(. > 0)' \
    results/validation.json

# ---- training ----

diverges() {
    rm -f out.st
    ./run train --workload "$PIPEBD_ROOT/tests/fixtures/diverge/hidden.json" --devices cuda:0/2 \
        --schedule dpu -o out.st "$@" 2> err
    local status=$?
    cat err
    [ $status -eq 1 ] && [ ! -e out.st ] \
        && grep -q 'block 0 (conv) has diverged by step [0-9]*: tensor blocks.0' err
}
ok 'a run that diverges ends, and names the tensor' diverges

train() { ./run train --workload four.json --epochs 2 --data synthetic "$@"; }

ok 'tr' train --schedule tr --devices cuda:0/4 -o tr.st
ok 'dpu' train --schedule dpu --devices cuda:0/4 -o dpu.st
ok 'dpu on two slices' train --schedule dpu --devices cuda:0/2 -o two.st
ok 'ls' train --schedule ls --trace trace.json --devices cuda:0/4 -o ls.st
ok 'one device' train --schedule dpu --devices cuda:0 -o one.st
ok 'students of tr and dpu are the same' same tr.st dpu.st
ok 'students of ls are the same' same tr.st ls.st
pipebd-plan trace.json --schedules dpu -o dpu.json > /dev/null
sed 's/"schedule": "dpu"/"schedule": "ahd"/' dpu.json > ahd.json
# Rows of the fake have the same bits whatever rows they are computed with.
ok 'store, in memory' train --schedule store --store host --devices cuda:0/4 -o store.st
ok 'in a folder, fetched ahead' train --schedule store --store rows --prefetch 2 \
    --devices cuda:0/2 -o rows.st
if [ -n "$fake" ]; then
    ok 'students of store are those of ls' same ls.st store.st
    ok 'of two slices too' same two.st rows.st
fi
taken_up() { train --schedule store --store rows --devices cuda:0/4 -o again.st 2>&1 \
    | grep 'whole already: 1 to 4'; }
ok 'a folder is taken up' taken_up
ok 'sequential' train --schedule sequential --store rows2 --devices cuda:0/2 -o seq.st
ok 'ahd of width one' train --plan ahd.json --devices cuda:0/4 -o ahd.st
ok 'its students are the same' same tr.st ahd.st

# Weights in bfloat16 are copies, made anew in a step: also in one that could not be recorded.
ok 'bfloat16' train --schedule dpu --precision bf16 --devices cuda:0 -o half.st
graphs_off() {
    env PIPEBD_CUDA_GRAPHS=0 ./run train --workload four.json --epochs 2 --data synthetic "$@"
}
ok 'without graphs' graphs_off --schedule dpu --precision bf16 --devices cuda:0 -o queued.st
ok 'the same is trained' same half.st queued.st
if [ "$fake" = yes ]; then
    ok 'calls that cannot be recorded' env PIPEBD_FAKE_UNRECORDABLE=29 \
        ./run train --workload four.json --epochs 2 --data synthetic --schedule dpu \
        --precision bf16 --devices cuda:0 -o unrecorded.st
    ok 'are done as they are' same half.st unrecorded.st
fi
# A machine with a GPU may have no oneDNN.
cpu=$(./run train --workload four.json --schedule tr --devices cpu:4 -o /dev/null 2>&1 \
    | grep -q 'no oneDNN' || echo yes)
like_cpu() {   # like_cpu DESCRIPTION FILE
    if [ "$cpu" = yes ]; then ok "$1" near cpu.st "$2" 2e-3; else skip "$1" 'there is no oneDNN'; fi
}
if [ "$cpu" = yes ]; then ok 'the cpu' train --schedule tr --devices cpu:4 -o cpu.st; fi
# Sums in another order: 1e-7 of them, and momentum and normalisation make more of that.
like_cpu "the cpu's students are close" tr.st
ok 'dp, statistics in common' train --schedule dp --devices cuda:0/4 --sync-batchnorm -o dp.st
like_cpu 'its students are close' dp.st
ok 'ir, statistics in common' train --schedule ir --devices cuda:0/2 --sync-batchnorm -o ir.st
like_cpu 'its students are close' ir.st
ok 'a timeline' sh -c 'train() { ./run train --workload four.json --epochs 2 "$@"; }
    train --schedule dpu --devices cuda:0/4 --timeline t.json -o x.st &&
    jq -e "[.traceEvents[] | select(.ph == \"X\") | .args.op] | unique | length >= 6" t.json'
ok 'a checkpoint' train --schedule dpu --devices cuda:0/4 --checkpoint saved -o saved.st
ok 'changes nothing' same dpu.st saved.st

# ---- a transformer: AdamW, clipping, micro-batches, sequences of their own length ----

cat > text.json << 'END'
{"format": "pipebd-workload", "version": 1, "name": "text", "input": {"tokens": 12, "vocabulary": 11},
 "batch": 8, "samples": 24, "data": "synthetic",
 "training": {"optimizer": "adamw", "learning_rate": 0.01, "warm_up": 2, "micro_batches": 2, "clip": 0.5, "weight_decay": 0.01},
 "blocks": [
  {"name": "a", "loss": "normalised_mse",
   "teacher": [{"layer": "embedding", "vocabulary": 11, "out": 16, "positions": true},
     {"layer": "residual", "body": [{"layer": "rmsnorm"}, {"layer": "linear", "out": 32, "bias": false},
       {"layer": "attention", "heads": 2, "kv_heads": 1, "head_dim": 8, "causal": true, "rotary": {}}, {"layer": "linear", "out": 16}]}],
   "student": [{"layer": "embedding", "vocabulary": 11, "out": 16, "positions": true},
     {"layer": "residual", "body": [{"layer": "layernorm"}, {"layer": "linear", "out": 24},
       {"layer": "attention", "heads": 1, "head_dim": 8, "causal": true, "norm": true, "rotary": {}}, {"layer": "linear", "out": 16}]}]},
  {"name": "b", "loss": "cosine",
   "teacher": [{"layer": "residual", "body": [{"layer": "rmsnorm"}, {"layer": "linear", "out": 48}, {"layer": "gated", "function": "silu"},
     {"layer": "linear", "out": 16}]}],
   "student": [{"layer": "residual", "body": [{"layer": "rmsnorm"}, {"layer": "linear", "out": 12}, {"layer": "gelu"}, {"layer": "linear", "out": 16}]}]},
  {"name": "c", "loss": "kl", "temperature": 2,
   "teacher": [{"layer": "pool", "of": "mean"}, {"layer": "layernorm"}, {"layer": "linear", "out": 7}],
   "student": [{"layer": "pool", "of": "mean"}, {"layer": "layernorm"}, {"layer": "linear", "out": 7}]}]}
END
text() { ./run train --workload text.json --epochs 2 "$@"; }
ok 'a transformer' text --schedule tr --devices cuda:0/2 -o text-tr.st
ok 'and by dpu' text --schedule dpu --devices cuda:0/2 -o text.st
ok 'its students are the same' same text-tr.st text.st
"${PYTHON:-python3}" - << 'END'
import os, random, struct
random.seed(3)
os.makedirs("uneven", exist_ok=True)
for part, count in ("train", 24), ("val", 4):
    lengths = [random.randint(3, 12) for _ in range(count)]
    tokens = [random.randrange(11) for _ in range(sum(lengths))]
    open(f"uneven/{part}.bin", "wb").write(struct.pack(f"<{len(tokens)}H", *tokens))
    open(f"uneven/{part}.lengths", "wb").write(struct.pack(f"<{count}I", *lengths))
END
ok 'sequences of their own length' text --data tokens:uneven --schedule dpu --devices cuda:0 \
    -o uneven.st
ok 'without micro-batches, in bfloat16' \
    sh -c "sed 's/\"micro_batches\": 2, //' text.json > plain.json
    ./run train --workload plain.json --epochs 1 --data tokens:uneven --schedule dpu \
        --precision bf16 --devices cuda:0 -o plain.st"
"${PYTHON:-python3}" - << 'END'
text = open("text.json").read()
body = '[{"layer": "layernorm"}, {"layer": "linear", "out": 11}]'
at = text.index('{"name": "c"')
open("scores.json", "w").write(text[:at] + '{"name": "c", "loss": "label_cross_entropy", "teacher": %s, "student": %s}]}' % (body, body))
END
scores() { ./run train --workload scores.json --epochs 1 --data tokens:uneven --schedule dpu "$@"; }
ok 'scores at every token' scores --devices cuda:0/2 -o scores.st
ok 'in bfloat16' scores --precision bf16 --devices cuda:0 -o half.st
if [ "$cpu" = yes ]; then
    ok 'scores on the cpu' scores --devices cpu:1 -o cpu.st
    like_cpu "the cpu's students are close with scores" scores.st
    ok 'a transformer on the cpu' text --schedule dpu --devices cpu:1 -o cpu.st
    like_cpu "the cpu's students are close" text.st
    ok 'and of sequences of their own length' text --data tokens:uneven --schedule dpu \
        --devices cpu:1 -o cpu.st
    like_cpu "the cpu's students are close there" uneven.st
fi

if [ "$fake" = yes ] \
    && train --schedule dpu --devices cuda:0,1 --nccl -o nccl.st > nccl.txt 2>&1; then
    # Beside GPUs, not slices: with other multiprocessors other algorithms may be chosen.
    ok 'dpu on two GPUs' train --schedule dpu --devices cuda:0,1 -o copied.st
    ok 'rows that NCCL moved are the same' same nccl.st copied.st
    ok 'ir on two GPUs, statistics in common' train --schedule ir --devices cuda:0,1 \
        --sync-batchnorm -o copied.st
    ok 'and with NCCL' train --schedule ir --devices cuda:0,1 --sync-batchnorm --nccl -o nccl.st
    ok 'sums are the same' same nccl.st copied.st
else
    skip 'NCCL between GPUs' 'this build has no NCCL, or this is a GPU'
fi

ok 'algorithms are kept' grep -q '^[^	]*cuDNN [0-9]*, cuBLAS [0-9]*	' choices.txt
cp choices.txt before.txt
{ printf 'no fields\n'; sed 's/cuDNN 9/cuDNN 8/; s/[0-9a-f]*$/zz/' before.txt; } >> choices.txt
lines=$(wc -l < choices.txt)
ok 'and not chosen again' train --schedule tr --devices cuda:0/4 -o again.st
ok 'what cannot be read is passed over' test "$(wc -l < choices.txt)" -eq "$lines"
ok 'the same is trained' same tr.st again.st

# ---- what only the fake can be asked ----

if [ -n "$fake" ]; then
    ok 'two GPUs' train --schedule dpu --devices cuda:0,1 -o gpus.st
    ok 'students of two GPUs are those of one' same one.st gpus.st
    ok 'two GPUs in two' train --schedule dpu --devices cuda:0/2,1/2 -o quarters.st
    ok 'are four devices' same two.st quarters.st
    says() {         # TEXT COMMAND...: fails with one last line that has TEXT
        said=$1; shift
        "$@" > out.txt 2>&1 && return 1
        tail -n 1 out.txt | grep -F "$said"
    }
    ok 'a GPU that is not there' says 'there is no such GPU, but 0 Fake GPU, 1 Fake GPU' train \
        --schedule tr --devices cuda:0,2 -o x.st
    ok 'too many slices' says 'too few for 16 slices' train --schedule tr --devices cuda:0/16 \
        -o x.st
    ok 'a driver without slices' says 'slices of a GPU need a driver of CUDA 12.4' \
        env PIPEBD_FAKE_DRIVER=old ./run train --workload four.json --schedule tr \
        --devices cuda:0/2 -o x.st
    # Memory that runs out, wherever: one line, or enough.
    enough=
    for bytes in $(seq 500000 60000 2000000); do
        if PIPEBD_FAKE_BYTES=$bytes ./run train --workload four.json --schedule dpu \
            --devices cuda:0/2 -o x.st > out.txt 2>&1
        then enough=yes; break; fi
        tail -n 1 out.txt | grep -q 'memory' || { enough=; cat out.txt; break; }
        echo "$bytes: $(tail -n 1 out.txt)"
    done > memory.txt
    ok 'memory that runs out is told in one line' test -n "$enough"
    ok 'with what is free, and what to do' grep -q 'MiB are free; a smaller --batch' memory.txt
fi

done_testing
