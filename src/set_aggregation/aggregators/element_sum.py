"""Aggregators that add up what they make of each element and its position."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator


class ElementSum(Aggregator):
    """The sum, or the mean, over the set of what a subclass makes of each element, of which the position is a part.

    Args:
        in_features: size D of an element.
        out_features: size M of the output.
        reduction: ``"sum"`` or ``"mean"``.
        position_features: size P of a position; None and 0 take no positions.

    Raises:
        ValueError: a size below 1, an unknown reduction, or positions of another size than the layer was built for.
    """

    permutation_invariant: ClassVar[bool] = True
    any_set_size: ClassVar[bool] = True
    uses_positions: ClassVar[bool] = True

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

    def extra_repr(self) -> str:
        """The sizes and the reduction."""
        return f"{super().extra_repr()}, position_features={self.position_features}, reduction={self.reduction!r}"

    def _check_positions(self, x: Tensor, positions: Tensor | None) -> None:
        name = type(self).__name__
        got = 0 if positions is None else positions.shape[-1]
        if got != self.position_features:
            raise ValueError(
                f"{name}: got positions of {got} features, but this layer was built with "
                f"position_features={self.position_features}"
            )
        b, n, _ = x.shape
        if positions is not None and positions.shape[:-1] not in ((n,), (b, n)):
            raise ValueError(
                f"{name}: got positions of shape {tuple(positions.shape)}, expected (N={n}, P) or (B={b}, N={n}, P)"
            )


def with_positions(x: Float[Tensor, "B N D"], positions: Float[Tensor, "*B N P"] | None) -> Float[Tensor, "B N K"]:
    """Makes the positions P more features of every element; K = D + P.

    Args:
        x: the elements.
        positions: where they lie; None leaves them as they are.
    """
    if positions is None:
        return x
    return torch.cat((x, positions.to(x.dtype).expand(*x.shape[:2], -1)), 2)
