#!/usr/bin/env python3
"""PyTorch's side of bench/kernels.c: the same blocks, one thread.

    kernels_torch.py WORKLOAD "ROWS [bf16]"

WORKLOAD has its layers expanded. Writes "ready VERSION", then for each line
"BLOCK teacher|student LAYOUT [CHOICE...]" on standard input the seconds of processor time of
one pass: the teacher's forward (inference mode, batch norm folded into convolutions), or the
student's forward, loss, backward and SGD update. LAYOUT 0 is PyTorch's default, 1 is
channels last; the benchmark takes the faster. With bf16, both run under autocast to bfloat16;
what comes out of them, and the loss, is float32.
"""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "tests", "pytorch"))

import torch
import torch.nn.functional as F
from torch_nets import Choice, folded, sequence


def loss_of(kind, y, t):
    if kind == "mse":
        return F.mse_loss(y, t)
    return -(F.softmax(t, 1) * F.log_softmax(y, 1)).sum(1).mean()


class Block:
    def __init__(self, block, shape, rows, training, layout, bf16):
        memory = torch.channels_last if layout else torch.contiguous_format
        teacher, self.out = sequence(block["teacher"], shape)
        student, _ = sequence(block["student"], shape)
        self.x = torch.randn(rows, *shape).contiguous(memory_format=memory)
        self.teacher = folded(teacher.eval()).to(memory_format=memory)
        self.student = student.to(memory_format=memory)
        self.choices = [m for m in self.student.modules() if isinstance(m, Choice)]
        self.loss = block["loss"]
        self.bf16 = bf16
        self.sgd = torch.optim.SGD(
            self.student.parameters(), lr=training["learning_rate"], momentum=training["momentum"],
            nesterov=training["nesterov"], weight_decay=training["weight_decay"])
        with torch.inference_mode():
            self.target = self.forward(self.teacher)
        self.target = self.target.clone()

    def forward(self, net):
        if not self.bf16:
            return net(self.x)
        with torch.autocast("cpu", torch.bfloat16):
            return net(self.x).float()

    def run(self, kind, choices):
        for m, c in zip(self.choices, choices):
            m.taken = c
        start = time.process_time()
        if kind == "teacher":
            with torch.inference_mode():
                self.forward(self.teacher)
        else:
            self.sgd.zero_grad(set_to_none=True)
            loss_of(self.loss, self.forward(self.student), self.target).backward()
            self.sgd.step()
        return time.process_time() - start


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        workload = json.load(f)
    size = sys.argv[2].split()
    rows, bf16 = int(size[0]), "bf16" in size
    torch.set_num_threads(1)
    shape = tuple(workload["input"][k] for k in ("channels", "height", "width"))
    blocks = []
    for block in workload["blocks"]:
        blocks.append(
            [Block(block, shape, rows, workload["training"], layout, bf16) for layout in (0, 1)])
        shape = blocks[-1][0].out
    print("ready", torch.__version__.split("+")[0], flush=True)
    for line in sys.stdin:
        words = line.split()
        print("%.9f"
              % blocks[int(words[0])][int(words[2])].run(words[1], [int(c) for c in words[3:]]),
              flush=True)


if __name__ == "__main__":
    main()
