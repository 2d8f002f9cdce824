"""Base class of the backbones."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Network that computes feature maps of images, without global pooling and classifier.

    Attributes:
        in_channels: number C of channels of the images.
        out_features: number D of channels of the feature map.
        is_pretrained: whether the weights are pretrained.

    Shape:
        - input: :math:`(B, C, H, W)`.
        - output: :math:`(B, D, h, w)`.
    """

    in_channels: int
    out_features: int
    is_pretrained: bool = False

    @abstractmethod
    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Return the feature map of each image."""
