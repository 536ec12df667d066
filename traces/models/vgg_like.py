"""VGG-16's thirteen convolutions as thirteen blocks, for 3x32x32 inputs.

    python3 traces/capture_torch.py traces/models/vgg_like.py:teacher \
        traces/models/vgg_like.py:student --batch 32 -o trace.json

Teacher: 3x3 convolution, ReLU, and the max pooling where VGG-16 has one (313
MMAC an image). Student, as in the compression case of Jang et al., DATE 2023:
each convolution becomes two separable ones (depthwise 3x3, pointwise 1x1, ReLU
after each). Weights are random: times do not depend on them.

    block    0   1 |   2   3 |   4   5   6 |   7   8   9 |  10  11  12
    width   64  64 | 128 128 | 256 256 256 | 512 512 512 | 512 512 512
    side    32  32 |  16  16 |   8   8   8 |   4   4   4 |   2   2   2    | is a pooling
"""

from collections import OrderedDict

from torch import nn

WIDTHS = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
POOLED = {1, 3, 6, 9, 12}


def full(inputs, outputs):
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]


def separable(inputs, outputs):
    return [nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs),
            nn.Conv2d(inputs, outputs, 1), nn.ReLU(inplace=True)]


def two_separables(inputs, outputs):
    return separable(inputs, outputs) + separable(outputs, outputs)


def chain(make_layers):
    blocks = OrderedDict()
    inputs = 3
    for b, width in enumerate(WIDTHS):
        layers = make_layers(inputs, width)
        blocks["conv%d" % b] = nn.Sequential(*layers + ([nn.MaxPool2d(2)] if b in POOLED else []))
        inputs = width
    return nn.Sequential(blocks)


def teacher():
    return chain(full)


def student():
    return chain(two_separables)
