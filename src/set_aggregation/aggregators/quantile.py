"""Quantile pooling, the median by default."""

import torch
from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.sets import PaddedSets, accumulation_dtype


class Quantile(Aggregator):
    r"""Quantile q of each feature over the set, as in ``torch.quantile``.

    .. math::
        y_d = (1 - f) \, x_{(j) d} + f \, x_{(j + 1) d}, \qquad x_{(0) d} \le \dots \le x_{(N - 1) d}, \qquad
        j + f = q (N - 1), \quad 0 \le f < 1.

    The median ignores outliers: fewer than half of the elements, however large, cannot move it beyond the others.

    Args:
        in_features: size D of an element, and of the output.
        q: the quantile, from 0, the minimum, to 1, the maximum.

    Example:
        >>> import torch
        >>> Quantile(in_features=1)(torch.tensor([[[1.0], [100.0], [3.0]]]))
        tensor([[3.]])
    """

    permutation_invariant = True
    any_set_size = True
    shown = ("in_features", "out_features", "q")

    def __init__(self, in_features: int, q: float = 0.5) -> None:
        super().__init__(in_features, in_features)
        if not 0 <= q <= 1:
            raise ValueError(f"Quantile: got q={q}, expected a number from 0 to 1")
        self.q = q

    def pool(self, x: Float[Tensor, "B N D"], sets: PaddedSets) -> Float[Tensor, "B D"]:
        """Interpolate between two neighbours in the order of each feature."""
        if x.shape[1] == 0:
            return sets.sum(x)
        dtype = accumulation_dtype(x.dtype)
        last = sets.last_rank(x).clamp(min=0)
        rank = (1 - self.q) * last.to(dtype)  # in descending order; 1|B 1
        upper = rank.floor()
        share = rank - upper
        ordered = sets.sort(x).to(dtype)
        index = torch.cat((upper, torch.minimum(upper + 1, last)), 1).long()[..., None]  # 1|B 2 1
        high, low = ordered.gather(1, index.expand(x.shape[0], 2, x.shape[2])).unbind(1)  # B D
        y = torch.where(share > 0, (1 - share) * high + share * low, high)  # 0 times an infinite neighbour is NaN
        return y.masked_fill(x.isnan().any(1), float("nan"))
