#!/usr/bin/env python3
"""Students that pipebd-run train wrote, in PyTorch: they load as nested Sequential, and
give the losses and classes that the tool printed.

    PIPEBD_BIN=build/bin python3 tests/test_run_torch.py

Prints TAP. Needs torch; without it the whole file is one skip.
"""

import array
import csv
import json
import os
import struct
import subprocess
import sys
import tempfile

from tap import done_testing, import_torch, needs_cpu_devices, ok

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN = os.path.join(os.environ.get("PIPEBD_BIN", os.path.join(ROOT, "build", "bin")), "pipebd-run")

# Every kind of layer that has parameters, a residual, and a flatten of more than one pixel.
SEPARABLE = {"layer": "separable", "kernel": 3, "batchnorm": True, "relu": True}
WORKLOAD = {
    "format": "pipebd-workload", "version": 1, "name": "torch",
    "input": {"channels": 1, "height": 8, "width": 8, "mean": [0.3], "deviation": [0.4]},
    "classes": 10, "batch": 1437, "samples": 1437,
    "training": {"learning_rate": 1e-30, "momentum": 0.9, "nesterov": True, "weight_decay": 0},
    "data": "digits",
    "blocks": [
        {"name": "stem", "loss": "mse",
         "teacher": [{"layer": "conv", "out": 8, "kernel": 3, "bias": False},
                     {"layer": "batchnorm", "eps": 0.02, "momentum": 0.3}, {"layer": "relu"}],
         "student": [dict(SEPARABLE, out=8)]},
        {"name": "body", "loss": "mse",
         "teacher": [{"layer": "residual",
                      "body": [{"layer": "conv", "out": 8, "kernel": 3}, {"layer": "relu6"}],
                      "shortcut": [{"layer": "conv", "out": 8, "kernel": 1, "bias": False},
                                   {"layer": "batchnorm"}]},
                     {"layer": "maxpool", "kernel": 2}],
         "student": [{"layer": "residual",
                      "body": [{"layer": "conv", "out": 8, "kernel": 1},
                               {"layer": "batchnorm", "eps": 1e-3, "momentum": 0.03}],
                      "shortcut": [{"layer": "conv", "out": 8, "kernel": 1}]},
                     {"layer": "avgpool", "kernel": 2}]},
        {"name": "head", "loss": "soft_cross_entropy",
         "teacher": [{"layer": "flatten"}, {"layer": "linear", "out": 10}],
         "student": [{"layer": "avgpool", "global": True}, {"layer": "linear", "out": 10}]}]}

# ---- safetensors -------------------------------------------------------------------------


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header, body, tensors = json.loads(data[8:8 + length]), data[8 + length:], {}
    notes = header.pop("__metadata__", {})
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = torch.tensor(array.array("f", body[begin:end])).reshape(entry["shape"])
    return tensors, notes


def write(path, tensors):
    header, body = {}, b""
    for name, tensor in tensors.items():
        data = array.array("f", tensor.flatten().tolist()).tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


# ---- the same networks ----------------------------------------------------------------------


def make_layers(layers, shape):
    """nested Sequential of a list of layers; returns it and the shape it gives."""
    from torch import nn

    class Residual(nn.Sequential):
        def forward(self, x):
            y, way = x, self._modules.get("shortcut")
            for name, module in self._modules.items():
                y = y if name == "shortcut" else module(y)
            return y + (way(x) if way else x)

    class Linear(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1))

    made = []
    for layer in layers:
        kind, channels = layer["layer"], shape[0]
        if kind == "conv":
            k = layer["kernel"]
            made.append(nn.Conv2d(channels, layer["out"], k, padding=(k - 1) // 2,
                                  bias=layer.get("bias", True)))
        elif kind == "separable":
            k, out = layer["kernel"], layer["out"]
            made += [nn.Conv2d(channels, channels, k, padding=(k - 1) // 2, groups=channels,
                               bias=False),
                     nn.BatchNorm2d(channels), nn.Conv2d(channels, out, 1, bias=False),
                     nn.BatchNorm2d(out), nn.ReLU()]
        elif kind == "batchnorm":
            made.append(
                nn.BatchNorm2d(channels, layer.get("eps", 1e-5), layer.get("momentum", 0.1)))
        elif kind == "relu":
            made.append(nn.ReLU())
        elif kind == "relu6":
            made.append(nn.ReLU6())
        elif kind == "maxpool":
            made.append(nn.MaxPool2d(layer["kernel"]))
        elif kind == "avgpool":
            made.append(nn.AdaptiveAvgPool2d(1) if layer.get("global")
                        else nn.AvgPool2d(layer["kernel"]))
        elif kind == "flatten":
            made.append(nn.Flatten())
        elif kind == "linear":
            size = 1
            for side in shape:
                size *= side
            made.append(Linear(size, layer["out"]))
        elif kind == "residual":
            made.append(Residual(*make_layers(layer["body"], shape)[0]))
            if "shortcut" in layer:
                made[-1].add_module("shortcut", make_layers(layer["shortcut"], shape)[0])
        with torch.no_grad():
            added = nn.Sequential(*made[-5 if kind == "separable" else -1:]).eval()
            shape = tuple(added(torch.zeros(1, *shape)).shape[1:])
            added.train()
    return nn.Sequential(*made), shape


