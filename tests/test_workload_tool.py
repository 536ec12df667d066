#!/usr/bin/env python3
"""pipebd-workload on models that this script writes itself: which tensor goes where, in which type,
what is said, what is refused, and that what comes out trains. Prints TAP."""

import array
import json
import os
import struct
import subprocess
import sys
import tempfile

from tap import cpu_devices, done_testing, ok

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("PIPEBD_BIN", os.path.join(ROOT, "build", "bin"))
TOOL = os.path.join(BIN, "pipebd-workload")
RUN = os.path.join(BIN, "pipebd-run")
BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
V, C, F, T = 11, 8, 12, 6


def fresh(count, dtype, seed):
    """Numbers that differ by seed and place, and are small in every type: 16-bit ones are made of
    bits."""
    values = [((seed * 7919 + i * 104729) % 1000) / 1000 - 0.5 for i in range(count)]
    if dtype == "F32":
        return array.array("f", values).tobytes()
    if dtype == "BF16":
        return b"".join(struct.pack("<f", v)[2:] for v in values)
    if dtype == "F16":
        return struct.pack("<%de" % count, *values)
    return struct.pack("<%dq" % count, *range(count))


def write(path, tensors):
    """tensors: name -> (dtype, shape, bytes)"""
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    return {k: (v["dtype"], tuple(v["shape"]),
                data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for k, v in header.items()}


def model(shapes, dtype):
    out = {}
    for i, (name, shape) in enumerate(shapes.items()):
        count = 1
        for d in shape:
            count *= d
        kind = "I64" if name.endswith("position_ids") else dtype
        out[name] = (kind, shape, fresh(count, kind, i + 1))
    return out


def gpt2():
    shapes = {"transformer.wte.weight": (V, C), "transformer.wpe.weight": (16, C),
              "transformer.h.0.attn.bias": (1, 1, 16, 16)}
    for layer in range(2):
        p = "transformer.h.%d." % layer
        shapes.update({p + "ln_1.weight": (C,), p + "ln_1.bias": (C,),
                       p + "attn.c_attn.weight": (C, 3 * C), p + "attn.c_attn.bias": (3 * C,),
                       p + "attn.c_proj.weight": (C, C), p + "attn.c_proj.bias": (C,),
                       p + "ln_2.weight": (C,), p + "ln_2.bias": (C,),
                       p + "mlp.c_fc.weight": (C, F), p + "mlp.c_fc.bias": (F,),
                       p + "mlp.c_proj.weight": (F, C), p + "mlp.c_proj.bias": (C,)})
    shapes.update({"transformer.ln_f.weight": (C,), "transformer.ln_f.bias": (C,)})
    return {"architectures": ["GPT2LMHeadModel"], "vocab_size": V, "n_embd": C, "n_layer": 2,
            "n_head": 2, "n_positions": 16, "n_inner": F,
            "resid_pdrop": 0.1}, shapes


def llama():
    shapes = {"model.embed_tokens.weight": (V, C), "model.norm.weight": (C,)}
    for layer in range(2):
        p = "model.layers.%d." % layer
        shapes.update({p + "input_layernorm.weight": (C,), p + "self_attn.q_proj.weight": (8, C),
                       p + "self_attn.k_proj.weight": (4, C),
                       p + "self_attn.v_proj.weight": (4, C), p + "self_attn.o_proj.weight": (C, 8),
                       p + "post_attention_layernorm.weight": (C,),
                       p + "mlp.gate_proj.weight": (F, C), p + "mlp.up_proj.weight": (F, C),
                       p + "mlp.down_proj.weight": (C, F)})
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": V,
            "hidden_size": C, "intermediate_size": F,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 64,
            "rope_theta": 500.0, "tie_word_embeddings": True, "head_dim": 2}, shapes


