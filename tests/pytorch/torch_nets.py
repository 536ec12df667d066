"""Layers of a pipebd-workload as PyTorch modules, with the same names of parameters."""

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


def side(size, layer):
    return (size + 2 * layer.get("padding", 0) - layer["kernel"]) // layer["stride"] + 1


def module(layer, shape):
    """The module of one expanded layer on shape (channels, height, width), and the shape behind it."""
    c, h, w = shape
    kind = layer["layer"]
    if kind == "conv":
        out = layer["out"]
        made = nn.Conv2d(c, out, layer["kernel"], layer["stride"], layer["padding"], groups=layer["groups"],
                         bias=layer["bias"])
        return made, (out, side(h, layer), side(w, layer))
    if kind == "linear":
        return nn.Linear(c, layer["out"], bias=layer["bias"]), (layer["out"], 1, 1)
    if kind == "batchnorm":
        return nn.BatchNorm2d(c, layer.get("eps", 1e-5), layer.get("momentum", 0.1)), shape
    if kind == "relu":
        return nn.ReLU(inplace=True), shape
    if kind == "relu6":
        return nn.ReLU6(inplace=True), shape
    if kind == "maxpool":
        return nn.MaxPool2d(layer["kernel"], layer["stride"], layer["padding"]), (c, side(h, layer), side(w, layer))
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
