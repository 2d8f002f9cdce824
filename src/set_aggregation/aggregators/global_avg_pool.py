"""Global average pooling over a set."""

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import SetReduction
from set_aggregation.aggregators.sets import Sets


class GlobalAvgPool(SetReduction):
    r"""Global average pooling of `Lin et al. (2013) <https://arxiv.org/abs/1312.4400>`_, over a set.

    .. math::
        y = \frac{1}{N} \sum_{i=1}^{N} x_i.

    Args:
        in_features: size D of an element, and of the output.

    Example:
        >>> import torch
        >>> GlobalAvgPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[2., 4.]])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, in_features)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Average each feature."""
        return sets.mean(x)
