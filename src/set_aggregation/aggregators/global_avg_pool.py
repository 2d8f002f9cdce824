"""Global average pooling over a set."""

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator


class GlobalAvgPool(Aggregator):
    r"""Global average pooling of `Lin et al. (2013) <https://arxiv.org/abs/1312.4400>`_, over a set.

    .. math::
        y = \frac{1}{N} \sum_{i=1}^{N} x_i.

    It has no parameters and keeps the mean of the set only: sets of equal mean are the same to it.

    Args:
        in_features: size D of an element, and of the output.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, D)`; an empty set gives zeros.

    Example:
        >>> import torch
        >>> GlobalAvgPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[2., 4.]])
    """

    permutation_invariant: ClassVar[bool] = True
    any_set_size: ClassVar[bool] = True

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, in_features)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B D"]:
        """Averages the real elements of each set."""
        self._check(x, mask)
        if mask is None:
            return x.sum(1) / max(x.shape[1], 1)
        return x.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
