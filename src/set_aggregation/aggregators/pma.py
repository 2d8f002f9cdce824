"""Pooling by multihead attention, of the Set Transformer."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators.base import Aggregator
from set_aggregation.aggregators.sets import PaddedSets, accumulation_dtype


class AttentionBlock(nn.Module):
    r"""Multihead attention block MAB(x, y) of the Set Transformer (eq. 6 and 7), by its formula: fused kernels lack
    second derivatives."""

    def __init__(self, features: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_projection = nn.Linear(features, features)
        self.key_value_projection = nn.Linear(features, 2 * features)
        self.out_projection = nn.Linear(features, features)
        self.norm_1 = nn.LayerNorm(features)
        self.feed_forward = nn.Linear(features, features)
        self.norm_2 = nn.LayerNorm(features)

    def forward(
        self, x: Float[Tensor, "B k D"], y: Float[Tensor, "B N D"], mask: Bool[Tensor, "B N"] | None
    ) -> Float[Tensor, "B k D"]:
        """Attend from the rows of x to those of y at which the mask is True, at least one in each set."""
        key, value = self.key_value_projection(y).chunk(2, dim=2)
        query = self.query_projection(x)
        q, k, v = (t.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for t in (query, key, value))  # B h k|N D/h
        scores = q @ k.mT / math.sqrt(q.shape[3])  # B h k N
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], float("-inf"))
        weights = scores.softmax(3, dtype=accumulation_dtype(scores.dtype)).to(v.dtype)
        hidden = self.norm_1(x + self.out_projection((weights @ v).transpose(1, 2).flatten(2)))
        return self.norm_2(hidden + self.feed_forward(hidden).relu())


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
        - output: :math:`(B, k D)`, one query after the other.

    Example:
        >>> import torch
        >>> PMA(in_features=64, num_queries=2)(torch.randn(8, 36, 64)).shape
        torch.Size([8, 128])
    """

    permutation_invariant = True
    any_set_size = True
    shown = ("in_features", "out_features", "num_queries", "num_heads")

    def __init__(self, in_features: int, num_queries: int = 1, num_heads: int = 4) -> None:
        super().__init__(in_features, in_features * self._positive("num_queries", num_queries))
        if in_features % self._positive("num_heads", num_heads) != 0:
            name = type(self).__name__
            raise ValueError(f"{name}: got num_heads={num_heads}, expected a divisor of in_features={in_features}")
        self.num_queries, self.num_heads = num_queries, num_heads
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
