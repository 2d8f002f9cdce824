"""Recognition of global pooling by its values."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import prod
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Reduction:
    """A global pooling: mean, maximum, or the choice of the first token."""

    kind: Literal["mean", "max", "first"]
    channels_last: bool = False  # its input is (B, *spatial, D), not (B, D, *spatial)
    num_prefix_tokens: int = 0  # that are no elements; "first" returns the first of them

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the pooled vectors (B, D)."""
        elements = x.flatten(1, -2) if self.channels_last else x.flatten(2).transpose(1, 2)  # B N D
        if self.kind == "first":
            return elements[:, 0]
        elements = elements[:, self.num_prefix_tokens :]
        if mask is None:
            return elements.mean(1) if self.kind == "mean" else elements.amax(1)
        keep = mask.reshape(len(mask), -1, 1) != 0  # B N 1
        if self.kind == "max":
            return elements.masked_fill(~keep, -torch.inf).amax(1)
        return elements.masked_fill(~keep, 0).sum(1) / keep.sum(1)


@dataclass(frozen=True)
class Match:
    """Two tensors of a forward pass, one the pooling of the other."""

    source: Any  # key of the feature map or of the tokens
    target: Any  # key of the pooled vector
    mask: Any  # key (for a module: the value) of the mask of the tokens, or None
    reduction: Reduction
    x: Tensor  # value of the source
    y: Tensor  # value of the target

    @property
    def axes(self) -> tuple[int, ...]:
        """Shape of one pooled vector with -1 for its size, such as (-1, 1, 1)."""
        sizes = self.y.shape[1:]
        largest = sizes.index(max(sizes))
        return tuple(-1 if axis == largest else 1 for axis in range(len(sizes)))


class Reference(nn.Module):
    """Original pooling of a network, as a module that records its calls."""

    def __init__(self, match: Match) -> None:
        super().__init__()
        self.match = match
        # Calls, the output (B, D) of the last one, and whether no gradient flows back.
        self.seen = SimpleNamespace(calls=0, output=torch.empty(0), is_detached=False)  # not reset after a run

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool."""
        y = self.match.reduction(x, mask)
        self.seen.calls += 1
        self.seen.output = y
        return (y.detach() if self.seen.is_detached else y).reshape(len(x), *self.match.axes)


def matches(values: Iterable[tuple[Hashable, Any]], num_prefix_tokens: dict[int, int]) -> list[Match]:
    """Return the global poolings among the intermediate values of a forward pass, in their order."""
    # Of several equal inputs of one pooling the last with most axes counts, of several equal outputs the first.
    found: list[Match] = []
    maps: list[tuple[Hashable, Tensor]] = []
    masks: list[tuple[Hashable, Tensor]] = []
    for key, value in values:
        if not isinstance(value, Tensor):
            continue
        if is_vector(value) and not any(is_same(value, match.y) for match in found):
            best: Match | None = None
            for source, x in maps:
                for mask_key, mask in [(None, None), *masks]:
                    reduction = reduction_of(x, value, num_prefix_tokens, mask)
                    if reduction:
                        if best is None or x.ndim >= best.x.ndim:  # cloned, since it may be changed in-place later
                            best = Match(source, key, mask_key, reduction, x, value.clone())
                        break
            found += [best] if best else []
        if is_map(value):
            maps.append((key, value))
        is_flat = value.ndim == 2 or (value.ndim == 3 and value.shape[2] == 1)
        if is_flat and (value.dtype == torch.bool or bool(((value == 0) | (value == 1)).all())):
            masks.append((key, value))
    return found


def reduction_of(
    x: Tensor, y: Tensor, num_prefix_tokens: dict[int, int], mask: Tensor | None = None
) -> Reduction | None:
    """Return the pooling that computes ``y`` of ``x``, or None."""
    y = y.flatten(1)
    if not is_map(x) or len(x) != len(y) or not y.is_floating_point() or torch.equal(y[0], y[1]):
        return None
    tried = [Reduction(kind, is_last) for is_last in (False, True) for kind in ("mean", "max")]
    if mask is not None:
        tried = tried[2:] if x.ndim == 3 and x.shape[:2] == mask.shape[:2] else []
    elif x.ndim == 3 and (prefix := num_prefix_tokens.get(x.shape[1], 0)):
        tried += [Reduction(kind, True, prefix) for kind in ("mean", "max", "first")]
    for reduction in tried:
        if y.shape[1] == x.shape[-1 if reduction.channels_last else 1] and is_same(reduction(x, mask), y):
            return reduction
    return None


def is_map(x: Any) -> bool:
    """Return whether a value has the shape of a feature map of several pixels, or of several tokens."""
    return (
        isinstance(x, Tensor)
        and 3 <= x.ndim <= 5
        and x.is_floating_point()
        and min(prod(x.shape[2:]), prod(x.shape[1:-1])) > 1
    )


def is_vector(x: Any) -> bool:
    """Return whether a value has the shape of one vector for each of several inputs."""
    return isinstance(x, Tensor) and x.ndim >= 2 and len(x) > 1 and prod(x.shape[1:]) == max(x.shape[1:])


def is_same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors (B, ...) have equal values to rounding."""
    a, b = a.detach().flatten(1), b.detach().flatten(1)
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=1e-4 * float(b.abs().max()))
