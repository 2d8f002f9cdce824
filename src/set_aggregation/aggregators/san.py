"""Set Aggregation Network: pooling with learned directions and an output of any size."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators._kernels.dispatch import Implementation, choose
from set_aggregation.aggregators.element_sum import ElementSum
from set_aggregation.aggregators.sets import PaddedSets


class SAN(ElementSum):
    r"""Set Aggregation Network of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_.

    Projects each element of the set on M directions, applies ReLU and sums over the set (eq. 5):

    .. math::
        y_m = \sum_{i=1}^{N} \mathrm{ReLU}(v_m^\top x_i + b_m), \qquad m = 1, \dots, M.

    Taken over all directions and biases these sums determine the set (Theorem 1); the layer learns M of them. Average
    and max pooling keep D numbers, SAN keeps as many as the task needs.

    Args:
        in_features: size D of an element.
        out_features: number M of directions, the size of the output.
        reduction: ``"sum"`` as in the paper, or ``"mean"``, the default of the authors' code, whose scale does not grow
            with N.
        activation: module applied to each projection; ReLU by default. Theorem 1 holds for every activation with the
            universal approximation property.
        position_features: size P of a position. Positions are P more features of every element, as in Section 4.1. None
            takes no positions (in a ``SetClassifier``: takes those it makes).
        implementation: how the sum is computed: ``"eager"``, by the formula, which stores all B x N x M activations for
            the backward pass; ``"blocked"``, for CPUs, a block of them at a time; ``"triton"``, for NVIDIA GPUs, in
            registers; ``"auto"``, the fastest that supports the case.

    Example:
        >>> import torch
        >>> san = SAN(in_features=64, out_features=512)
        >>> feature_map = torch.randn(8, 64, 6, 6)  # B D h w, seen as B sets of N = 36 elements
        >>> san(feature_map.flatten(2).transpose(1, 2)).shape
        torch.Size([8, 512])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        reduction: Literal["sum", "mean"] = "sum",
        activation: nn.Module | None = None,
        position_features: int | None = None,
        implementation: Implementation = "auto",
    ) -> None:
        super().__init__(in_features, out_features, reduction, position_features)
        if implementation not in get_args(Implementation):
            expected = ", ".join(get_args(Implementation))
            raise ValueError(f"SAN: got implementation={implementation!r}, expected one of {expected}")
        self.projection = nn.Linear(in_features + self.position_features, out_features)
        self.activation = nn.ReLU() if activation is None else activation
        self.implementation: Implementation = implementation

    def element(self, x: Float[Tensor, "*sets K"]) -> Float[Tensor, "*sets M"]:
        """Return the activated projections."""
        return self.activation(self.projection(x))

    def _padded(self, x: Tensor, sets: PaddedSets, positions: Tensor | None) -> Tensor:
        operator = choose(self.implementation, x, self.projection, self.activation)
        if operator is None:
            return super()._padded(x, sets, positions)
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        weight, bias = self.projection.weight.to(dtype), self.projection.bias.to(dtype)
        total = operator(x.to(dtype), weight, bias, sets.mask, positions)
        return total if self.reduction == "sum" else total / sets.divisor(x)
