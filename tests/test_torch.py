#!/usr/bin/env python3
"""Whole blocks on kernels/ beside PyTorch, from the same weights and the same rows.

    PIPEBD_BIN=build/bin python3 tests/test_torch.py

Blocks like those of the bundled workloads and of transformers, small: frozen forward, one and
several training steps (loss, outputs, parameters, running statistics, momenta). Prints TAP. Needs
torch and the program build/tests/pytorch/net_steps; without one of them the whole file is one skip.
"""

import json
import os
import subprocess
import sys
import tempfile

from tap import done_testing, import_torch, ok, skip_all

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("PIPEBD_BIN", os.path.join(ROOT, "build", "bin"))
PROGRAM = os.path.join(os.path.dirname(BIN), "tests", "pytorch", "net_steps")
sys.path.insert(0, os.path.join(ROOT, "tests", "pytorch"))

# Of the largest element: floats summed in another order, once or through four updates.
STEP, STEPS = 2e-4, 2e-3

def conv(out, kernel=3, stride=1, groups=1, bias=False):
    return {"layer": "conv", "out": out, "kernel": kernel, "stride": stride, "padding": kernel // 2,
            "groups": groups,
            "bias": bias}


def norm(activation=None, **keys):
    return [{"layer": "batchnorm", **keys}] + ([{"layer": activation}] if activation else [])


def separable(channels, out):
    return [conv(channels, groups=channels)] + norm("relu") + [conv(out, 1)] + norm("relu")


def mbconv(channels, out, kernel, expand, stride=1):
    wide = channels * expand
    return ([conv(wide, 1)] + norm("relu6") + [conv(wide, kernel, stride, wide)] + norm("relu6")
            + [conv(out, 1)] + norm())


def basic(channels, out, stride):
    """A block of ResNet-18 (He et al., Deep residual learning, 2016), as torchvision has it."""
    made = {"layer": "residual",
            "body": [conv(out, stride=stride)] + norm("relu") + [conv(out)] + norm()}
    return [dict(made, shortcut=[conv(out, 1, stride)] + norm()) if stride > 1 or channels != out
            else made, {"layer": "relu"}]


POOL = {"layer": "maxpool", "kernel": 2, "stride": 2, "padding": 0}

def residual(*body):
    return {"layer": "residual", "body": list(body)}


def linear(out, bias=True):
    return {"layer": "linear", "out": out, "bias": bias}


def attention(heads, kv_heads=None, **keys):
    return {"layer": "attention", "heads": heads, "kv_heads": kv_heads or heads, "head_dim": 8,
            **keys}


LAYERNORM, RMSNORM, GELU = {"layer": "layernorm"}, {"layer": "rmsnorm",
                                                    "eps": 1e-5}, {"layer": "gelu"}

