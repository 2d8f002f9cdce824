"""Set Transformer: self-attention among the elements, then pooling by multihead attention."""

from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators.pma import PMA, AttentionBlock


class SetTransformer(PMA):
    r"""Self-attention blocks among the elements, followed by :class:`PMA` (Section 3 of `Lee et al. (2019)
    <https://arxiv.org/abs/1810.00825>`_).

    .. math::
        y = \mathrm{PMA}_k(\mathrm{SAB}(\dots \mathrm{SAB}(x))), \qquad \mathrm{SAB}(x) = \mathrm{MAB}(x, x), \qquad
        \mathrm{MAB}(x, y) = \mathrm{LN}(H + \mathrm{rFF}(H)), \qquad H = \mathrm{LN}(x + \mathrm{Multihead}(x, y, y)).

    The cost grows with the square of N. What follows PMA in the paper's decoder is left to your network.

    Args:
        in_features: size D of an element.
        num_blocks: number of self-attention blocks, 2 in the paper's encoder.
        num_queries: number k of queries of PMA.
        num_heads: number of heads, which divides D.

    Shape:
        - output: :math:`(B, k D)`, one query after the other.

    Example:
        >>> import torch
        >>> SetTransformer(in_features=64)(torch.randn(8, 36, 64)).shape
        torch.Size([8, 64])
    """

    def __init__(self, in_features: int, num_blocks: int = 2, num_queries: int = 1, num_heads: int = 4) -> None:
        super().__init__(in_features, num_queries, num_heads)
        blocks = range(self._positive("num_blocks", num_blocks))
        self.self_attention = nn.ModuleList(AttentionBlock(in_features, num_heads) for _ in blocks)

    def elements(self, x: Float[Tensor, "B N D"], mask: Tensor | None) -> Float[Tensor, "B N D"]:
        """Let the real elements attend to each other."""
        for block in self.self_attention:
            x = block(x, x, mask)
        return x
