"""Where a teacher and a student are cut into blocks."""

import difflib

import torch

from .values import ExportError


def text(shape):
    return "x".join(map(str, shape))


class Side:
    """A model that was translated: its layers in a row, and at which places modules end."""

    def __init__(self, who, model, translated):
        self.who, self.model = who, model
        self.layers, self.modules = translated.layers, translated.modules
        self.exact = translated.exact
        self.ends = {layer.node: i + 1 for i, layer in enumerate(self.layers)}

    def shape(self, place):
        return self.layers[place - 1].node.shape

    def place(self, name):
        """Behind the module of this name. ExportError where it cannot be cut there."""
        known = dict(self.model.named_modules())
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            raise ExportError("%s has no module %s%s"
                              % (self.who, name, "; there are " + ", ".join(near) if near else ""))
        if name not in self.modules:
            raise ExportError("%s: %s does not give one tensor once, so it is no place to cut"
                              % (self.who, name))
        node = self.modules[name]
        if node not in self.ends and node.kind != "input":
            raise ExportError("%s: what %s gives is inside a residual, or is not on the way to "
                              "the output: no place to cut" % (self.who, name))
        return self.ends.get(node, 0)

    def names(self, place):
        """Of modules that end at a place, the innermost first; before them those that rearrange
        what they give."""
        node = self.layers[place - 1].node
        return sorted((name for name, given in self.modules.items() if given is node),
                      key=lambda n: (n in self.exact, -len(n), n))

    def trains(self, first, last):
        return any(layer.node.tensors for outer in self.layers[first:last]
                   for layer in outer.each())


# ---- where residuals end
# --------------------------------------------------------------------------


def units(side):
    """(first, last) of modules that hold a residual, and of others of their classes, in order."""
    def owner(layer):
        return side.model.get_submodule(layer.node.path) if layer.node.path else None
    owners = [owner(layer) for layer in side.layers if layer.body is not None]
    classes = {type(module) for module in owners if module is not None}
    found, last = [], 0
    for name, module in side.model.named_modules():
        node = side.modules.get(name)
        if type(module) not in classes or node not in side.ends or side.ends[node] <= last:
            continue
        inside = [i for i, layer in enumerate(side.layers)
                  if any((inner.node.path + ".").startswith(name + ".") for inner in layer.each())]
        if inside and inside[0] >= last:
            found.append((inside[0], side.ends[node]))
            last = side.ends[node]
    return found


def without_parameters(side, place):
    """The place behind the layers from place on that learn nothing and keep the shape."""
    while place < len(side.layers) and not side.trains(
            place, place + 1) and side.layers[place].node.shape == side.shape(place):
        place += 1
    return place


def automatic(side):
    """Places to cut: around modules with residuals; without those, before each convolution and
    linear layer."""
    places = {place for pair in units(side) for place in pair}
    if not places:
        places = {without_parameters(side, i + 1)
                  for i, layer in enumerate(side.layers) if layer.body is not None}
    if not places:
        places = {i for i, layer in enumerate(side.layers) if layer.node.kind in ("conv", "linear")}
    return sorted(place for place in places if 0 < place < len(side.layers))


def with_parameters(student, pairs):
    """Without the cuts that would leave a student nothing to train."""
    kept, before = [], 0
    for t, s in pairs:
        if s > before and student.trains(before, s):
            kept.append((t, s))
            before = s
    while kept and not student.trains(kept[-1][1], len(student.layers)):
        kept.pop()
    return kept


def by_name(teacher, student, places):
    """The student's place of each of the teacher's, by the names of modules that end there; None
    where there is none."""
    found = []
    for place in places:
        match = None
        for name in teacher.names(place):
            node = student.modules.get(name)
            if node in student.ends and student.shape(student.ends[node]) == teacher.shape(place):
                match = student.ends[node]
                break
        found.append(match)
    return found


def matched(teacher, student):
    """Pairs of places: automatic ones of the teacher, and the student's by name, or in their order
    where there are as many."""
    ours, theirs = automatic(teacher), automatic(student)
    named = by_name(teacher, student, ours)
    if None not in named and named == sorted(set(named)):
        return with_parameters(student, list(zip(ours, named)))
    if len(ours) == len(theirs):
        for t, s in zip(ours, theirs):
            check_shape(teacher, student, t, s)
        return with_parameters(student, list(zip(ours, theirs)))
    both = [name for name in teacher.modules
            if name in student.modules and "." not in name and teacher.modules[name] in teacher.ends
            and student.modules[name] in student.ends
            and teacher.modules[name].shape == student.modules[name].shape]
    raise ExportError("the teacher has %d places to cut at, the student %d, and their modules' "
                      "names do not match: say --cut%s"
                      % (len(ours), len(theirs), "; both have, with one shape, " + ", ".join(both)
                         if both else " TEACHER'S=STUDENT'S,..."))


