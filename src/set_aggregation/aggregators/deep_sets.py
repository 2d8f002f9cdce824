"""Deep Sets: the sum of what any network makes of each element."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.padded_sets import PaddedSets


class DeepSets(Aggregator):
    r"""Sum, or mean, over the elements of what a network :math:`\phi` makes of each (Theorem 2 of `Zaheer et al. (2017)
    <https://arxiv.org/abs/1703.06114>`_).

    .. math::
        y = \sum_{i=1}^{N} \phi(x_i).

    Their :math:`\rho`, which follows the sum, is the rest of your network. With
    :math:`\phi(x) = \mathrm{ReLU}(V x + b)` it is :class:`~set_aggregation.aggregators.SAN`.

    Args:
        in_features: size D of an element.
        out_features: number M of outputs of :math:`\phi`, the size of the output.
        phi: a network for single elements, from (..., D + P) to (..., M); None makes two dense layers of M units, each
            followed by a ReLU.
        reduction: ``"sum"`` as in the paper, or ``"mean"``, whose scale does not grow with N.
        position_features: size P of a position. Positions are P more features of every element, as for SAN. None takes
            no positions (in a ``SetClassifier``: takes those it makes).

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements.
        - positions: :math:`(N, P)` or :math:`(B, N, P)`.
        - output: :math:`(B, M)`; an empty set gives zeros.

    Raises:
        ValueError: an unknown reduction, or positions of another size than the layer was built for.

    Example:
        >>> import torch
        >>> phi = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh())
        >>> DeepSets(in_features=64, out_features=128, phi=phi)(torch.randn(8, 36, 64)).shape
        torch.Size([8, 128])
    """

    permutation_invariant: ClassVar[bool] = True
    any_set_size: ClassVar[bool] = True
    uses_positions: ClassVar[bool] = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        phi: nn.Module | None = None,
        reduction: Literal["sum", "mean"] = "sum",
        position_features: int | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        if reduction not in ("sum", "mean"):
            raise ValueError(f"DeepSets: got reduction={reduction!r}, expected 'sum' or 'mean'")
        if position_features is not None and position_features < 0:
            raise ValueError(f"DeepSets: got position_features={position_features}, expected 0 or more")
        self.position_features = position_features or 0
        self.reduction = reduction
        if phi is None:
            first = nn.Linear(in_features + self.position_features, out_features)
            phi = nn.Sequential(first, nn.ReLU(), nn.Linear(out_features, out_features), nn.ReLU())
        self.phi = phi

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Sums (or averages) what the network makes of the real elements of each set."""
        self._check(x, mask)
        sets = PaddedSets(mask)
        y = self.phi(sets.only_real(self._append(positions, x)))  # B N M
        return (sets.sum(y) if self.reduction == "sum" else sets.mean(y)).to(y.dtype)

    def extra_repr(self) -> str:
        """The sizes and the reduction."""
        return f"{super().extra_repr()}, position_features={self.position_features}, reduction={self.reduction!r}"

    def _append(self, positions: Tensor | None, x: Tensor) -> Tensor:
        """Makes the positions P more features of every element."""
        got = 0 if positions is None else positions.shape[-1]
        if got != self.position_features:
            raise ValueError(
                f"DeepSets: got positions of {got} features, but this layer was built with "
                f"position_features={self.position_features}"
            )
        if positions is None:
            return x
        b, n, _ = x.shape
        if positions.shape[:-1] not in ((n,), (b, n)):
            raise ValueError(
                f"DeepSets: got positions of shape {tuple(positions.shape)}, expected (N={n}, P) or (B={b}, N={n}, P)"
            )
        return torch.cat((x, positions.to(x.dtype).expand(b, n, -1)), dim=2)
