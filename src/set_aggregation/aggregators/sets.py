"""Batches of sets, padded or ragged, and the reductions over each set."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

Mask = Bool[Tensor, "B N"] | Integer[Tensor, "B N"] | Float[Tensor, "B N"]


class Sets(ABC):
    """B sets of elements, and the reductions over each of them, zero for an empty set; sums run in float32 at least.

    ``*sets`` is (B, N) for padded and (T,) for ragged sets.
    """

    @abstractmethod
    def sum(self, values: Float[Tensor, "*sets M"]) -> Float[Tensor, "B M"]:
        """Sum over each set."""

    @abstractmethod
    def max(self, values: Float[Tensor, "*sets M"]) -> Float[Tensor, "B M"]:
        """Return the largest value of each set."""

    @abstractmethod
    def divisor(self, values: Float[Tensor, "*sets M"]) -> int | Int[Tensor, "B 1"]:
        """Return the number of elements of each set, 1 for an empty set."""

    @abstractmethod
    def broadcast(self, vectors: Float[Tensor, "B M"]) -> Float[Tensor, "*sets M"]:
        """Broadcast one vector per set to its elements."""

    def mask_padding(self, values: Float[Tensor, "*sets M"]) -> Float[Tensor, "*sets M"]:
        """Set padding to zero, so that NaN in it reaches neither outputs nor gradients."""
        return values

    def mean(self, values: Float[Tensor, "*sets M"]) -> Float[Tensor, "B M"]:
        """Average over each set."""
        return self.sum(values) / self.divisor(values)

    def split_maximum(self, values: Float[Tensor, "*sets M"]) -> tuple[Float[Tensor, "B M"], Float[Tensor, "*sets M"]]:
        """Return the largest value of each set and the values less it, at most zero."""
        largest = self.max(values).detach()  # cancels out: derivatives of every order may take it for a constant
        below = values - self.broadcast(largest)
        # Only padding is above the maximum; its power may be infinite and would turn the zero gradient into NaN.
        return largest, below.masked_fill(below > 0, 0)

    def softmax(self, scores: Float[Tensor, "*sets M"]) -> Float[Tensor, "*sets M"]:
        """Return weights that add up to 1 over each set and are zero at padding."""
        _, below = self.split_maximum(scores.to(accumulation_dtype(scores.dtype)))
        weights = self.mask_padding(below.exp())
        return weights / self.broadcast(self.sum(weights).clamp(min=1))


@dataclass(frozen=True)
class PaddedSets(Sets):
    """B sets as (B, N, ...)."""

    mask: Bool[Tensor, "B N"] | None  # True at real elements; None where all elements are real

    def sum(self, values: Float[Tensor, "B N M"]) -> Float[Tensor, "B M"]:
        """Sum over each set."""
        return self.mask_padding(values).sum(1, dtype=accumulation_dtype(values.dtype))

    def max(self, values: Float[Tensor, "B N M"]) -> Float[Tensor, "B M"]:
        """Return the largest value of each set."""
        if values.shape[1] == 0:
            return values.sum(1)  # zeros that stay in the graph
        if self.mask is None:
            return values.amax(1)
        largest = values.masked_fill(~self.mask[..., None], float("-inf")).amax(1)
        return largest.where(self.mask.any(1, keepdim=True), 0)

    def divisor(self, values: Float[Tensor, "B N M"]) -> int | Int[Tensor, "B 1"]:
        """Return the number of elements of each set, 1 for an empty set."""
        if self.mask is None:
            return torch.sym_max(values.shape[1], 1)  # type: ignore[return-value]
        return self.mask.sum(1, keepdim=True).clamp(min=1)

    def broadcast(self, vectors: Float[Tensor, "B M"]) -> Float[Tensor, "B 1 M"]:
        """Broadcast one vector per set to its elements."""
        return vectors[:, None]

    def mask_padding(self, values: Float[Tensor, "B N M"]) -> Float[Tensor, "B N M"]:
        """Set padding to zero."""
        return values if self.mask is None else values.masked_fill(~self.mask[..., None], 0)

    def last_rank(self, values: Float[Tensor, "B N M"]) -> Int[Tensor, "_ 1"]:
        """Return the largest index of the sorted real elements, -1 for an empty set; one row where all are equal."""
        if self.mask is None:
            return torch.full((1, 1), values.shape[1] - 1, device=values.device)
        return self.mask.sum(1, keepdim=True) - 1

    def sort(self, values: Float[Tensor, "B N M"]) -> Float[Tensor, "B N M"]:
        """Sort each feature of the real elements in descending order, followed by zeros."""
        if self.mask is None:
            return values.sort(1, descending=True).values
        ordered = values.masked_fill(~self.mask[..., None], float("-inf")).sort(1, descending=True).values
        is_real = torch.arange(values.shape[1], device=values.device) <= self.last_rank(values)
        return PaddedSets(is_real).mask_padding(ordered)


@dataclass(frozen=True)
class RaggedSets(Sets):
    """B sets as (T, ...), concatenated in any order, without padding."""

    index: Int[Tensor, "T"]  # the number of the set of each element
    num_sets: int  # B
    max_set_size: int | None = None  # number of elements of the largest set, if it is known

    def sum(self, values: Float[Tensor, "T M"]) -> Float[Tensor, "B M"]:
        """Sum over each set."""
        zeros = values.new_zeros(self.num_sets, values.shape[1], dtype=accumulation_dtype(values.dtype))
        return zeros.index_add(0, self.index, values.to(zeros.dtype))

    def max(self, values: Float[Tensor, "T M"]) -> Float[Tensor, "B M"]:
        """Return the largest value of each set."""
        lowest = values.new_full((self.num_sets, values.shape[1]), float("-inf"))
        # include_self=False on zeros would halve the gradient of a maximum that is zero.
        largest = lowest.scatter_reduce(0, self.index[:, None].expand_as(values), values, "amax")
        return largest.where((self._counts() > 0)[:, None], 0)

    def divisor(self, values: Float[Tensor, "T M"]) -> Int[Tensor, "B 1"]:
        """Return the number of elements of each set, 1 for an empty set."""
        return self._counts().clamp(min=1)[:, None]

    def broadcast(self, vectors: Float[Tensor, "B M"]) -> Float[Tensor, "T M"]:
        """Broadcast one vector per set to its elements."""
        return vectors.index_select(0, self.index)

    def padded(
        self, values: Float[Tensor, "T D"], positions: Float[Tensor, "T P"] | None = None
    ) -> tuple[Float[Tensor, "B N D"], Bool[Tensor, "B N"], Float[Tensor, "B N P"] | None]:
        """Return elements, mask and positions, padded to ``max_set_size`` or else to the largest set."""
        counts = self._counts()
        size = self.max_set_size
        if size is None:
            size = int(counts.max()) if self.num_sets > 0 else 0
        order = self.index.argsort(stable=True)
        index = self.index[order]
        rank = torch.arange(order.shape[0], device=order.device) - (counts.cumsum(0) - counts)[index]
        # One slot more than a set has takes the elements beyond max_set_size.
        slot = index * (size + 1) + rank.clamp(max=size)

        def pad(rows: Tensor) -> Tensor:
            width = rows.shape[1]
            zeros = rows.new_zeros(self.num_sets * (size + 1), width)
            return zeros.index_copy(0, slot, rows[order]).view(self.num_sets, size + 1, width)[:, :size]

        mask = torch.arange(size, device=counts.device) < counts[:, None]
        return pad(values), mask, None if positions is None else pad(positions)

    def _counts(self) -> Int[Tensor, "B"]:
        return self.index.new_zeros(self.num_sets).index_add(0, self.index, torch.ones_like(self.index))


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of sums over a set: float32, or float64 for float64."""
    return torch.promote_types(dtype, torch.float32)


