"""A batch of sets, filled up to one size, and the reductions over each of them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class PaddedSets:
    """B sets as (B, N, ...), real where the mask is True.

    Sums run in float32 at least, whatever the dtype of the elements, and an empty set has sum, mean and maximum zero.

    Args:
        mask: :math:`(B, N)`; None where all elements are real.
    """

    mask: Bool[Tensor, "B N"] | None

    def sum(self, values: Float[Tensor, "B N M"]) -> Float[Tensor, "B M"]:
        """The sum over each set."""
        return self.only_real(values).sum(1, dtype=wide(values.dtype))

    def mean(self, values: Float[Tensor, "B N M"]) -> Float[Tensor, "B M"]:
        """The mean over each set."""
        if self.mask is None:
            return self.sum(values) / max(values.shape[1], 1)
        return self.sum(values) / self.mask.sum(1, keepdim=True).clamp(min=1)

    def max(self, values: Float[Tensor, "B N M"]) -> Float[Tensor, "B M"]:
        """The largest value in each set."""
        if values.shape[1] == 0:
            return values.sum(1)  # zeros that keep their place in the graph
        if self.mask is None:
            return values.amax(1)
        largest = values.masked_fill(~self.mask[..., None], float("-inf")).amax(1)
        return largest.where(self.mask.any(1, keepdim=True), 0)

    def spread(self, vectors: Float[Tensor, "B M"]) -> Float[Tensor, "B 1 M"]:
        """What each set has, in the shape of its elements."""
        return vectors[:, None]

    def only_real(self, values: Float[Tensor, "B N M"]) -> Float[Tensor, "B N M"]:
        """Zeros in place of what is not real, so that no NaN there reaches anything."""
        return values if self.mask is None else values.masked_fill(~self.mask[..., None], 0)


def wide(dtype: torch.dtype) -> torch.dtype:
    """What sums over the elements of a set are computed in: float32, or float64 for that."""
    return torch.promote_types(dtype, torch.float32)
