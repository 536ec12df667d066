"""train_digits_teacher.py: trains the teacher of workloads/digits.json on the bundled digits
and writes workloads/digits-teacher.safetensors.

    python3 workloads/train_digits_teacher.py [--epochs 60] [--seed 1] [-o FILE]

Needs PyTorch; about a minute on two cores. The layers are read from digits.json, the
images from data/digits.csv: of the rows counted from 0 every fifth is for validation and is
only looked at after the last epoch. SGD with Nesterov momentum 0.9, weight decay 5e-4, a
learning rate of 0.1 that falls to 0 along a cosine, batches of 64, label smoothing 0.1; images
are moved by up to a pixel and turned by up to 10 degrees. One seed sets weights, order and
augmentation; the last bits of the result follow PyTorch's version and number of threads.

Names are those of a state_dict: blocks.B.L.weight is layer L of block B. The file's notes say
what made it and the validation accuracy it has.
"""
import argparse
import json
import math
import pathlib
import struct

import torch
from torch import nn
from torch.nn import functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent


def read_digits(workload):
    """Images and labels, for training and for validation, normalised as the workload says."""
    rows = [[int(v) for v in line.split(",")]
            for line in (ROOT / "data" / "digits.csv").read_text().split("\n")[1:-1]]
    data = torch.tensor(rows, dtype=torch.float32)
    images = data[:, :64].reshape(-1, 1, 8, 8) / 16
    mean, deviation = workload["input"]["mean"][0], workload["input"]["deviation"][0]
    held_out = torch.arange(len(rows)) % 5 == 0
    images, labels = (images - mean) / deviation, data[:, 64].long()
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def layer(spec, channels):
    """A layer of the workload's file as a module, and the channels it gives."""
    kind, kernel = spec["layer"], spec.get("kernel")
    if kind == "conv":
        module = nn.Conv2d(channels, spec["out"], kernel, spec.get("stride", 1),
                           spec.get("padding", (kernel - 1) // 2), groups=spec.get("groups", 1),
                           bias=spec.get("bias", True))
        return module, spec["out"]
    if kind == "linear":
        return nn.Linear(channels, spec["out"], bias=spec.get("bias", True)), spec["out"]
    if kind == "maxpool":
        return nn.MaxPool2d(kernel, spec.get("stride", kernel), spec.get("padding", 0)), channels
    simple = {"batchnorm": lambda: nn.BatchNorm2d(channels, spec.get("eps", 1e-5), spec.get(
            "momentum", 0.1)), "relu": nn.ReLU, "relu6": nn.ReLU6,
              "flatten": nn.Flatten, "avgpool": lambda: nn.AdaptiveAvgPool2d(1)}
    if kind not in simple or (kind == "avgpool" and not spec.get("global")):
        raise SystemExit(f"digits.json: this script does not know {spec}")
    return simple[kind](), channels


class Teacher(nn.Module):
    def __init__(self, workload):
        super().__init__()
        self.blocks, channels = nn.Sequential(), workload["input"]["channels"]
        for number, block in enumerate(workload["blocks"]):
            layers = nn.Sequential()
            for i, spec in enumerate(block["teacher"]):
                module, channels = layer(spec, channels)
                layers.add_module(str(i), module)
            self.blocks.add_module(str(number), layers)

    def forward(self, x):
        return self.blocks(x)


def augment(images, generator):
    """Each image turned about its centre and moved, what comes in from outside is background."""
    n = len(images)
    angle = (torch.rand(n, generator=generator) * 2 - 1) * math.radians(10)
    move = (torch.rand(n, 2, generator=generator) * 2 - 1) / 4          # 1 is half the width
    cos, sin = torch.cos(angle), torch.sin(angle)
    turn = torch.stack(
        [torch.stack([cos, -sin, move[:, 0]], 1), torch.stack([sin, cos, move[:, 1]], 1)], 1)
    background = images.min()
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images - background, grid, align_corners=False) + background


def train(teacher, images, labels, epochs, generator):
    batch, steps = 64, len(images) // 64
    optimizer = torch.optim.SGD(teacher.parameters(), 0.1, momentum=0.9, nesterov=True,
                                weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    teacher.train()
    for epoch in range(epochs):
        order, total = torch.randperm(len(images), generator=generator), 0.0
        for step in range(steps):
            rows = order[step * batch:(step + 1) * batch]
            loss = F.cross_entropy(teacher(augment(images[rows], generator)), labels[rows],
                                   label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:3d}  loss {total / steps:.4f}", flush=True)


def accuracy(teacher, images, labels):
    teacher.eval()
    with torch.no_grad():
        return (teacher(images).argmax(1) == labels).float().mean().item()


def write_safetensors(path, tensors, notes):
    header, body = {"__metadata__": notes}, b""
    for name, tensor in tensors.items():
        data = tensor.detach().float().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output",
                        default=str(ROOT / "workloads" / "digits-teacher.safetensors"))
    args = parser.parse_args()

    workload = json.loads((ROOT / "workloads" / "digits.json").read_text())
    images, labels, held_images, held_labels = read_digits(workload)
    torch.manual_seed(args.seed)
    teacher = Teacher(workload)
    train(teacher, images, labels, args.epochs, torch.Generator().manual_seed(args.seed))
    reached = accuracy(teacher, held_images, held_labels)
    print(f"accuracy: training {accuracy(teacher, images, labels):.4f}, validation {reached:.4f}")

    weights = {name: tensor
               for name, tensor in teacher.state_dict().items() if "num_batches" not in name}
    write_safetensors(args.output, weights, {
        "format": "pt", "workload": workload["name"],
        "made_by": "workloads/train_digits_teacher.py",
        "settings": f"epochs {args.epochs}, seed {args.seed}, torch {torch.__version__}",
        "validation_accuracy": f"{reached:.4f}"})
    print(f"wrote {args.output}: {pathlib.Path(args.output).stat().st_size} bytes")


main()
