#!/usr/bin/env python3
"""Models of Hugging Face's transformers through pipebd-workload import, beside the reference.

    PIPEBD_BIN=build/bin python3 tests/test_import_hf.py

Tiny random models of every family, as the reference library writes them: outputs agree within
1e-4, and what one step of SGD changes in them within 1e-3. Prints TAP. Needs torch, transformers
and build/tests/pytorch/net_chain; without one of them the whole file is one skip.
"""

import array
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile

from tap import done_testing, ok

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("PIPEBD_BIN", os.path.join(ROOT, "build", "bin"))
PROGRAM = os.path.join(os.path.dirname(BIN), "tests", "pytorch", "net_chain")
TOOL = os.path.join(BIN, "pipebd-workload")
OUTPUT, STEP, RATE, ROWS, TOKENS = 1e-4, 1e-3, 0.05, 3, 12

LLAMA = dict(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
             num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=32)
ROPE3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=16)
BERT = dict(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=3,
            max_position_embeddings=32, hidden_dropout_prob=0.1)
VIT = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
           image_size=12, patch_size=4)

# name, configuration, model, its own keys, options of import, dtype, padded
MODELS = [
    ("Llama", "LlamaConfig", "LlamaForCausalLM", LLAMA, [], None, False),
    ("Llama, tied, padded", "LlamaConfig", "LlamaForCausalLM",
     dict(LLAMA, tie_word_embeddings=True), [], None, True),
    ("Llama, biases", "LlamaConfig", "LlamaForCausalLM",
     dict(LLAMA, attention_bias=True, mlp_bias=True), ["--layers-per-block", "2"], None, False),
    ("Llama, head size of its own", "LlamaConfig", "LlamaForCausalLM", dict(LLAMA, head_dim=10), [],
     None, False),
    ("Llama 3's rotary scaling", "LlamaConfig", "LlamaForCausalLM",
     dict(LLAMA, rope_scaling=dict(ROPE3), rope_theta=500.0), [], None, False),
    ("Llama, bfloat16, shards", "LlamaConfig", "LlamaForCausalLM", LLAMA, [], "bfloat16", False),
    ("Llama, float16", "LlamaConfig", "LlamaForCausalLM", LLAMA, [], "float16", False),
    ("Mistral, in a window", "MistralConfig", "MistralForCausalLM", dict(LLAMA, sliding_window=5),
     [], None, False),
    ("Qwen2", "Qwen2Config", "Qwen2ForCausalLM", LLAMA, [], None, True),
    ("Qwen3", "Qwen3Config", "Qwen3ForCausalLM", dict(LLAMA, head_dim=8), [], None, False),
    ("GPT-2", "GPT2Config", "GPT2LMHeadModel",
     dict(vocab_size=61, n_embd=24, n_layer=2, n_head=3, n_positions=32), [], None, False),
    ("GPT-2, its own FFN, exact gelu", "GPT2Config", "GPT2LMHeadModel",
     dict(vocab_size=61, n_embd=24, n_layer=2, n_head=3, n_positions=32, n_inner=30,
          activation_function="gelu"), [], None, True),
    ("BERT", "BertConfig", "BertModel", BERT, [], None, False),
    ("BERT, padded", "BertConfig", "BertModel", BERT, [], None, True),
    ("BERT, pooler", "BertConfig", "BertModel", BERT, ["--head", "pooler"], None, True),
    ("BERT, mean", "BertConfig", "BertModel", BERT, ["--head", "mean"], None, True),
    ("ViT", "ViTConfig", "ViTModel", VIT, [], None, False),
    ("ViT, a classifier", "ViTConfig", "ViTForImageClassification", dict(VIT, num_labels=7), [],
     None, False),
]


def make(folder, configuration, model, keys, dtype):
    """The model with random weights, norms away from 1 and 0, biases away from 0."""
    import torch
    import transformers
    torch.manual_seed(1)
    made = getattr(transformers, model)(getattr(transformers, configuration)(**keys)).eval()
    with torch.no_grad():
        for p in made.parameters():
            if p.dim() == 1:
                p.add_(torch.randn_like(p) * 0.2)
            else:
                p.mul_(4)
    if dtype:
        made = made.to(getattr(torch, dtype)).float()
        (made.to(getattr(torch, dtype))).save_pretrained(folder, max_shard_size="20kB")
        made = getattr(transformers, model).from_pretrained(folder, dtype=torch.float32).eval()
    else:
        made.save_pretrained(folder)
    return made


def untie(net):
    """The head a tensor of its own: here they are two, and their gradients too."""
    import torch
    if getattr(net, "lm_head", None) is not None:
        net.lm_head.weight = torch.nn.Parameter(net.lm_head.weight.detach().clone())


