"""Pooling sites: where a network reduces a feature map or tokens to one vector."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from set_aggregation.pooling.inputs import tensors_in
from set_aggregation.pooling.reduction import Match, is_map, is_same, is_vector, matches, reduction_of
from set_aggregation.pooling.rewriting import NAME, TracedMethod
from set_aggregation.pooling.trial import Trial, attributes_kept, first_line


@dataclass(frozen=True)
class Site:
    """A pooling of a network."""

    match: Match
    install: Callable[[nn.Module], None]  # replaces the pooling, or its last replacement, by a module
    remove: Callable[[], None]  # restores the network's own pooling


@dataclass(frozen=True)
class _Call:
    """A call of a module, and the pooling that it computes, if it does."""

    module: nn.Module
    start: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    takes_map: bool
    match: Match | None


class Observation:
    """Calls of modules in one run of a network."""

    def __init__(self, trial: Trial) -> None:
        self.model = trial.model
        self.calls: list[_Call] = []  # those that return vectors, in the order of their ends
        self.counts: Counter[nn.Module] = Counter()  # all calls of each module
        self.last_map_start = 0  # of the last call that returns a feature map
        # For a number of tokens, how many at the front are equal for all images, as class tokens are.
        self.num_prefix_tokens: dict[int, int] = {}
        self.head_call: tuple[tuple[Any, ...], dict[str, Any]] | None = None  # of forward_head, as timm's networks have
        self._clock, self._starts = 0, list[int]()
        self._are_images = all(x.is_floating_point() for x in trial.inputs.tensors)
        with ExitStack() as hooks:
            for module in self.model.modules():
                hooks.callback(module.register_forward_pre_hook(self._before, with_kwargs=True).remove)
                hooks.callback(module.register_forward_hook(self._after, with_kwargs=True).remove)
            if hasattr(self.model, "forward_features") and hasattr(self.model, "forward_head"):
                self.model.forward_head = self._record_head  # type: ignore[assignment]
                hooks.callback(delattr, self.model, "forward_head")
            trial.run()

    def other_pooling(self) -> str | None:
        """Return the class of the innermost module that reduces a feature map in an unknown way, or None."""
        calls = [call for call in self.calls if not call.match or call.start >= self.last_map_start]
        calls = [call for call in calls if call.module is not self.model and call.takes_map]
        last = max(calls, key=lambda call: call.start, default=None)
        return None if last is None else type(last.module).__name__

    def _record_head(self, *args: Any, **kwargs: Any) -> Any:
        self.head_call = args, kwargs
        return type(self.model).forward_head(self.model, *args, **kwargs)  # type: ignore[attr-defined]

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._clock += 1
        self._starts.append(self._clock)
        self.counts[module] += 1
        self._count_prefix(tensors_in((*args, *kwargs.values())))

    def _after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        start, inputs, outputs = self._starts.pop(), tensors_in((*args, *kwargs.values())), tensors_in(output)
        self._count_prefix(outputs)
        if any(map(is_map, outputs)):
            self.last_map_start = max(start, self.last_map_start)
        if any(map(is_vector, outputs)):
            match = None
            if isinstance(output, Tensor) and inputs and args and args[0] is inputs[0]:
                for mask in (None, *inputs[1:2]):
                    if match is None and (reduction := reduction_of(args[0], output, self.num_prefix_tokens, mask)):
                        match = Match(None, None, mask, reduction, args[0].detach(), output.detach().clone())
            self.calls.append(_Call(module, start, args, kwargs, any(map(is_map, inputs)), match))

    def _count_prefix(self, tensors: list[Tensor]) -> None:
        for x in tensors:
            if self._are_images and x.ndim == 3 and is_map(x) and x.shape[1] not in self.num_prefix_tokens:
                same = (x[0] == x[1]).all(1).tolist()
                self.num_prefix_tokens[x.shape[1]] = same.index(False) if False in same else 0


def find_sites(seen: Observation, reasons: list[str]) -> Iterator[Site]:
    """Yield the possible pooling sites of a network, the most likely first."""
    model = seen.model
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    traceable = []
    for call in reversed(seen.calls):
        if seen.counts[call.module] != 1:
            continue
        if call.match and call.module is not model:
            if call.start < seen.last_map_start:
                continue
            if _only_pools(call.match, call.match.mask, call.module, partial(_repeat, call)):
                yield _module_site(call.match, model, names[call.module])
                continue
        if call.module is model or call.takes_map:
            traceable.append(call)
    for call in traceable:
        try:
            traced = _traced(call, seen)
            values = traced.values()
            found = matches(values.items(), seen.num_prefix_tokens)
        except Exception as error:
            name = names[call.module][0] or "the model"
            reasons.append(f"forward of {name} ({type(call.module).__name__}): {first_line(error)}")
            continue
        for match in reversed(found):
            mask = None if match.mask is None else values[match.mask]
            if _only_pools(match, mask, call.module, partial(traced.recompute, match, values)):
                yield _function_site(match, traced)


def _module_site(match: Match, model: nn.Module, names: list[str]) -> Site:
    """Return the site of a module that pools, which a network may hold under several names."""

    def install(module: nn.Module) -> None:
        for name in names:
            model.set_submodule(name, module)

    return Site(match, install, partial(install, model.get_submodule(names[0])))


def _function_site(match: Match, traced: TracedMethod) -> Site:
    """Return the site of a function that pools in the forward method of a module."""
    owner, original = traced.owner, type(traced.owner)
    rewritten = traced.replace(match.source, match.target, match.mask)

    def install(module: nn.Module) -> None:
        owner.__class__ = rewritten
        setattr(owner, NAME, module)

    def remove() -> None:
        delattr(owner, NAME)
        owner.__class__ = original

    return Site(match, install, remove)


def _repeat(call: _Call, x: Tensor) -> Any:
    return call.module(x, *call.args[1:], **call.kwargs)


def _only_pools(match: Match, mask: Tensor | None, owner: nn.Module, pool: Callable[[Tensor], Any]) -> bool:
    """Return whether a pooling pools noise in training too: no dropout, and no ReLU that had no effect."""
    noise = torch.randn(match.x.shape, generator=torch.Generator().manual_seed(3)).to(match.x)
    if mask is not None:
        noise = torch.where(mask.reshape(*noise.shape[:2], 1) != 0, noise, match.x)  # padding may be zero or -inf
    buffers = [(buffer, buffer.clone()) for buffer in owner.buffers()]
    owner.train()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), attributes_kept(owner):
            return is_same(match.reduction(noise, mask), pool(noise))
    except Exception:
        return False
    finally:
        owner.eval()  # like the whole network during its trial
        for buffer, value in buffers:
            if not torch.equal(buffer, value):
                buffer.copy_(value)


def _traced(call: _Call, seen: Observation) -> TracedMethod:
    owner, method, args, kwargs = call.module, "forward", call.args, call.kwargs
    if owner is seen.model and seen.head_call is not None:  # keeps timm's forward_features and forward_head usable
        method, (args, kwargs) = "forward_head", seen.head_call
    signature = inspect.signature(getattr(type(owner), method))
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in signature.parameters.values()):
        raise ValueError("it takes *args or **kwargs")
    bound = signature.bind(owner, *args, **kwargs)
    bound.apply_defaults()
    return TracedMethod(owner, method, dict(list(bound.arguments.items())[1:]))