# name, input, layers, loss, paths chosen
BLOCKS = [
    ("digits-like", (1, 8, 8),
     [conv(32)] + norm("relu") + separable(32, 48) + [POOL, {"layer": "flatten"},
     {"layer": "linear", "out": 10, "bias": True}], "soft_cross_entropy", []),
    ("norms of their own", (4, 8, 8),
     [conv(24)] + norm("relu", eps=1e-3, momentum=0.01) + [conv(24, groups=24)] +
     norm("relu6", eps=0.3, momentum=0) + [conv(40, 1)] + norm(None, eps=1e-7, momentum=1)
     + [POOL, {"layer": "batchnorm"},
     conv(16, 1)], "mse", []),
    ("ResNet-like", (3, 15, 13),
     [conv(16, 7, 2)] + norm("relu") + [dict(POOL, kernel=3, padding=1)] + basic(16, 16, 1) +
     basic(16, 24, 2) + basic(24, 24, 1), "mse", []),
    ("a choice and a pool on the shortcut", (4, 8, 8), [conv(12), {"layer": "residual",
     "body": [{"layer": "choice", "paths": [mbconv(12, 16, 3, 2), mbconv(12, 16, 5, 3)]},
              conv(20, 3, 2, bias=True)],
     "shortcut": [dict(POOL), {"layer": "choice", "paths": [[], mbconv(12, 12, 3, 2)]}, conv(20, 1)]
                                                                   + norm("relu6")}], "mse",
     [1, 1]),
    ("VGG-like teacher", (3, 16, 16),
     [conv(32, bias=True), {"layer": "relu"}, conv(40, bias=True), {"layer": "relu"}, POOL,
     conv(48, bias=True), {"layer": "relu"}], "mse", []),
    ("VGG-like student", (4, 12, 12),
     [conv(4, groups=4, bias=True), conv(40, 1, bias=True), {"layer": "relu"},
     conv(40, groups=40, bias=True), conv(24, 1, bias=True), {"layer": "relu"}, POOL], "mse", []),
    ("MobileNet-like", (3, 15, 15), [conv(16, stride=2)] + norm("relu6") + mbconv(16, 24, 3, 3, 2) +
     [{"layer": "residual", "body": mbconv(24, 24, 3, 6)}] + [conv(64, 1)] + norm("relu6") +
     [{"layer": "avgpool", "global": True}, {"layer": "flatten"},
      {"layer": "linear", "out": 10, "bias": True}],
     "soft_cross_entropy", []),
    ("supernet", (4, 9, 9),
     [{"layer": "choice", "paths": [mbconv(4, 16, 3, 3, 2), mbconv(4, 16, 5, 6, 2)]},
     {"layer": "choice", "paths": [[{"layer": "residual", "body": mbconv(16, 16, 7, 3)}], [],
      [{"layer": "residual", "body": mbconv(16, 16, 3, 6)}]]}], "mse", [1, 2]),
    ("supernet, nothing second", (4, 9, 9),
     [{"layer": "choice", "paths": [mbconv(4, 16, 3, 3), mbconv(4, 16, 5, 6)]},
     {"layer": "choice", "paths": [[{"layer": "residual", "body": mbconv(16, 16, 7, 3)}], []]}],
     "mse", [0, 1]),
]

# Of sequences: the shape is channels, tokens, 1.
SEQUENCES = [
    ("GPT-like", (4, 140, 1),
     [linear(16), residual(LAYERNORM, linear(48), attention(2, causal=True), linear(16)),
     residual(LAYERNORM, linear(64), dict(GELU, approximate="tanh"), linear(16))], "mse", []),
    ("Llama-like", (4, 40, 1),
     [linear(32), residual(RMSNORM, linear(64, False), attention(4, 2, causal=True,
     rotary={"theta": 500}), linear(32, False)),
      residual(RMSNORM, linear(96, False), {"layer": "gated", "function": "silu"},
     linear(32, False))], "mse", []),
    ("ViT-like", (3, 50, 1), [linear(24), residual(LAYERNORM, linear(72), attention(3), linear(24)),
     residual(LAYERNORM, linear(48), GELU, linear(24))], "mse", []),
]

RATE, MOMENTUM, DECAY = 0.05, 0.9, 4e-5


def teacher_of(layers, out):
    """The layers, or a plain one of the same shapes where they are a supernet of stride 1 or 2."""
    return layers if '"choice"' not in json.dumps(layers) else [
        conv(out[0], 1, 2 if out[1] < 9 else 1)]


def write_workload(path, shape, layers, out, loss):
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"format": "pipebd-workload", "version": 1, "name": "test",
                   "input": {"channels": shape[0], "height": shape[1], "width": shape[2]},
                   "batch": 8, "samples": 64,
                   "training": {"learning_rate": RATE, "momentum": MOMENTUM, "nesterov": True,
                                "weight_decay": DECAY},
                   "blocks": [{"name": "b0", "loss": loss, "teacher": teacher_of(layers, out),
                               "student": layers}]}, f)


def channels_last(t):
    return t.permute(0, 2, 3, 1).contiguous() if t.dim() == 4 else t


def floats(tensors):
    import torch
    return torch.cat([t.detach().reshape(-1) for t in tensors]).float()


def close(found, truth, tolerance):
    largest = max(1e-3, float(truth.abs().max()))
    return float((found - truth).abs().max()) / largest, float((
            found - truth).abs().max()) <= tolerance * largest