def inputs(net, padded):
    """What goes in, as the reference wants it and as floats of ours, and how many tokens of each
    row count."""
    import torch
    c = net.config
    if hasattr(c, "image_size"):
        x = torch.randn(ROWS, 3, c.image_size, c.image_size)
        return dict(pixel_values=x), x.permute(0, 2, 3, 1).contiguous(), None
    ids = torch.randint(0, c.vocab_size, (ROWS, TOKENS))
    lengths = [TOKENS, 5, 8] if padded else None
    given, ours = dict(input_ids=ids), ids.float()
    if padded:
        mask = torch.tensor([[1 if t < n else 0 for t in range(TOKENS)] for n in lengths])
        given["attention_mask"] = mask
    if c.model_type == "bert":
        types = torch.randint(0, 2, (ROWS, TOKENS))
        given["token_type_ids"] = types
        ours = torch.stack([ids, types], 2).float()
    return given, ours, lengths


def output(net, given, options):
    out = net(**given)
    if "pooler" in options:
        return out.pooler_output
    if "mean" in options:
        mask = given["attention_mask"].unsqueeze(2)
        return (out.last_hidden_state * mask).sum(1) / mask.sum(1)
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


def floats(t):
    return array.array("f", t.detach().reshape(-1).tolist()).tobytes()


def close(found, truth, tolerance):
    worst, largest = float((found - truth).abs().max()), float(truth.abs().max())
    return worst <= tolerance * max(largest, 1e-3), "off by %.3g, the largest is %.3g" % (worst,
                                                                                          largest)


def check(name, configuration, model, keys, options, dtype, padded):
    import torch
    with tempfile.TemporaryDirectory() as folder:
        net = make(folder, configuration, model, keys, dtype)
        base = os.path.join(folder, "ours")
        tokens = [] if "image_size" in keys else ["--tokens", str(TOKENS)]
        done = subprocess.run([TOOL, "import", "--from", "hf", folder, "-o", base] + tokens
                              + options, capture_output=True, text=True)
        if done.returncode:
            ok(False, name + ": import", done.stderr)
            return
        checked = subprocess.run([TOOL, "check", base + ".json"], capture_output=True, text=True)
        ok(checked.returncode == 0, name + ": check", checked.stderr)
        if "shards" in name:
            ok(os.path.exists(os.path.join(folder, "model.safetensors.index.json")),
               name + ": there are shards")
        untie(net)
        torch.manual_seed(2)
        given, ours, lengths = inputs(net, padded)
        before = output(net, given, options)
        dy = torch.randn_like(before) / before.numel()
        valid = torch.ones(before.shape[:2] if before.dim() == 3 else before.shape[:1])
        if lengths and before.dim() == 3:
            for r, n in enumerate(lengths):
                dy[r, n:] = 0
                valid[r, n:] = 0
        before.backward(dy)
        with torch.no_grad():
            for p in net.parameters():
                if p.grad is not None:
                    p.sub_(RATE * p.grad * 100)
        after = output(net, given, options)
        text = floats(torch.tensor([float(n) for n in lengths] if lengths
                                   else [0.0] * ROWS)) + floats(ours) + floats(dy)
        run = subprocess.run(
            [PROGRAM, base + ".json", base + ".safetensors", str(ROWS), str(RATE * 100)],
            input=text, capture_output=True)
        if run.returncode:
            ok(False, name + ": run", run.stderr.decode())
            return
        found = torch.frombuffer(bytearray(run.stdout), dtype=torch.float32).reshape(2,
                                                                                     *before.shape)
        keep = valid.reshape(valid.shape + (1,) * (before.dim() - valid.dim()))
        good, why = close(found[0] * keep, before.detach() * keep, OUTPUT)
        ok(good, name + ": outputs", why)
        good, why = close((found[1] - found[0]) * keep, (after - before).detach() * keep, STEP)
        ok(good, name + ": a step", why)


