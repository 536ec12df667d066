"""Follows the steps of a graph, each as a layer or a rearrangement of what one gives."""

import torch

from . import graph as graphs
from .attention import Attention
from .images import Images
from .tokens import Tokens
from .values import SAMPLES, Act, Const, ExportError, Later, Node, Par, Piece

LAYOUT = {"view", "reshape", "_unsafe_view", "flatten", "unflatten", "permute", "transpose", "t",
          "numpy_T", "clone", "alias", "squeeze", "unsqueeze", "expand", "expand_as", "select",
          "slice", "split", "split_with_sizes", "chunk",
          "unbind", "narrow", "repeat_interleave", "movedim", "moveaxis", "swapaxes", "swapdims",
          "repeat", "tile", "flip", "roll", "view_as",
          "index_select", "tensor_split", "unsafe_split", "unsafe_chunk", "getitem", "getattr",
          "reshape_as", "adjoint"}
SAME = {"dropout", "F.dropout", "detach", "detach_", "to", "float", "type_as", "_to_copy",
        "lift_fresh_copy", "Identity", "Dropout", "Dropout2d",
        "long", "int", "Dropout1d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout",
        "feature_dropout", "dropout2d", "dropout1d",
        "stochastic_depth", "_assert_tensor_metadata", "contiguous"}
FUNCTIONS = {"relu": "relu", "ReLU": "relu", "gelu": "gelu", "GELU": "gelu", "silu": "silu",
             "SiLU": "silu", "tanh": "tanh",
             "Tanh": "tanh", "relu6": "relu6", "ReLU6": "relu6"}


