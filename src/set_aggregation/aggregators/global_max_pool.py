"""Global max pooling over a set."""

from jaxtyping import Float
from torch import Tensor

from set_aggregation.aggregators.base import SetReduction
from set_aggregation.aggregators.sets import Sets


class GlobalMaxPool(SetReduction):
    r"""Global max pooling over a set: the largest value of each feature.

    .. math::
        y_d = \max_{i=1..N} x_{id}.

    It is the limit of a power-mean SAN (Remark 1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_).

    Args:
        in_features: size D of an element, and of the output.

    Example:
        >>> import torch
        >>> GlobalMaxPool(in_features=2)(torch.tensor([[[1.0, 6.0], [3.0, 2.0]]]))
        tensor([[3., 6.]])
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, in_features)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Return the maximum of each feature."""
        return sets.max(x)
