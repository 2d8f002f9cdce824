"""Deep Sets: the sum of what any network makes of each element."""

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators.element_sum import ElementSum, with_positions
from set_aggregation.aggregators.padded_sets import PaddedSets


class DeepSets(ElementSum):
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

    def __init__(
        self,
        in_features: int,
        out_features: int,
        phi: nn.Module | None = None,
        reduction: Literal["sum", "mean"] = "sum",
        position_features: int | None = None,
    ) -> None:
        super().__init__(in_features, out_features, reduction, position_features)
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
        self._check_positions(x, positions)
        sets = PaddedSets(mask)
        y = self.phi(sets.only_real(with_positions(x, positions)))  # B N M
        return (sets.sum(y) if self.reduction == "sum" else sets.mean(y)).to(y.dtype)
