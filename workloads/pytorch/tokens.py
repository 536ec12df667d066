"""Layers of tokens and vectors: linear layers, norms, embeddings, positions; and sums, of which
residuals are made."""

import math

import torch

from .values import SAMPLES, Act, Const, Later, Node, Par, Piece


class Tokens:
    """What Translator does with them."""

    # ---- on tokens and vectors ----

    def linear(self, x, weight, bias):
        tensors = {"weight": [self.tensor(weight, "weight")]}
        if bias is not None:
            tensors["bias"] = [self.tensor(bias, "bias")]
        return self.on_rows(x, "linear", weight.shape[0],
                            {"out": weight.shape[0], "bias": bias is not None}, tensors)

    def op_linear(self):
        return self.linear(self.arg(0, "input"), self.arg(1, "weight"), self.arg(2, "bias"))

    def op_Linear(self):
        return self.linear(self.args[0], self.own("weight"), self.own("bias"))

    op_NonDynamicallyQuantizableLinear = op_Linear

    def op_addmm(self):
        bias, x, weight = self.args[:3]
        if not isinstance(weight, Par) or not isinstance(bias, (Par, Const)):
            self.refuse("addmm of something other than parameters")
        return self.linear(x, Par(weight.name, weight.tensor, weight.index.t()), bias)

    def layernorm(self, x, sizes, weight, bias, eps):
        act = self.act(x)
        sizes = [sizes] if isinstance(sizes, int) else list(sizes)
        if sizes != [act.index.shape[-1]]:
            self.refuse("a norm over %s, expected one over the channels" % sizes)
        if weight is None:
            self.refuse("a layer norm without a weight, which the executor's has")
        tensors = {"weight": [self.tensor(weight, "weight")]}
        if bias is not None:
            tensors["bias"] = [self.tensor(bias, "bias")]
        return self.on_rows(x, "layernorm", sizes[0], {"eps": eps, "bias": bias is not None},
                            tensors)

    def op_layer_norm(self):
        a = self.arg
        return self.layernorm(a(0, "input"), a(1, "normalized_shape"), a(2, "weight"), a(3, "bias"),
                              a(4, "eps", default=1e-5))

    def op_LayerNorm(self):
        m = self.module
        return self.layernorm(self.args[0], m.normalized_shape, self.own("weight"),
                              self.own("bias") if hasattr(m, "bias") else None, m.eps)

    def rmsnorm(self, x, weight, eps):
        act = self.act(x)
        if weight is None:
            self.refuse("an RMS norm without a weight, which the executor's has")
        eps = torch.finfo(torch.float32).eps if eps is None else eps
        channels = act.index.shape[-1]
        if list(weight.shape) != [channels]:
            self.refuse("a norm over %s, expected one over the channels" % list(weight.shape))
        return self.on_rows(x, "rmsnorm", channels, {"eps": eps},
                            {"weight": [self.tensor(weight, "weight")]})

    def op_rms_norm(self):
        return self.rmsnorm(self.arg(0, "input"), self.arg(2, "weight"), self.arg(3, "eps"))

    def op_RMSNorm(self):
        return self.rmsnorm(self.args[0], self.own("weight"), self.module.eps)

    def embedded(self, ids, weight):
        act = self.act(ids)
        if act.node.form != "ids" or not act.is_standard or not isinstance(weight, Par):
            self.refuse("an embedding of something other than the input's token numbers")
        vocabulary, out = weight.shape
        return Act(Node("embedding", [act.node], "tokens", (out, act.node.shape[1], 1), self.path,
                        {"vocabulary": vocabulary, "out": out},
                        {"weight": [self.tensor(weight, "weight")]}))

    def op_embedding(self):
        return self.embedded(self.arg(1, "indices"), self.arg(0, "weight"))

    def op_F_embedding(self):
        ids, weight = self.arg(0, "input"), self.arg(1, "weight")
        if isinstance(ids, Const):
            return Par(weight.name, weight.tensor, weight.index[ids.value])
        return self.embedded(ids, weight)

    def op_Embedding(self):
        ids, weight = self.args[0], self.own("weight")
        if isinstance(ids, (Const, torch.Tensor)):
            return Par(weight.name, weight.tensor,
                       weight.index[ids.value if isinstance(ids, Const) else ids])
        return self.embedded(ids, weight)

    def op_cat(self):
        parts, dim = self.arg(0, "tensors"), self.arg(1, "dim", default=0)
        acts = [p for p in parts if isinstance(p, Act)]
        if len(acts) == len(parts) and len({a.node for a in acts}) == 1:
            return Act(acts[0].node, torch.cat([a.index for a in acts], dim))
        if len(parts) == 2 and isinstance(parts[0], Par) and isinstance(parts[1],
                                                                        Act) and dim in (1, -2):
            return self.class_token(*parts)
        self.refuse("a concatenation, which no layer does")

    op_concat = op_concatenate = op_cat

    def class_token(self, token, act):
        node, rows, _ = self.rows(act)
        c = node.shape[0]
        shape = list(token.shape)
        if node.kind != "tokens" or node.tensors:
            node = Node("tokens", [node], "tokens", (c, node.places, 1), self.path)
        if shape != [SAMPLES, 1, c] or not torch.equal(
                token.index[0], token.index[1]) or not torch.equal(rows, torch.arange(len(rows))):
            self.refuse("a concatenation of %s of a parameter, expected a class token for each "
                        "sample" % shape)
        piece = Piece(token.name, token.tensor, token.index[0].reshape(1, c))
        return Act(Node("tokens", node.inputs, "tokens", (c, node.places + 1, 1), self.path,
                        {"class_token": True}, {"class_token": [piece]}))

    def op_mean(self):
        value = self.args[0]
        dims, keep = self.arg(1, "dim", default=None), self.arg(2, "keepdim", default=False)
        dims = [dims] if isinstance(dims, int) else list(dims or [])
        if isinstance(value, Later) and value.kind == "squares" and keep and dims in (
                [-1], [value.act.index.dim() - 1]):
            return Later("mean square", act=value.act, eps=0.0)
        act = self.act(value)
        node, index = act.node, act.index
        dims = sorted(d % index.dim() for d in dims)
        lead = [d for d in range(index.dim()) if d not in dims]
        places = index.permute(lead + dims).reshape(-1, math.prod([index.shape[d] for d in dims]))
        c = node.shape[0]
        wanted = (torch.arange(SAMPLES)[:, None, None] * node.places
                  + torch.arange(node.places)) * c + torch.arange(c)[:, None]
        if list(places.shape) != [SAMPLES * c, node.places] or not torch.equal(
                places.sort(1)[0], wanted.reshape(SAMPLES * c, -1)):
            self.refuse("a mean over something other than all places of each channel")
        kind, keys = ("avgpool", {"global": True}) if node.form == "image" else ("pool",
                                                                                 {"of": "mean"})
        made = Node(kind, [node], "vector", (c, 1, 1), self.path, keys)
        shape = [1 if d in dims else index.shape[d]
                 for d in range(index.dim())] if keep else [SAMPLES, c]
        return Act(made, torch.arange(SAMPLES * c).reshape(shape))

    # ---- sums and products ----

    def op_add(self):
        a, b = self.args[0], self.arg(1, "other")
        if self.arg(2, "alpha", default=1) != 1:
            self.refuse("a sum with a factor, which no layer does")
        if isinstance(b, Act) and isinstance(a, (Par, Const)):
            a, b = b, a
        if isinstance(a, Later) and a.kind == "mean square" and isinstance(b, (int, float)):
            return Later("mean square", act=a.act, eps=b)
        if isinstance(a, Later) and a.kind == "scores":
            return self.masked(a, b)
        if isinstance(a, Act) and isinstance(b, Act):
            return self.residual(a, b)
        if isinstance(a, Act) and isinstance(b, Par):
            return self.positions(a, b)
        if isinstance(a, Act):
            self.refuse("a sum with %s, which no layer does" % (
                    "a number" if isinstance(b, (int, float)) else "numbers that are no parameter"))
        self.act(a)

    def residual(self, a, b):
        if a.node.shape != b.node.shape or a.index.shape != b.index.shape or not torch.equal(
                a.index, b.index):
            (na, ra, lead), (nb, rb, other) = self.rows(a), self.rows(b)
            if na.shape != nb.shape or lead != other or not torch.equal(ra, rb):
                self.refuse("a sum of tensors in different orders, which no layer does")
            return self.placed(Node("residual", [na, nb], na.form, na.shape, self.path), ra, lead)
        return a.same(Node("residual", [a.node, b.node], a.node.form, a.node.shape, self.path))

    def positions(self, act, par):
        """A learnt vector added at each place."""
        node, rows, lead = self.rows(act)
        c, places = node.shape[0], node.places
        try:
            spread = par.index.expand(lead + [c]).reshape(-1, c)[rows.argsort()].reshape(SAMPLES,
                                                                                         places, c)
        except RuntimeError:
            spread = None
        if spread is None or not torch.equal(spread[0], spread[1]):
            self.refuse("a sum with %s, expected a vector for each place" % par.name)
        piece = Piece(par.name, par.tensor, spread[0])
        if torch.equal(spread[0].reshape(-1), torch.arange(par.tensor.numel())):
            piece = Piece(par.name, par.tensor, None, [places, c])
        if node.kind not in ("tokens", "embedding") or "positions" in node.tensors:
            node = Node("tokens", [node], "tokens", (c, places, 1), self.path)
        keys, tensors = dict(node.keys, positions=True), dict(node.tensors, positions=[piece])
        return self.placed(Node(node.kind, node.inputs, "tokens", node.shape, node.path, keys,
                                tensors), rows, lead)

    def op_pow(self):
        if self.args[1] != 2:
            self.refuse("a power of %s, which no layer does" % self.args[1])
        return Later("squares", act=self.act(self.args[0]))

    def op_square(self):
        return Later("squares", act=self.act(self.args[0]))

    def op_rsqrt(self):
        value = self.args[0]
        if not (isinstance(value, Later) and value.kind == "mean square"):
            self.refuse("rsqrt of something other than a mean square, which no layer does")
        return Later("inverse root", act=value.act, eps=value.eps)

    def op_mul(self):
        a, b = self.args[0], self.arg(1, "other")
        for x, y in ((a, b), (b, a)):
            if isinstance(y, Const) and y.value.numel() == 1:
                y = float(y.value)
            if isinstance(y, (int, float)):
                return self.scaled(x, y)
            if isinstance(y, Later) and y.kind == "inverse root" and isinstance(
                    x, Act) and x.node is y.act.node:
                return Later("normed", act=x, eps=y.eps)
            if isinstance(y, Later) and y.kind == "normed" and isinstance(x, Par):
                return self.rmsnorm(y.act, x, y.eps)
            if isinstance(y, Later) and y.kind == "gate" and isinstance(x, Act):
                return self.gated(y.function, y.act, x)
            if isinstance(y, Act) and isinstance(x, Act) and y.node.kind in (
                    "relu", "gelu", "silu", "tanh") and self.whole(x):
                gate = y.node.inputs[0]
                if gate.kind == "linear" and x.node.kind == "linear" and gate.inputs[
                        0] is x.node.inputs[0]:
                    return self.gated("gelu_tanh" if y.node.keys else y.node.kind, y.same(gate), x)
        if a is b and isinstance(a, Act):
            return Later("squares", act=a)
        self.refuse("a product with %s, which no layer does"
                    % (b.name if isinstance(b, Par) else a.name if isinstance(a, Par) else
                       "another tensor"))

    def op_div(self):
        a, b = self.args[0], self.arg(1, "other")
        b = float(b.value) if isinstance(b, Const) and b.value.numel() == 1 else b
        if not isinstance(b, (int, float)):
            self.refuse("a quotient, which no layer does")
        return self.scaled(a, 1 / b)

    def scaled(self, value, by):
        if by == 1:
            return value
        if isinstance(value, Act):
            return Later("scaled", act=value, by=by)
        if isinstance(value, Later) and value.kind in ("scaled", "scores"):
            return value.changed(by=value.by * by)
        self.act(value)
