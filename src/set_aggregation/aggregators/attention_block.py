"""Multihead attention block of the Set Transformer."""

import math

from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators.sets import accumulation_dtype


class AttentionBlock(nn.Module):
    r"""Multihead attention block MAB(x, y) (eq. 6 and 7 of `Lee et al. (2019) <https://arxiv.org/abs/1810.00825>`_).

    .. math::
        \mathrm{MAB}(x, y) = \mathrm{LN}(H + \mathrm{rFF}(H)), \qquad H = \mathrm{LN}(x + \mathrm{Multihead}(x, y, y)),

    where rFF, a dense layer and a ReLU as in the authors' code, acts on each row, and LN is layer normalisation. Scores
    are divided by :math:`\sqrt{D / h}` for h heads, as in ``nn.MultiheadAttention``; the authors' code divides by
    :math:`\sqrt D`.

    Attention is computed by its formula, whose derivatives of every order exist, not by a fused kernel.

    Args:
        features: size D of the rows of x and y.
        num_heads: number h of heads, which divides D.
    """

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
