"""Layers of images: convolutions, norms, poolings, activations."""

import math

import torch

from .values import SAMPLES, Act, Const, Later, Node, Par, pair


class Images:
    """What Translator does with them."""

    # ---- activations ----

    def whole(self, act):
        return act.is_standard or (
            act.index.numel() == SAMPLES * math.prod(act.node.shape)
            and torch.equal(act.index.reshape(-1).sort()[0], torch.arange(act.index.numel())))

    def function(self, kind):
        keys = {}
        if kind == "gelu":
            if self.module is not None and hasattr(self.module, "approximate"):
                how = self.module.approximate
            else:
                how = self.arg(1, "approximate", default="none")
            keys = {"approximate": "tanh"} if how == "tanh" else {}
        act = self.act(self.args[0])
        if not self.whole(act):
            return Later("gate", act=act, function="gelu_tanh" if keys else kind)
        return act.same(Node(kind, [act.node], act.node.form, act.node.shape, self.path, keys))

    def bounded(self, low, high):
        if low == 0 and high == 6:
            return self.function("relu6")
        if low == 0 and high is None:
            return self.function("relu")
        self.refuse("limits %s to %s, expected 0 to 6 or from 0" % (low, high))

    def op_hardtanh(self):
        return self.bounded(self.arg(1, "min_val", default=-1), self.arg(2, "max_val", default=1))

    op_F_hardtanh = op_hardtanh

    def op_Hardtanh(self):
        return self.bounded(self.module.min_val, self.module.max_val)

    def op_clamp(self):
        return self.bounded(self.arg(1, "min"), self.arg(2, "max"))

    def op_clamp_min(self):
        return self.bounded(self.arg(1, "min"), None)

    # ---- images ----

    def conv(self, x, weight, bias, stride, padding, dilation, groups):
        node, path = self.image(x), self.where()
        shape = list(weight.shape)
        if pair(dilation, "the dilation", path) != 1:
            self.refuse("a dilation of %s, expected 1" % pair(dilation, "the dilation", path))
        kernel = pair(shape[2:], "the kernel", path)
        if padding == "same" and kernel % 2 == 0:
            self.refuse("an even kernel with padding \"same\", which pads one side more")
        padding = {"same": (kernel - 1) // 2, "valid": 0}[padding] if isinstance(
            padding, str) else pair(padding, "the padding", path)
        stride = pair(stride, "the stride", path)
        keys = {"out": shape[0], "kernel": kernel, "stride": stride, "padding": padding,
                "groups": groups, "bias": bias is not None}
        tensors = {"weight": [self.tensor(weight, "weight")]}
        if bias is not None:
            tensors["bias"] = [self.tensor(bias, "bias")]
        out = [(n + 2 * padding - kernel) // stride + 1 for n in node.shape[1:]]
        return Act(Node("conv", [node], "image", [shape[0]] + out, self.path, keys, tensors))

    def op_conv2d(self):
        a = self.arg
        return self.conv(a(0, "input"), a(1, "weight"), a(2, "bias"), a(3, "stride", default=1),
                         a(4, "padding", default=0),
                         a(5, "dilation", default=1), a(6, "groups", default=1))

    def op_Conv2d(self):
        m = self.module
        if m.padding_mode != "zeros":
            self.refuse("padding_mode %s, expected zeros" % m.padding_mode)
        return self.conv(self.args[0], self.own("weight"), self.own("bias"), m.stride, m.padding,
                         m.dilation, m.groups)

    def own(self, name):
        """A parameter or buffer of the layer that this step is."""
        value = getattr(self.module, name)
        full = (self.path + "." if self.path else "") + name
        if value is None:
            return None
        if not isinstance(value, torch.nn.Parameter) and name in self.module.__dict__:
            return Const(value, None, full + "'s own parameters")        # as weight norm leaves it
        return Par(full, value) if isinstance(value, torch.nn.Parameter) else Const(value, full)

    def batchnorm(self, x, weight, bias, mean, var, momentum, eps):
        if mean is None or var is None:
            self.refuse("a batch norm without running statistics, expected track_running_stats")
        if weight is None or bias is None:
            self.refuse("a batch norm without weight and bias, which the executor's has")
        if momentum is None:
            self.refuse("a batch norm whose statistics are the mean of all steps (momentum None), "
                        "expected a momentum")
        act = self.act(x)
        node = self.rows(x)[0] if act.index.dim() == 2 else self.image(x)
        keys = {}
        if abs(eps - 1e-5) > 1e-12:
            keys["eps"] = eps
        if abs(momentum - 0.1) > 1e-12:
            keys["momentum"] = momentum
        tensors = {"weight": [self.tensor(weight, "weight")], "bias": [self.tensor(bias, "bias")],
                   "running_mean": [self.tensor(mean, "running mean")],
                   "running_var": [self.tensor(var, "running variance")]}
        return Act(Node("batchnorm", [node], "vector" if act.index.dim() == 2 else node.form,
                        node.shape, self.path, keys, tensors))

    def op_batch_norm(self):
        a = self.arg
        if a(5, "training"):
            self.refuse("a batch norm in training mode inside the forward")
        return self.batchnorm(a(0, "input"), a(1, "weight"), a(2, "bias"), a(3, "running_mean"),
                              a(4, "running_var"), a(6, "momentum"),
                              a(7, "eps"))

    def op_F_batch_norm(self):
        a = self.arg
        if a(5, "training", default=False):
            self.refuse("a batch norm in training mode inside the forward")
        return self.batchnorm(a(0, "input"), a(3, "weight"), a(4, "bias"), a(1, "running_mean"),
                              a(2, "running_var"),
                              a(6, "momentum", default=0.1), a(7, "eps", default=1e-5))

    def op_BatchNorm2d(self):
        m = self.module
        return self.batchnorm(self.args[0], self.own("weight"), self.own("bias"),
                              self.own("running_mean"), self.own("running_var"),
                              m.momentum, m.eps)

    op_BatchNorm1d = op_BatchNorm2d

    def pooled(self, kind, x, kernel, stride, padding, ceil):
        node, path = self.image(x), self.where()
        kernel = pair(kernel, "the kernel", path)
        stride = kernel if stride is None or stride == [] else pair(stride, "the stride", path)
        padding = pair(padding, "the padding", path)
        spans = [n + 2 * padding - kernel for n in node.shape[1:]]
        if ceil and any(n % stride for n in spans):
            self.refuse("ceil_mode, with windows that lie partly outside")
        keys = {"kernel": kernel, "stride": stride}
        if kind == "maxpool":
            keys["padding"] = padding
        elif padding:
            self.refuse("an average over a padding of %d, expected none" % padding)
        return Act(Node(kind, [node], "image", [node.shape[0]] + [n // stride + 1 for n in spans],
                        self.path, keys))

    def maxpool(self, x, kernel, stride, padding, dilation, ceil, indices=False):
        if pair(dilation, "the dilation", self.where()) != 1 or indices:
            self.refuse("a max pooling with a dilation or indices, which the executor's has not")
        return self.pooled("maxpool", x, kernel, stride, padding, ceil)

    def op_max_pool2d(self):
        a = self.arg
        return self.maxpool(a(0, "input"), a(1, "kernel_size"), a(2, "stride"),
                            a(3, "padding", default=0), a(4, "dilation", default=1),
                            a(5, "ceil_mode", default=False), a(6, "return_indices", default=False))

    def op_MaxPool2d(self):
        m = self.module
        return self.maxpool(self.args[0], m.kernel_size, m.stride, m.padding, m.dilation,
                            m.ceil_mode, m.return_indices)

    def op_avg_pool2d(self):
        a = self.arg
        if a(6, "divisor_override") is not None:
            self.refuse("a divisor of its own, expected the size of the window")
        return self.pooled("avgpool", a(0, "input"), a(1, "kernel_size"), a(2, "stride"),
                           a(3, "padding", default=0),
                           a(4, "ceil_mode", default=False))

    def op_AvgPool2d(self):
        m = self.module
        if m.divisor_override is not None:
            self.refuse("a divisor of its own, expected the size of the window")
        return self.pooled("avgpool", self.args[0], m.kernel_size, m.stride, m.padding, m.ceil_mode)

    def adaptive(self, x, size):
        node = self.image(x)
        want = [n if s is None else s for n, s in zip(
                node.shape[1:], size if isinstance(size, (tuple, list)) else [size, size])]
        if want == list(node.shape[1:]):
            return Act(node)
        if want == [1, 1]:
            return Act(Node("avgpool", [node], "image", (node.shape[0], 1, 1), self.path,
                            {"global": True}))
        windows = {n // s for n, s in zip(node.shape[1:], want)}
        if any(n % s for n, s in zip(node.shape[1:], want)) or len(windows) != 1:
            self.refuse(
                "an adaptive average from %dx%d to %dx%d, whose windows are not all of one size"
                % (node.shape[1], node.shape[2], want[0], want[1]))
        window = windows.pop()
        return Act(Node("avgpool", [node], "image", [node.shape[0]] + want, self.path,
                        {"kernel": window, "stride": window}))

    def op_adaptive_avg_pool2d(self):
        return self.adaptive(self.arg(0, "input"), self.arg(1, "output_size"))

    def op_AdaptiveAvgPool2d(self):
        return self.adaptive(self.args[0], self.module.output_size)

    def op_Flatten(self):
        return self.layout()

    op_Unflatten = op_Flatten
