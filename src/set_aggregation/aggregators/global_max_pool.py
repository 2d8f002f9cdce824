"""Global max pooling over a set."""

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from set_aggregation.aggregators.base import Aggregator


class GlobalMaxPool(Aggregator):
    r"""Global max pooling over a set: the largest value of each feature.

    .. math::
        y_d = \max_{i=1..N} x_{id}.

    It has no parameters and keeps D numbers, each from one element. It is the limit of a power-mean SAN
    (Remark 1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_).

    Args:
        in_features: size D of an element, and of the output.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, D)`; an empty set gives zeros.

    Example:
        >>> import torch
        >>> GlobalMaxPool(in_features=2)(torch.tensor([[[1.0, 6.0], [3.0, 2.0]]]))
        tensor([[3., 6.]])
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
        """Takes the maximum of each feature over the real elements of each set."""
        self._check(x, mask)
        if x.shape[1] == 0:
            return x.sum(1)  # zeros that keep their place in the graph
        if mask is None:
            return x.amax(1)
        largest = x.masked_fill(~mask[..., None], float("-inf")).amax(1)
        return largest.where(mask.any(1, keepdim=True), 0)
