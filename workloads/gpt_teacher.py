#!/usr/bin/env python3
"""Trains a byte-level GPT as a teacher, and writes it as Hugging Face's GPT-2.

    python3 workloads/gpt_teacher.py TEXT FOLDER [--steps 2000] [--width 256] [--layers 3] ...

TEXT has train.txt and val.txt, as workloads/write_text.py makes them. FOLDER gets config.json and
model.safetensors, for pipebd-workload import. Needs torch; the network is GPT-2's (Radford et al.
2019): LayerNorm before, learnt positions, a head tied to the embedding. AdamW, a learning rate that
rises over a tenth of the steps and falls as a cosine; a step takes --batch places of the text at
random. Exit: 0, or with one line on stderr 1; bad usage 2.
"""

import argparse
import array
import json
import math
import os
import sys

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tensor_files  # noqa: E402  (beside this file)

OPTIONS = (("steps", 2000, "steps of AdamW"), ("batch", 8, "sequences in a step"),
           ("tokens", 128, "bytes in a sequence"), ("width", 256, "channels"),
           ("layers", 3, "transformer layers"), ("heads", 8, "heads of attention"),
           ("seed", 1, "of weights and order"))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attention(self, x, ahead):
        """x: [rows][tokens][width]; ahead: [tokens][tokens], true where a key comes after."""
        rows, tokens, width = x.shape
        q, k, v = (t.view(rows, tokens, self.heads, -1).transpose(1, 2)
                   for t in self.c_attn(x).split(width, 2))
        scores = q @ k.transpose(2, 3) / math.sqrt(width // self.heads)
        weights = scores.masked_fill(ahead, -math.inf).softmax(3)
        return (weights @ v).transpose(1, 2).reshape(rows, tokens, width)

    def forward(self, x, ahead):
        x = x + self.c_proj(self.attention(self.ln_1(x), ahead))
        return x + self.c_out(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, width, layers, heads, tokens):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(256, width), nn.Embedding(tokens, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, 0, 0.02)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight[:ids.shape[1]]
        ahead = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        for block in self.h:
            x = block(x, ahead)
        return self.ln_f(x) @ self.wte.weight.T


def batch(text, rows, tokens):
    at = torch.randint(0, len(text) - tokens - 1, (rows,))
    return torch.stack([text[i:i + tokens + 1] for i in at])


def perplexity(net, text, tokens):
    """Of each byte for the next one, in samples one after another, as pipebd-run computes it."""
    rows, total = text[:len(text) // tokens * tokens].view(-1, tokens), 0.0
    with torch.no_grad():
        for part in rows.split(32):
            scores, right = net(part)[:, :-1].flatten(0, 1), part[:, 1:].flatten()
            total += F.cross_entropy(scores, right, reduction="sum").item()
    return math.exp(total / (rows.shape[0] * (tokens - 1)))


def train(net, text, a):
    adam = torch.optim.AdamW(net.parameters(), lr=a.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, a.learning_rate, a.steps, pct_start=0.1)
    for step in range(a.steps):
        ids = batch(text, a.batch, a.tokens)
        loss = F.cross_entropy(net(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        schedule.step()
        if step % 100 == 0:
            print("step %d, loss %.3f" % (step, loss.item()), flush=True)


def names(net):
    """GPT-2's names; its linear layers are [in][out]."""
    out = {"wte.weight": net.wte.weight, "wpe.weight": net.wpe.weight,
           "ln_f.weight": net.ln_f.weight, "ln_f.bias": net.ln_f.bias}
    for i, b in enumerate(net.h):
        for ours, theirs in (("c_attn", "attn.c_attn"), ("c_proj", "attn.c_proj"),
                             ("c_fc", "mlp.c_fc"), ("c_out", "mlp.c_proj")):
            out["h.%d.%s.weight" % (i, theirs)] = getattr(b, ours).weight.T
            out["h.%d.%s.bias" % (i, theirs)] = getattr(b, ours).bias
        for norm in ("ln_1", "ln_2"):
            out["h.%d.%s.weight" % (i, norm)] = getattr(b, norm).weight
            out["h.%d.%s.bias" % (i, norm)] = getattr(b, norm).bias
    return {"transformer." + n: (t.shape, array.array("f", t.detach().flatten().tolist()))
            for n, t in out.items()}


def write(net, folder, a):
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 256,
              "n_embd": a.width, "n_layer": a.layers, "n_head": a.heads, "n_positions": a.tokens,
              "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    os.makedirs(folder, exist_ok=True)
    tensor_files.write_together({
        os.path.join(folder, "model.safetensors"): tensor_files.tensor_bytes(names(net)),
        os.path.join(folder, "config.json"): [json.dumps(config).encode()]})


def read(folder, part, tokens):
    path = os.path.join(folder, part + ".txt")
    with open(path, "rb") as f:
        text = f.read()
    if len(text) <= tokens + 1:
        raise ValueError("%s: %d bytes, expected more than %d" % (path, len(text), tokens + 1))
    return torch.tensor(list(text))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text")
    parser.add_argument("folder")
    for name, value, what in OPTIONS:
        parser.add_argument("--" + name, type=int, default=value, help="%s (%d)" % (what, value))
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="the largest (0.002)")
    a = parser.parse_args()
    for name, _, _ in OPTIONS:
        if getattr(a, name) < (name != "seed"):
            parser.error("--%s is %d, expected 1 or more" % (name, getattr(a, name)))
    if a.width % a.heads:
        parser.error("--width is %d, expected a multiple of --heads, %d" % (a.width, a.heads))
    if not 0 < a.learning_rate < 1e3:
        parser.error("--learning-rate is %g, expected more than 0" % a.learning_rate)
    return a


def main():
    a = arguments()
    torch.manual_seed(a.seed)
    try:
        text = {part: read(a.text, part, a.tokens) for part in ("train", "val")}
        net = Gpt(a.width, a.layers, a.heads, a.tokens)
        print("%.2f million parameters" % (sum(p.numel() for p in net.parameters()) / 1e6))
        train(net, text["train"], a)
        print("held-out perplexity %.4g a byte" % perplexity(net.eval(), text["val"], a.tokens))
        write(net, a.folder, a)
    except (OSError, ValueError) as e:
        print("gpt_teacher.py: %s" % e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
