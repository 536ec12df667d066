"""The graph of a PyTorch module's forward in evaluation mode, by torch.export or by torch.fx.

trace() runs the module's forward on an example and gives a Graph: steps in order, each an operation
by one name for both ("conv2d", "add"), with the path of the module that does it. torch.export is
asked first where it leaves layers whole (torch 2.5 and later); where it cannot, and before 2.5,
torch.fx is, with the shapes of the example: what a forward asks about shapes is answered with
numbers, so only a forward that looks at values is refused.
"""

import collections
import contextlib
import io
import logging
import operator
import warnings

import torch

# op: name for all kinds of calls; run: the same on tensors; args may hold Refs; path: of the
# module. module: of a torch.nn layer that torch.fx leaves whole, else None. mutates: writes to its
# first argument.
Step = collections.namedtuple("Step", "key op run args kwargs path module mutates")
Ref = collections.namedtuple("Ref", "key")
# what: "input", "parameter", "buffer", "constant"
Given = collections.namedtuple("Given", "key what name value")
# modules: path -> key of what it returns
Graph = collections.namedtuple("Graph", "given steps result modules")


class TraceFailed(Exception):
    """Neither could follow the forward."""


BUILT_IN = {operator.add: "add", operator.iadd: "add_", operator.mul: "mul", operator.imul: "mul_",
            operator.sub: "sub",
            operator.isub: "sub_", operator.truediv: "div", operator.itruediv: "div_",
            operator.matmul: "matmul",
            operator.getitem: "getitem", operator.neg: "neg", operator.pow: "pow",
            getattr: "getattr"}
# Functions of torch.nn.functional whose arguments stand in another order than those of the operator
# of the name.
OTHER_ORDER = {"batch_norm", "embedding", "dropout", "softmax", "hardtanh"}


def mapped(value, change):
    """value with change() made of everything in its lists, tuples and dicts."""
    if isinstance(value, (list, tuple)) and not isinstance(value, Ref):
        return [mapped(v, change) for v in value] if isinstance(value, list) else tuple(
            mapped(v, change) for v in value)
    if isinstance(value, dict):
        return {k: mapped(v, change) for k, v in value.items()}
    if isinstance(value, slice):
        return slice(*(mapped(v, change) for v in (value.start, value.stop, value.step)))
    return change(value)


def refs(value):
    """What arguments are in a step: other nodes become Refs."""
    return mapped(value, lambda v: Ref(v) if isinstance(v, torch.fx.Node) else v)


# ---- torch.export
# ---------------------------------------------------------------------------------


def stack_of(node):
    """Paths of the modules that a node is in, outermost first, by calls: a module called twice is
    two."""
    return [(call, path.split("@")[0])
            for call, (path, _) in (node.meta.get("nn_module_stack") or {}).items() if path]


def module_results(nodes):
    """path -> node whose value leaves the module; those with several are left out."""
    leaving = collections.defaultdict(dict)
    for node in nodes:
        calls = dict(stack_of(node))
        for user in node.users:
            inside = dict(stack_of(user))
            for call, path in calls.items():
                if call not in inside:
                    leaving[path][node] = True
    return {path: next(iter(found)) for path, found in leaving.items() if len(found) == 1}


def export_given(program):
    """The placeholders of an exported program, with what they stand for."""
    signature, tensors = program.graph_signature, dict(program.state_dict)
    tensors.update(program.constants)
    names = [("parameter", signature.inputs_to_parameters), ("buffer", signature.inputs_to_buffers),
             ("constant", signature.inputs_to_lifted_tensor_constants)]
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        for what, table in names:
            if node.name in table:
                yield Given(node, what, table[node.name], tensors[table[node.name]])
                break
        else:
            yield Given(node, "input", node.name, None)


def export_op(target):
    """aten.conv2d.default is conv2d, and so for others; getitem is Python's."""
    if target in BUILT_IN:
        return BUILT_IN[target]
    schema = getattr(target, "_schema", None)
    return schema.name.split("::")[-1] if schema is not None else getattr(target, "__name__",
                                                                          str(target))


