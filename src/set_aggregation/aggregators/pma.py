"""Pooling by multihead attention, of the Set Transformer."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators.base import Aggregator


class PMA(Aggregator):
    r"""Pooling by multihead attention of the Set Transformer (Section 3.2 of `Lee et al. (2019)
    <https://arxiv.org/abs/1810.00825>`_).

    k learned queries, the rows of S, look at the elements:

    .. math::
        y = \mathrm{LN}(H + \mathrm{rFF}_2(H)), \qquad
        H = \mathrm{LN}(S + \mathrm{Multihead}(S, Z, Z)), \qquad Z = \mathrm{rFF}_1(x),

    where rFF, a dense layer and a ReLU as in the authors' code, acts on each row, and LN is layer normalisation.

    Args:
        in_features: size D of an element.
        num_queries: number k of queries.
        num_heads: number of heads, which divides D.

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

    permutation_invariant: ClassVar[bool] = True
    any_set_size: ClassVar[bool] = True

    def __init__(self, in_features: int, num_queries: int = 1, num_heads: int = 4) -> None:
        super().__init__(in_features, in_features * self._positive("num_queries", num_queries))
        if in_features % self._positive("num_heads", num_heads) != 0:
            raise ValueError(f"PMA: got num_heads={num_heads}, expected a divisor of in_features={in_features}")
        self.num_heads = num_heads
        self.queries = nn.Parameter(torch.empty(num_queries, in_features))
        self.feed_forward_1 = nn.Linear(in_features, in_features)
        self.query_projection = nn.Linear(in_features, in_features)
        self.key_value_projection = nn.Linear(in_features, 2 * in_features)
        self.out_projection = nn.Linear(in_features, in_features)
        self.norm_1 = nn.LayerNorm(in_features)
        self.feed_forward_2 = nn.Linear(in_features, in_features)
        self.norm_2 = nn.LayerNorm(in_features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws queries and layers anew, the queries from Glorot's distribution as in the authors' code."""
        nn.init.xavier_uniform_(self.queries)
        for child in self.children():
            child.reset_parameters()  # type: ignore[operator]

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N"] | None = None,
        positions: Float[Tensor, "*B N P"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Lets each query look at the real elements of each set."""
        self._check(x, mask)
        if x.shape[1] == 0:  # one element that is not real
            x, mask = F.pad(x, (0, 0, 0, 1)), torch.zeros(x.shape[0], 1, dtype=torch.bool, device=x.device)
        looks_at = is_empty = None
        if mask is not None:
            x = x.masked_fill(~mask[..., None], 0)
            is_empty = ~mask.any(1, keepdim=True)
            looks_at = (mask | is_empty)[:, None, None]  # B 1 1 N; a softmax over nothing may be NaN
        key, value = self.key_value_projection(self.feed_forward_1(x).relu()).chunk(2, dim=2)
        query = self.query_projection(self.queries).expand(x.shape[0], -1, -1)
        q, k, v = (t.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for t in (query, key, value))  # B heads k|N D/h
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=looks_at).transpose(1, 2).flatten(2)  # B k D
        hidden = self.norm_1(self.queries + self.out_projection(seen))
        y = self.norm_2(hidden + self.feed_forward_2(hidden).relu()).flatten(1)
        return y if is_empty is None else y.masked_fill(is_empty, 0)

    def extra_repr(self) -> str:
        """The sizes and the number of heads."""
        return f"{super().extra_repr()}, num_queries={len(self.queries)}, num_heads={self.num_heads}"
