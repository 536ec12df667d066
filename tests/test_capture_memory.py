#!/usr/bin/env python3
"""The memory of a trace that traces/capture_torch.py measures, against tensors counted as they
live.

    python3 tests/test_capture_memory.py

Six small architectures, each a teacher and a student of one block; what pipebd-plan makes of the
trace is held to 10 % of the peak that is counted here in another way: every operator's results,
each storage once, until it is freed. Prints TAP; needs torch 2.1 or later.
"""

import json
import os
import subprocess
import sys
import tempfile
import weakref

from tap import done_testing, import_torch, ok, skip_all

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("PIPEBD_BIN") or os.path.join(ROOT, "build", "bin")
BATCH = 8


def networks(nn):
    """name -> (block, shape of a sample)"""
    def conv(i, o, k=3, s=1, groups=1):
        return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, groups=groups, bias=False),
                             nn.BatchNorm2d(o), nn.ReLU())

    class Residual(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return x + self.inner(x)

    class Attention(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm, self.heads = nn.LayerNorm(width), nn.MultiheadAttention(width, 2,
                                                                               batch_first=True)

        def forward(self, x):
            y = self.norm(x)
            return x + self.heads(y, y, y, need_weights=False)[0]

    mlp = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32))
    return {
        "convolution and batch norm": (conv(8, 16), [8, 16, 16]),
        "mobilenet": (Residual(nn.Sequential(conv(8, 48, 1), conv(48, 48, groups=48),
                                             nn.Conv2d(48, 8, 1), nn.BatchNorm2d(8))), [8, 16, 16]),
        "resnet": (nn.Sequential(Residual(nn.Sequential(conv(16, 16), nn.Conv2d(
            16, 16, 3, padding=1), nn.BatchNorm2d(16))), nn.ReLU()), [16, 16, 16]),
        "vgg": (nn.Sequential(conv(8, 32), conv(32, 32), nn.MaxPool2d(2)), [8, 16, 16]),
        "transformer": (nn.Sequential(Attention(32), Residual(mlp)), [24, 32]),
        "perceptron": (nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 64)), [256]),
    }


def make_counter(torch):
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten

    class Counter(TorchDispatchMode):
        """Bytes of the storages that operators made and that live; those known before are not
        counted."""

        def __init__(self, known):
            super().__init__()
            self.known = {t.untyped_storage().data_ptr() for t in known}
            self.live, self.now, self.peak = {}, 0, 0

        def free(self, key):
            self.now -= self.live.pop(key)

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            for value in tree_flatten(result)[0]:
                if not isinstance(value, torch.Tensor):
                    continue
                storage = value.untyped_storage()
                key = storage.data_ptr()
                if key == 0 or key in self.known or key in self.live:
                    continue
                self.live[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self.free, key)
            return result

    return Counter


def counted_peak(torch, capture_torch, args, teacher, student, rows, shape):
    """Bytes of a whole step, weights and state included."""
    x = torch.randn([rows] + shape)
    optimizer = capture_torch.make_optimizer(args["optimizer"], student)

    def step():
        with torch.no_grad():
            target = teacher(x)
        torch.nn.functional.mse_loss(student(x), target).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    state = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    held = [x] + state + [t for m in (teacher, student)
                          for t in list(m.parameters()) + list(m.buffers())]
    with make_counter(torch)(held) as counter:
        step()
    return counter.peak + sum(t.numel() * t.element_size() for t in held)


def modelled_peak(path, rows):
    """What pipebd-plan says that one device needs."""
    done = subprocess.run([os.path.join(BIN, "pipebd-plan"), path, "--devices", "1", "--batch",
                           str(rows), "--schedules", "dp",
                           "--sensitivity", "no", "--format", "json"], stdout=subprocess.PIPE,
                          check=True)
    return json.loads(done.stdout)["schedules"][0]["peak_memory_bytes"]


def main():
    torch = import_torch()
    if tuple(int(n) for n in torch.__version__.split(".")[:2]) < (2, 1):
        skip_all("torch %s does not say when a storage is freed" % torch.__version__)
    sys.path.insert(0, os.path.join(ROOT, "traces"))
    import capture_torch
    for name in networks(torch.nn):
        for optimizer in ("sgd", "adam") if name in ("perceptron", "vgg") else ("sgd",):
            teacher, shape = networks(torch.nn)[name]
            student = networks(torch.nn)[name][0]
            args = dict(optimizer=optimizer, batch=BATCH, devices=2, trials=1, warmup=0,
                        input_shape=shape)
            trace = capture_torch.capture([teacher], [student], **args)
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                file.write(capture_torch.trace_text(trace))
                file.flush()
                models = {rows: modelled_peak(file.name, rows) for rows in (BATCH // 2, BATCH)}
            for rows, modelled in models.items():
                counted = counted_peak(torch, capture_torch, args, teacher, student, rows, shape)
                off = modelled / counted - 1
                ok(abs(off) <= 0.10,
                   "%s, %s, %d rows: memory within 10 %%" % (name, optimizer, rows),
                   "modelled %d, counted %d, %+.1f %%" % (modelled, counted, 100 * off))
    return done_testing()


if __name__ == "__main__":
    sys.exit(main())
