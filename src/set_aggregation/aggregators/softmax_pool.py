"""Averages weighted by a softmax over the set."""

from jaxtyping import Float
from torch import Tensor, fx

from set_aggregation.aggregators.set_reduction import SetReduction
from set_aggregation.aggregators.sets import Mask, PaddedSets, Sets


class SoftmaxPool(SetReduction):
    """Average of the elements, weighted by the softmax over the set of a subclass's ``scores``.

    Args:
        in_features: size D of an element, and of the output.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, in_features)

    def scores(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "*sets 1"]:
        """Return the logarithm of each element's weight, up to a constant."""
        raise NotImplementedError(f"{type(self).__name__} does not implement scores")

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Return the weighted average."""
        return sets.sum(sets.softmax(self.scores(x, sets)) * x)

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "B N D"],
        mask: Mask | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
        return_weights: bool = False,
    ) -> Float[Tensor, "B D"] | tuple[Float[Tensor, "B D"], Float[Tensor, "B N"]]:
        """Aggregate each set.

        Args:
            x: the elements.
            mask: True or 1 at real elements.
            positions: ignored.
            return_weights: return the weight of each element, too, zero at padding.
        """
        if isinstance(x, fx.Proxy):
            return self._traced(x, mask, positions, return_weights)
        y = super().forward(x, mask, positions)
        if not return_weights:
            return y
        sets = PaddedSets(self._checked(x, mask, positions))
        return y, sets.softmax(self.scores(sets.mask_padding(x), sets)).squeeze(2).to(y.dtype)
