"""Small PyTorch models for tests/test_export_torch.py: each callable gives one, the same every
time. Those whose names begin with no_ have something that no layer of a workload does."""

import torch
from torch import nn
from torch.nn import functional as F


def made(model, seed=1):
    """The model with numbers away from 0 and 1 in its norms, biases and statistics."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor.copy_(torch.rand_like(tensor) * 0.5
                             + (0.75 if "var" in name or "weight" in name else -0.25))
            elif tensor.is_floating_point():
                tensor.copy_(torch.randn_like(tensor) / max(tensor[0].numel(), 4) ** 0.5)
    return model.eval()


class Plain(nn.Module):
    """As VGG: layers in a row, writing over their inputs; a flatten of several pixels."""

    def __init__(self, width=8):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width),
                                      nn.ReLU(True), nn.MaxPool2d(2),
                                      nn.Conv2d(width, 12, 3, padding="same"), nn.BatchNorm2d(12),
                                      nn.ReLU(True), nn.AvgPool2d(2))
        self.pool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(48, 20), nn.ReLU(True),
                                        nn.Dropout(), nn.Linear(20, 7))

    def forward(self, x):
        x = self.pool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


class Inverted(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
            nn.Conv2d(12, 12, 3, stride, 1, groups=12, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
            nn.Conv2d(12, out, 1, bias=False), nn.BatchNorm2d(out))
        self.skips = stride == 1 and channels == out

    def forward(self, x):
        return x + self.body(x) if self.skips else self.body(x)


class Mobile(nn.Module):
    """As MobileNetV2: inverted residuals, a mean over pixels."""

    def __init__(self, width=6):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.cells = nn.Sequential(Inverted(6, 6, 1), Inverted(6, 8, 2), Inverted(8, 8, 1))
        self.last = nn.Linear(8, 5)

    def forward(self, x):
        x = self.cells(F.hardtanh(self.stem(x), 0, 6))
        return self.last(x.mean([2, 3]))


class Basic(nn.Module):
    """As of ResNet: where sides and channels change, the shortcut has a convolution."""

    def __init__(self, channels, out, stride):
        super().__init__()
        self.one, self.two = nn.Conv2d(channels, out, 3, stride, 1,
                                       bias=False), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm1, self.norm2, self.relu = nn.BatchNorm2d(out), nn.BatchNorm2d(out), nn.ReLU(
            inplace=True)
        self.down = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False),
                                  nn.BatchNorm2d(out)) if stride > 1 else None

    def forward(self, x):
        identity = x if self.down is None else self.down(x)
        x = self.norm2(self.two(self.relu(self.norm1(self.one(x)))))
        x += identity
        return self.relu(x)


class Resnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.layer1, self.layer2 = nn.Sequential(Basic(6, 6, 1)), nn.Sequential(Basic(6, 10, 2),
                                                                                Basic(10, 10, 1))
        self.pool, self.last = nn.AdaptiveAvgPool2d(1), nn.Linear(10, 5)

    def forward(self, x):
        return self.last(torch.flatten(self.pool(self.layer2(self.layer1(self.stem(x)))), 1))


class Heads(nn.Module):
    """Attention written by hand, queries, keys and values of each head side by side; a causal mask
    or none. hidden: a key that no query sees; over: the softmax's dimension."""

    def __init__(self, width, heads, causal=False, hidden=None, over=-1):
        super().__init__()
        self.hidden, self.over = hidden, over
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("mask", torch.ones(16, 16).tril().bool() if causal else None)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, self.heads, 3, c // self.heads).permute(3, 0, 2, 1, 4)
        scores = (q @ k.transpose(-2, -1)) / (c // self.heads) ** 0.5
        if self.hidden is not None:
            scores = scores + torch.zeros(t).masked_fill(torch.arange(t) == self.hidden,
                                                         float("-inf"))
        if self.mask is not None:
            scores = scores.masked_fill(~self.mask[:t, :t], float("-inf"))
        return self.out((scores.softmax(self.over) @ v).transpose(1, 2).reshape(b, t, c))


class Layer(nn.Module):
    """Norms first; attention of torch.nn or by hand."""

    def __init__(self, width, ffn, attention):
        super().__init__()
        self.one, self.two, self.attention = nn.LayerNorm(width,
                                                          eps=1e-6), nn.LayerNorm(width), attention
        self.mlp = nn.Sequential(nn.Linear(width, ffn), nn.GELU(), nn.Dropout(0.1),
                                 nn.Linear(ffn, width))

    def forward(self, x):
        y = self.one(x)
        x = x + (self.attention(y, y, y, need_weights=False)[0]
                 if isinstance(self.attention, nn.MultiheadAttention) else self.attention(y))
        return x + self.mlp(self.two(x))


class Vit(nn.Module):
    """As ViT: patches, a class token, positions."""

    def __init__(self, ffn=24, by_hand=False):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(
            torch.zeros(1, 17, 16))
        self.layers = nn.ModuleList([Layer(16, ffn, Heads(16, 4) if by_hand
                                           else nn.MultiheadAttention(16, 4, batch_first=True))
                                     for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


class Encoder(nn.Module):
    """torch.nn's own encoder, norms behind, its input with the batch second; the mean of the
    tokens."""

    def __init__(self, ffn=20):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        layer = nn.TransformerEncoderLayer(16, 2, ffn, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        x = self.patches(x).flatten(2).permute(2, 0, 1)
        return self.encoder(x).mean(dim=0)


class Norm(nn.Module):
    """Root mean square, by hand."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x.float()
                              * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)).type_as(x)


class Grouped(nn.Module):
    """Four heads of queries on two of keys and values, from three linear layers."""

    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(width, 16, bias=False), nn.Linear(
            width, 8, bias=False), nn.Linear(width, 8, bias=False)
        self.o = nn.Linear(16, width, bias=False)

    def forward(self, x):
        b, t, _ = x.shape
        q = self.q(x).view(b, t, 4, 4).transpose(1, 2)
        k = self.k(x).view(b, t, 2, 4).transpose(1, 2).repeat_interleave(2, dim=1)
        v = self.v(x).view(b, t, 2, 4).transpose(1, 2).repeat_interleave(2, dim=1)
        scores = q @ k.transpose(-2, -1) * 0.5 + torch.full((t, t), float("-inf")).triu(1)
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, 16))


class Cell(nn.Module):
    def __init__(self, width, ffn):
        super().__init__()
        self.one, self.two, self.attention = Norm(width), Norm(width), Grouped(width)
        self.gate, self.up, self.down = nn.Linear(width, ffn), nn.Linear(width,
                                                                         ffn), nn.Linear(ffn, width)

    def forward(self, x):
        x = x + self.attention(self.one(x))
        y = self.two(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Text(nn.Module):
    """A model of text: embeddings with positions, grouped heads, gates, root mean squares."""

    def __init__(self, ffn=20):
        super().__init__()
        self.words, self.places = nn.Embedding(37, 12), nn.Embedding(16, 12)
        self.cells = nn.Sequential(Cell(12, ffn), Cell(12, ffn))
        self.norm, self.head = Norm(12), nn.Linear(12, 37, bias=False)

    def forward(self, ids):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        return self.head(self.norm(self.cells(x)))


def plain(width=8):
    return made(Plain(width))


def mobile():
    return made(Mobile())


def resnet():
    return made(Resnet())


def vit(ffn=24, by_hand=False):
    return made(Vit(ffn, by_hand))


def encoder(ffn=20):
    return made(Encoder(ffn))


def text(ffn=20):
    return made(Text(ffn))


def chain(seed=1):
    return [made(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh()), seed),
            made(nn.Sequential(nn.Flatten(), nn.Linear(8 * 36, 7)), seed)]


def copies():
    """Writes over a copy, and takes what was copied too."""
    def function(m, x):
        y = m.a(x)
        z = y.clone()
        z.relu_()
        return m.b(z) + y
    return made(Calls(function, a=conv(), b=conv()))


def odd_norms():
    return made(nn.Sequential(conv(), nn.BatchNorm2d(3, eps=0.001, momentum=0.01)))


# ---- what is refused
# ------------------------------------------------------------------------------


class Calls(nn.Module):
    """A body, called by a function."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def conv(out=3, **keys):
    return nn.Conv2d(3, out, 3, padding=1, **keys)


def no_hardswish():
    return nn.Sequential(conv(), nn.Sequential(nn.BatchNorm2d(3), nn.Hardswish()))


def no_sigmoid():
    return Calls(lambda m, x: m.a(x) * torch.sigmoid(m.b(x)), a=conv(), b=conv())


def no_concatenation():
    return Calls(lambda m, x: torch.cat([m.a(x), m.b(x)], 1), a=conv(), b=conv())


def no_dilation():
    return nn.Sequential(nn.Conv2d(3, 3, 3, dilation=2))


def no_statistics():
    return nn.Sequential(conv(), nn.BatchNorm2d(3, track_running_stats=False))


def no_scale():
    return Calls(lambda m, x: x + m.a(x) * m.gamma, a=conv(),
                 gamma=nn.Parameter(torch.ones(1, 3, 1, 1)))


def no_branch():
    return Calls(lambda m, x: m.a(x) if x.sum() > 0 else x, a=conv())


def no_long_skip():
    def function(m, x):
        y = m.a(x)
        z = m.b(y)
        return m.c(z + x) + y
    return Calls(function, a=conv(), b=conv(), c=conv())


def no_second_output():
    return Calls(lambda m, x: (m.a(x), m.b(x)), a=conv(), b=conv())


def no_batch_first():
    def function(m, x):
        y = m.p(x).flatten(2).transpose(1, 2)
        return m.a(y, y, y)[0]
    return Calls(function, p=nn.Conv2d(3, 16, 4, 4), a=nn.MultiheadAttention(16, 2))


def no_attention_between():
    def function(m, x):
        y, z = m.p(x).flatten(2).transpose(1, 2), m.q(x).flatten(2).transpose(1, 2)
        return m.a(y, z, z)[0]
    return Calls(function, p=nn.Conv2d(3, 16, 4, 4), q=nn.Conv2d(3, 16, 4, 4),
                 a=nn.MultiheadAttention(16, 2, batch_first=True))


def attention(**keys):
    return Calls(lambda m, x: m.a(m.p(x).flatten(2).transpose(1, 2)), p=nn.Conv2d(3, 16, 4, 4),
                 a=Heads(16, 2, **keys))


def no_softmax_over_queries():
    return attention(over=2)


def no_hidden_key():
    return attention(hidden=3)


def no_overwriting():
    """In PyTorch the second term was written over by the first."""
    def function(m, x):
        x = m.a(x)
        return F.relu(x, inplace=True) + x
    return Calls(function, a=conv())


def no_weight_norm():
    return nn.Sequential(conv(), nn.utils.weight_norm(nn.Conv2d(3, 3, 1)))


def no_layer_twice():
    return Calls(lambda m, x: m.a(m.a(x)), a=conv())


def no_odd_windows():
    return nn.Sequential(conv(), nn.AdaptiveAvgPool2d(3))


def no_module():
    return 3
