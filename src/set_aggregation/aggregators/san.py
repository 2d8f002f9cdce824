"""Set Aggregation Network: pooling with learned directions and an output of any size."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators.base import Aggregator


class SAN(Aggregator):
    r"""Set Aggregation Network of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_.

    Projects each element of the set on M directions, cuts with ReLU and sums over the set (eq. 5):

    .. math::
        y_m = \sum_{i=1}^{N} \mathrm{ReLU}(v_m^\top x_i + b_m), \qquad m = 1, \dots, M.

    Taken over all directions and biases these sums determine the set (Theorem 1); the layer learns
    M of them. Average and max pooling keep D numbers, SAN keeps as many as the task needs.

    Args:
        in_features: size D of an element.
        out_features: number M of directions, the size of the output.
        reduction: ``"sum"`` as in the paper, or ``"mean"``, the default of the authors' code, whose
            scale does not grow with N.
        activation: module applied to each projection; ReLU by default. Theorem 1 holds for every
            activation with the universal approximation property.
        position_features: size P of a position. Positions are P more features of every element, as in
            Section 4.1. None takes no positions (in a ``SetClassifier``: takes those it makes).

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements.
        - positions: :math:`(N, P)` or :math:`(B, N, P)`.
        - output: :math:`(B, M)`; an empty set gives zeros.

    Example:
        >>> import torch
        >>> san = SAN(in_features=64, out_features=512)
        >>> feature_map = torch.randn(8, 64, 6, 6)  # B D h w, seen as B sets of N = 36 elements
        >>> san(feature_map.flatten(2).transpose(1, 2)).shape
        torch.Size([8, 512])
    """

    permutation_invariant: ClassVar[bool] = True
    any_set_size: ClassVar[bool] = True
    uses_positions: ClassVar[bool] = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        reduction: Literal["sum", "mean"] = "sum",
        activation: nn.Module | None = None,
        position_features: int | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        if reduction not in ("sum", "mean"):
            raise ValueError(f"SAN: got reduction={reduction!r}, expected 'sum' or 'mean'")
        if position_features is not None and position_features < 0:
            raise ValueError(f"SAN: got position_features={position_features}, expected 0 or more")
        self.position_features = position_features or 0
        self.reduction = reduction
        self.projection = nn.Linear(in_features + self.position_features, out_features)
        self.activation = nn.ReLU() if activation is None else activation

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Sums (or averages) the activated projections of the real elements of each set."""
        self._check(x, mask)
        x = self._append(positions, x)  # B N D+P
        # Masked twice: before, or NaN in padding reaches the gradient of the weights;
        # after, or padding adds ReLU(b), which is not zero.
        padding = None if mask is None else ~mask[..., None]
        if padding is not None:
            x = x.masked_fill(padding, 0)
        y = self.activation(self.projection(x))  # B N M
        if padding is not None:
            y = y.masked_fill(padding, 0)
        total = y.sum(1)
        if self.reduction == "sum":
            return total
        if mask is None:
            return total / max(x.shape[1], 1)
        return total / mask.sum(1, keepdim=True).clamp(min=1)

    def extra_repr(self) -> str:
        """The sizes and the reduction."""
        return f"{super().extra_repr()}, position_features={self.position_features}, reduction={self.reduction!r}"

    def _append(self, positions: Tensor | None, x: Tensor) -> Tensor:
        """Makes the positions P more features of every element."""
        got = 0 if positions is None else positions.shape[-1]
        if got != self.position_features:
            raise ValueError(
                f"SAN: got positions of {got} features, but this layer was built with "
                f"position_features={self.position_features}"
            )
        if positions is None:
            return x
        b, n, _ = x.shape
        if positions.shape[:-1] not in ((n,), (b, n)):
            raise ValueError(
                f"SAN: got positions of shape {tuple(positions.shape)}, expected (N={n}, P) or (B={b}, N={n}, P)"
            )
        return torch.cat((x, positions.to(x.dtype).expand(*x.shape[:2], -1)), dim=2)
