"""Average and maximum, concatenated."""

from set_aggregation.aggregators.concat import Concat
from set_aggregation.aggregators.global_avg_pool import GlobalAvgPool
from set_aggregation.aggregators.global_max_pool import GlobalMaxPool


class AvgMaxPool(Concat):
    r"""Global average pooling and global max pooling, concatenated.

    The "concat pooling" of Section 3.3 of `Howard and Ruder (2018) <https://arxiv.org/abs/1801.06146>`_, without the
    last element, which a set does not have:

    .. math::
        y = \Big( \frac{1}{N} \sum_{i=1}^{N} x_i, \; \max_{i=1..N} x_i \Big).

    Args:
        in_features: size D of an element.

    Shape:
        - output: :math:`(B, 2D)`.

    Example:
        >>> import torch
        >>> AvgMaxPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[2., 4., 3., 6.]])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, [GlobalAvgPool, GlobalMaxPool])
