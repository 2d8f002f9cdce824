"""Attention pooling: an average weighted by a learned query."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from set_aggregation.aggregators.base import SetReduction
from set_aggregation.aggregators.sets import Mask, PaddedSets, Sets, accumulation_dtype


class SoftmaxPool(SetReduction):
    """Average of the elements, weighted by the softmax over the set of a subclass's ``scores``."""

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, in_features)

    def scores(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "*sets 1"]:
        """Return the logarithm of each element's weight, up to a constant."""
        raise NotImplementedError(f"{type(self).__name__} does not implement scores")

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Return the weighted average."""
        return sets.sum(sets.softmax(self.scores(x, sets)) * x)

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "B N D"],
        mask: Mask | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
        return_weights: bool = False,
    ) -> Float[Tensor, "B D"] | tuple[Float[Tensor, "B D"], Float[Tensor, "B N"]]:
        """Aggregate each set; with ``return_weights`` also return the weights (B, N) of the elements, 0 at padding."""
        if isinstance(x, fx.Proxy):
            return self._traced(x, mask, positions, return_weights)
        y = super().forward(x, mask, positions)
        if not return_weights:
            return y
        sets = PaddedSets(self._checked(x, mask, positions))
        return y, sets.softmax(self.scores(sets.mask_padding(x), sets)).squeeze(2).to(y.dtype)


class AttentionPool(SoftmaxPool):
    r"""Average of the elements, weighted by softmax attention with one learned query q.

    .. math::
        y = \sum_{i=1}^{N} a_i x_i, \qquad a = \mathrm{softmax}_i (q^\top x_i / \sqrt D).

    It has one query and one head, and neither keys nor values are projected; a matrix for the keys would change
    nothing. For multihead attention with projections see :class:`PMA`, for a query computed from the set
    :class:`SimPool`. The query is initially zero, which is average pooling.

    Args:
        in_features: size D of an element, and of the output.

    Example:
        >>> import torch
        >>> AttentionPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[2., 4.]], grad_fn=<SumBackward1>)
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features)
        self.query = nn.Parameter(torch.empty(in_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the query to zero."""
        nn.init.zeros_(self.query)

    def scores(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "*sets 1"]:
        """Return the scaled dot products with the query."""
        query = self.query.to(accumulation_dtype(x.dtype)) / math.sqrt(self.in_features)
        return (x * query).sum(-1, keepdim=True)