def network(which):
    from torch import nn

    blocks, shape, model = [], (1, 8, 8), nn.Module()
    for block in WORKLOAD["blocks"]:
        made, shape = make_layers(block[which], shape)
        blocks.append(made)
    model.blocks = nn.Sequential(*blocks)
    return model


def load(model, tensors):
    """Strictly, but for the number of batches that PyTorch counts and we do not."""
    tensors = dict(tensors)
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = value
    model.load_state_dict(tensors)


def digits(validation):
    with open(os.path.join(ROOT, "data", "digits.csv")) as file:
        rows = [[int(v) for v in row] for row in list(csv.reader(file))[1:]]
    rows = [row for i, row in enumerate(rows) if (i % 5 == 0) == validation]
    x = torch.tensor([row[:64] for row in rows], dtype=torch.float32).reshape(-1, 1, 8, 8)
    return (x / 16 - 0.3) / 0.4, torch.tensor([row[64] for row in rows])


# ---- running the tool --------------------------------------------------------------------------


def train(folder, *words):
    path = os.path.join(folder, "workload.json")
    with open(path, "w") as file:
        json.dump(WORKLOAD, file)
    out = os.path.join(folder, "student.safetensors")
    ran = subprocess.run(
        [RUN, "train", "--workload", path, "--teacher", os.path.join(folder, "teacher.safetensors"),
         "-o", out] + list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    if ran.returncode != 0:
        ok(False, "pipebd-run train", ran.stderr)
        sys.exit(done_testing())
    lines = ran.stdout.splitlines()
    losses = [[float(word) for word in line.split()[2:4]] for line in lines[1:4]]
    words = [line for line in lines if line.startswith("accuracy")][0].replace(",", " ").split()
    percents = [float(words[i - 1]) for i, word in enumerate(words) if word == "%"]
    return read(out), losses, percents


def right(model, x, labels):
    model.eval()
    with torch.no_grad():
        return int((model.blocks(x).argmax(1) == labels).sum())


def check_untrained(folder, teacher):
    """One step over all samples at a rate of 1e-30: the students are as they began, and the
    losses printed are theirs."""
    (tensors, notes), losses, percents = train(folder, "--schedule", "dpu", "--devices", "cpu:2")
    student = network("student")
    began = {n: v for n, v in tensors.items() if "running" not in n}
    for name, value in student.state_dict().items():
        if "running" in name:
            began[name] = value
    load(student, began)
    ok(True, "the student loads as nested Sequential, strictly")
    ok(notes.get("workload") == "torch" and notes.get("schedule") == "dpu", "notes", notes)
    x, _ = digits(False)
    student.train()
    with torch.no_grad():
        for b, block in enumerate(WORKLOAD["blocks"]):
            y, t = student.blocks[b](x), teacher.blocks[b](x)
            if block["loss"] == "mse":
                loss = ((y - t) ** 2).mean()
            else:
                loss = -(t.softmax(1) * y.log_softmax(1)).sum(1).mean()
            ok(abs(losses[b][0] - float(loss)) <= 2e-5 * float(loss), "loss of block %d" % b,
               "printed %s, PyTorch has %s" % (losses[b][0], float(loss)))
            x = t
    worst = max(float((value - tensors[name]).abs().max())
                for name, value in student.state_dict().items()
                if "running" in name)
    ok(worst < 1e-5, "running statistics after one step", worst)
    x, labels = digits(True)
    ok(abs(percents[0] - 100 * right(teacher, x, labels) / len(x)) < 0.3, "accuracy of the teacher",
       percents)


def check_trained(folder):
    """A trained student's classes; one image on the edge may fall on the other side."""
    WORKLOAD["training"]["learning_rate"] = 0.05
    WORKLOAD["batch"] = 64
    (tensors, _), losses, percents = train(folder, "--schedule", "ir", "--devices", "cpu:2",
                                           "--epochs", "2",
                                           "--sync-batchnorm")
    student = network("student")
    load(student, tensors)
    x, labels = digits(True)
    ok(all(last < first for first, last in losses), "losses fall", losses)
    ok(abs(percents[2] - 100 * right(student, x, labels) / len(x)) < 0.3, "accuracy of the student",
       percents)


def main():
    torch.manual_seed(3)
    teacher = network("teacher")
    with torch.no_grad():                      # statistics of its own, not 0 and 1
        x, _ = digits(False)
        teacher.train()
        teacher.blocks(x)
    teacher.eval()
    with tempfile.TemporaryDirectory() as folder:
        write(os.path.join(folder, "teacher.safetensors"),
              {n: v
               for n, v in teacher.state_dict().items() if not n.endswith("num_batches_tracked")})
        check_untrained(folder, teacher)
        check_trained(folder)
    return done_testing()


torch = import_torch()
needs_cpu_devices(os.path.dirname(RUN))
sys.exit(main())