def bert():
    p = "bert.embeddings."
    shapes = {p + "position_ids": (1, 16), p + "word_embeddings.weight": (V, C),
              p + "position_embeddings.weight": (16, C),
              p + "token_type_embeddings.weight": (2, C), p + "LayerNorm.gamma": (C,),
              p + "LayerNorm.beta": (C,),
              "bert.pooler.dense.weight": (C, C), "bert.pooler.dense.bias": (C,),
              "cls.predictions.bias": (V,)}
    p = "bert.encoder.layer.0."
    for name in ("query", "key", "value"):
        shapes.update({p + "attention.self.%s.weight" % name: (C, C),
                       p + "attention.self.%s.bias" % name: (C,)})
    shapes.update(
        {p + "attention.output.dense.weight": (C, C), p + "attention.output.dense.bias": (C,),
         p + "attention.output.LayerNorm.gamma": (C,), p + "attention.output.LayerNorm.beta": (C,),
         p + "intermediate.dense.weight": (F, C), p + "intermediate.dense.bias": (F,),
         p + "output.dense.weight": (C, F),
         p + "output.dense.bias": (C,), p + "output.LayerNorm.gamma": (C,),
         p + "output.LayerNorm.beta": (C,)})
    return {"architectures": ["BertForMaskedLM"], "model_type": "bert", "vocab_size": V,
            "hidden_size": C, "intermediate_size": F,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
            "type_vocab_size": 2}, shapes


def vit():
    p, m = "vit.embeddings.", "vit.encoder.layer.0."
    shapes = {p + "cls_token": (1, 1, C), p + "position_embeddings": (1, 5, C),
              p + "patch_embeddings.projection.weight": (C, 3, 2, 2),
              p + "patch_embeddings.projection.bias": (C,), "vit.layernorm.weight": (C,),
              "vit.layernorm.bias": (C,),
              "classifier.weight": (V, C), "classifier.bias": (V,)}
    for name in ("query", "key", "value"):
        shapes.update({m + "attention.attention.%s.weight" % name: (C, C),
                       m + "attention.attention.%s.bias" % name: (C,)})
    for name, out, into in (("attention.output.dense", C, C), ("intermediate.dense", F,
                                                               C), ("output.dense", C, F)):
        shapes.update({m + name + ".weight": (out, into), m + name + ".bias": (out,)})
    for name in ("layernorm_before", "layernorm_after"):
        shapes.update({m + name + ".weight": (C,), m + name + ".bias": (C,)})
    return {"architectures": ["ViTForImageClassification"], "model_type": "vit", "hidden_size": C,
            "intermediate_size": F,
            "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 4,
            "patch_size": 2}, shapes


def put(folder, family, dtype, shards=1):
    config, shapes = family()
    tensors = model(shapes, dtype)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    if shards == 1:
        write(os.path.join(folder, "model.safetensors"), tensors)
        return config, tensors
    names, index = list(tensors), {}
    for i in range(shards):
        file = "model-%d.safetensors" % i
        mine = {n: tensors[n] for n in names[i::shards]}
        write(os.path.join(folder, file), mine)
        index.update({n: file for n in mine})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
        json.dump({"metadata": {}, "weight_map": index}, f)
    return config, tensors


def tool(*args):
    return subprocess.run([TOOL] + list(args), capture_output=True, text=True, check=False)


def transposed(raw, rows, columns, each):
    return b"".join(raw[(r * columns + c) * each:(r * columns + c + 1) * each]
                    for c in range(columns) for r in range(rows))


