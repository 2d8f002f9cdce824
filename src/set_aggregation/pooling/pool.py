"""Aggregators as pooling layers: feature map or tokens in, vector out."""

from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.aggregators import Aggregator
from set_aggregation.pooling.feature_set import FeatureSet, Positions


class Pool(nn.Module):
    """Aggregates a feature map with any number of spatial axes, or tokens.

    Args:
        aggregator: any aggregator whose ``in_features`` equal the channels of the map.
        positions: those that :class:`~set_aggregation.pooling.feature_set.FeatureSet` makes; build the aggregator with
            their ``position_features``. Aggregators that use no positions ignore them.
        num_axes: number of spatial axes.
        channels_last: whether the input is (B, \\*spatial, D), as tokens (B, N, D) are.
        num_prefix_tokens: number of tokens at the front to leave out, such as class tokens.
        grid: height and width of the grid that tokens form; None keeps them a sequence.

    Shape:
        - input: :math:`(B, D, *spatial)`, or :math:`(B, *spatial, D)` with ``channels_last``.
        - mask: :math:`(B, *spatial)`, True at real elements.
        - output: :math:`(B, M)`.

    Example:
        >>> import torch
        >>> from set_aggregation.aggregators import SAN
        >>> Pool(SAN(64, 512, position_features=1), "linear", num_axes=1)(torch.randn(8, 64, 100)).shape
        torch.Size([8, 512])
        >>> Pool(SAN(64, 512), channels_last=True, num_prefix_tokens=1)(torch.randn(8, 1 + 36, 64)).shape
        torch.Size([8, 512])
    """

    def __init__(
        self,
        aggregator: Aggregator,
        positions: Positions = "none",
        num_axes: int = 2,
        channels_last: bool = False,
        num_prefix_tokens: int = 0,
        grid: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.feature_set = FeatureSet(positions, num_axes=num_axes)
        self.aggregator = aggregator
        self.channels_last = channels_last
        self.num_prefix_tokens = num_prefix_tokens
        self.grid = grid
        self.out_features = aggregator.out_features  # M
        made = self.feature_set.position_features
        expected = getattr(aggregator, "position_features", made)
        if made != expected:
            raise ValueError(
                f"{type(self).__name__}: got positions={positions!r}, of {made} features, but this "
                f"{type(aggregator).__name__} was built with position_features={expected}; give it "
                f"position_features={made}"
            )

    def forward(self, x: Float[Tensor, "B ..."], mask: Tensor | None = None) -> Float[Tensor, "B M"]:
        """Aggregate the elements of each map."""
        if self.channels_last:
            x = x[:, self.num_prefix_tokens :].movedim(-1, 1)  # B D *spatial
        if self.grid is not None:
            if x.shape[2] != prod(self.grid):
                raise ValueError(f"got {x.shape[2]} tokens, expected {' x '.join(map(str, self.grid))} for positions")
            x = x.reshape(*x.shape[:2], *self.grid)
        elements, positions = self.feature_set(x)  # B N D, N P
        if mask is not None:
            mask = mask[:, self.num_prefix_tokens :].flatten(1) != 0
        return self.aggregator(elements, mask, positions if self.aggregator.uses_positions else None)

    def extra_repr(self) -> str:
        """Return the layout of the input."""
        return f"channels_last=True, num_prefix_tokens={self.num_prefix_tokens}" if self.channels_last else ""


class Pool2d(Pool):
    """:class:`Pool` of feature maps (B, D, h, w), instead of ``nn.AdaptiveAvgPool2d(1)`` and ``nn.Flatten()``.

    Build the aggregator with ``position_features`` 2 for ``"linear"`` positions, 16 for ``"trigonometric"`` ones. The
    mask (B, h, w) is True at pixels of the image, for images that were padded to one size.

    Example:
        >>> import torch
        >>> from set_aggregation.aggregators import SAN
        >>> pool = Pool2d(SAN(64, 512, position_features=2), positions="linear")
        >>> pool(torch.randn(8, 64, 6, 6)).shape
        torch.Size([8, 512])
    """

    def __init__(self, aggregator: Aggregator, positions: Positions = "none") -> None:
        super().__init__(aggregator, positions)


class Replacement(nn.Module):
    """Pooling that :func:`~set_aggregation.pooling.replace_pooling` installs in a network."""

    scale: Tensor | None  # factor of the pooled vectors

    def __init__(self, pooling: Pool, projection: nn.Module, axes: tuple[int, ...], scale: Tensor | None) -> None:
        super().__init__()
        self.pooling = pooling
        self.projection = projection  # gives the vector the size that the network expects
        self.axes = axes  # shape of one output vector, such as (-1, 1, 1) for a map of one pixel; (-1,) for a vector
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool, scale and project."""
        y = self.pooling(x, mask)
        y = self.projection(y if self.scale is None else y * self.scale)
        return y if len(self.axes) == 1 else y.unflatten(1, self.axes)