def balanced(teacher, pairs, count):
    """count - 1 of the pairs, so that the teacher's largest block is as small as can be
    (multiply-accumulates)."""
    if count > len(pairs) + 1:
        raise ExportError("--blocks %d: there are places for at most %d" % (count, len(pairs) + 1))
    macs = [0]
    for layer in teacher.layers:
        macs.append(macs[-1] + layer.macs())
    places = [0] + [t for t, _ in pairs] + [len(teacher.layers)]
    # [blocks][end]: the largest block
    best = [[0 if i == 0 else float("inf") for i in range(len(places))]]
    chosen = []
    for _ in range(count):
        row, came = [float("inf")] * len(places), [0] * len(places)
        for end in range(1, len(places)):
            for start in range(end):
                worst = max(best[-1][start], macs[places[end]] - macs[places[start]])
                if worst < row[end]:
                    row[end], came[end] = worst, start
        best.append(row)
        chosen.append(came)
    kept, at = [], len(places) - 1
    for came in reversed(chosen):
        at = came[at]
        if at > 0:
            kept.append(pairs[at - 1])
    return kept[::-1]


# ---- cuts that were asked for
# ---------------------------------------------------------------------


def asked(teacher, student, cuts):
    """Pairs of places of [(teacher's module, student's module)]."""
    pairs, before = [], (0, 0)
    for ours, theirs in cuts:
        t, s = teacher.place(ours), student.place(theirs)
        for side, place, last, name in ((teacher, t, before[0], ours), (student, s, before[1],
                                                                        theirs)):
            if not last < place < len(side.layers):
                raise ExportError("%s: a cut behind %s leaves a block without layers"
                                  % (side.who, name))
        check_shape(teacher, student, t, s)
        pairs.append((t, s))
        before = t, s
    return pairs


def named(side, place):
    names = side.names(place)
    return names[-1] if names else "layer %d (%s)" % (place, side.layers[place - 1].node.kind)


def check_shape(teacher, student, t, s):
    if teacher.shape(t) != student.shape(s):
        raise ExportError(
            "behind %s the teacher gives %s, behind %s the student %s: expected the same shape"
            % (named(teacher, t), text(teacher.shape(t)), named(student, s),
               text(student.shape(s))))


# ---- blocks
# ---------------------------------------------------------------------------------------


def block_name(side, place):
    """That of the module that ends there: the outermost with parts that is more than a list, or the
    outermost. Layers that learn nothing and are no module are passed over."""
    while place > 1 and not side.names(place) and not side.trains(place - 1, place):
        place -= 1
    names = side.names(place)
    modules = {name: side.model.get_submodule(name) for name in names}
    owners = [name for name in names
              if type(modules[name]) is not torch.nn.Sequential and any(modules[name].children())]
    return (owners or names or ["layer%d" % place])[-1]


def block_names(teacher, places):
    """A name a block."""
    names = []
    for i, place in enumerate(places):
        name = "head" if i == len(places) - 1 and i > 0 else block_name(teacher, place)
        names.append(name if name not in names else "%s_%d" % (name, i))
    return names


def blocks(teacher, student, cuts=None, count=None, names=None):
    """[(name, teacher's layers, student's layers)]. cuts: pairs of modules' names; count: how many;
    neither: at every residual. names: of the blocks, where they have some."""
    check_shape(teacher, student, len(teacher.layers), len(student.layers))
    if cuts is not None:
        pairs = asked(teacher, student, cuts)
    elif count == 1:
        pairs = []
    else:
        pairs = matched(teacher, student)
        pairs = balanced(teacher, pairs, count) if count else pairs
    pairs = pairs + [(len(teacher.layers), len(student.layers))]
    found, t, s = [], 0, 0
    for name, (t_end, s_end) in zip(names or block_names(teacher, [p[0] for p in pairs]), pairs):
        if not student.trains(s, s_end):
            raise ExportError("block %s: the student has nothing to train there" % name)
        found.append((name, teacher.layers[t:t_end], student.layers[s:s_end]))
        t, s = t_end, s_end
    return found