def export_path(node):
    stack = stack_of(node)
    return stack[-1][1] if stack else ""


@contextlib.contextmanager
def quiet():
    """What torch.export logs of a failure is not this program's to say."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def by_export(model, example):
    """The graph by torch.export, layers whole, memory operations as they are written."""
    fast = torch.backends.mha.get_fastpath_enabled()
    # one operator of its own, that only inference has
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with quiet():
            program = torch.export.export(model, (example,), strict=False)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    steps, result = [], None
    for node in program.graph.nodes:
        if node.op == "output":
            result = refs(node.args[0])
        elif node.op == "call_function":
            op = export_op(node.target)
            steps.append(Step(node, op, node.target, refs(node.args), refs(dict(node.kwargs)),
                              export_path(node), None,
                              op.endswith("_")))
        elif node.op == "get_attr":
            raise TraceFailed("a part of the graph of its own (%s), as of a condition on values"
                              % node.target)
    modules = module_results([n for n in program.graph.nodes if n.op == "call_function"])
    return Graph(list(export_given(program)), steps, result[0] if len(result) == 1 else result,
                 modules)


# ---- torch.fx
# -------------------------------------------------------------------------------------


class ShapeProxy(torch.fx.Proxy):
    """A proxy of a value that is known for the example: what is no tensor is answered with what it
    is."""

    KNOWN = {"shape", "ndim", "dtype", "device", "is_cuda", "requires_grad", "layout", "is_sparse",
             "is_nested", "is_quantized"}

    def __getattr__(self, name):
        if name in ShapeProxy.KNOWN:
            return getattr(self.tracer.value_of(self), name)
        return super().__getattr__(name)

    def __len__(self):
        return len(self.tracer.value_of(self))

    def __iter__(self):
        return iter([self[i] for i in range(len(self))])


class ShapeTracer(torch.fx.Tracer):
    """torch.fx with the shapes of an example, the path of the module with every node, and layers of
    torch.nn whole."""

    THROUGH = ("Sequential", "ModuleList", "ModuleDict", "Transformer", "TransformerEncoder",
               "TransformerEncoderLayer")

    def __init__(self, example):
        super().__init__()
        self.example, self.values, self.stack = example, {}, []
        self.results, self.running = {}, False

    def proxy(self, node):
        return ShapeProxy(node, self)

    def value_of(self, proxy):
        return self.values[proxy.node]

    def is_leaf_module(self, m, module_qualified_name):
        return type(m).__module__.startswith("torch.nn") and type(m).__name__ not in self.THROUGH

    def call_module(self, m, forward, args, kwargs):
        if self.running:
            return forward(*args, **kwargs)
        self.stack.append(self.path_of_module(m))
        try:
            result = super().call_module(m, forward, args, kwargs)
        finally:
            path = self.stack.pop()
        first = result[0] if isinstance(result, tuple) and result else result
        if isinstance(first, torch.fx.Proxy):
            self.results.setdefault(path, []).append(first.node)
        return result

    def getattr(self, attr, attr_val, parameter_proxy_cache):
        return attr_val if self.running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def _module_getattr(self, attr, attr_val, parameter_proxy_cache):  # its name before torch 2
        if self.running:
            return attr_val
        return super()._module_getattr(attr, attr_val, parameter_proxy_cache)

    def run_one(self, kind, target, args, kwargs):
        """What the node gives for the example."""
        known = lambda v: self.values[v.node] if isinstance(v, torch.fx.Proxy) else v  # noqa: E731
        args, kwargs = mapped(tuple(args), known), mapped(dict(kwargs), known)
        if kind == "placeholder":
            return self.example
        if kind == "get_attr":
            return attribute_of(self.root, target)
        if kind == "call_module":
            return self.root.get_submodule(target)(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)

    def create_proxy(self, kind, target, args, kwargs, *rest, **more):
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        if kind == "output":
            return proxy
        proxy.node.meta["path"] = self.stack[-1] if self.stack else ""
        self.running = True
        try:
            with torch.no_grad():
                value = self.run_one(kind, target, args, kwargs)
        finally:
            self.running = False
        return self.told(proxy, value)

    def told(self, proxy, value):
        """Tensors stay proxies, tuples of them are tuples; anything else is what it is, and leaves
        no node."""
        self.values[proxy.node] = value
        if isinstance(value, torch.Tensor):
            return proxy
        if isinstance(value, (tuple, list)) and any(isinstance(v, torch.Tensor) for v in value):
            if type(value) not in (tuple, list):
                return tuple(proxy[i] for i in range(len(value)))
            return type(value)(proxy[i] if isinstance(v, torch.Tensor) else v
                               for i, v in enumerate(value))
        self.graph.erase_node(proxy.node)
        return value


def attribute_of(module, target):
    value = module
    for name in target.split("."):
        value = getattr(value, name)
    return value


class Whole(torch.nn.Module):
    """Calls the model with one argument, so that its others keep their defaults."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)


