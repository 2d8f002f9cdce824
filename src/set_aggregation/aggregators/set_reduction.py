"""Aggregators composed of reductions over sets."""

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.sets import RaggedSets, Sets


class SetReduction(Aggregator):
    """Aggregator composed of the reductions of :class:`~set_aggregation.aggregators.sets.Sets`.

    A subclass implements ``pool`` once, for padded and for ragged sets, and handles neither masks nor padding.
    Positions are ignored.
    """

    permutation_invariant = True
    any_set_size = True

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B M"]:
        """Aggregate the elements, (B, N, D) with zeros at padding or (T, D), by ``sets.sum(...)`` and its siblings."""
        raise NotImplementedError(f"{type(self).__name__} does not implement pool")

    def _ragged(self, values: Tensor, sets: RaggedSets, positions: Tensor | None) -> Tensor:
        return self.pool(values, sets)
