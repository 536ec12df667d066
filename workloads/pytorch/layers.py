"""A module as layers in a row: the graph of Nodes, with a residual where two of its rows meet."""

import collections
import math

import torch

from . import graph as graphs
from .translator import Translator
from .values import SAMPLES, Act, Const, ExportError, Later, Node, Par


class Layer:
    """A Node in its place: a residual has body and shortcut, lists of Layers."""

    def __init__(self, node, body=None, shortcut=None):
        self.node, self.body, self.shortcut = node, body, shortcut

    def description(self):
        """As it stands in a workload."""
        if self.body is None:
            return dict({"layer": self.node.kind}, **self.node.keys)
        out = {"layer": "residual", "body": [layer.description() for layer in self.body]}
        if self.shortcut:
            out["shortcut"] = [layer.description() for layer in self.shortcut]
        return out

    def tensors(self, prefix):
        """(name in the workload's files, Pieces) of it and all within; prefix "blocks.0.3."."""
        for what, pieces in self.node.tensors.items():
            yield prefix + what, pieces
        for path, layers in (("", self.body), ("shortcut.", self.shortcut)):
            for i, layer in enumerate(layers or []):
                yield from layer.tensors("%s%s%d." % (prefix, path, i))

    def each(self):
        yield self
        for layers in filter(None, (self.body, self.shortcut)):
            for layer in layers:
                yield from layer.each()

    def macs(self):
        """Multiply-accumulates of a sample, to balance blocks by."""
        total = 0
        for layer in self.each():
            node = layer.node
            if node.kind in ("conv", "linear"):
                weight = node.tensors["weight"]
                total += node.places * sum(math.prod(piece.shape) for piece in weight)
            elif node.kind == "attention":
                total += 2 * node.places * node.places * node.shape[0]
        return total


class Chain:
    """Layers in a row from a graph of Nodes."""

    def __init__(self, what):
        self.what, self.forks = what, {}

    def before(self, node):
        """What comes before a node in the row that it is in."""
        return self.fork(node) if node.kind == "residual" else node.inputs[0]

    def back(self, node):
        """The row from node to the input."""
        while True:
            yield node
            if node.kind == "input":
                return
            node = self.before(node)

    def fork(self, node):
        """Where the two sides of a sum part: the last that is in the rows of both."""
        if node not in self.forks:
            ours = set(self.back(node.inputs[0]))
            self.forks[node] = next(n for n in self.back(node.inputs[1]) if n in ours)
        return self.forks[node]

    def layers(self, end, start):
        """From behind start to end."""
        found = []
        for node in self.back(end):
            if node is start:
                return found[::-1]
            found.append(self.residual(node) if node.kind == "residual" else Layer(node))
        raise ExportError("%s: %s is used in two places, which no residual does"
                          % (self.what, Translator.named(end)))

    def residual(self, node):
        start = self.fork(node)
        one, other = (self.layers(end, start) for end in node.inputs)
        if not one and not other:
            raise ExportError("%s: %s: a tensor added to itself, which no layer does"
                              % (self.what, Translator.named(node)))
        if len(other) > len(one):
            one, other = other, one
        return Layer(node, one, other)


DEPTH = 4                # residuals in each other (workloads/workload.h)


def check_row(what, layers):
    """Each Node in one place, and no deeper than the executor goes."""
    seen = set()
    for layer in (inner for outer in layers for inner in outer.each()):
        if layer.node in seen:
            raise ExportError("%s: %s is used in two places, which no residual does"
                              % (what, Translator.named(layer.node)))
        seen.add(layer.node)

    def depth(layer):
        return 0 if layer.body is None else 1 + max(map(depth, layer.body + layer.shortcut))
    for layer in layers:
        if depth(layer) > DEPTH:
            raise ExportError("%s: %s: residuals %d deep in each other, expected at most %d"
                              % (what, Translator.named(layer.node),
                                 depth(layer), DEPTH))


