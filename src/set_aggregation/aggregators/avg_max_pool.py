"""Average and maximum, side by side."""

import torch
from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.set_reduction import SetReduction, Sets


class AvgMaxPool(SetReduction):
    r"""Global average pooling and global max pooling, concatenated.

    The "concat pooling" of Section 3.3 of `Howard and Ruder (2018) <https://arxiv.org/abs/1801.06146>`_, without the
    last element, which a set does not have:

    .. math::
        y = \Big( \frac{1}{N} \sum_{i=1}^{N} x_i, \; \max_{i=1..N} x_i \Big).

    Args:
        in_features: size D of an element.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, 2D)`, the average first; an empty set gives zeros.

    Example:
        >>> import torch
        >>> AvgMaxPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[2., 4., 3., 6.]])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, 2 * in_features)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B M"]:
        """Lays average and maximum side by side."""
        return torch.cat((sets.mean(x), sets.max(x)), dim=1)
