"""A MobileNetV2 teacher in six blocks and a smaller student, for 3x32x32 inputs.

    python3 traces/capture_torch.py traces/models/mobilenet_like.py:teacher \
        traces/models/mobilenet_like.py:student --batch 64 -o trace.json

The teacher has MobileNetV2's widths, depths and ReLU6 with the strides used on
CIFAR-10 (stem stride 1), cut where Jang et al., DATE 2023, cut it: 2.24 M
parameters with ten classes. The student keeps the shapes at the cuts, halves
the cells and the expansion. Weights are random: times do not depend on them.

    block        0             1         2        3        4         5
    out     24x32x32    32x16x16    64x8x8   96x8x8  160x4x4        10
    cells   stem, 1+2          3         4        3        3   1, head
"""

from collections import OrderedDict

from torch import nn

CLASSES = 10
WIDTHS = [24, 32, 64, 96, 160, 320]
STRIDES = [1, 2, 2, 1, 2, 1]


def conv(inputs, outputs, kernel, stride=1, groups=1, activate=True):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
              nn.BatchNorm2d(outputs)]
    return layers + ([nn.ReLU6(inplace=True)] if activate else [])


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1; the input is added where shapes agree."""

    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        hidden = inputs * expansion
        layers = conv(inputs, hidden, 1) if expansion != 1 else []
        layers += conv(hidden, hidden, 3, stride, groups=hidden)
        layers += conv(hidden, outputs, 1, activate=False)
        self.layers = nn.Sequential(*layers)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.is_residual else self.layers(x)


def chain(cells, expansion):
    blocks = OrderedDict()
    inputs = 16
    for b, (width, stride, count) in enumerate(zip(WIDTHS, STRIDES, cells)):
        layers = conv(3, 32, 3) + [InvertedResidual(32, 16, 1, 1)] if b == 0 else []
        for i in range(count):
            layers.append(InvertedResidual(inputs, width, stride if i == 0 else 1, expansion))
            inputs = width
        if b == len(WIDTHS) - 1:
            layers += conv(width, 1280, 1)
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES)]
        blocks["b%d" % b] = nn.Sequential(*layers)
    return nn.Sequential(blocks)


def teacher():
    return chain([2, 3, 4, 3, 3, 1], expansion=6)


def student():
    return chain([1, 2, 2, 2, 2, 1], expansion=3)
