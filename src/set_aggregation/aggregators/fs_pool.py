"""Featurewise sort pooling: a learned weight for each rank."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.padded_sets import PaddedSets, wide


class FSPool(Aggregator):
    r"""Sorts each feature over the set and weights it by its rank (Section 4 of `Zhang et al. (2020)
    <https://arxiv.org/abs/1906.02795>`_).

    .. math::
        y_d = \sum_{i=1}^{N} w_d \Big( \frac{i - 1}{N - 1} \Big) x_{(i) d}, \qquad x_{(1) d} \ge \dots \ge x_{(N) d},

    where :math:`w_d` is a continuous, piecewise linear function on [0, 1], given by its values at both ends and at the
    ends of k pieces of equal length, so that sets of all sizes share it. A single element has the rank 0. Max, min, sum
    and median pooling are special cases.

    Args:
        in_features: size D of an element, and of the output.
        num_pieces: number k of pieces; the authors take 20.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, D)`; an empty set gives zeros.

    Raises:
        ValueError: a number below 1.

    Example:
        >>> import torch
        >>> FSPool(in_features=64)(torch.randn(8, 36, 64)).shape
        torch.Size([8, 64])
    """

    permutation_invariant: ClassVar[bool] = True
    any_set_size: ClassVar[bool] = True

    def __init__(self, in_features: int, num_pieces: int = 20) -> None:
        super().__init__(in_features, in_features)
        self.weight = nn.Parameter(torch.empty(in_features, self._positive("num_pieces", num_pieces) + 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the values of the functions from the normal distribution, as the authors' code does."""
        nn.init.normal_(self.weight)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B D"]:
        """Sorts the real elements of each set by each feature and sums them with the weights of their ranks."""
        self._check(x, mask)
        order = torch.arange(x.shape[1], device=x.device)
        if mask is None:
            last = torch.full((1, 1), x.shape[1] - 1, device=x.device)
        else:
            last = mask.sum(1, keepdim=True) - 1  # B 1
            x = x.masked_fill(~mask[..., None], float("-inf"))  # behind all others
        is_real = order <= last
        ordered = PaddedSets(is_real.expand(x.shape[:2])).only_real(x.sort(1, descending=True).values)
        dtype, pieces = wide(x.dtype), self.weight.shape[1] - 1
        place = order * pieces / last.clamp(min=1).to(dtype)  # 1|B N, from 0 to k
        # How much of each value there is at each rank: two neighbours share what lies between them.
        nodes = torch.arange(pieces + 1, device=x.device)
        share = (1 - (place[..., None] - nodes).abs()).relu()  # 1|B N k+1
        per_node = share.mT @ ordered.to(dtype)  # B k+1 D
        return (per_node * self.weight.T).sum(1).to(x.dtype)

    def extra_repr(self) -> str:
        """The sizes and the number of pieces."""
        return f"{super().extra_repr()}, num_pieces={self.weight.shape[1] - 1}"
