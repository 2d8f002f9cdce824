"""Sums over a function of each element and its position."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import SetReduction
from set_aggregation.aggregators.sets import PaddedSets, RaggedSets, Sets, with_positions


class ElementSum(SetReduction):
    """Sum, or mean, over the set of ``element`` of each element; its position is P more features, K = D + P."""

    uses_positions = True
    shown = ("in_features", "out_features", "position_features", "reduction")

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

    def _padded(self, x: Tensor, sets: PaddedSets, positions: Tensor | None) -> Tensor:
        return self.pool(sets.mask_padding(with_positions(x, positions)), sets)

    def _ragged(self, values: Tensor, sets: RaggedSets, positions: Tensor | None) -> Tensor:
        self._check_positions(values, positions)
        return self.pool(with_positions(values, positions), sets)

    def _checked(self, x: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor | None:
        mask = super()._checked(x, mask, positions)
        self._check_positions(x, positions)
        return mask

    def _check_positions(self, x: Tensor, positions: Tensor | None) -> None:
        name, got = type(self).__name__, 0 if positions is None else positions.shape[-1]
        if got != self.position_features:
            built = f"this layer was built with position_features={self.position_features}"
            raise ValueError(f"{name}: got positions of {got} features, but {built}")
        if positions is not None and positions.shape[:-1] not in (x.shape[-2:-1], x.shape[:-1]):
            b, n = x.shape[:2]
            expected = f"(N={n}, P) or (B={b}, N={n}, P)"
            raise ValueError(f"{name}: got positions of shape {tuple(positions.shape)}, expected {expected}")
