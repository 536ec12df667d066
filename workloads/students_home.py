#!/usr/bin/env python3
"""Puts trained students back into the model that their teacher came from.

    python3 workloads/students_home.py WORKLOAD STUDENTS MODEL OUT

WORKLOAD and STUDENTS are a workload's file and what pipebd-run train wrote for it. MODEL is one of

    a folder of Hugging Face's transformers that was imported: OUT is a folder and gets config.json,
    with the sizes that
        students have, and model.safetensors with the names that transformers uses (float32). What
        students do not have (a pooler, more positions than the workload's) is MODEL's. Needs no
        packages.
    FILE.py:CALLABLE or MODULE:CALLABLE, the student of export_torch.py: OUT is a file, NAME.pt for
    torch.load() or
        NAME.safetensors, a state_dict of that module. Needs torch.

workloads/compare_outputs.py compares what comes out with pipebd-run. Exit: 0, or with one line on
stderr 1, nothing written; bad usage 2.
"""

import array
import io
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tensor_files  # noqa: E402  (beside this file)


class HomeError(ValueError):
    """Why they have no way home, in one line."""


def read_model(folder):
    index = os.path.join(folder, "model.safetensors.index.json")
    files = ["model.safetensors"]
    if os.path.exists(index):
        with open(index, encoding="utf-8") as f:
            files = sorted(set(json.load(f)["weight_map"].values()))
    out = {}
    for file in files:
        out.update(tensor_files.read_file(os.path.join(folder, file)))
    return out


