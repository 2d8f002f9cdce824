"""What every backbone is."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Turns images into feature maps; it has neither global pooling nor a classifier.

    Attributes:
        in_channels: number C of channels of the images.
        out_features: number D of channels of the feature map.
        is_pretrained: whether the weights were trained before.

    Shape:
        - input: :math:`(B, C, H, W)`.
        - output: :math:`(B, D, h, w)`.
    """

    in_channels: int
    out_features: int
    is_pretrained: bool = False

    @abstractmethod
    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Computes the feature map of each image."""