def fx_op(node):
    """One name for a function, an operator of Python's or a method."""
    if node.op == "call_method":
        return node.target
    if node.target in BUILT_IN:
        return BUILT_IN[node.target]
    functional = torch.nn.functional
    name = getattr(node.target, "__name__", str(node.target))
    # chosen by a flag: without names of their own
    for known in ("max_pool2d", "max_pool1d", "adaptive_max_pool2d"):
        if node.target is getattr(functional, known):
            return known
    return "F." + name if name in OTHER_ORDER and node.target is getattr(functional, name,
                                                                         None) else name


def within(path):
    """A path in the model, of one in Whole."""
    return path[len("model."):] if path.startswith("model.") else ""


def fx_given(whole, node):
    name, value = within(node.target), attribute_of(whole, node.target)
    if isinstance(value, torch.nn.Parameter):
        return Given(node, "parameter", name, value)
    what = "buffer" if name in dict(whole.model.named_buffers()) else "constant"
    return Given(node, what, name or node.target, value)


def fx_run(node):
    if node.op == "call_method":
        return lambda value, *args, **kwargs: getattr(value, node.target)(*args, **kwargs)
    return node.target


def by_fx(model, example):
    """The graph by torch.fx, torch.nn's layers as steps with their module."""
    whole = Whole(model)
    tracer = ShapeTracer(example)
    graph = tracer.trace(whole)
    given, steps, result = [], [], None
    for node in graph.nodes:
        path = within(node.meta.get("path", ""))
        if node.op == "placeholder":
            given.append(Given(node, "input", node.name, None))
        elif node.op == "get_attr":
            given.append(fx_given(whole, node))
        elif node.op == "output":
            result = refs(node.args[0])
        elif node.op == "call_module":
            module = whole.get_submodule(node.target)
            steps.append(Step(node, type(module).__name__, module, refs(tuple(node.args)),
                              refs(dict(node.kwargs)),
                              within(node.target), module, getattr(module, "inplace", False)))
        else:
            op = fx_op(node)
            mutates = op.endswith("_") and not op.endswith("__") or node.kwargs.get(
                "inplace") is True
            steps.append(Step(node, op, fx_run(node), refs(tuple(node.args)),
                              refs(dict(node.kwargs)), path, None, mutates))
    modules = {within(path): nodes[0]
               for path, nodes in tracer.results.items() if within(path) and len(nodes) == 1}
    return Graph(given, steps, result, modules)


# ---- both
# -----------------------------------------------------------------------------------------


def has_export():
    """Before 2.5 it took layers apart."""
    return tuple(int(n)
                 for n in torch.__version__.split("+")[0].split(".")[:2] if n.isdigit()) >= (2, 5)


def trace(model, example):
    """The Graph of a module in evaluation mode on an example of its one input."""
    why = []
    for can, name, way in ((has_export(), "torch.export", by_export), (True, "torch.fx", by_fx)):
        if not can:
            continue
        try:
            return way(model, example)
        except Exception as e:       # what the model's own code raises, too
            lines = str(e).strip().splitlines() or [type(e).__name__]
            why.append("%s: %s" % (name, lines[0]))
    raise TraceFailed("; ".join(why))
