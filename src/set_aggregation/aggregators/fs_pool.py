"""Featurewise sort pooling: a learned weight for each rank."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.sets import PaddedSets, accumulation_dtype


class FSPool(Aggregator):
    r"""Sorts each feature over the set and weights it by its rank (Section 4 of `Zhang et al. (2020)
    <https://arxiv.org/abs/1906.02795>`_).

    .. math::
        y_d = \sum_{i=1}^{N} w_d \Big( \frac{i - 1}{N - 1} \Big) x_{(i) d}, \qquad x_{(1) d} \ge \dots \ge x_{(N) d},

    where :math:`w_d` is a continuous, piecewise linear function on [0, 1] with k pieces of equal length. Its k + 1
    values at their ends are learned, and sets of all sizes share it. For N = 1 the rank is 0/0 in the formula and 0 in
    the layer. Max, min, sum and median pooling are special cases.

    Args:
        in_features: size D of an element, and of the output.
        num_pieces: number k of pieces; 20 in the authors' code.

    Example:
        >>> import torch
        >>> FSPool(in_features=64)(torch.randn(8, 36, 64)).shape
        torch.Size([8, 64])
    """

    permutation_invariant = True
    any_set_size = True
    shown = ("in_features", "out_features", "num_pieces")

    def __init__(self, in_features: int, num_pieces: int = 20) -> None:
        super().__init__(in_features, in_features)
        self.num_pieces = self._positive("num_pieces", num_pieces)
        self.weight = nn.Parameter(torch.empty(in_features, num_pieces + 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the values of the functions from the normal distribution, as in the authors' code."""
        nn.init.normal_(self.weight)

    def pool(self, x: Float[Tensor, "B N D"], sets: PaddedSets) -> Float[Tensor, "B D"]:
        """Sum the sorted features with the weights of their ranks."""
        dtype, pieces = accumulation_dtype(x.dtype), self.num_pieces
        with torch.autocast(x.device.type, enabled=False):  # it would sum in half precision
            rank = torch.arange(x.shape[1], device=x.device) * pieces / sets.last_rank(x).clamp(min=1).to(dtype)
            # A rank is between two nodes; this is the share of each node in its weight.
            nodes = torch.arange(pieces + 1, device=x.device)
            share = (1 - (rank[..., None] - nodes).abs()).relu()  # 1|B N k+1
            per_node = share.mT @ sets.sort(x).to(dtype)  # B k+1 D
            return (per_node * self.weight.T).sum(1)