def transposed(tensor):
    (rows, columns), values = tensor
    return [columns, rows], array.array(
        "f", [values[r * columns + c] for c in range(columns) for r in range(rows)])


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
        """The next layer of this kind; those that learn nothing are passed over, others are a
        mistake."""
        while self.queue:
            layer, prefix = self.queue.pop(0)
            if layer["layer"] == kind:
                return layer, {k[len(prefix):]: t for k, t in self.students.items()
                               if k.startswith(prefix) and "." not in k[len(prefix):]}
            if layer["layer"] not in ("residual", "gelu", "silu", "tanh", "relu", "gated",
                                      "attention", "pool"):
                break
        raise HomeError("the workload's layers are not those of the model: expected " + kind)

    def peek(self):
        return next((layer["layer"] for layer, _ in self.queue
                     if layer["layer"] not in ("residual", "pool")), None)


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
    out[p + "embeddings.position_embeddings.weight"] = positions_of(
        model, p + "embeddings.position_embeddings.weight", t["positions"])
    out[p + "embeddings.token_type_embeddings.weight"] = t["types"]
    put(out, p + "embeddings.LayerNorm", layers.next("layernorm")[1])
    for i in range(config["num_hidden_layers"]):
        m = p + "encoder.layer.%d." % i
        qkv, t = layers.next("linear")
        split(out, [m + "attention.self." + n for n in ("query", "key", "value")], t,
              [qkv["out"] // 3] * 3)
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
        split(out, [m + "self_attn.%s_proj" % n for n in "qkv"], t,
              [attention["heads"] * d, attention["kv_heads"] * d, attention["kv_heads"] * d])
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


def vit(layers, model, config):
    p = "vit." if "vit.embeddings.cls_token" in model else ""
    out, sizes = {}, {}
    put(out, p + "embeddings.patch_embeddings.projection", layers.next("conv")[1])
    _, t = layers.next("tokens")
    for name, what in (("cls_token", "class_token"), ("position_embeddings", "positions")):
        shape, values = t[what]
        out[p + "embeddings." + name] = [1] + list(shape), values
    for i in range(config["num_hidden_layers"]):
        m = p + "encoder.layer.%d." % i
        put(out, m + "layernorm_before", layers.next("layernorm")[1])
        qkv, t = layers.next("linear")
        split(out, [m + "attention.attention." + n for n in ("query", "key", "value")], t,
              [qkv["out"] // 3] * 3)
        put(out, m + "attention.output.dense", layers.next("linear")[1])
        put(out, m + "layernorm_after", layers.next("layernorm")[1])
        ffn, t = layers.next("linear")
        sizes["intermediate_size"] = same(sizes, "intermediate_size", ffn["out"])
        put(out, m + "intermediate.dense", t)
        put(out, m + "output.dense", layers.next("linear")[1])
    put(out, p + "layernorm", layers.next("layernorm")[1])
    if "classifier.weight" in model:
        put(out, "classifier", layers.next("linear")[1])
    return out, sizes


def same(sizes, key, value):
    if sizes.get(key, value) != value:
        raise HomeError("layers differ in %s, and the model's configuration has one" % key)
    return value


FAMILIES = {"Bert": bert, "Llama": llama, "Mistral": llama, "Qwen2": llama, "Qwen3": llama,
            "GPT2": gpt2, "ViT": vit}


def to_transformers(workload, students, folder, to):
    """A folder as MODEL's; what to say."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    name = config["architectures"][0]
    family = next((f for start, f in FAMILIES.items() if name.startswith(start)), None)
    if not family:
        raise HomeError("%s has no way home" % name)
    model = read_model(folder)
    out, sizes = family(Layers(workload, students), model, config)
    for name, tensor in model.items():
        out.setdefault(name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
                "LayerNorm.beta", "LayerNorm.bias"), tensor)
    config.update(sizes)
    for key in ("torch_dtype", "dtype"):
        config.pop(key, None)
    os.makedirs(to, exist_ok=True)
    tensor_files.write_together(
        {os.path.join(to, "model.safetensors"): tensor_files.tensor_bytes(out),
         os.path.join(to, "config.json"): [json.dumps(config, indent=1).encode()]})
    return "%s: %d tensors, %s" % (to, len(out),
                                   ", ".join("%s %s" % pair for pair in sizes.items()))


# ---- a PyTorch module
# -----------------------------------------------------------------------------


def flat(layers, prefix):
    """(layer, prefix) of a list of layers as they stand in a file, and of those within, a residual
    first."""
    for i, layer in enumerate(layers):
        at = "%s%d." % (prefix, i)
        yield layer, at
        for key, path in (("body", ""), ("shortcut", "shortcut.")):
            yield from flat(layer.get(key, []), at + path)


def module_layers(workload, word):
    """The module, and its layers in the same order."""
    from pytorch import layers, models
    model, _ = models.load(word, "student")
    shape = workload["input"]
    size = [shape["tokens"]] if "tokens" in shape else [shape[key]
                                                        for key in ("channels", "height", "width")]
    translated = layers.translate(model, "student", size, 2 if "tokens" in shape else 0)
    return model, [inner for layer in translated.layers for inner in layer.each()]


def put_back(layer, prefix, inner, students, state):
    """The trained tensors of a layer, into the parameters that it takes."""
    import torch
    for what, pieces in inner.node.tensors.items():
        shape = [sum(piece.shape[0] for piece in pieces)] + pieces[0].shape[1:]
        if prefix + what not in students:
            raise HomeError("the students have no %s, which is %s of the module"
                            % (prefix + what, pieces[0].name))
        found, values = students[prefix + what]
        if list(found) != shape:
            raise HomeError("%s is %s in the students, and %s of the module is %s"
                            % (prefix + what, list(found), pieces[0].name, shape))
        values, first = torch.tensor(values).reshape(shape), 0
        for piece in pieces:
            piece.take(values[first:first + piece.shape[0]], state)
            first += piece.shape[0]


def to_module(workload, students, word, to):
    """The module's state_dict as a file; what to say."""
    import torch
    if not to.endswith((".pt", ".pth", ".safetensors")):
        raise HomeError("%s: expected a name that ends in .pt, .pth or .safetensors" % to)
    model, inner = module_layers(workload, word)
    layers = [pair for b, block in enumerate(workload["blocks"])
              for pair in flat(block["student"], "blocks.%d." % b)]
    ours, theirs = [layer["layer"] for layer, _ in layers], [layer.node.kind for layer in inner]
    if ours != theirs:
        at = next((i for i, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]),
                  min(len(ours), len(theirs)))
        raise HomeError("the workload's layers are not those of the module: %s and %s at layer %d"
                        % (ours[at] if at < len(ours) else "no layer",
                           theirs[at] if at < len(theirs) else "no layer", at))
    state = model.state_dict()
    for (layer, prefix), found in zip(layers, inner):
        put_back(layer, prefix, found, students, state)
    if to.endswith(".safetensors"):
        # Tensors of other types (a batch norm's count of steps) are not what students learn.
        tensors = {name: (list(t.shape),
                          array.array("f", t.detach().contiguous().reshape(-1).tolist()))
                   for name, t in state.items() if t.is_floating_point()}
        chunks = tensor_files.tensor_bytes(tensors)
    else:
        saved = io.BytesIO()
        torch.save(state, saved)
        chunks = [saved.getvalue()]
    tensor_files.write_together({to: chunks})
    return "%s: %d tensors" % (to, len(state))


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    if len(argv) != 4:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    workload, students, model, to = argv
    try:
        with open(workload, encoding="utf-8") as f:
            try:
                workload = json.load(f)
            except ValueError as e:
                raise ValueError("%s: not JSON: %s" % (argv[0], e)) from e
        blocks = workload.get("blocks") if isinstance(workload, dict) else None
        if not isinstance(blocks, list) or not all(isinstance(b, dict) for b in blocks):
            raise ValueError("%s: no workload, expected an object with blocks" % argv[0])
        for block in blocks:
            if "students" in block:
                raise ValueError("block \"%s\" lists its students: take one of each block with "
                                 "pipebd-workload pick first" % block["name"])
        write = to_module if ":" in model and not os.path.isdir(model) else to_transformers
        print(write(workload, tensor_files.read_file(students), model, to))
    except ImportError as e:
        print("students_home.py: %s" % e, file=sys.stderr)
        return 1
    except (ValueError, OSError, RuntimeError, KeyError) as e:
        lines = str(e).strip().splitlines()
        print("students_home.py: %s" % (lines[0] if lines else type(e).__name__), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
