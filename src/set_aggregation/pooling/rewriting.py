"""Replacement of a pooling that is written as functions in the forward method of a module."""

import copy
import importlib
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from set_aggregation.pooling.reduction import Match, is_vector
from set_aggregation.pooling.trial import attributes_kept

NAME = "set_pooling"  # of the new module
Code = tuple[str, Mapping[str, Any]]  # source of a function and its globals


class TracedMethod:
    """Method of a module, traced in training and in evaluation mode."""

    def __init__(self, owner: nn.Module, method: str, arguments: Mapping[str, Any]) -> None:
        self.owner, self.method, self.arguments = owner, method, arguments
        constants = {name: value for name, value in arguments.items() if not isinstance(value, Tensor)}
        names, training = inspect.unwrap(getattr(type(owner), method)).__globals__, owner.training
        self.graphs = {}
        tracer = fx.Tracer()
        tracer.traced_func_name = method
        tracer.is_leaf_module = lambda *_: True  # type: ignore[method-assign]
        try:
            shadowed = names.setdefault("len", _length)  # torch.fx cannot trace the built-in function
            for mode in (False, True):
                owner.training = mode
                with attributes_kept(owner):
                    self.graphs[mode] = tracer.trace(owner, concrete_args=constants)
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
        run = fx.Interpreter(self.owner, graph=self.graphs[True])
        nodes = {node.name: node for node in self.graphs[True].nodes}
        source, target = nodes[match.source], nodes[match.target]
        run.env = {nodes[name]: value for name, value in values.items()} | {source: x}
        differs = {source}
        for node in nodes.values():
            if not differs.isdisjoint(node.all_input_nodes):
                run.env[node] = run.run_node(node)
                differs.add(node)
            if node is target:
                break
        return run.env[target]

    def replace(self, source: str, target: str, mask: str | None) -> type[nn.Module]:
        """Return a subclass of the owner's class in which a module named ``set_pooling`` does the pooling."""
        code = {}
        for mode, original in self.graphs.items():
            graph = copy.deepcopy(original)
            nodes = {node.name: node for node in graph.nodes}
            for name, node in zip(self.arguments, graph.find_nodes(op="placeholder"), strict=True):
                node.target = name  # torch.fx renames those with constants
            end = nodes[target]
            with graph.inserting_before(end):
                new = graph.call_module(NAME, tuple(nodes[name] for name in (source, mask) if name is not None))
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
        # Modules among the globals go by their names, because pickle refuses modules.
        named = _with_globals(code, types.ModuleType, lambda module: module.__name__)
        return _rebuilt, (base, method, named), self.__getstate__()  # type: ignore[no-untyped-call]

    same = code[True][0] == code[False][0]
    attributes = {method: functions[False] if same else either, "__reduce__": reduce}
    return type(base.__name__, (base,), {**attributes, "__module__": base.__module__, "__doc__": base.__doc__})


def _rebuilt(base: type[nn.Module], method: str, named: Mapping[bool, Code]) -> nn.Module:
    cls = rewritten_class(base, method, _with_globals(named, str, importlib.import_module))
    return cls.__new__(cls)


def _with_globals(code: Mapping[bool, Code], kind: type, change: Callable[[Any], Any]) -> dict[bool, Code]:
    """Return code with the globals of one kind changed."""
    return {
        mode: (source, {name: change(value) if isinstance(value, kind) else value for name, value in names.items()})
        for mode, (source, names) in code.items()
    }