def control():
    """The comparison can fail: with another theta in our file the outputs differ."""
    import torch
    with tempfile.TemporaryDirectory() as folder:
        net = make(folder, "LlamaConfig", "LlamaForCausalLM", LLAMA, None)
        base = os.path.join(folder, "ours")
        subprocess.run([TOOL, "import", "--from", "hf", folder, "-o", base, "--tokens",
                        str(TOKENS)], capture_output=True, check=True)
        with open(base + ".json", encoding="utf-8") as f:
            text = f.read()
        with open(base + ".json", "w", encoding="utf-8") as f:
            f.write(text.replace('"theta": 10000', '"theta": 9000'))
        given, ours, _ = inputs(net, False)
        truth = output(net, given, []).detach()
        run = subprocess.run([PROGRAM, base + ".json", base + ".safetensors", str(ROWS), "0"],
                             input=floats(torch.zeros(ROWS)) + floats(ours)
                             + floats(torch.zeros_like(truth)), capture_output=True, check=True)
        found = torch.frombuffer(bytearray(run.stdout), dtype=torch.float32).reshape(2,
                                                                                     *truth.shape)
        good, why = close(found[0], truth, OUTPUT)
        ok(not good and "theta" in text, "control: another theta is noticed", why)


def home():
    """Narrower students go back into a model of transformers, which gives what pipebd-run gives."""
    sys.path.insert(0, os.path.join(ROOT, "workloads"))
    import compare_outputs
    import students_home
    for name, configuration, model, keys, options, _, _ in [m for m in MODELS if m[0] in (
            "Llama", "GPT-2", "BERT", "BERT, mean", "ViT", "ViT, a classifier")]:
        with tempfile.TemporaryDirectory() as folder:
            make(folder, configuration, model, keys, None)
            base, to = os.path.join(folder, "ours"), os.path.join(folder, "home")
            tokens = [] if "image_size" in keys else ["--tokens", str(TOKENS)]
            subprocess.run([TOOL, "import", "--from", "hf", folder, "-o", base] + tokens + options,
                           capture_output=True, check=True)
            subprocess.run([TOOL, "make-students", base + ".json", "-o", base + "-narrow", "--ffn",
                            "0.5"], capture_output=True, check=True)
            with contextlib.redirect_stdout(io.StringIO()) as said:
                gone = students_home.main(
                    [base + "-narrow.json", base + "-narrow.safetensors", folder, to])
                same = compare_outputs.main(
                    [base + "-narrow.json", to, "--student", base + "-narrow.safetensors", "--run",
                     os.path.join(BIN, "pipebd-run")])
                other = compare_outputs.main(
                    [base + "-narrow.json", folder, "--student", base + "-narrow.safetensors",
                     "--run", os.path.join(BIN, "pipebd-run")])
            ok(gone == 0 and same == 0 and other == 1, name + ": students at home in transformers",
               said.getvalue())


def refused():
    """What is not imported is refused by its name, and nothing is written."""
    with tempfile.TemporaryDirectory() as folder:
        make(folder, "LlamaConfig", "LlamaForCausalLM", LLAMA, None)
        path = os.path.join(folder, "config.json")
        with open(path, encoding="utf-8") as f:
            config = json.load(f)
        for change, expected in [
                (dict(architectures=["MixtralForCausalLM"]),
                 "MixtralForCausalLM is not imported, expected one of: LlamaForCausalLM"),
                (dict(hidden_act="mish"), '"mish" is not known, expected one of: gelu'),
                (dict(num_local_experts=8),
                 "a model with it is not imported, at num_local_experts"),
                (dict(quantization_config={"bits": 4}),
                 "a model with it is not imported, at quantization_config"),
                (dict(rope_parameters=None, rope_scaling={"rope_type": "yarn", "factor": 4.0}),
                 'rotary positions of type "yarn"'),
                (dict(num_hidden_layers=3),
                 'tensor "model.layers.2.input_layernorm.weight" is missing'),
                (dict(num_hidden_layers=1), 'tensor "model.layers.1.input_layernorm.weight" has '
                 'no place in this architecture'),
                (dict(hidden_size=28, head_dim=6), "has the shape [61][24], expected [61][28]"),
                (dict(vocab_size=0), "0 is too small, expected at least 1, at vocab_size")]:
            with open(path, "w", encoding="utf-8") as f:
                json.dump(dict(config, **change), f)
            base = os.path.join(folder, "ours")
            done = subprocess.run([TOOL, "import", "--from", "hf", folder, "-o", base],
                                  capture_output=True, text=True)
            good = done.returncode == 1 and expected in done.stderr and done.stderr.count(
                "\n") == 1 and not os.path.exists(base + ".json")
            ok(good, "refused: " + ", ".join(change), done.stderr)


def main():
    if not os.access(PROGRAM, os.X_OK) or not os.access(TOOL, os.X_OK):
        print("1..0 # SKIP built without oneDNN")
        return 0
    try:
        import torch
        import transformers
    except ImportError:
        print("1..0 # SKIP torch or transformers is not installed")
        return 0
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for model in MODELS:
        check(*model)
    control()
    home()
    refused()
    return done_testing()


if __name__ == "__main__":
    sys.exit(main())