def shared(layers):
    """Names of parameters of which numbers are in two places."""
    taken = collections.defaultdict(list)
    for layer in layers:
        for _, pieces in layer.tensors(""):
            for piece in pieces:
                taken[piece.name].append(piece)
    names = []
    for name, pieces in taken.items():
        if len(pieces) > 1:
            index = torch.cat(
                [(torch.arange(p.tensor.numel()) if p.index is None else p.index).reshape(-1)
                 for p in pieces])
            if len(index.unique()) < len(index):
                names.append(name)
    return names, set(taken)


# layers: in a row; modules: path -> the Node that the module gives, where it gives one; exact:
# paths of those that give it as it is, not rearranged; twice: parameters in several layers; notes:
# lines.
Translated = collections.namedtuple("Translated", "layers modules exact twice notes")


def input_node(what, shape, vocabulary):
    if vocabulary:
        return Node("input", [], "ids", (1, shape[0], 1), "")
    if len(shape) != 3:
        raise ExportError("%s: an input of %s, expected channels, height and width"
                          % (what, "x".join(map(str, shape))))
    return Node("input", [], "image", shape, "")


def result_of(what, value):
    """The last Node, in the order that PyTorch has it."""
    if isinstance(value, dict):
        value = [v for v in value.values() if v is not None]
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ExportError("%s: the model gives %d values, expected one tensor"
                              % (what, len(value)))
        value = value[0]
    if not isinstance(value, Act):
        raise ExportError("%s: the model gives %s, expected what a layer gives"
                          % (what, type(value).__name__ if not isinstance(value, Later)
                             else Translator.told(value)))
    return value


def translate(model, what, shape, vocabulary=0):
    """A module's layers; what it is called in errors. shape: channels, height, width, or with a
    vocabulary the tokens."""
    model = model.eval()
    example = torch.randint(0, vocabulary, [SAMPLES]
                            + list(shape)) if vocabulary else torch.randn([SAMPLES] + list(shape))
    try:
        graph = graphs.trace(model, example)
    except graphs.TraceFailed as e:
        raise ExportError("%s: cannot follow its forward: %s" % (what, e))
    translator, start = Translator(model, what), input_node(what, shape, vocabulary)
    env = {}
    for given in graph.given:
        if given.what == "input":
            env[given.key] = Act(start)
        elif given.what == "parameter":
            env[given.key] = Par(given.name, given.value)
        else:
            env[given.key] = Const(given.value, given.name if given.what == "buffer" else None)
    for step in graph.steps:
        env[step.key] = translator.step(step, env)
    end = result_of(
        what, graphs.mapped(graph.result, lambda v: env[v.key] if isinstance(v, graphs.Ref) else v))
    translator.path, translator.op = "", "the output"
    node = end.node
    if not end.is_standard:
        node, rows, _ = translator.rows(end)
        if not torch.equal(rows, torch.arange(len(rows))):
            translator.refuse("the output is a rearrangement of what %s gives, which no layer does"
                              % translator.named(node))
    return arranged(what, model, node, start, env, graph)


def arranged(what, model, end, start, env, graph):
    chain = Chain(what)
    layers = chain.layers(end, start)
    if not layers:
        raise ExportError("%s: the model gives its input, expected layers" % what)
    check_row(what, layers)
    twice, used = shared(layers)
    notes = ["%s is in several layers: each has a copy of its own" % name for name in twice]
    left = [name for name, _ in model.named_parameters() if name not in used]
    if left:
        notes.append("%d parameters have no part in the output: %s%s"
                     % (len(left), left[0], ", ..." if len(left) > 1 else ""))
    given = {path: env[key] for path, key in graph.modules.items() if isinstance(env.get(key), Act)}
    modules = {path: act.node for path, act in given.items()}
    return Translated(layers, modules, {path for path, act in given.items() if act.is_standard},
                      twice, notes)