def named(net):
    return [(n, t) for n, t in net.state_dict(keep_vars=True).items()
            if not n.endswith("num_batches_tracked")]


def randomise(net):
    import torch
    for name, t in named(net):
        if t.dim() == 1:
            with torch.no_grad():
                t.uniform_(0.5, 1.5) if name.endswith(("weight", "var")) else t.uniform_(-0.5, 0.5)


def loss_of(kind, y, t):
    import torch.nn.functional as F
    if kind == "mse":
        return F.mse_loss(y, t)
    return -(F.softmax(t, 1) * F.log_softmax(y, 1)).sum(1).mean()


def check_block(folder, name, shape, layers, loss, choices, rows, steps):
    import torch
    from torch_nets import Choice, sequence
    torch.manual_seed(1)
    path = os.path.join(folder, "workload.json")
    net, out_shape = sequence(layers, shape)
    write_workload(path, shape, layers, out_shape, loss)
    randomise(net)
    for m, c in zip([m for m in net.modules() if isinstance(m, Choice)], choices):
        m.taken = c
    title = "%s, %d rows, %d steps" % (name, rows, steps)

    lines = subprocess.run([PROGRAM, "names", path], capture_output=True, text=True,
                           check=False).stdout.splitlines()
    mine = [" ".join([n] + [str(d) for d in t.shape]) for n, t in named(net)]
    ok(lines == mine, title + ": names and shapes",
       "\n".join(lines) + "\nexpected\n" + "\n".join(mine))

    x = torch.randn(rows, shape[1], shape[0]) if shape[2] == 1 else torch.randn(rows, *shape)
    net.eval()
    with torch.no_grad():
        frozen = net(x)
    targets = [torch.randn_like(frozen) for _ in range(steps)]
    given = floats([t for _, t in named(net)] + [channels_last(x)]
                   + [channels_last(t) for t in targets])
    done = subprocess.run(
        [PROGRAM, "run", path, str(rows), str(steps), str(RATE), str(MOMENTUM), str(DECAY)] +
        [str(c) for c in choices], input=given.numpy().tobytes(), capture_output=True, check=False)
    if done.returncode != 0:
        ok(False, title, done.stderr.decode())
        return
    out = torch.frombuffer(bytearray(done.stdout), dtype=torch.float32)

    net.train()
    sgd = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY,
                          nesterov=True)
    losses = []
    for t in targets:
        sgd.zero_grad(set_to_none=True)
        y = net(x)
        value = loss_of(loss, y, t)
        value.backward()
        sgd.step()
        losses.append(value)

    at = 0
    tolerance = STEP if steps == 1 else STEPS

    def compare(what, truth):
        nonlocal at
        found = out[at:at + truth.numel()]
        at += truth.numel()
        if found.numel() != truth.numel():
            return ["%s: %d values, expected %d" % (what, found.numel(), truth.numel())]
        error, good = close(found, truth.detach().reshape(-1), tolerance)
        return [] if good else ["%s: off by %.2g of the largest, %.2g allowed"
                                % (what, error, tolerance)]

    wrong = compare("frozen y", channels_last(frozen))
    wrong += compare("losses", torch.stack(losses))
    wrong += compare("y", channels_last(y))
    for n, t in named(net):
        wrong += compare(n, t)
    for n, t in named(net):
        if isinstance(t, torch.nn.Parameter):
            state = sgd.state[t].get("momentum_buffer") if t in sgd.state else None
            wrong += compare("momentum of " + n,
                             state if state is not None else torch.zeros_like(t))
    if at != out.numel():
        wrong.append("%d values come out, expected %d" % (out.numel(), at))
    ok(not wrong, title + ": values", "\n".join(wrong))


def main():
    if not os.access(PROGRAM, os.X_OK):
        skip_all("built without oneDNN")
    torch = import_torch()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for block in BLOCKS + (SEQUENCES if hasattr(torch.nn, "RMSNorm") else []):  # 2.4 and later
            for rows, steps in ((6, 1), (7, 4)):
                check_block(folder, *block, rows, steps)
    return done_testing()


if __name__ == "__main__":
    sys.exit(main())
