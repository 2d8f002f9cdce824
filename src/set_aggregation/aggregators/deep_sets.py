"""Deep Sets: the sum of any network of single elements."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.element_sum import ElementSum


class DeepSets(ElementSum):
    r"""Sum, or mean, of a network :math:`\phi` over the elements (Theorem 2 of `Zaheer et al. (2017)
    <https://arxiv.org/abs/1703.06114>`_).

    .. math::
        y = \sum_{i=1}^{N} \phi(x_i).

    The paper's :math:`\rho`, which follows the sum, is the rest of your network.

    Args:
        in_features: size D of an element.
        out_features: number M of outputs of :math:`\phi`, the size of the output.
        phi: a network for single elements, from (..., D + P) to (..., M); None builds two dense layers of M units, each
            followed by a ReLU.
        reduction: ``"sum"`` as in the paper, or ``"mean"``, whose scale does not grow with N.
        position_features: size P of a position, as in :class:`SAN`.

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

    def element(self, x: Float[Tensor, "*sets K"]) -> Float[Tensor, "*sets M"]:
        """Apply the network."""
        return self.phi(x)