class Translator(Images, Tokens, Attention):
    """Follows a Graph; the methods op_NAME each do an operation."""

    def __init__(self, model, what):
        self.model, self.what, self.path, self.op = model, what, "", ""
        self.made = {}           # layers that stand between: (node, kind) -> node

    # ---- errors ----

    def where(self):
        kind = type(self.model.get_submodule(self.path)).__name__
        return "%s: %s (%s)" % (self.what, self.path, kind) if self.path else "%s: %s" % (self.what,
                                                                                          kind)

    def refuse(self, why):
        raise ExportError("%s: %s" % (self.where(), why))

    # ---- arguments: by place or by name ----

    def arg(self, place, *names, default=None):
        for name in names:
            if name in self.kwargs:
                return self.kwargs[name]
        return self.args[place] if place < len(self.args) else default

    def tensor(self, value, what):
        """A Par or named buffer as a Piece."""
        if isinstance(value, Par):
            return value.piece()
        if isinstance(value, Const) and value.name and value.made_of is None:
            return Piece(value.name, value.value)
        if isinstance(value, Const) and value.made_of:
            self.refuse("its %s is computed from %s, expected a parameter itself"
                        % (what, value.made_of))
        self.refuse("its %s is no parameter of the module" % what)

    # ---- an Act in the order that a layer wants ----

    def act(self, value):
        if isinstance(value, Act):
            return value
        if isinstance(value, Later):
            self.refuse("%s on %s, which no layer does" % (self.op, self.told(value)))
        self.refuse("%s on %s, expected what a layer gives"
                    % (self.op, "numbers that do not depend on the input"
                       if isinstance(value, (Const, Par)) else type(value).__name__))

    @staticmethod
    def told(later):
        return {"scaled": "a scaled tensor", "scores": "scores of attention",
                "weights": "weights of attention", "gate": "a part of a tensor",
                "overwritten": "a tensor that another operation may have written over"}.get(
            later.kind, "a part of a norm")

    def between(self, node, kind, form, shape, keys=None):
        """The layer of this kind behind node, one however often it is asked for."""
        key = (node, kind, str(keys))
        if key not in self.made:
            self.made[key] = Node(kind, [node], form, shape, self.path, keys)
        return self.made[key]

    def image(self, value):
        act = self.act(value)
        if act.is_standard and act.node.form == "image":
            return act.node
        c, h, w = act.node.shape
        if act.index.shape == (SAMPLES, c, h,
                               w) and torch.equal(act.index, act.node.memory().permute(0, 3, 1, 2)):
            return act.node
        self.refuse("%s on a tensor of %s that was rearranged, expected "
                    "[samples][channels][height][width] as a layer gives it"
                    % (self.op, list(act.index.shape)))

    def rows(self, value):
        """(node, rows, lead): a tensor [lead...][C] whose last dimension is all channels of a
        place; rows: which place each is. Puts in the layer that flattens, takes the first token, or
        makes places tokens."""
        act = self.act(value)
        node, index = act.node, act.index
        c = node.shape[0]
        if node.form == "ids":
            self.refuse("%s on token numbers, expected an embedding first" % self.op)
        if index.dim() == 2 and node.places > 1 and index.shape == (SAMPLES, c * node.places):
            if torch.equal(index, node.memory().permute(0, 3, 1, 2).reshape(SAMPLES, -1)):
                return self.between(node, "flatten", "vector", (
                        c * node.places, 1, 1)), torch.arange(SAMPLES), [SAMPLES]
        if index.shape[-1] == c and index.numel() == SAMPLES * c and node.places > 1:
            if torch.equal(index.reshape(SAMPLES, c),
                           node.memory()[:, 0, 0]) and node.form != "image":
                return self.between(node, "pool", "vector", (c, 1, 1),
                                    {"of": "first"}), torch.arange(SAMPLES), list(index.shape[:-1])
        rows = index.reshape(-1, index.shape[-1])[:, 0] // c if index.shape[-1] == c else None
        if (rows is None
                or not torch.equal(index.reshape(-1, c), rows[:, None] * c + torch.arange(c))
                or not torch.equal(rows.sort()[0], torch.arange(SAMPLES * node.places))):
            self.refuse("%s on a rearrangement to %s of what %s gives, which no layer does"
                        % (self.op, list(index.shape), self.named(node)))
        return self.tokens(node), rows, list(index.shape[:-1])

    def tokens(self, node):
        """An image's places as tokens; other things as they are."""
        if node.form != "image" or node.places == 1:
            return node
        return self.between(node, "tokens", "tokens", (node.shape[0], node.places, 1))

    @staticmethod
    def named(node):
        return "the input" if node.kind == "input" else "%s (%s)" % (node.path or "the model",
                                                                     node.kind)

    def on_rows(self, value, kind, channels, keys, tensors):
        """A layer on each place's channels, and its output in the order of value."""
        node, rows, lead = self.rows(value)
        form = "tokens" if node.places > 1 or node.form == "tokens" else "vector"
        made = Node(kind, [node], form, (channels, node.shape[1], node.shape[2]), self.path, keys,
                    tensors)
        return self.placed(made, rows, lead)

    @staticmethod
    def placed(node, rows, lead):
        """A layer's output, the places in this order."""
        c = node.shape[0]
        return Act(node, (rows[:, None] * c + torch.arange(c)).reshape(list(lead) + [c]))

    # ---- following ----

    def step(self, step, env):
        def value(v):
            return env[v.key] if isinstance(v, graphs.Ref) else v
        self.path, self.op = step.path, step.op.rstrip("_") or step.op
        self.args, self.kwargs = graphs.mapped(tuple(step.args),
                                               value), graphs.mapped(dict(step.kwargs), value)
        self.run, self.module = step.run, step.module
        result = self.apply()
        if step.mutates:
            before = self.args[0]
            for key, other in list(env.items()):
                if other is before:
                    env[key] = result
                elif isinstance(before, Act) and isinstance(other,
                                                            Act) and other.memory is before.memory:
                    env[key] = Later("overwritten")
        return result

    def apply(self):
        name = self.op
        known = [v for v in list(self.args) + list(self.kwargs.values())
                 if isinstance(v, (Act, Later))
                 or isinstance(v, (list, tuple)) and any(isinstance(x, (Act, Later)) for x in v)]
        if not known and self.module is None and name != "F.embedding":
            return self.constant()
        if name in SAME or name == "clone":
            return self.unchanged()
        if name in FUNCTIONS:
            return self.function(FUNCTIONS[name])
        if name in LAYOUT:
            return self.layout()
        handler = getattr(self, "op_" + name.replace(".", "_"), None)
        if handler is None:
            self.refuse("%s has no layer in the executor" % name)
        return handler()

    def constant(self):
        """Of parameters and numbers only."""
        if isinstance(self.args[0] if self.args else None, Par) and self.op in LAYOUT:
            par = self.args[0]
            return self.rearranged(par.index, lambda index: Par(par.name, par.tensor, index))
        if self.op in SAME and isinstance(self.args[0], (Par, Const)):
            return self.args[0]
        if self.op == "embedding" and isinstance(self.args[0], Par) and isinstance(self.args[1],
                                                                                   Const):
            return Par(self.args[0].name, self.args[0].tensor,
                       self.args[0].index[self.args[1].value])
        if self.op == "getitem" and isinstance(self.args[0], (tuple, list)):
            return self.args[0][self.args[1]]
        source = []

        def real(v):
            if isinstance(v, Par):
                source.append(v.name)
                return v.tensor.detach().reshape(-1)[v.index]
            if isinstance(v, Const):
                source.extend([v.made_of] if v.made_of else [])
                return v.value
            return v
        args, kwargs = graphs.mapped(tuple(self.args), real), graphs.mapped(self.kwargs, real)
        result = self.run(*args, **kwargs)
        # noqa: E731
        wrap = lambda v: Const(v, None,
                               source[0] if source else None) if isinstance(v, torch.Tensor) else v
        return graphs.mapped(result, wrap)

    def unchanged(self):
        value = self.args[0]
        if self.op in ("dropout", "F.dropout") and self.arg(2, "train", "training", default=False):
            self.refuse(
                "dropout in training mode inside the forward, which evaluation has no layer for")
        types = [v for v in list(self.args) + list(self.kwargs.values())
                 if isinstance(v, torch.dtype)]
        if self.op in ("long", "int") or self.op in ("to", "_to_copy") and not all(
                t.is_floating_point for t in types):
            if not (isinstance(value, Act) and value.node.form == "ids"):
                self.refuse("%s to whole numbers, which no layer does" % self.op)
        return value.copied() if isinstance(value, Act) and self.op in ("clone",
                                                                        "_to_copy") else value

    def rearranged(self, index, wrap):
        """The operation on numbers of places instead of values."""
        others = graphs.mapped(tuple(self.args[1:]),
                               lambda v: v.value if isinstance(v, Const) else v)
        try:
            result = self.run(index.contiguous(), *others, **self.kwargs)
        except (RuntimeError, TypeError, IndexError) as e:
            self.refuse("%s: %s" % (self.op, str(e).splitlines()[0]))
        return graphs.mapped(result, lambda v: wrap(v) if isinstance(v, torch.Tensor) else v)

    def layout(self):
        value = self.args[0]
        if isinstance(value, (tuple, list)) and self.op == "getitem":
            return value[self.args[1]]
        if isinstance(value, Act):
            return self.rearranged(value.index, lambda index: Act(value.node, index, value.memory))
        if isinstance(value, Later) and value.kind == "scaled":
            return self.rearranged(
                value.act.index,
                lambda index: Later("scaled", act=Act(value.act.node, index), by=value.by))
        # Samples and heads together or apart: what they are is known from queries and keys.
        if isinstance(value, Later) and value.kind == "weights" and self.op in (
                "view", "reshape", "unsqueeze", "expand"):
            return value
        if isinstance(value, Later) and value.kind == "scores" and self.op in (
                "view", "reshape", "unsqueeze", "expand"):
            return self.rearranged(torch.empty(value.shape),
                                   lambda scores: value.changed(shape=scores.shape))
        self.act(value)