def check_gpt2(folder):
    _, from_ = put(folder, gpt2, "BF16")
    base = os.path.join(folder, "out")
    done = tool("import", "--from", "hf", folder, "-o", base, "--tokens", str(T))
    ok(done.returncode == 0, "GPT-2: import", done.stderr)
    out = read(base + ".safetensors")
    p = "transformer.h.1."
    ok(all(t[0] == "BF16" for t in out.values()), "its type is kept")
    ok(out["blocks.1.0.1.weight"]
       == ("BF16", (3 * C, C), transposed(from_[p + "attn.c_attn.weight"][2], C, 3 * C, 2)),
       "its products are turned to [out][in]")
    ok(out["blocks.1.1.3.bias"] == from_[p + "mlp.c_proj.bias"], "biases go along")
    ok(out["blocks.0.0.positions"]
       == ("BF16", (T, C), from_["transformer.wpe.weight"][2][:2 * T * C]),
       "as many positions as tokens")
    ok(out["blocks.2.1.weight"] == from_["transformer.wte.weight"],
       "the head is the embedding's tensor")
    ok("the head is tied" in done.stderr and "dropout is off" in done.stderr
       and "attn.bias" not in done.stderr, "what is said", done.stderr)
    ok(tool("check", base + ".json").stdout.endswith("out.json: ok, 3 blocks, 29 tensors of the "
                                                     "teacher\n"), "check")
    with open(base + ".json", encoding="utf-8") as f:
        workload = json.load(f)
    ok([b["name"] for b in workload["blocks"]] == ["b0", "b1", "head"],
       "blocks have numbers, the head its name", json.dumps(workload))
    ok(workload["training"]["learning_rate"] == 0.0005, "a learning rate")
    tool("import", "--from", "hf", folder, "-o", base, "--learning-rate", "0.0123")
    with open(base + ".json", encoding="utf-8") as f:
        ok(json.load(f)["training"]["learning_rate"] == 0.0123, "that of the options")
    tool("import", "--from", "hf", folder, "-o", base, "--tokens", str(T))
    for name, taken in (("model", "model.safetensors"), ("config", "config.json")):
        with open(os.path.join(folder, taken), "rb") as f:
            before = f.read()
        done = tool("import", "--from", "hf", folder, "-o", os.path.join(folder, name))
        with open(os.path.join(folder, taken), "rb") as f:
            ok(done.returncode == 1 and taken + ": is read, expected another name" in done.stderr
               and f.read() == before, taken + " is not written over", done.stderr)
    shown = tool("show", base + ".json")
    ok(shown.returncode == 0 and "head" in shown.stdout and "AdamW" in shown.stdout, "show",
       shown.stdout)
    same = subprocess.run([RUN, "describe", "--workload", base + ".json"], capture_output=True,
                          text=True, check=False) if os.access(RUN, os.X_OK) else shown
    ok(same.stdout == shown.stdout, "describe prints the same")


