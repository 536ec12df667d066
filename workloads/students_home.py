#!/usr/bin/env python3
"""Puts trained students back into the Hugging Face model that their teacher came from.

    python3 workloads/students_home.py WORKLOAD STUDENTS MODEL OUT

WORKLOAD and STUDENTS are of pipebd-workload make-students and pipebd-run train, MODEL is the folder that was imported. OUT
gets config.json, with the sizes that students have, and model.safetensors with the names that transformers uses (float32).
What students do not have (a pooler, more positions than the workload's) is MODEL's. Needs no packages.
"""

import array
import json
import os
import struct
import sys

TYPES = {"F32": 4, "F16": 2, "BF16": 2}


def wide(dtype, raw):
    """As float32."""
    if dtype == "F32":
        return array.array("f", raw)
    if dtype == "F16":
        return array.array("f", struct.unpack("<%de" % (len(raw) // 2), raw))
    out = bytearray(2 * len(raw))
    out[2::4], out[3::4] = raw[0::2], raw[1::2]
    return array.array("f", bytes(out))


def read_file(path):
    """name -> (shape, float32 values); other types are left out."""
    with open(path, "rb") as f:
        data = f.read()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + n])
    return {k: (v["shape"], wide(v["dtype"], data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]))
            for k, v in header.items() if k != "__metadata__" and v["dtype"] in TYPES}


def read_model(folder):
    index = os.path.join(folder, "model.safetensors.index.json")
    files = ["model.safetensors"]
    if os.path.exists(index):
        with open(index, encoding="utf-8") as f:
            files = sorted(set(json.load(f)["weight_map"].values()))
    out = {}
    for file in files:
        out.update(read_file(os.path.join(folder, file)))
    return out


