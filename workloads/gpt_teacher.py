#!/usr/bin/env python3
"""Trains a byte-level GPT as a teacher, and writes it as Hugging Face's GPT-2.

    python3 workloads/gpt_teacher.py TEXT FOLDER [--steps 600] [--width 192] [--layers 4] [--heads 6] [--tokens 128]

TEXT has train.txt and val.txt. FOLDER gets config.json and model.safetensors. Needs torch; the weights are those of
GPT-2 (Radford et al. 2019): LayerNorm before, learnt positions, a head tied to the embedding.
"""

import argparse
import json
import math
import os
import struct
import sys

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        rows, tokens, width = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).split(width, 2)
        q, k, v = (t.view(rows, tokens, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(rows, tokens, width)
        x = x + self.c_proj(y)
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
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


def batch(text, rows, tokens):
    at = torch.randint(0, len(text) - tokens - 1, (rows,))
    return torch.stack([text[i:i + tokens + 1] for i in at])


def perplexity(net, text, tokens):
    """Of each token for the next one, in samples one after another, as pipebd-run does it."""
    with torch.no_grad():
        rows = text[:len(text) // tokens * tokens].view(-1, tokens)
        losses = [F.cross_entropy(net(part)[:, :-1].flatten(0, 1), part[:, 1:].flatten(), reduction="sum") for part in rows.split(32)]
    return math.exp(float(sum(losses)) / (rows.shape[0] * (tokens - 1)))


def names(net):
    """GPT-2's names; its linear layers are [in][out]."""
    out = {"wte.weight": net.wte.weight, "wpe.weight": net.wpe.weight, "ln_f.weight": net.ln_f.weight, "ln_f.bias": net.ln_f.bias}
    for i, b in enumerate(net.h):
        for ours, theirs in (("c_attn", "attn.c_attn"), ("c_proj", "attn.c_proj"), ("c_fc", "mlp.c_fc"), ("c_out", "mlp.c_proj")):
            out["h.%d.%s.weight" % (i, theirs)] = getattr(b, ours).weight.T
            out["h.%d.%s.bias" % (i, theirs)] = getattr(b, ours).bias
        for ln in ("ln_1", "ln_2"):
            out["h.%d.%s.weight" % (i, ln)], out["h.%d.%s.bias" % (i, ln)] = getattr(b, ln).weight, getattr(b, ln).bias
    return {"transformer." + n: t.detach().contiguous() for n, t in out.items()}


def write(net, folder, arguments):
    os.makedirs(folder, exist_ok=True)
    header, at, tensors = {}, 0, names(net)
    for name, t in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + 4 * t.numel()]}
        at += 4 * t.numel()
    text = json.dumps(header).encode()
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(bytes(t.view(-1).view(torch.uint8).tolist()))
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 256, "n_embd": arguments.width,
                   "n_layer": arguments.layers, "n_head": arguments.heads, "n_positions": arguments.tokens,
                   "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}, f)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text")
    parser.add_argument("folder")
    for name, value in (("steps", 600), ("width", 192), ("layers", 4), ("heads", 6), ("tokens", 128), ("batch", 16), ("seed", 1)):
        parser.add_argument("--" + name, type=int, default=value, help="(%d)" % value)
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    text = {p: torch.tensor(list(open(os.path.join(a.text, p + ".txt"), "rb").read())) for p in ("train", "val")}
    net = Gpt(a.width, a.layers, a.heads, a.tokens)
    print("%.2f million parameters" % (sum(p.numel() for p in net.parameters()) / 1e6))
    adam = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, total_steps=a.steps, pct_start=0.1)
    for step in range(a.steps):
        ids = batch(text["train"], a.batch, a.tokens)
        loss = F.cross_entropy(net(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        schedule.step()
        if step % 100 == 0:
            print("step %d, loss %.3f" % (step, float(loss)), flush=True)
    print("held-out perplexity %.4g a byte" % perplexity(net.eval(), text["val"], a.tokens))
    write(net, a.folder, a)
    return 0


if __name__ == "__main__":
    sys.exit(main())
