"""The small convolutional network of the paper's Table 1."""

from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.backbones.base import Backbone


class SmallCNN(Backbone):
    r"""Three 3x3 convolutions of 32, 64 and 64 channels with ReLU, and max pooling by 2 between them.

    Table 1 of `Maziarka et al. (2018) <https://arxiv.org/abs/1810.01868>`_. Convolutions keep the size; pooling
    halves it and rounds up, as TensorFlow's SAME padding does: 32 → 16 → 8, 28 → 14 → 7, 22 → 11 → 6.

    Args:
        in_channels: number C of channels of the images, usually 1 or 3.

    Shape:
        - input: :math:`(B, C, H, W)`.
        - output: :math:`(B, 64, \lceil H / 4 \rceil, \lceil W / 4 \rceil)`.

    Raises:
        ValueError: ``in_channels`` below 1.

    Example:
        >>> import torch
        >>> SmallCNN(in_channels=3)(torch.randn(8, 3, 22, 22)).shape
        torch.Size([8, 64, 6, 6])
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        if in_channels < 1:
            raise ValueError(f"SmallCNN: got in_channels={in_channels}, expected at least 1")
        self.in_channels = in_channels
        self.out_features = 64
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 64 h w"]:
        """Return the feature map of each image."""
        return self.layers(x)
