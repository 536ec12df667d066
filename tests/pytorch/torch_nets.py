"""Layers of a pipebd-workload as PyTorch modules, with the same names of parameters. A sequence is
[rows][tokens][channels]."""

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Sequential):
    """The body's layers, and maybe "shortcut", a Sequential."""

    def forward(self, x):
        y, way = x, self._modules.get("shortcut")
        for name, layer in self._modules.items():
            y = y if name == "shortcut" else layer(y)
        return y + (way(x) if way else x)


class Choice(nn.ModuleList):
    taken = 0

    def forward(self, x):
        return self[self.taken](x)


class Gated(nn.Module):
    """The first half of a token's numbers, through a function, times the second half."""

    def __init__(self, function):
        super().__init__()
        self.function = {"relu": F.relu, "gelu": F.gelu,
                         "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
                         "tanh": torch.tanh}[function]

    def forward(self, x):
        gate, value = x.chunk(2, -1)
        return self.function(gate) * value


class Attention(nn.Module):
    """Queries, keys and values side by side in; without weights. Rotary positions as Llama has
    them, unscaled."""

    def __init__(self, layer, tokens):
        super().__init__()
        self.heads, self.dim = layer["heads"], layer["head_dim"]
        self.kv_heads = layer.get("kv_heads", self.heads)
        self.causal = layer.get("causal", False)
        rotary = layer.get("rotary")
        if layer.get("norm") or layer.get("window") or (
                rotary and ("scaling" in rotary or rotary.get("dim", self.dim) != self.dim)):
            raise ValueError("layer attention with a norm, a window, or other rotary positions")
        if rotary is None:
            self.turns = None
        else:
            half = torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim
            angles = torch.outer(torch.arange(tokens, dtype=torch.float64),
                                 rotary.get("theta", 10000.0) ** -half)
            self.register_buffer("turns", torch.stack(
                    [torch.cat([f(angles)] * 2, -1).float() for f in (torch.cos, torch.sin)]),
                                 persistent=False)

    def turned(self, x):
        if self.turns is None:
            return x
        a, b = x.chunk(2, -1)
        return x * self.turns[0] + torch.cat((-b, a), -1) * self.turns[1]

    def forward(self, x):
        rows, tokens, _ = x.shape
        sizes = [self.heads * self.dim, self.kv_heads * self.dim, self.kv_heads * self.dim]
        q, k, v = (part.view(rows, tokens, -1, self.dim).transpose(1, 2)
                   for part in x.split(sizes, -1))
        y = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=self.causal,
                                           enable_gqa=self.kv_heads != self.heads)
        return y.transpose(1, 2).reshape(rows, tokens, -1)


def side(size, layer):
    return (size + 2 * layer.get("padding", 0) - layer["kernel"]) // layer["stride"] + 1


def module(layer, shape):
    """The module of one expanded layer on shape (channels, height, width), and the shape behind it.
    """
    c, h, w = shape
    kind = layer["layer"]
    if kind == "conv":
        out = layer["out"]
        made = nn.Conv2d(c, out, layer["kernel"], layer["stride"], layer["padding"],
                         groups=layer["groups"],
                         bias=layer["bias"])
        return made, (out, side(h, layer), side(w, layer))
    if kind == "linear":
        return nn.Linear(c, layer["out"], bias=layer["bias"]), (layer["out"], h, 1)
    if kind == "layernorm":
        return nn.LayerNorm(c, eps=layer.get("eps", 1e-5),
                            **({} if layer.get("bias", True) else {"bias": False})), shape
    if kind == "rmsnorm":
        return nn.RMSNorm(c, eps=layer.get("eps", 1e-6)), shape
    if kind == "gelu":
        return nn.GELU(approximate=layer.get("approximate", "none")), shape
    if kind == "silu":
        return nn.SiLU(), shape
    if kind == "gated":
        return Gated(layer["function"]), (c // 2, h, w)
    if kind == "attention":
        return Attention(layer, h), (layer["heads"] * layer["head_dim"], h, w)
    if kind == "batchnorm":
        return nn.BatchNorm2d(c, layer.get("eps", 1e-5), layer.get("momentum", 0.1)), shape
    if kind == "relu":
        return nn.ReLU(inplace=True), shape
    if kind == "relu6":
        return nn.ReLU6(inplace=True), shape
    if kind == "maxpool":
        return nn.MaxPool2d(layer["kernel"], layer["stride"], layer["padding"]), (c, side(h, layer),
                                                                                  side(w, layer))
    if kind == "avgpool":
        if layer.get("global"):
            return nn.AdaptiveAvgPool2d(1), (c, 1, 1)
        return nn.AvgPool2d(layer["kernel"], layer["stride"]), (c, side(h, layer), side(w, layer))
    if kind == "flatten":
        return nn.Flatten(), (c * h * w, 1, 1)
    if kind == "residual":
        made, out = sequence(layer["body"], shape, Residual)
        if "shortcut" in layer:
            made.add_module("shortcut", sequence(layer["shortcut"], shape)[0])
        return made, out
    if kind == "choice":
        paths = [sequence(path, shape) for path in layer["paths"]]
        return Choice([p for p, _ in paths]), paths[0][1]
    raise ValueError("layer " + kind)


def sequence(layers, shape, kind=nn.Sequential):
    modules = []
    for layer in layers:
        made, shape = module(layer, shape)
        modules.append(made)
    return kind(*modules), shape


def folded(net):
    """The frozen net with each batch norm folded into the convolution before it, names lost."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval
    out = []
    for name, m in net.named_children():
        if name == "shortcut":
            continue
        if isinstance(m, nn.BatchNorm2d) and out and isinstance(out[-1], nn.Conv2d):
            out[-1] = fuse_conv_bn_eval(out[-1], m)
        else:
            out.append(folded(m) if isinstance(m, nn.Sequential) else m)
    made = type(net)(*out)
    if "shortcut" in net._modules:
        made.add_module("shortcut", folded(net.shortcut))
    return made
