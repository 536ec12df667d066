"""The models of docs/pytorch.md: a teacher for the bundled digits and a cheaper student, as a user
of PyTorch writes them.

    python3 docs/my_models.py        trains the teacher (seconds) and writes my-teacher.pt
"""

import csv
import os

import torch
from torch import nn

DIGITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "digits.csv")


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                                  nn.BatchNorm2d(channels), nn.ReLU(),
                                  nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                                  nn.BatchNorm2d(channels))

    def forward(self, x):
        return torch.relu(x + self.body(x))


class Separable(nn.Module):
    """The student's, with a quarter of the weights."""

    def __init__(self, channels):
        super().__init__()
        wide = 2 * channels
        self.widen = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide),
                                   nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
                                       nn.BatchNorm2d(wide), nn.ReLU())
        self.narrow = nn.Sequential(nn.Conv2d(wide, channels, 1, bias=False),
                                    nn.BatchNorm2d(channels))

    def forward(self, x):
        return torch.relu(x + self.narrow(self.depthwise(self.widen(x))))


class Network(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.layer1, self.layer2 = cell(32), nn.Sequential(nn.MaxPool2d(2), cell(32))
        self.layer3 = cell(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.head(x.mean([2, 3]))


def teacher():
    model = Network(Residual)
    if os.path.exists("my-teacher.pt"):
        model.load_state_dict(torch.load("my-teacher.pt"))
    return model


def student():
    """It begins with the teacher's stem and head."""
    torch.manual_seed(2)
    model, known = Network(Separable), teacher()
    model.stem.load_state_dict(known.stem.state_dict())
    model.head.load_state_dict(known.head.state_dict())
    return model


def digits():
    """Training images and labels, as pipebd-run has them of --data digits: every fifth image is for
    validation."""
    with open(DIGITS, encoding="utf-8") as f:
        rows = [[int(v) for v in row] for row in list(csv.reader(f))[1:]]
    rows = torch.tensor([row for i, row in enumerate(rows) if i % 5])
    return (rows[:, :-1].reshape(-1, 1, 8, 8) / 16 - 0.3) / 0.4, rows[:, -1]


def main():
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model, (x, labels) = Network(Residual), digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for _ in range(10):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), labels[rows]).backward()
            optimizer.step()
        schedule.step()
    torch.save(model.state_dict(), "my-teacher.pt")


if __name__ == "__main__":
    main()
