"""A batch of sets that lie one after the other, and the reductions over each of them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from set_aggregation.aggregators.padded_sets import wide


@dataclass(frozen=True)
class RaggedSets:
    """B sets as (T, ...), all elements one after the other in any order; nothing is padded.

    Args:
        index: :math:`(T,)`, the number of the set that each element belongs to.
        num_sets: number B of sets.
    """

    index: Int[Tensor, "T"]
    num_sets: int

    def sum(self, values: Float[Tensor, "T M"]) -> Float[Tensor, "B M"]:
        """The sum over each set."""
        zeros = values.new_zeros(self.num_sets, values.shape[1], dtype=wide(values.dtype))
        return zeros.index_add(0, self.index, values.to(zeros.dtype))

    def mean(self, values: Float[Tensor, "T M"]) -> Float[Tensor, "B M"]:
        """The mean over each set."""
        return self.sum(values) / self.counts().clamp(min=1)[:, None]

    def max(self, values: Float[Tensor, "T M"]) -> Float[Tensor, "B M"]:
        """The largest value in each set."""
        lowest = values.new_full((self.num_sets, values.shape[1]), float("-inf"))
        # Not include_self=False, with zeros to start from: where the maximum is zero, it would lose half its gradient.
        largest = lowest.scatter_reduce(0, self.index[:, None].expand_as(values), values, "amax")
        return largest.where((self.counts() > 0)[:, None], 0)

    def spread(self, vectors: Float[Tensor, "B M"]) -> Float[Tensor, "T M"]:
        """What each set has, once for each of its elements."""
        return vectors.index_select(0, self.index)

    def counts(self) -> Int[Tensor, "B"]:
        """How many elements each set has."""
        return self.index.new_zeros(self.num_sets).index_add(0, self.index, torch.ones_like(self.index))

    def padded(
        self, values: Float[Tensor, "T D"], positions: Float[Tensor, "T P"] | None = None
    ) -> tuple[Float[Tensor, "B N D"], Bool[Tensor, "B N"], Float[Tensor, "B N P"] | None]:
        """Elements, mask and positions, N being the size of the largest set; the host waits for the device once."""
        counts = self.counts()
        size = int(counts.max()) if self.num_sets > 0 else 0
        order = self.index.argsort(stable=True)
        index = self.index[order]
        place = torch.arange(order.shape[0], device=order.device) - (counts.cumsum(0) - counts)[index]

        def pad(rows: Tensor) -> Tensor:
            zeros = rows.new_zeros(self.num_sets * size, rows.shape[1])
            return zeros.index_copy(0, index * size + place, rows[order]).view(self.num_sets, size, rows.shape[1])

        mask = torch.arange(size, device=counts.device) < counts[:, None]
        return pad(values), mask, None if positions is None else pad(positions)


def as_ragged(
    name: str, values: Tensor, offsets: Tensor | None, index: Tensor | None, num_sets: int | None
) -> tuple[Float[Tensor, "T *D"], RaggedSets]:
    """Reads the forms in which people hold ragged sets; :meth:`Aggregator.ragged` says which.

    Args:
        name: who asks, for what is said of errors.
        values: elements, or a nested tensor.
        offsets: where the sets begin.
        index: which sets the elements belong to.
        num_sets: how many sets there are.

    Raises:
        ValueError: none of the forms.
    """
    if values.is_nested:
        if offsets is not None or index is not None:
            raise ValueError(f"{name}: got a nested tensor with offsets or index, expected one of them")
        if values.layout != torch.jagged:
            raise ValueError(f"{name}: got a nested tensor of layout {values.layout}, expected torch.jagged")
        values = values.contiguous()  # no gaps between the sets
        values, offsets = values.values(), values.offsets()  # type: ignore[attr-defined]
    num_elements = values.shape[0]
    # A look at numbers on a device would make the host wait for it.
    looks = values.device.type == "cpu" and not torch.compiler.is_compiling()
    if index is None and offsets is not None:
        if offsets.ndim != 1 or offsets.shape[0] < 1 or num_sets not in (None, offsets.shape[0] - 1):
            expected = "(B + 1,)" if num_sets is None else f"({num_sets + 1},)"
            raise ValueError(f"{name}: got offsets of shape {tuple(offsets.shape)}, expected {expected}")
        if looks and (offsets[0] != 0 or offsets[-1] != num_elements or (offsets.diff() < 0).any()):
            raise ValueError(f"{name}: got offsets {_shortly(offsets)}, expected them to rise from 0 to {num_elements}")
        place = torch.arange(num_elements, dtype=offsets.dtype, device=offsets.device)
        return values, RaggedSets(torch.bucketize(place, offsets[1:], right=True), offsets.shape[0] - 1)
    if index is None or offsets is not None:
        got = "neither offsets nor index" if index is None else "offsets and index"
        raise ValueError(f"{name}: got {got}, expected one of them, or a nested tensor")
    if index.shape != (num_elements,):
        raise ValueError(f"{name}: got index of shape {tuple(index.shape)}, expected ({num_elements},)")
    if num_sets is None:
        num_sets = int(index.max()) + 1 if num_elements > 0 else 0
    if looks and num_elements > 0 and not 0 <= index.min() <= index.max() < num_sets:
        found = f"{index.min()} to {index.max()}"
        raise ValueError(f"{name}: got set numbers from {found} in index, expected 0 to {num_sets - 1}")
    return values, RaggedSets(index.long(), num_sets)


def _shortly(numbers: Tensor) -> str:
    shown = [str(number) for number in numbers[:4].tolist()]
    return f"[{', '.join(shown if len(numbers) <= 4 else (*shown[:3], '...', str(int(numbers[-1]))))}]"
