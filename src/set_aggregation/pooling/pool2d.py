"""An aggregator in the place of a pooling layer: a feature map goes in, a vector comes out."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from set_aggregation.aggregators import Aggregator
from set_aggregation.pooling.feature_set import FeatureSet, Positions


class Pool2d(nn.Module):
    """Aggregates the pixels of a feature map, in place of ``nn.AdaptiveAvgPool2d(1)`` and ``nn.Flatten()``.

    Args:
        aggregator: any aggregator whose ``in_features`` are the channels of the map.
        positions: the positions that :class:`~set_aggregation.pooling.feature_set.FeatureSet` gives the pixels, for an
            aggregator built with their ``position_features``: 2 for ``"linear"``, 16 for ``"trigonometric"``.
            Aggregators that use no positions ignore them.

    Attributes:
        out_features: size M of the output.

    Shape:
        - input: :math:`(B, D, h, w)`, not copied if it is in channels_last memory format; mask: :math:`(B, h, w)`, True
          at pixels of the image, for images that were padded to one size.
        - output: :math:`(B, M)`.

    Raises:
        ValueError: positions of another size than the aggregator was built for.

    Example:
        >>> import torch
        >>> from set_aggregation.aggregators import SAN
        >>> pool = Pool2d(SAN(64, 512, position_features=2), positions="linear")
        >>> pool(torch.randn(8, 64, 6, 6)).shape
        torch.Size([8, 512])
    """

    def __init__(self, aggregator: Aggregator, positions: Positions = "none") -> None:
        super().__init__()
        self.feature_set = FeatureSet(positions)
        self.aggregator = aggregator
        self.out_features = aggregator.out_features
        made = self.feature_set.position_features
        expected = getattr(aggregator, "position_features", made)
        if made != expected:
            raise ValueError(
                f"Pool2d: got positions={positions!r}, of {made} features, but this {type(aggregator).__name__} was "
                f"built with position_features={expected}; give it position_features={made}"
            )

    def forward(self, x: Float[Tensor, "B D h w"], mask: Bool[Tensor, "B h w"] | None = None) -> Float[Tensor, "B M"]:
        """Aggregates the pixels of each map."""
        elements, positions = self.feature_set(x)  # B N D, N P
        return self.aggregator(elements, None if mask is None else mask.flatten(1), positions)
