"""An aggregator in the place of global pooling: from a feature map or tokens to a vector."""

from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators import Aggregator
from set_aggregation.pooling.feature_set import FeatureSet, Positions
from set_aggregation.pooling.inspection import Layout, as_feature_map


class SetPooling(nn.Module):
    """Aggregates what a network gives to its pooling: a feature map, channels first or last, or tokens.

    For a network of your own :class:`~set_aggregation.pooling.pool2d.Pool2d` is enough; this is what
    :func:`replace_pooling` puts into others.

    Args:
        aggregator: the layer that pools.
        layout: order of the axes of the input: ``"BDhw"``, ``"BhwD"`` or, for tokens, ``"BND"``.
        num_prefix_tokens: number of tokens at the front that are no part of the image, such as class tokens;
            they are left out.
        positions: the positions that :class:`~set_aggregation.pooling.feature_set.FeatureSet` makes. Those of tokens
            need a square grid.
        elementwise: applied to the elements (B, N, D) first.
        keep_dims: whether the output is a feature map of one pixel.

    Shape:
        - input: :math:`(B, D, h, w)`, :math:`(B, h, w, D)` or :math:`(B, N, D)`.
        - output: :math:`(B, M)`, or :math:`(B, M, 1, 1)` with ``keep_dims``.

    Raises:
        ValueError: tokens in no square grid, where they need positions.

    Example:
        >>> import torch
        >>> from set_aggregation.aggregators import SAN
        >>> pooling = SetPooling(SAN(in_features=64, out_features=512), "BND", num_prefix_tokens=1)
        >>> pooling(torch.randn(8, 1 + 36, 64)).shape
        torch.Size([8, 512])
    """

    def __init__(
        self,
        aggregator: Aggregator,
        layout: Layout = "BDhw",
        num_prefix_tokens: int = 0,
        positions: Positions = "none",
        elementwise: nn.Module | None = None,
        keep_dims: bool = False,
    ) -> None:
        super().__init__()
        self.layout: Layout = layout
        self.num_prefix_tokens = num_prefix_tokens
        self.keep_dims = keep_dims
        self.feature_set = FeatureSet(positions)
        self.elementwise = nn.Identity() if elementwise is None else elementwise
        self.aggregator = aggregator

    def forward(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B M *ones"]:
        """Gives a vector for each image."""
        if self.layout == "BND" and not self.feature_set.position_features:
            elements, positions = x[:, self.num_prefix_tokens :], None
        else:
            elements, positions = self.feature_set(as_feature_map(x, self.layout, self.num_prefix_tokens))
        y = self.aggregator(self.elementwise(elements), positions=positions)
        return y[..., None, None] if self.keep_dims else y

    def extra_repr(self) -> str:
        """The layout of the input."""
        return f"layout={self.layout!r}, num_prefix_tokens={self.num_prefix_tokens}"
