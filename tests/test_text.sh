#!/bin/bash
# Text models end to end: a small transformer trained on bytes of docs/design.md, by AdamW, with
# sequences of lengths of their own; the same whatever the plan, and after going on from a
# checkpoint.
. "$(dirname "$0")/tap.sh"

needs_cpu_devices

python=${PYTHON:-python3}

# Sequences of 5 to 24 bytes; the last block predicts the next one.
"$python" - "$PIPEBD_ROOT" "$WORK" << 'P'
import json, os, struct, sys
root, work = sys.argv[1:]
text = open(os.path.join(root, "docs", "design.md"), "rb").read()[:8000]
for part, some in (("train", text[:7000]), ("val", text[7000:])):
    lengths, at = [], 0
    while at < len(some):
        lengths.append(min(5 + 7 * len(lengths) % 20, len(some) - at))
        at += lengths[-1]
    os.makedirs(os.path.join(work, "text"), exist_ok=True)
    open(os.path.join(work, "text", part + ".txt"), "wb").write(some)
    open(os.path.join(work, "text", part + ".lengths"), "wb").write(struct.pack("<%dI" % len(lengths), *lengths))

def block(wide):
    return [{"layer": "residual", "body": [
                {"layer": "rmsnorm"}, {"layer": "linear", "out": 48, "bias": False},
                {"layer": "attention", "heads": 2, "kv_heads": 2, "head_dim": 8, "causal": True, "norm": True, "rotary": {}},
                {"layer": "linear", "out": 16, "bias": False}]},
            {"layer": "residual", "body": [
                {"layer": "rmsnorm"}, {"layer": "linear", "out": 2 * wide}, {"layer": "gated", "function": "silu"},
                {"layer": "linear", "out": 16}]}]

start = [{"layer": "embedding", "vocabulary": 256, "out": 16}]
head = [{"layer": "rmsnorm"}, {"layer": "linear", "out": 256}]
json.dump({"format": "pipebd-workload", "version": 1, "name": "text", "input": {"tokens": 24, "vocabulary": 256},
           "batch": 12, "samples": 1, "training": {"optimizer": "adamw", "learning_rate": 3e-3, "warm_up": 5, "clip": 1},
           "blocks": [
               {"name": "b0", "loss": "normalised_mse", "teacher": start + block(32), "student": start + block(16)},
               {"name": "b1", "loss": "cosine", "teacher": block(32), "student": block(16)},
               {"name": "head", "loss": "kl", "temperature": 2, "teacher": head, "student": head}]},
          open(os.path.join(work, "w.json"), "w"))
P

# train OUT SCHEDULE DEVICES ARGUMENT...
train() {
    local out=$1 schedule=$2 devices=$3
    shift 3
    pipebd-run train --workload "$WORK/w.json" --data "bytes:$WORK/text" --schedule "$schedule" \
        --devices "$devices" --epochs 2 \
        -o "$WORK/$out.safetensors" "$@" > "$WORK/$out.out"
}

# weights FILE: a hash of the tensors, without the notes.
weights() { "$python" - "$1" << 'P'
import hashlib, json, struct, sys
data = open(sys.argv[1], "rb").read()
(n,) = struct.unpack("<Q", data[:8])
head = json.loads(data[8:8 + n])
head.pop("__metadata__")
print(hashlib.sha256(json.dumps(head).encode() + data[8 + n:]).hexdigest())
P
}

# near A B: no number differs by more than 1e-3 of the largest of its tensor.
near() { "$python" - "$WORK/$1.safetensors" "$WORK/$2.safetensors" << 'P'
import array, json, struct, sys
def tensors(path):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    head = json.loads(data[8:8 + n])
    return {k: array.array("f", data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for k, v in head.items() if k != "__metadata__"}
a, b = tensors(sys.argv[1]), tensors(sys.argv[2])
worst = max(max(abs(x - y) for x, y in zip(a[k], b[k])) / max(max(map(abs, a[k])), 1e-3) for k in a)
print("worst difference %.3g" % worst)
sys.exit(0 if a.keys() == b.keys() and worst <= 1e-3 else 1)
P
}

ok 'a text model trains' train alone tr cpu:1 --checkpoint "$WORK/kept" --every 13
ok 'its perplexity is told' grep -q '^perplexity: teacher .*, student before .*, after ' \
    "$WORK/alone.out"
better() { awk '/^perplexity:/ { gsub(",", ""); exit !($9 < $7) }' "$WORK/alone.out"; }
ok 'and falls' better
ok 'split between two devices' train split dp cpu:2
ok 'it is the same to rounding' near alone split
ok 'blocks on two devices' train blocks dpu cpu:2
ok 'are the same to rounding' near alone blocks

# The last checkpoint is taken away: the run goes on from the one before it.
goes_on() {
    local all=("$WORK"/kept/checkpoint-*.safetensors)
    [ ${#all[@]} -ge 2 ] || return 1
    rm "${all[-1]}"
    train again tr cpu:1 --checkpoint "$WORK/kept" --every 13 --resume || return 1
    [ "$(weights "$WORK/alone.safetensors")" = "$(weights "$WORK/again.safetensors")" ]
}
ok 'AdamW goes on from a checkpoint to the same bits' goes_on

# A model without scores: its agreement with the teacher is told, and grows.
"$python" - "$WORK" << 'P'
import json, sys
path = sys.argv[1] + "/w.json"
w = json.load(open(path))
w["blocks"][-1] = {"name": "pool", "loss": "cosine", "teacher": [{"layer": "linear", "out": 12}, {"layer": "pool", "of": "mean"}],
                   "student": [{"layer": "linear", "out": 12}, {"layer": "pool", "of": "mean"}]}
json.dump(w, open(path, "w"))
P
ok 'a model that gives one vector of a text trains' train vector tr cpu:1
ok 'its agreement is told' grep -q '^agreement with the teacher' "$WORK/vector.out"
closer() {
    awk '/^agreement with the teacher/ { gsub(",", ""); exit !($12 > $10) }' "$WORK/vector.out"
}
ok 'it comes nearer to its teacher' closer
done_testing
