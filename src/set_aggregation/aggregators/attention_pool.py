"""Attention pooling: an average weighted by a learned query."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.sets import Sets, accumulation_dtype
from set_aggregation.aggregators.softmax_pool import SoftmaxPool


class AttentionPool(SoftmaxPool):
    r"""Average of the elements, weighted by softmax attention with one learned query q.

    .. math::
        y = \sum_{i=1}^{N} a_i x_i, \qquad a = \mathrm{softmax}_i (q^\top x_i / \sqrt D).

    It has one query and one head, and neither keys nor values are projected: the values are the elements. A matrix for
    the keys would change nothing, since with one query :math:`q^\top W x_i = (W^\top q)^\top x_i`. For multihead
    attention with projections see :class:`PMA`, for a query computed from the set :class:`SimPool`.

    The query is initially zero, which is average pooling.

    Args:
        in_features: size D of an element, and of the output.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, D)`; an empty set gives zeros. With ``return_weights=True`` also the weights,
          :math:`(B, N)`.

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
