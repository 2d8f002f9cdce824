"""Pooling by multihead attention, of the Set Transformer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.attention_block import AttentionBlock
from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.sets import PaddedSets


class PMA(Aggregator):
    r"""Pooling by multihead attention of the Set Transformer (Section 3.2 of `Lee et al. (2019)
    <https://arxiv.org/abs/1810.00825>`_).

    k learned queries, the rows of S, attend to the elements:

    .. math::
        y = \mathrm{LN}(H + \mathrm{rFF}_2(H)), \qquad
        H = \mathrm{LN}(S + \mathrm{Multihead}(S, Z, Z)), \qquad Z = \mathrm{rFF}_1(x),

    where rFF, a dense layer and a ReLU as in the authors' code, acts on each row, and LN is layer normalisation. Scores
    are divided by :math:`\sqrt{D / h}` for h heads, as in ``nn.MultiheadAttention``; the authors' code divides by
    :math:`\sqrt D`.

    Args:
        in_features: size D of an element.
        num_queries: number k of queries.
        num_heads: number h of heads, which divides D.

    Shape:
        - x: :math:`(B, N, D)`; mask: :math:`(B, N)`, True at real elements; positions are ignored.
        - output: :math:`(B, k D)`, one query after the other; an empty set gives zeros.

    Raises:
        ValueError: a number below 1, or heads that do not divide the features.

    Example:
        >>> import torch
        >>> PMA(in_features=64, num_queries=2)(torch.randn(8, 36, 64)).shape
        torch.Size([8, 128])
    """

    permutation_invariant = True
    any_set_size = True

    def __init__(self, in_features: int, num_queries: int = 1, num_heads: int = 4) -> None:
        super().__init__(in_features, in_features * self._positive("num_queries", num_queries))
        if in_features % self._positive("num_heads", num_heads) != 0:
            name = type(self).__name__
            raise ValueError(f"{name}: got num_heads={num_heads}, expected a divisor of in_features={in_features}")
        self.queries = nn.Parameter(torch.empty(num_queries, in_features))
        self.feed_forward = nn.Linear(in_features, in_features)
        self.block = AttentionBlock(in_features, num_heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the queries from Glorot's uniform distribution, as in the authors' code."""
        nn.init.xavier_uniform_(self.queries)

    def pool(self, x: Float[Tensor, "B N D"], sets: PaddedSets) -> Float[Tensor, "B M"]:
        """Attend from each query to the real elements of each set."""
        empty = sets.last_rank(x) < 0  # B 1, or 1 1 without a mask
        # The softmax over an empty set is NaN. Its queries attend to padding instead, and its output is masked.
        mask = None if sets.mask is None else sets.mask | empty
        z = self.elements(x, mask)
        y = self.block(self.queries.expand(x.shape[0], -1, -1), self.feed_forward(z).relu(), mask)
        return y.flatten(1).masked_fill(empty, 0)

    def elements(self, x: Float[Tensor, "B N D"], mask: Tensor | None) -> Float[Tensor, "B N D"]:
        """Return the elements that the queries attend to."""
        return x

    def extra_repr(self) -> str:
        """Return the sizes and the numbers of queries and heads."""
        return f"{super().extra_repr()}, num_queries={len(self.queries)}, num_heads={self.block.num_heads}"
