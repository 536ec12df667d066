#!/usr/bin/env python3
"""PyTorch's side of bench/transformers.c: the same block, one thread.

    transformers_torch.py WORKLOAD ROWSxTOKENSxCHANNELS

WORKLOAD has its layers expanded, its last block takes an input of that size. Writes "ready
VERSION", then for each line on standard input the seconds of processor time of one pass:

    eager|compiled teacher     the teacher's forward
    eager|compiled student     the student's forward, loss, backward and AdamW (PyTorch's fused
                               kernel)
    eager update               that AdamW alone
    eager layer NAME           the forward of one of the teacher's layers

"check FILE" takes the weights of both from FILE (float32: the teacher's, its input and output, the
student's, its losses before and after a step) and answers how far outputs and losses are from
those in FILE, relative to the largest. torch.compile takes the teacher, and the student with its
loss; what it cannot compile is "nan".
"""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "tests", "pytorch"))

import torch
import torch.nn.functional as F
from torch_nets import sequence


class Block:
    def __init__(self, workload, rows, tokens, channels):
        block, training, shape = workload["blocks"][-1], workload["training"], (channels, tokens, 1)
        self.teacher, self.student = (sequence(block[who], shape)[0]
                                      for who in ("teacher", "student"))
        self.teacher.eval().requires_grad_(False)
        self.x = torch.randn(rows, tokens, channels)
        self.target = torch.randn_like(self.x)
        self.adamw = torch.optim.AdamW(
            self.student.parameters(), lr=training["learning_rate"], fused=True,
            betas=(training["beta1"], training["beta2"]), eps=training["eps"],
            weight_decay=training["weight_decay"])
        self.forward = {"eager": self.teacher, "compiled": torch.compile(self.teacher)}
        self.loss = {"eager": self._loss, "compiled": torch.compile(self._loss)}
        self.inputs = {}

    def _loss(self, x, target):
        return F.mse_loss(self.student(x), target)

    def step(self, how):
        self.adamw.zero_grad(set_to_none=True)
        loss = self.loss[how](self.x, self.target)
        loss.backward()
        self.adamw.step()
        return loss.detach()

    def layer(self, name):
        layer = self.teacher.get_submodule(name)
        if name not in self.inputs:
            kept = []
            handle = layer.register_forward_pre_hook(lambda _, given: kept.append(given[0].clone()))
            self.teacher(self.x)
            handle.remove()
            self.inputs[name] = kept[0]
        return layer, self.inputs[name]

    def run(self, how, what, name=None):
        if what == "layer":
            layer, x = self.layer(name)
        start = time.process_time()
        with torch.set_grad_enabled(what == "student"):
            if what == "teacher":
                self.forward[how](self.x)
            elif what == "student":
                self.step(how)
            elif what == "update":
                self.adamw.step()
            else:
                layer(x)
        return time.process_time() - start

    def check(self, path):
        given = torch.from_file(path, size=os.path.getsize(path) // 4)
        at = 0

        def take(tensor):
            nonlocal at
            at += tensor.numel()
            return given[at - tensor.numel():at].view(tensor.shape)

        with torch.no_grad():
            for tensor in list(self.teacher.parameters()) + [self.x, self.target] + list(
                    self.student.parameters()):
                tensor.copy_(take(tensor))
            y = self.teacher(self.x)
        losses = torch.stack([self.step("eager") for _ in range(2)])
        return max(float((found - truth).abs().max() / truth.abs().max())
                   for found, truth in ((y, self.target), (losses, take(losses))))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        workload = json.load(file)
    torch.set_num_threads(1)
    torch.manual_seed(1)
    block = Block(workload, *map(int, sys.argv[2].split("x")))
    broken = set()
    print("ready", torch.__version__.split("+")[0], flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "check":
            print("%.9g" % block.check(words[1]), flush=True)
            continue
        seconds = float("nan")
        if words[0] == "eager" or words[1] not in broken:
            try:
                seconds = block.run(*words)
            except Exception as error:                   # a compiler that is not there leaves eager
                if words[0] == "eager":
                    raise
                print("transformers_torch.py: torch.compile: %s" % str(error).split("\n")[0][:120],
                      file=sys.stderr)
                broken.add(words[1])
        print("%.9f" % seconds, flush=True)


if __name__ == "__main__":
    main()