def write_file(path, tensors):
    header, at = {}, 0
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + 4 * len(values)]}
        at += 4 * len(values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            values.tofile(f)


def transposed(tensor):
    (rows, columns), values = tensor
    return [columns, rows], array.array("f", [values[r * columns + c] for c in range(columns) for r in range(rows)])


def rows(tensor, first, count):
    shape, values = tensor
    each = len(values) // shape[0]
    return [count] + list(shape[1:]), values[first * each:(first + count) * each]


class Layers:
    """The students' layers one after another, with their tensors."""

    def __init__(self, workload, students):
        self.queue, self.students = [], students
        for b, block in enumerate(workload["blocks"]):
            self.walk(block["student"], "blocks.%d." % b)

    def walk(self, layers, prefix):
        for i, layer in enumerate(layers):
            self.queue.append((layer, "%s%d." % (prefix, i)))
            if layer["layer"] == "residual":
                self.walk(layer["body"], "%s%d." % (prefix, i))

    def next(self, kind):
        """The next layer of this kind; those that learn nothing are passed over, others are a mistake."""
        while self.queue:
            layer, prefix = self.queue.pop(0)
            if layer["layer"] == kind:
                return layer, {k[len(prefix):]: t for k, t in self.students.items() if k.startswith(prefix) and "." not in k[len(prefix):]}
            if layer["layer"] not in ("residual", "gelu", "silu", "tanh", "relu", "gated", "attention", "pool"):
                break
        raise SystemExit("students_home.py: the workload's layers are not those of the model: expected " + kind)

    def peek(self):
        return next((layer["layer"] for layer, _ in self.queue if layer["layer"] not in ("residual", "pool")), None)


def put(out, name, tensors, turned=False):
    """A module's weight and bias."""
    for what, tensor in tensors.items():
        out["%s.%s" % (name, what)] = transposed(tensor) if turned and what == "weight" else tensor


def split(out, names, tensors, counts):
    """Rows of one product to several modules."""
    first = 0
    for name, count in zip(names, counts):
        put(out, name, {what: rows(t, first, count) for what, t in tensors.items()})
        first += count


def positions_of(model, name, tensor):
    """The workload may have had fewer: the rest is the model's."""
    shape, values = model[name]
    return shape, tensor[1] + values[len(tensor[1]):]


def bert(layers, model, config):
    p = "bert." if "bert.embeddings.word_embeddings.weight" in model else ""
    out, sizes = {}, {}
    _, t = layers.next("embedding")
    out[p + "embeddings.word_embeddings.weight"] = t["weight"]
    out[p + "embeddings.position_embeddings.weight"] = positions_of(model, p + "embeddings.position_embeddings.weight", t["positions"])
    out[p + "embeddings.token_type_embeddings.weight"] = t["types"]
    put(out, p + "embeddings.LayerNorm", layers.next("layernorm")[1])
    for i in range(config["num_hidden_layers"]):
        m = p + "encoder.layer.%d." % i
        qkv, t = layers.next("linear")
        split(out, [m + "attention.self." + n for n in ("query", "key", "value")], t, [qkv["out"] // 3] * 3)
        put(out, m + "attention.output.dense", layers.next("linear")[1])
        put(out, m + "attention.output.LayerNorm", layers.next("layernorm")[1])
        ffn, t = layers.next("linear")
        sizes["intermediate_size"] = same(sizes, "intermediate_size", ffn["out"])
        put(out, m + "intermediate.dense", t)
        put(out, m + "output.dense", layers.next("linear")[1])
        put(out, m + "output.LayerNorm", layers.next("layernorm")[1])
    if layers.peek() == "linear":
        put(out, p + "pooler.dense", layers.next("linear")[1])
    return out, sizes


def llama(layers, model, config):
    out, sizes = {}, {}
    _, t = layers.next("embedding")
    put(out, "model.embed_tokens", t)
    for i in range(config["num_hidden_layers"]):
        m = "model.layers.%d." % i
        put(out, m + "input_layernorm", layers.next("rmsnorm")[1])
        _, t = layers.next("linear")
        attention, norms = layers.next("attention")
        d = attention["head_dim"]
        sizes["num_key_value_heads"] = same(sizes, "num_key_value_heads", attention["kv_heads"])
        split(out, [m + "self_attn.%s_proj" % n for n in "qkv"], t, [attention["heads"] * d, attention["kv_heads"] * d, attention["kv_heads"] * d])
        for n in norms:
            out[m + "self_attn.%s.weight" % n] = norms[n]
        put(out, m + "self_attn.o_proj", layers.next("linear")[1])
        put(out, m + "post_attention_layernorm", layers.next("rmsnorm")[1])
        ffn, t = layers.next("linear")
        sizes["intermediate_size"] = same(sizes, "intermediate_size", ffn["out"] // 2)
        split(out, [m + "mlp.gate_proj", m + "mlp.up_proj"], t, [ffn["out"] // 2] * 2)
        put(out, m + "mlp.down_proj", layers.next("linear")[1])
    put(out, "model.norm", layers.next("rmsnorm")[1])
    put(out, "lm_head", layers.next("linear")[1])
    sizes["tie_word_embeddings"] = False
    return out, sizes


def gpt2(layers, model, config):
    p = "transformer." if "transformer.wte.weight" in model else ""
    out, sizes = {}, {}
    _, t = layers.next("embedding")
    out[p + "wte.weight"] = t["weight"]
    out[p + "wpe.weight"] = positions_of(model, p + "wpe.weight", t["positions"])
    for i in range(config["n_layer"]):
        m = p + "h.%d." % i
        put(out, m + "ln_1", layers.next("layernorm")[1])
        put(out, m + "attn.c_attn", layers.next("linear")[1], True)
        put(out, m + "attn.c_proj", layers.next("linear")[1], True)
        put(out, m + "ln_2", layers.next("layernorm")[1])
        ffn, t = layers.next("linear")
        sizes["n_inner"] = same(sizes, "n_inner", ffn["out"])
        put(out, m + "mlp.c_fc", t, True)
        put(out, m + "mlp.c_proj", layers.next("linear")[1], True)
    put(out, p + "ln_f", layers.next("layernorm")[1])
    put(out, "lm_head", layers.next("linear")[1])
    sizes["tie_word_embeddings"] = False
    return out, sizes


def same(sizes, key, value):
    if sizes.get(key, value) != value:
        raise SystemExit("students_home.py: layers differ in %s, and the model's configuration has one" % key)
    return value


FAMILIES = {"Bert": bert, "Llama": llama, "Mistral": llama, "Qwen2": llama, "Qwen3": llama, "GPT2": gpt2}


def main():
    if len(sys.argv) != 5:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    workload, students, folder, to = sys.argv[1:]
    with open(workload, encoding="utf-8") as f:
        workload = json.load(f)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    name = config["architectures"][0]
    family = next((f for start, f in FAMILIES.items() if name.startswith(start)), None)
    if not family:
        raise SystemExit("students_home.py: %s has no way home" % name)
    model = read_model(folder)
    out, sizes = family(Layers(workload, read_file(students)), model, config)
    for name, tensor in model.items():
        out.setdefault(name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"), tensor)
    config.update(sizes)
    for key in ("torch_dtype", "dtype"):
        config.pop(key, None)
    os.makedirs(to, exist_ok=True)
    write_file(os.path.join(to, "model.safetensors"), out)
    with open(os.path.join(to, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, indent=1)
    print("%s: %d tensors, %s" % (to, len(out), ", ".join("%s %s" % pair for pair in sizes.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