def check_llama(folder):
    _, from_ = put(folder, llama, "F16", shards=3)
    base = os.path.join(folder, "out")
    done = tool("import", "--from", "hf", folder, "-o", base, "--tokens", str(T),
                "--layers-per-block", "2", "--batch", "4", "--samples", "12")
    ok(done.returncode == 0, "Llama: import of shards", done.stderr)
    out = read(base + ".safetensors")
    p = "model.layers.1."
    ok(out["blocks.0.3.1.weight"] == ("F16", (16, C), b"".join(
            from_[p + "self_attn.%s_proj.weight" % k][2] for k in "qkv")), "q, k, v are one")
    ok(out["blocks.0.4.1.weight"][2] == from_[p + "mlp.gate_proj.weight"][2]
       + from_[p + "mlp.up_proj.weight"][2], "gate, up are one")
    with open(base + ".json", encoding="utf-8") as f:
        blocks = json.load(f)["blocks"]
    attention = blocks[0]["teacher"][1]["body"][2]
    ok(len(blocks) == 2 and attention["heads"] == 4 and attention["kv_heads"] == 2
       and attention["rotary"]["theta"] == 500, "blocks of two layers",
       json.dumps(attention))

    narrow = os.path.join(folder, "narrow")
    done = tool("make-students", base + ".json", "-o", narrow, "--ffn", "0.5", "--kv-heads", "1")
    ok(done.returncode == 0, "make-students", done.stderr)
    ok(tool("check", narrow + ".json").returncode == 0, "its workload is right")
    students = read(narrow + ".safetensors")
    w = struct.unpack("<%de" % (16 * C), out["blocks.0.3.1.weight"][2])
    s = array.array("f", students["blocks.0.3.1.weight"][2])
    mean = [(w[(8 + d) * C + c] + w[(10 + d) * C + c]) / 2 for d in range(2) for c in range(C)]
    ok(students["blocks.0.3.1.weight"][1] == (12, C) and list(s[:8 * C]) == list(w[:8 * C])
       and all(abs(a - b) < 1e-6 for a, b in zip(s[8 * C:10 * C], mean)),
       "a key head is the mean of two")
    gate = struct.unpack("<%de" % (2 * F * C), out["blocks.0.4.1.weight"][2])
    down = struct.unpack("<%de" % (C * F), out["blocks.0.4.3.weight"][2])
    norm = lambda x: sum(v * v for v in x) ** 0.5
    scores = [norm(gate[n * C:n * C + C]) * norm(gate[(F + n) * C:(F + n) * C + C])
              * norm(down[n::F]) for n in range(F)]
    kept = sorted(sorted(range(F), key=lambda n: (-scores[n], n))[:F // 2])
    found = array.array("f", students["blocks.0.4.1.weight"][2])
    expected = [v for part in (0, F) for n in kept for v in gate[(part + n) * C:(part + n) * C + C]]
    ok(list(found) == expected, "the neurons with the largest weights are left", "kept %s" % kept)
    ok(list(array.array("f", students["blocks.0.4.3.weight"][2]))
       == [down[r * F + n] for r in range(C) for n in kept], "in the way out too")
    for options, expected in ((["--ffn", "1.5"], "--ffn: expected a share above 0 and below 1"), (
            [], "expected --ffn, --heads, --kv-heads, --width or --rank"), (
            ["--rank", "0"], "--rank: 0 is too small")):
        done = tool("make-students", base + ".json", "-o", narrow + "2", *options)
        ok(done.returncode == 2 and expected in done.stderr, "refused: " + expected, done.stderr)
    done = tool("make-students", base + ".json", "-o", narrow + "2", "--kv-heads", "2")
    ok(done.returncode == 1 and "no layer of it is changed" in done.stderr,
       "refused: nothing to do", done.stderr)
    if cpu_devices(BIN):
        done = subprocess.run(
            [RUN, "train", "--workload", narrow + ".json", "--schedule", "dpu", "--devices",
             "cpu:1", "--epochs", "1", "--init",
             narrow + ".safetensors", "-o", os.path.join(folder, "s.safetensors")],
            capture_output=True, text=True, check=False)
        ok(done.returncode == 0 and "perplexity: teacher" in done.stdout, "and trains", done.stderr)


def numbers(tensor):
    return struct.unpack(
        "<%d%s" % (len(tensor[2]) // BYTES[tensor[0]], {"F32": "f", "F16": "e"}[tensor[0]]),
        tensor[2])


def trains(folder, base, what):
    if not cpu_devices(BIN):
        return
    done = subprocess.run([RUN, "train", "--workload", base + ".json", "--schedule", "dpu",
                           "--devices", "cpu:1", "--epochs", "1", "--init",
                           base + ".safetensors", "-o", os.path.join(folder, "s.safetensors")],
                          capture_output=True, text=True, check=False)
    ok(done.returncode == 0, what + " trains", done.stderr)


def check_students(folder):
    """Fewer heads, low rank, narrower blocks."""
    config, shapes = llama()
    tensors = model(shapes, "F32")
    name = "model.layers.0.mlp.down_proj.weight"
    # of rank 2
    product = [(i % 5 - 2) * ((j * 3) % 7 - 3) / 8 + ((i * i) % 3 - 1) * (j % 4 - 1.5) / 4
               for i in range(C) for j in range(F)]
    tensors[name] = ("F32", (C, F), array.array("f", product).tobytes())
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    write(os.path.join(folder, "model.safetensors"), tensors)
    base, made = os.path.join(folder, "out"), os.path.join(folder, "made")
    tool("import", "--from", "hf", folder, "-o", base, "--tokens", str(T), "--batch", "4",
         "--samples", "12")
    teacher = read(base + ".safetensors")
    qkv, o = numbers(teacher["blocks.0.1.1.weight"]), numbers(teacher["blocks.0.1.3.weight"])
    rows = lambda first, count: list(qkv[first * C:(first + count) * C])

    done = tool("make-students", base + ".json", "-o", made, "--heads", "2", "--kv-heads", "1")
    ok(done.returncode == 0, "fewer heads", done.stderr)
    out = read(made + ".safetensors")
    score = lambda h: sum(v * v for r in range(C) for v in o[r * 8 + 2 * h:r * 8 + 2 * h + 2])
    kept = [max((2 * k, 2 * k + 1), key=score) for k in range(2)]
    mean = [[(a + b) / 2 for a, b in zip(rows(first, 2), rows(first + 2, 2))] for first in (8, 12)]
    found = numbers(out["blocks.0.1.1.weight"])
    ok(out["blocks.0.1.1.weight"][1] == (8, C)
       and list(found[:4 * C]) == rows(2 * kept[0], 2) + rows(2 * kept[1], 2),
       "of each key's queries the one that goes out most", "kept %s" % kept)
    ok(all(abs(a - b) < 1e-6 for a, b in zip(found[4 * C:], mean[0] + mean[1])),
       "then keys and values are means")
    ok(list(numbers(out["blocks.0.1.3.weight"]))
       == [o[r * 8 + 2 * h + d] for r in range(C) for h in kept for d in range(2)],
       "the way out has their columns")
    trains(folder, made, "what has fewer heads")

    done = tool("make-students", base + ".json", "-o", made, "--rank", "2")
    ok(done.returncode == 0, "low rank", done.stderr)
    out = read(made + ".safetensors")
    with open(made + ".json", encoding="utf-8") as f:
        body = json.load(f)["blocks"][0]["student"][2]["body"]
    ok([layer["layer"] for layer in body]
       == ["rmsnorm", "linear", "linear", "gated", "linear", "linear"] and body[4]["out"] == 2
       and not body[4]["bias"], "a layer becomes two", json.dumps(body))
    b, q = numbers(out["blocks.0.2.4.weight"]), numbers(out["blocks.0.2.5.weight"])
    ok(all(abs(sum(q[i * 2 + k] * b[k * F + j] for k in range(2)) - product[i * F + j]) < 1e-4
           for i in range(C) for j in range(F)),
       "their product is what has that rank")
    w, b, q = qkv, numbers(out["blocks.0.1.1.weight"]), numbers(out["blocks.0.1.2.weight"])
    near = sum((sum(q[i * 2 + k] * b[k * C + j] for k in range(2)) - w[i * C + j]) ** 2
               for i in range(16) for j in range(C))
    ok(near < sum(v * v for v in w)
       and all(abs(sum(q[i * 2 + k] * q[i * 2 + l] for i in range(16)) - (k == l)) < 1e-5
               for k in range(2) for l in range(2)),
       "and near what has not, by orthonormal columns")
    trains(folder, made, "what has a low rank")

    done = tool("make-students", base + ".json", "-o", made, "--width", "5", "--ffn", "0.5")
    ok(done.returncode == 0, "narrower blocks", done.stderr)
    out = read(made + ".safetensors")
    ways = numbers(out["blocks.1.0.weight"])
    kept = [ways[r * C:(r + 1) * C].index(1) for r in range(5)]
    ok(out["blocks.1.0.weight"][1] == (5, C) and sum(ways) == 5 and kept == sorted(set(kept)),
       "a way in takes channels")
    back = numbers(out["blocks.1.3.weight"])
    ok(out["blocks.1.3.weight"][1] == (C, 5)
       and all(back[c * 5 + k] == (c == kept[k]) for c in range(C) for k in range(5)),
       "a way out puts them back")
    w = numbers(teacher["blocks.1.0.1.weight"])
    ok(list(numbers(out["blocks.1.1.1.weight"])) == [w[r * C + c] for r in range(16) for c in kept],
       "layers have their columns")
    ok(list(numbers(out["blocks.1.1.0.weight"]))
       == [numbers(teacher["blocks.1.0.0.weight"])[c] for c in kept], "and norms their numbers")
    ok(out["blocks.0.0.weight"][1] == (V, 5) and out["blocks.2.2.weight"][1] == (V, 5),
       "embedding and head too")
    trains(folder, made, "what is narrower")
    done = tool("make-students", base + ".json", "-o", made + "2", "--heads", "3")
    ok(done.returncode == 1 and "3 heads are no even part of those of 2 key-value "
       "heads" in done.stderr, "refused: heads that do not divide", done.stderr)
    done = tool("make-students", base + ".json", "-o", made, "--width", "4", "--rank", "1",
                "--heads", "2", "--ffn", "0.7")
    ok(done.returncode == 0, "all of it", done.stderr)
    trains(folder, made, "all of it")


def check_more_students(folder):
    """Heads with keys of their own, biases, positions; post-norm and pooling."""
    for family, options in ((gpt2, ["--heads", "1"]), (gpt2, ["--width", "6", "--rank", "2"]), (
            bert, ["--heads", "1", "--width", "5", "--ffn", "0.5", "--rank", "2"])):
        with tempfile.TemporaryDirectory() as inside:
            put(inside, family, "F32")
            base, made = os.path.join(inside, "out"), os.path.join(inside, "made")
            head = ["--head", "mean"] if family is bert else []
            tool("import", "--from", "hf", inside, "-o", base, "--tokens", str(T), "--batch", "4",
                 "--samples", "12", *head)
            done = tool("make-students", base + ".json", "-o", made, *options)
            ok(done.returncode == 0, "%s: %s" % (family.__name__, " ".join(options)), done.stderr)
            trains(inside, made, "it")
            if options == ["--heads", "1"]:
                out, teacher = read(made + ".safetensors"), read(base + ".safetensors")
                w, bias = numbers(teacher["blocks.1.0.1.weight"]), numbers(
                    teacher["blocks.1.0.1.bias"])
                o = numbers(teacher["blocks.1.0.3.weight"])
                score = lambda h: (
                    sum(v * v for v in w[(2 * C + 4 * h) * C:(2 * C + 4 * h + 4) * C])
                    * sum(v * v for r in range(C) for v in o[r * C + 4 * h:r * C + 4 * h + 4]))
                h = max(range(2), key=score)
                expected = [bias[part * C + 4 * h + d] for part in range(3) for d in range(4)]
                ok(list(numbers(out["blocks.1.0.1.bias"])) == expected,
                   "keys and values go with their head, biases too")


def check_biases(folder):
    """Any of the products of attention may have a bias: zeros stand for those without."""
    config, shapes = llama()
    for layer in range(2):
        p = "model.layers.%d.self_attn." % layer
        shapes.update({p + "v_proj.bias": (4,), p + "o_proj.bias": (C,)} if layer
                      else {p + "q_proj.bias": (8,), p + "k_proj.bias": (4,)})
    tensors = model(shapes, "BF16")
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    write(os.path.join(folder, "model.safetensors"), tensors)
    base = os.path.join(folder, "out")
    done = tool("import", "--from", "hf", folder, "-o", base, "--tokens", str(T))
    ok(done.returncode == 0 and "model.layers.0.self_attn.v_proj has no bias: zeros" in done.stderr,
       "biases of some products", done.stderr)
    out = read(base + ".safetensors")
    p = "model.layers.%d.self_attn."
    raw = lambda layer, name: tensors[p % layer + name + "_proj.bias"][2]
    ok(out["blocks.0.1.1.bias"] == ("BF16", (16,), raw(0, "q") + raw(0, "k") + bytes(8))
       and "blocks.0.1.3.bias" not in out,
       "q and k have one, v and o have none")
    ok(out["blocks.1.0.1.bias"] == ("BF16", (16,), bytes(24) + raw(1, "v"))
       and out["blocks.1.0.3.bias"][2] == raw(1, "o"), "v and o have one")
    ok(tool("check", base + ".json").returncode == 0, "and what comes out is right")


def check_bert(folder):
    _, from_ = put(folder, bert, "F32")
    base = os.path.join(folder, "out")
    done = tool("import", "--from", "hf", folder, "-o", base, "--head", "mean")
    ok(done.returncode == 0, "BERT: import", done.stderr)
    out = read(base + ".safetensors")
    ok(out["blocks.0.1.weight"][2] == from_["bert.embeddings.LayerNorm.gamma"][2]
       and out["blocks.0.5.bias"][2]
       == from_["bert.encoder.layer.0.output.LayerNorm.beta"][2],
       "gamma and beta are weight and bias")
    ok("left out: bert.pooler.dense.weight" in done.stderr, "what is left out is said", done.stderr)
    with open(base + ".json", encoding="utf-8") as f:
        w = json.load(f)
    ok(w["input"] == {"tokens": 16, "vocabulary": V, "types": 2}
       and w["blocks"][0]["teacher"][-1] == {"layer": "pool", "of": "mean"}, "its head")


def check_home(folder):
    """What was imported goes back to the model's own names and numbers; narrower students with
    their sizes."""
    for family, dtype, sizes in ((gpt2, "F32", {"n_inner": 9}), (
            bert, "F32", {"intermediate_size": 9}), (vit, "F32", {"intermediate_size": 9}),
                                 (llama, "BF16",
                                  {"intermediate_size": 9, "num_key_value_heads": 1})):
        name = family.__name__
        config, _ = put(folder, family, dtype)
        base, home = os.path.join(folder, name), os.path.join(folder, "home-" + name)
        tokens = [] if family is vit else ["--tokens", str(T)]
        tool("import", "--from", "hf", folder, "-o", base, *tokens)
        heads = ["--kv-heads", "1"] if name == "llama" else []
        tool("make-students", base + ".json", "-o", base + "-narrow", "--ffn", "0.75", *heads)
        script = os.path.join(ROOT, "workloads", "students_home.py")
        done = subprocess.run([sys.executable, script, base + ".json", base + ".safetensors",
                               folder, home], capture_output=True, text=True, check=False)
        ok(done.returncode == 0, name + ": goes home", done.stderr)
        original = {
            n.replace("gamma", "weight").replace("beta", "bias"): (shape, wide(kind, raw))
            for n, (kind, shape, raw) in read(os.path.join(folder, "model.safetensors")).items()
            if kind != "I64"}
        back = {n: (shape, wide(kind, raw))
                for n, (kind, shape, raw) in read(os.path.join(home, "model.safetensors")).items()}
        head = back.pop("lm_head.weight", None)
        tied = original.get("transformer.wte.weight", original.get("model.embed_tokens.weight"))
        ok(back == original and head in (None, tied), name + ": with the same names and numbers",
           ", ".join(sorted(set(back) ^ set(original))))
        done = subprocess.run([sys.executable, script, base + "-narrow.json",
                               base + "-narrow.safetensors", folder, home], capture_output=True,
                              text=True, check=False)
        with open(os.path.join(home, "config.json"), encoding="utf-8") as f:
            found = json.load(f)
        ok(done.returncode == 0 and {k: found[k] for k in sizes} == sizes
           and found["architectures"] == config["architectures"],
           name + ": narrower, with its sizes", done.stderr + json.dumps(found))
        done = tool("import", "--from", "hf", home, "-o", base + "-again", *tokens)
        ok(done.returncode == 0 and read(base + "-again.safetensors")
           == read(base + "-narrow.safetensors"), name + ": and can be imported again", done.stderr)


def wide(kind, raw):
    if kind == "F32":
        return tuple(array.array("f", raw))
    if kind == "F16":
        return struct.unpack("<%de" % (len(raw) // 2), raw)
    return struct.unpack("<%df" % (len(raw) // 2),
                         b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2)))


def check_sentences(folder):
    """Sentences are cut into the pieces of a vocabulary, longest first."""
    sys.path.insert(0, os.path.join(ROOT, "workloads"))
    from write_sentences import tokens_of
    vocabulary = {w: i for i, w in enumerate(
            ["[CLS]", "[SEP]", "[UNK]", "un", "##able", "##a", "the", "caf", "##e", ",", "_"])}
    ok(tokens_of("Unable, the CAF\u00c9 zzz _", vocabulary, 99) == [0, 3, 4, 9, 6, 7, 8, 2, 10, 1],
       "pieces of words",
       str(tokens_of("Unable, the CAF\u00c9 zzz _", vocabulary, 99)))
    ok(tokens_of("the the the the", vocabulary, 4) == [0, 6, 6, 1],
       "a long sentence is cut, and still ends")
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as f:
        f.write("[CLS]\n[SEP]\n[UNK]\nthe\nof\na\n")
    done = subprocess.run([sys.executable, os.path.join(ROOT, "workloads", "write_sentences.py"),
                           folder, os.path.join(folder, "text"), "--tokens", "9",
                           "--train", "20", "--val", "4"], capture_output=True, text=True,
                          check=False)
    lengths = array.array("I", open(os.path.join(folder, "text", "val.lengths"), "rb").read())
    ok(done.returncode == 0 and len(lengths) == 4 and max(lengths) <= 9
       and sum(lengths) * 2 == os.path.getsize(os.path.join(folder, "text", "val.bin")),
       "a data set", done.stderr)


def check_refusals(folder):
    config, tensors = put(folder, llama, "F32")
    base = os.path.join(folder, "out")

    def refused(what, expected, status=1, arguments=()):
        done = tool("import", "--from", "hf", folder, "-o", base, *arguments)
        ok(done.returncode == status and expected in done.stderr
           and not os.path.exists(base + ".json"), "refused: " + what, done.stderr)

    refused("too many tokens", "64, and --tokens asks for 65, at max_position_embeddings",
            arguments=("--tokens", "65"))
    refused("a head of others", "only BERT has heads to choose from", arguments=("--head", "mean"))
    name = "model.layers.0.self_attn.q_proj."
    for what, change, expected in (
            ("a bias' length", {name + "bias": ("F32", (7,), fresh(7, "F32", 1))},
             "q_proj.bias\" has the shape [7], expected [8]"),
            ("a shape", {name + "weight": ("F32", (8, C + 1), fresh(8 * (C + 1), "F32", 1))},
             "model.layers.0.self_attn.q_proj"),
            ("a type", {name + "weight": ("I64", (8, C), fresh(8 * C, "I64", 1))},
             "is of type I64, expected F32, F16 or BF16"),
            ("two types", {name + "weight": ("F16", (8, C), fresh(8 * C, "F16", 1))},
             "expected one type"),
            ("a tensor of others",
             {"model.layers.0.mlp.experts.0.w1": ("F32", (1,), fresh(1, "F32", 1))},
             "has no place in this architecture")):
        write(os.path.join(folder, "model.safetensors"), dict(tensors, **change))
        refused(what, expected)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(b"\x10")
    refused("no safetensors", "too few for safetensors")
    os.remove(os.path.join(folder, "model.safetensors"))
    refused("no weights", "neither model.safetensors nor model.safetensors.index.json is there")
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
        json.dump({"weight_map": {"a": "../b.safetensors"}}, f)
    refused("another folder", "is in another folder")
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(dict(config, architectures=[]), f)
    refused("no architecture", "expected at least 1, at architectures")
    os.remove(os.path.join(folder, "config.json"))
    refused("no config.json", "config.json: cannot open")


def check_weights(folder):
    put(folder, gpt2, "F32")
    base = os.path.join(folder, "out")
    tool("import", "--from", "hf", folder, "-o", base)
    weights = read(base + ".safetensors")
    short = dict(weights)
    del short["blocks.1.0.0.bias"]
    write(base + ".safetensors", short)
    done = tool("check", base + ".json")
    ok(done.returncode == 1 and "out.safetensors: tensor blocks.1.0.0.bias is "
       "missing" in done.stderr, "check: a tensor is missing", done.stderr)
    write(base + ".safetensors",
          dict(weights, **{"blocks.1.0.0.bias": ("F32", (C + 1,), fresh(C + 1, "F32", 1))}))
    done = tool("check", base + ".json")
    ok(done.returncode == 1 and "tensor blocks.1.0.0.bias has another shape than "
       "layer 0.0" in done.stderr, "check: a shape", done.stderr)
    done = tool("check", "digits", "nothere.json", "nas-digits")
    ok(done.returncode == 1 and done.stdout.count(": ok, ") == 2 and "nothere.json" in done.stderr,
       "check: every file is looked at", done.stdout + done.stderr)


def main():
    for check in (check_gpt2, check_llama, check_students, check_more_students, check_biases,
                  check_bert, check_home, check_sentences, check_refusals, check_weights):
        with tempfile.TemporaryDirectory() as folder:
            check(folder)
    for args, expected in (([], "expected a subcommand"), (["improt"], 'did you mean "import"?'), (
            ["import", "x"], "expected --from hf"),
                           (["import", "--from", "hf", "x", "-o", "y", "--learning-rate", "0"],
                            "--learning-rate: expected a number above 0"),
                           (["show"], "expected one WORKLOAD"), (["check"], "expected a WORKLOAD")):
        done = tool(*args)
        ok(done.returncode == 2 and expected in done.stderr, "bad usage: " + " ".join(args),
           done.stderr)
    return done_testing()


if __name__ == "__main__":
    sys.exit(main())
