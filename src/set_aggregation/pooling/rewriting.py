"""Replacement of a pooling that is written as functions in the forward method of a module."""

import importlib
import inspect
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from set_aggregation.pooling.reduction import Match, is_vector
from set_aggregation.pooling.trial import attributes_kept

NAME = "set_pooling"  # of the new module
Code = tuple[str, Mapping[str, Any]]  # source of a function and its globals


class _Tracer(fx.Tracer):
    """Tracer of one method of a module, which does not enter submodules."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.traced_func_name = method

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


class TracedMethod:
    """Method of a module, traced in training and in evaluation mode."""

    def __init__(self, owner: nn.Module, method: str, arguments: Mapping[str, Any]) -> None:
        self.owner, self.method, self.arguments = owner, method, arguments
        constants = {name: value for name, value in arguments.items() if not isinstance(value, Tensor)}
        names, training = inspect.unwrap(getattr(type(owner), method)).__globals__, owner.training
        self.graphs = {}
        try:
            shadowed = names.setdefault("len", _length)  # torch.fx cannot trace the built-in function
            for mode in (False, True):
                owner.training = mode
                with attributes_kept(owner):
                    self.graphs[mode] = _Tracer(method).trace(owner, concrete_args=constants)
        finally:
            owner.training = training
            if shadowed is _length:
                del names["len"]
        read = [node.target for node in self.graphs[False].nodes if node.op == "get_attr"]
        if not all(hasattr(owner, str(name).split(".")[0]) for name in read):
            raise ValueError("it has constant tensors")
        nodes = [[(node.op, node.name, str(node.target)) for node in graph.nodes] for graph in self.graphs.values()]
        if nodes[0] != nodes[1]:
            raise ValueError("it differs between training and evaluation")

    def values(self) -> dict[str, Any]:
        """Return each intermediate result by its name, in evaluation mode."""
        found: dict[str, Any] = {}

        class Recorder(fx.Interpreter):
            def run_node(self, n: fx.Node) -> Any:
                value = super().run_node(n)
                found[n.name] = value.clone() if is_vector(value) else value  # in-place functions change it
                return value

        with torch.no_grad():
            Recorder(self.owner, graph=self.graphs[False]).run(*self.arguments.values())
        return found

    def recompute(self, match: Match, values: Mapping[str, Any], x: Tensor) -> Any:
        """Return the pooled vectors of another feature map, in training mode."""
        graph = self.graphs[True]
        nodes = {node.name: node for node in graph.nodes}
        needed, open_ends = set[fx.Node](), [nodes[match.target]]
        while open_ends:
            node = open_ends.pop()
            if node.name != match.source and node not in needed:
                needed.add(node)
                open_ends += node.all_input_nodes
        run = fx.Interpreter(self.owner, graph=graph)
        run.env = {nodes[name]: value for name, value in values.items()} | {nodes[match.source]: x}
        differs = {nodes[match.source]}
        for node in graph.nodes:
            if node in needed and not differs.isdisjoint(node.all_input_nodes):
                run.env[node] = run.run_node(node)
                differs.add(node)
        return run.env[nodes[match.target]]

    def replace(self, source: str, target: str, mask: str | None) -> type[nn.Module]:
        """Return a subclass of the owner's class in which a module named ``set_pooling`` does the pooling."""
        code = {}
        for mode, original in self.graphs.items():
            graph = fx.Graph()
            copies: dict[fx.Node, fx.Node] = {}
            graph.output(graph.graph_copy(original, copies))
            nodes = {node.name: copies[node] for node in original.nodes if node in copies}
            for name, node in zip(self.arguments, graph.find_nodes(op="placeholder"), strict=True):
                node.target = name  # torch.fx renames those with constants
            end = nodes[target]
            with graph.inserting_before(end):
                arguments = tuple(nodes[name] for name in (source, mask) if name is not None)
                new = graph.call_module(NAME, arguments)
            end.replace_all_uses_with(new)
            _erase(end)
            written = graph.python_code("self")
            code[mode] = written.src, written.globals
        return rewritten_class(type(self.owner), self.method, code)


def _length(x: Any) -> Any:
    return x.size(0) if isinstance(x, fx.Proxy) else len(x)


def _erase(node: fx.Node) -> None:
    """Erase a node without users, and the functions that only it used."""
    if node.users:
        return
    inputs = [] if node.op == "call_module" else node.all_input_nodes
    node.graph.erase_node(node)
    for each in inputs:
        if each.op in ("call_function", "call_method") and not str(each.target).endswith("_"):
            _erase(each)


def rewritten_class(base: type[nn.Module], method: str, code: Mapping[bool, Code]) -> type[nn.Module]:
    """Return a subclass with one method replaced."""
    functions = {}
    for mode, (source, names) in code.items():
        namespace = dict(names)
        exec(source, namespace)
        functions[mode] = namespace["forward"]

    def either(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return functions[self.training](self, *args, **kwargs)

    def reduce(self: nn.Module) -> tuple[Any, ...]:
        picklable = {mode: (source, _encoded(names)) for mode, (source, names) in code.items()}
        return _rebuilt, (base, method, picklable), self.__getstate__()  # type: ignore[no-untyped-call]

    same = code[True][0] == code[False][0]
    attributes = {method: functions[False] if same else either, "__reduce__": reduce}
    return type(base.__name__, (base,), {**attributes, "__module__": base.__module__, "__doc__": base.__doc__})


def _encoded(names: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the modules among the globals of generated code by their names, because pickle refuses modules."""
    kept = {name: value for name, value in names.items() if not isinstance(value, types.ModuleType)}
    modules = {name: value.__name__ for name, value in names.items() if isinstance(value, types.ModuleType)}
    return {"kept": kept, "modules": modules}


def _rebuilt(base: type[nn.Module], method: str, code: Mapping[bool, Code]) -> nn.Module:
    decoded = {}
    for mode, (source, names) in code.items():
        modules = {name: importlib.import_module(module) for name, module in names["modules"].items()}
        decoded[mode] = source, {**names["kept"], **modules}
    cls = rewritten_class(base, method, decoded)
    return cls.__new__(cls)
