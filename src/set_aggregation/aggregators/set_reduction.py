"""Aggregators that are written in sums, means and maxima over the elements of each set."""

from abc import abstractmethod
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.padded_sets import PaddedSets
from set_aggregation.aggregators.ragged_sets import RaggedSets

Sets = PaddedSets | RaggedSets


class SetReduction(Aggregator):
    """An aggregator written in the reductions of :class:`~set_aggregation.aggregators.padded_sets.PaddedSets`.

    A subclass writes its maths once, in ``pool``, for padded and for ragged sets, and has neither masks nor padding to
    think of. Positions are ignored.
    """

    permutation_invariant: ClassVar[bool] = True
    any_set_size: ClassVar[bool] = True

    @abstractmethod
    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B M"]:
        """Aggregates the elements, given as (B, N, D) with padding at zero, or as (T, D), by ``sets.sum(...)`` etc."""

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Aggregates the real elements of each set."""
        self._check(x, mask)
        sets = PaddedSets(mask)
        return self.pool(sets.only_real(x), sets).to(x.dtype)

    def _ragged(
        self, values: Float[Tensor, "T D"], sets: RaggedSets, positions: Float[Tensor, "T P"] | None
    ) -> Float[Tensor, "B M"]:
        return self.pool(values, sets).to(values.dtype)