def with_positions(x: Float[Tensor, "*sets D"], positions: Float[Tensor, "... P"] | None) -> Float[Tensor, "*sets K"]:
    """Append the P position features to every element; K = D + P."""
    if positions is None:
        return x
    return torch.cat((x, positions.to(x.dtype).expand(*x.shape[:-1], -1)), -1)


def as_bool(name: str, mask: Mask) -> Bool[Tensor, "B N"]:
    """Convert a mask of 0 and 1 to bool; the host waits for a device to read it, except in compilation and export."""
    if mask.dtype == torch.bool:
        return mask
    if not torch.compiler.is_compiling() and not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            f"{name}: got a mask of {mask.dtype} with values other than 0 and 1, expected True or 1 at real elements; "
            "convert an additive mask by `mask == 0`"
        )
    return mask != 0


def as_ragged(
    name: str,
    values: Tensor,
    offsets: Tensor | None,
    index: Tensor | None,
    num_sets: int | None,
    max_set_size: int | None,
) -> tuple[Float[Tensor, "T *D"], RaggedSets]:
    """Convert the arguments of :meth:`Aggregator.ragged` to elements and ragged sets."""
    if values.is_nested:
        if offsets is not None or index is not None:
            raise ValueError(f"{name}: got a nested tensor with offsets or index, expected one of them")
        if values.layout != torch.jagged:
            raise ValueError(f"{name}: got a nested tensor of layout {values.layout}, expected torch.jagged")
        values = values.contiguous()  # closes gaps between the sets
        values, offsets = values.values(), values.offsets()  # type: ignore[attr-defined]
    num_elements = values.shape[0]
    # Reading numbers on another device would make the host wait for it.
    readable = values.device.type == "cpu" and not torch.compiler.is_compiling()
    if index is None and offsets is not None:
        if offsets.ndim != 1 or offsets.shape[0] < 1 or num_sets not in (None, offsets.shape[0] - 1):
            expected = "(B + 1,)" if num_sets is None else f"({num_sets + 1},)"
            raise ValueError(f"{name}: got offsets of shape {tuple(offsets.shape)}, expected {expected}")
        if readable and (offsets[0] != 0 or offsets[-1] != num_elements or (offsets.diff() < 0).any()):
            got = f"offsets from {offsets[0]} to {offsets[-1]}{', some falling' if (offsets.diff() < 0).any() else ''}"
            raise ValueError(f"{name}: got {got}, expected them to rise from 0 to {num_elements}")
        element = torch.arange(num_elements, dtype=offsets.dtype, device=offsets.device)
        num_sets = offsets.shape[0] - 1
        if torch.compiler.is_exporting():
            # An exported program takes any number of sets only if that number is not an expression of a shape.
            num_sets = torch.full((), num_sets).item()  # type: ignore[assignment]
            torch._check(num_sets >= 0)
        index = torch.bucketize(element, offsets, right=True) - 1
    elif index is None or offsets is not None:
        got = "neither offsets nor index" if index is None else "offsets and index"
        raise ValueError(f"{name}: got {got}, expected one of them, or a nested tensor")
    else:
        if index.shape != (num_elements,):
            raise ValueError(f"{name}: got index of shape {tuple(index.shape)}, expected ({num_elements},)")
        if num_sets is None:
            num_sets = int(index.max()) + 1 if num_elements > 0 else 0
        if readable and num_elements > 0 and not 0 <= index.min() <= index.max() < num_sets:
            got = f"set numbers from {index.min()} to {index.max()}"
            raise ValueError(f"{name}: got {got} in index, expected 0 to {num_sets - 1}")
    sets = RaggedSets(index.long(), num_sets, max_set_size)
    if readable and max_set_size is not None and (largest := int(index.bincount(minlength=1).max())) > max_set_size:
        raise ValueError(f"{name}: got a set of {largest} elements, expected at most max_set_size={max_set_size}")
    return values, sets
