"""Attention pooling: an average whose weights a learned query gives."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.padded_sets import wide
from set_aggregation.aggregators.set_reduction import SetReduction, Sets


class AttentionPool(SetReduction):
    r"""Average of the elements, weighted by softmax attention with one learned query q.

    .. math::
        y = \sum_{i=1}^{N} a_i x_i, \qquad a = \mathrm{softmax}_i (q^\top x_i / \sqrt D).

    The idea of SimPool (`Psomas et al., 2023 <https://arxiv.org/abs/2309.06891>`_), whose values are the elements
    themselves, too; it computes its query from the average of the set, and this layer learns one. A matrix for the keys
    would change nothing: with one query, :math:`q^\top W x_i = (W^\top q)^\top x_i`.

    The query begins at zero, as average pooling.

    Args:
        in_features: size D of an element, and of the output.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, D)`; an empty set gives zeros.

    Example:
        >>> import torch
        >>> AttentionPool(in_features=2)(torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]))
        tensor([[2., 4.]], grad_fn=<DivBackward0>)
    """

    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, in_features)
        self.query = nn.Parameter(torch.empty(in_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the query to zero."""
        nn.init.zeros_(self.query)

    def pool(self, x: Float[Tensor, "*sets D"], sets: Sets) -> Float[Tensor, "B D"]:
        """Averages with the weights of the query."""
        x = x.to(wide(x.dtype))
        query = self.query.to(x.dtype) / math.sqrt(self.in_features)
        scores = (x * query).sum(-1, keepdim=True)
        above = scores - sets.spread(sets.max(scores).detach())
        # Zero for the largest, less for the others; what is above is padding, whose weight could be infinite and make
        # NaN of its zero gradient.
        weights = above.masked_fill(above > 0, 0).exp()
        total = sets.sum(weights)
        return sets.sum(weights * x) / total.where(total > 0, 1)
