"""A PyTorch module as layers of a workload (docs/formats.md), with the parameters that each takes.

Every tensor of the forward is followed as one of

    Act     what a layer gives, or any rearrangement of it: an index says which of the layer's
            numbers, in the executor's own order (sample, row, column, channel), stands at each
            place. So a transposed, split or reshaped tensor is known by what is in it, however it
            was written.
    Par     a parameter, or a rearrangement of it, likewise.
    Const   numbers that do not depend on the input (masks, positions).
    Later   a part of something the executor has as one layer: scores of attention, gates, a root
            mean square.

A layer takes an Act only in the order that it works in; what no layer does is refused with the
module's path. The example has two samples, so that mixing them is noticed.
"""

import torch

SAMPLES = 2


class ExportError(ValueError):
    """What cannot be translated, in one line that names the module."""


class Piece:
    """Rows of a layer's tensor: numbers of one parameter, in an order; index None: as they are."""

    def __init__(self, name, tensor, index=None, shape=None):
        self.name, self.tensor, self.index = name, tensor, index
        self.shape = list(shape if shape is not None
                          else (tensor.shape if index is None else index.shape))

    def values(self):
        flat = self.tensor.detach().reshape(-1)
        return (flat if self.index is None
                else flat[self.index.reshape(-1)]).reshape(self.shape).float()

    def take(self, values, state):
        """Puts trained values where the parameter has them; state: the module's state_dict()."""
        target = state[self.name]
        with torch.no_grad():
            if self.index is None:
                target.copy_(values.reshape(target.shape))
            else:
                flat = target.reshape(-1).clone()
                flat[self.index.reshape(-1)] = values.reshape(-1).to(flat.dtype)
                target.copy_(flat.reshape(target.shape))

    def rows(self, rows):
        """Some of the rows, in this order."""
        if self.index is None and torch.equal(rows, torch.arange(self.shape[0])):
            return self
        index = self.index if self.index is not None else torch.arange(self.tensor.numel()).reshape(
            self.shape)
        return Piece(self.name, self.tensor, index.reshape(self.shape)[rows])


class Node:
    """A layer: kind and keys as in the file, tensors by what they are: lists of Pieces. form: how
    PyTorch has what comes out, "image" [B][C][H][W], "tokens" [B][T][C], "vector" [B][C] or "ids"
    [B][T]; shape is (channels, height, width)."""

    def __init__(self, kind, inputs, form, shape, path, keys=None, tensors=None):
        self.kind, self.inputs, self.form, self.shape, self.path = kind, inputs, form, tuple(
            shape), path
        self.keys, self.tensors = keys or {}, tensors or {}

    @property
    def places(self):
        return self.shape[1] * self.shape[2]

    def memory(self):
        """Numbers of everything that comes out, [B][H][W][C]."""
        c, h, w = self.shape
        return torch.arange(SAMPLES * c * h * w).reshape(SAMPLES, h, w, c)

    def standard(self):
        """memory(), as PyTorch has it."""
        c, h, _ = self.shape
        memory = self.memory()
        return {"image": lambda: memory.permute(0, 3, 1, 2),
                "tokens": lambda: memory.reshape(SAMPLES, h, c),
                "vector": lambda: memory.reshape(SAMPLES, c),
                "ids": lambda: memory.reshape(SAMPLES, h)}[self.form]()


class Act:
    """memory: what tensors of one storage have in common; the layer's output, but for a copy."""

    def __init__(self, node, index=None, memory=None):
        self.node, self.memory = node, memory or node
        standard = node.standard() if index is not None else None
        self._index = None if index is None or (index.shape == standard.shape
                                                and torch.equal(index, standard)) else index

    @property
    def is_standard(self):
        return self._index is None

    @property
    def index(self):
        return self.node.standard() if self._index is None else self._index

    def same(self, node):
        """The same places of another layer's output of the same shape."""
        return Act(node, self._index)

    def copied(self):
        """Writing to it leaves this one as it is."""
        return Act(self.node, self._index, object())


class Par:
    def __init__(self, name, tensor, index=None):
        self.name, self.tensor, self._index = name, tensor, index

    @property
    def index(self):
        return torch.arange(self.tensor.numel()).reshape(
            self.tensor.shape) if self._index is None else self._index

    @property
    def shape(self):
        return self.tensor.shape if self._index is None else self._index.shape

    def piece(self, shape=None):
        return Piece(self.name, self.tensor, self._index, shape)


class Const:
    def __init__(self, value, name=None, made_of=None):
        # made_of: a parameter that it was computed from
        self.value, self.name, self.made_of = value, name, made_of

    @property
    def shape(self):
        return self.value.shape


class Later:
    """kind: "scaled", "scores", "weights", "gate", "squares", "mean square", "inverse root",
    "normed"."""

    def __init__(self, kind, **what):
        self.kind = kind
        self.__dict__.update(what)

    def changed(self, **what):
        return Later(**dict(self.__dict__, **what))


def pair(value, what, path):
    """One number of a pair of equal ones."""
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    if len(set(values)) != 1:
        raise ExportError("%s: %s is %s, expected the same in both directions"
                          % (path, what, "x".join(map(str, values))))
    return values[0]
