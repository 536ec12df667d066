"""Attention and gated products, for which linear layers side by side become one."""

import math

import torch

from .values import SAMPLES, Act, Const, Later, Node, Par


NOT_TOKENS = ("attention over something other than the tokens of a sample "
              "(is batch_first as the model's inputs are?)")


class Attention:
    """What Translator does with them."""

    # ---- several linear layers as one ----

    def merged(self, parts, what):
        """One linear layer for parts [(node, channels)]: itself if these are all its channels in
        order."""
        nodes = [node for node, _ in parts]
        wanted = torch.cat([channels for _, channels in parts])
        if len(set(nodes)) == 1 and torch.equal(wanted, torch.arange(nodes[0].shape[0])):
            return nodes[0]
        for node in nodes:
            if node.kind != "linear" or node.inputs[0] is not nodes[0].inputs[0] or node.keys[
                    "bias"] != nodes[0].keys["bias"]:
                self.refuse("%s that do not come from linear layers of one input, all with biases "
                            "or all without" % what)
        tensors = {name: [piece for node, channels in parts
                          for piece in self.picked(node, name, channels)]
                   for name in nodes[0].tensors}
        keys = {"out": len(wanted), "bias": nodes[0].keys["bias"]}
        return Node("linear", nodes[0].inputs, nodes[0].form, (len(wanted),) + nodes[0].shape[1:],
                    nodes[0].path, keys, tensors)

    def picked(self, node, name, channels):
        """Rows of a linear layer's tensor, which may be of several pieces."""
        first = 0
        found = []
        for piece in node.tensors[name]:
            inside = channels[(channels >= first) & (channels < first + piece.shape[0])]
            if len(inside):
                found.append((int((channels == inside[0]).nonzero()[0]),
                              piece.rows(inside - first)))
            first += piece.shape[0]
        if len(found) > 1 and not torch.equal(channels, channels.sort()[0]):
            self.refuse("a rearrangement of several linear layers, which no layer does")
        return [piece for _, piece in sorted(found, key=lambda f: f[0])]

    def gated(self, function, gate, value):
        width = gate.index.shape[-1]
        parts = []
        for act in (gate, value):
            channels = act.index.reshape(-1, width)[0] % act.node.shape[0]
            rows = act.index.reshape(-1, width)[:, 0] // act.node.shape[0]
            if act.index.shape != gate.index.shape or not torch.equal(
                    act.index.reshape(-1, width), rows[:, None] * act.node.shape[0] + channels):
                self.refuse("a product of parts in different orders, which no layer does")
            parts.append((act.node, channels))
        node = self.merged(parts, "a product's gates and values")
        if node.shape[0] != 2 * width:
            self.refuse("a product of parts of %d channels, expected the two halves" % width)
        made = Node("gated", [node], node.form, (width,) + node.shape[1:], self.path,
                    {"function": function})
        return Act(made, (rows[:, None] * width + torch.arange(width)).reshape(gate.index.shape))

    # ---- attention ----

    def scores(self, q, k):
        """Of queries [...][T][d] and keys [...][T][d]."""
        by = 1.0
        acts = []
        for value in (q, k):
            if isinstance(value, Later) and value.kind == "scaled":
                by, value = by * value.by, value.act
            acts.append(self.act(value))
        q, k = (act.index.shape for act in acts)
        return Later("scores", q=acts[0], k=acts[1], by=by, causal=False, shape=q[:-1] + k[-2:-1])

    def op_matmul(self):
        a, b = self.args[0], self.arg(1, "other", "mat2")
        if isinstance(a, Later) and a.kind == "weights":
            return self.attention(a, self.act(b))
        if isinstance(b, Par) and isinstance(a, Act) and len(b.shape) == 2:
            return self.linear(a, Par(b.name, b.tensor, b.index.t()), None)
        turned = b if not isinstance(b, Later) else b.act if b.kind == "scaled" else self.act(b)
        back = Act(self.act(turned).node, turned.index.transpose(-1, -2))
        return self.scores(a, Later("scaled", act=back, by=b.by) if isinstance(b, Later) else back)

    op_bmm = op_matmul

    def op_baddbmm(self):
        mask = self.args[0]
        self.args = self.args[1:]
        scores = self.op_matmul()
        return self.masked(scores, mask)

    def masked(self, scores, mask):
        if not isinstance(scores, Later) or scores.kind != "scores" or not isinstance(mask, Const):
            self.refuse("a mask that is not the same for every input")
        return scores.changed(causal=scores.causal or self.is_causal(torch.atleast_2d(mask.value)))

    def is_causal(self, mask):
        """Whether a mask hides what follows and nothing else; False where it hides nothing."""
        tokens = mask.shape[-1]
        hidden = ~mask if mask.dtype == torch.bool else mask < -1e4
        if mask.dtype == torch.bool:
            allowed = torch.zeros_like(mask, dtype=torch.float)
        else:
            allowed = mask.float().masked_fill(hidden, 0)
        after = torch.ones(tokens, tokens).triu(1).bool()
        if mask.shape[-2] not in (1, tokens) or allowed.abs().max() > 0:
            self.refuse("a mask that adds to scores, expected one that hides")
        if not hidden.any():
            return False
        masks = hidden.expand(hidden.shape[:-2] + (tokens, tokens)).reshape(-1, tokens, tokens)
        if not torch.equal(masks.any(0), after) or not masks.all(0).equal(after):
            self.refuse("a mask that is not causal, which no layer has")
        return True

    def op_masked_fill(self):
        scores, mask, value = self.args[:3]
        value = float(value.value) if isinstance(value, Const) else value
        if not isinstance(mask, Const) or value > -1e4:
            self.refuse("masked_fill with something other than a constant mask and -inf")
        return self.masked(scores, Const(~mask.value.bool()))

    def op_softmax(self):
        scores = self.args[0]
        if not isinstance(scores, Later) or scores.kind != "scores":
            self.refuse("softmax of something other than scores of attention, which no layer does")
        if self.arg(1, "dim") not in (-1, len(scores.shape) - 1):
            self.refuse("softmax over queries, expected over keys")
        return Later("weights", scores=scores)

    op_F_softmax = op__softmax = op_softmax

    def op_Softmax(self):
        self.args = (self.args[0], self.module.dim)
        return self.op_softmax()

    def op_scaled_dot_product_attention(self):
        a = self.arg
        q, k, v, mask = a(0, "query"), a(1, "key"), a(2, "value"), a(3, "attn_mask")
        if a(4, "dropout_p", default=0.0):
            self.refuse("attention with dropout in evaluation")
        scores = self.scores(q, k)
        scale = a(6, "scale")
        scores.by *= scale if scale is not None else 1 / math.sqrt(scores.q.index.shape[-1])
        if mask is not None:
            scores = self.masked(scores, mask)
        scores.causal = scores.causal or bool(a(5, "is_causal", default=False))
        return self.attention(Later("weights", scores=scores), self.act(v))

    def heads(self, act, tokens, width):
        """Channels [heads][width] of an Act [samples...heads][tokens][width], which must be in this
        order."""
        node, index = act.node, act.index
        if node.shape[1] * node.shape[2] != tokens or index.shape[-2:] != (
                tokens, width) or index.numel() % (SAMPLES * tokens * width):
            self.refuse(NOT_TOKENS)
        index = index.reshape(SAMPLES, -1, tokens, width)
        channels = index[0, :, 0, :] % node.shape[0]
        places = (torch.arange(SAMPLES)[:, None] * tokens + torch.arange(tokens)) * node.shape[0]
        if not torch.equal(index, places[:, None, :, None] + channels[None, :, None, :]):
            self.refuse(NOT_TOKENS)
        return channels

    def attention(self, weights, v):
        scores = weights.scores
        tokens, width = scores.q.index.shape[-2:]
        if abs(scores.by * math.sqrt(width) - 1) > 1e-4:
            self.refuse("scores scaled by %.6g, expected 1 / sqrt(%d), the size of a head"
                        % (scores.by, width))
        if v.index.shape[-1] != width:
            self.refuse("values of %d numbers a head and queries of %d, expected the same"
                        % (v.index.shape[-1], width))
        q, k, vs = (self.heads(act, tokens, width) for act in (scores.q, scores.k, v))
        kv = len(self.distinct(k))
        if len(self.distinct(vs)) != kv or len(q) % kv or len(k) not in (kv, len(q)):
            self.refuse("%d heads of keys, %d of values and %d of queries"
                        % (kv, len(self.distinct(vs)), len(q)))
        parts = [(scores.q.node, q.reshape(-1)), (scores.k.node, self.distinct(k).reshape(-1)), (
                v.node, self.distinct(vs).reshape(-1))]
        node = self.merged(parts, "queries, keys and values")
        keys = {"heads": len(q), "kv_heads": kv, "head_dim": width, "causal": scores.causal}
        made = Node("attention", [node], "tokens", (len(q) * width, tokens, 1), self.path, keys)
        c = made.shape[0]
        places = (torch.arange(SAMPLES)[:, None] * tokens + torch.arange(tokens)) * c
        index = places[:, None, :, None] + torch.arange(c).reshape(1, len(q), 1, width)
        return Act(made, index.reshape(scores.q.index.shape))

    @staticmethod
    def distinct(channels):
        """One of each run of equal heads: keys that several queries share."""
        keep = [0] + [h for h in range(1, len(channels))
                      if not torch.equal(channels[h], channels[h - 1])]
        return channels[keep]

    def op_MultiheadAttention(self):
        """Of torch.nn, where torch.fx leaves it whole."""
        m, a = self.module, self.arg
        q, k, v = (self.act(a(i, name)) for i, name in enumerate(("query", "key", "value")))
        if not m._qkv_same_embed_dim or m.bias_k is not None or m.add_zero_attn:
            self.refuse("keys or values of another size, or with a bias or zeros appended, which "
                        "no layer has")
        if a(3, "key_padding_mask") is not None:
            self.refuse("a mask of padding, expected none")
        if q.node is not k.node or k.node is not v.node or not torch.equal(
                q.index, k.index) or not torch.equal(k.index, v.index):
            self.refuse("attention between two tensors, expected one on itself")
        batch_first = m.batch_first and q.index.dim() == 3
        x = q if batch_first else Act(q.node, q.index.transpose(0, 1))
        packed = self.linear(x, self.own("in_proj_weight"), self.own("in_proj_bias"))
        parts = [part.reshape(part.shape[0], -1, m.num_heads, m.head_dim).transpose(1, 2)
                 for part in packed.index.chunk(3, -1)]
        scores = self.scores(Act(packed.node, parts[0]), Act(packed.node, parts[1]))
        scores.by = 1 / math.sqrt(m.head_dim)
        mask = a(5, "attn_mask")
        if mask is not None:
            if isinstance(mask, Const) and mask.value.dtype == torch.bool:
                mask = Const(~mask.value)                # there, True is what is hidden
            scores = self.masked(scores, mask)
        out = self.attention(Later("weights", scores=scores), Act(packed.node, parts[2]))
        joined = Act(out.node, out.index.transpose(1, 2).reshape(x.index.shape))
        name = self.path + ".out_proj."
        bias = m.out_proj.bias
        given = self.linear(joined, Par(name + "weight", m.out_proj.weight),
                            None if bias is None else Par(name + "bias", bias))
        return (given if batch_first
                else Act(given.node, given.index.transpose(0, 1))), Later("weights", scores=scores)
