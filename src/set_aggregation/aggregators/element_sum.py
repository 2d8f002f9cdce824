"""Sums over a function of each element and its position."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.set_reduction import SetReduction
from set_aggregation.aggregators.sets import PaddedSets, RaggedSets, Sets, with_positions


class ElementSum(SetReduction):
    """Sum, or mean, over the set of a function ``element`` of each element.

    Positions are P more features of every element, K = D + P.

    Args:
        in_features: size D of an element.
        out_features: size M of the output.
        reduction: ``"sum"`` or ``"mean"``.
        position_features: size P of a position; None and 0 take no positions.

    Raises:
        ValueError: a size below 1, an unknown reduction, or positions of another size than the layer was built for.
    """

    uses_positions = True

    def __init__(
        self, in_features: int, out_features: int, reduction: Literal["sum", "mean"], position_features: int | None
    ) -> None:
        super().__init__(in_features, out_features)
        if reduction not in ("sum", "mean"):
            raise ValueError(f"{type(self).__name__}: got reduction={reduction!r}, expected 'sum' or 'mean'")
        if position_features is not None and position_features < 0:
            raise ValueError(f"{type(self).__name__}: got position_features={position_features}, expected 0 or more")
        self.reduction = reduction
        self.position_features = position_features or 0

    def element(self, x: Float[Tensor, "*sets K"]) -> Float[Tensor, "*sets M"]:
        """Map single elements to outputs."""
        raise NotImplementedError(f"{type(self).__name__} does not implement element")

    def pool(self, x: Float[Tensor, "*sets K"], sets: Sets) -> Float[Tensor, "B M"]:
        """Sum or average the outputs of the elements."""
        # Padding is masked twice: before, or NaN in it reaches the gradient of the weights; after, by the reduction, or
        # it adds the output of a zero element.
        y = self.element(x)
        return sets.sum(y) if self.reduction == "sum" else sets.mean(y)

    def extra_repr(self) -> str:
        """Return the sizes and the reduction."""
        return f"{super().extra_repr()}, position_features={self.position_features}, reduction={self.reduction!r}"

    def _padded(self, x: Tensor, sets: PaddedSets, positions: Tensor | None) -> Tensor:
        return self.pool(sets.mask_padding(with_positions(x, positions)), sets)

    def _ragged(self, values: Tensor, sets: RaggedSets, positions: Tensor | None) -> Tensor:
        self._check_position_features(positions)
        return self.pool(with_positions(values, positions), sets)

    def _checked(self, x: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor | None:
        mask = super()._checked(x, mask, positions)
        self._check_position_features(positions)
        b, n, _ = x.shape
        if positions is not None and positions.shape[:-1] not in ((n,), (b, n)):
            raise ValueError(
                f"{type(self).__name__}: got positions of shape {tuple(positions.shape)}, expected (N={n}, P) or "
                f"(B={b}, N={n}, P)"
            )
        return mask

    def _check_position_features(self, positions: Tensor | None) -> None:
        got = 0 if positions is None else positions.shape[-1]
        if got != self.position_features:
            raise ValueError(
                f"{type(self).__name__}: got positions of {got} features, but this layer was built with "
                f"position_features={self.position_features}"
            )
