"""Residual networks for CIFAR-10."""

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from set_aggregation.backbones.base import Backbone


class ResNetCIFAR(Backbone):
    r"""Residual network for small images, without its global average pooling and its classifier.

    Section 4.2 of `He et al. (2015) <https://arxiv.org/abs/1512.03385>`_: a 3x3 convolution of 16 channels, then three
    stages of n = (depth - 2) / 6 blocks of 16, 32 and 64 channels. The first block of the second and the third stage
    halves the map. A block adds its input to the output of two 3x3 convolutions with batch normalisation:

    .. math::
        y = \mathrm{ReLU}(\mathrm{BN}(W_2 * \mathrm{ReLU}(\mathrm{BN}(W_1 * x))) + \mathrm{shortcut}(x)).

    The weights of a k x k convolution with D output channels are drawn from :math:`\mathcal{N}(0, 2 / (k^2 D))`
    (`He et al., 2015 <https://arxiv.org/abs/1502.01852>`_); ``initialization: glorot`` of a ``SetClassifier`` draws
    them again.

    Args:
        depth: number of layers with the classifier: 20, 32, 44, 56 and 110 in the paper.
        shortcut: shortcut of a block that changes the size: ``"A"``, as on CIFAR-10 in the paper, every second pixel
            and zeros for the new channels, without parameters; or ``"B"``, a 1x1 convolution with batch normalisation.
        in_channels: number C of channels of the images.

    Shape:
        - input: :math:`(B, C, H, W)`.
        - output: :math:`(B, 64, \lceil H / 4 \rceil, \lceil W / 4 \rceil)`.

    Raises:
        ValueError: a depth that is not 6n + 2, an unknown shortcut, ``in_channels`` below 1.

    Example:
        >>> import torch
        >>> ResNetCIFAR(depth=20)(torch.randn(8, 3, 32, 32)).shape
        torch.Size([8, 64, 8, 8])
    """

    def __init__(self, depth: int = 56, shortcut: Literal["A", "B"] = "A", in_channels: int = 3) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"ResNetCIFAR: got depth={depth}, expected 6n + 2 with n of at least 1, such as 20 or 56")
        if shortcut not in ("A", "B"):
            raise ValueError(f"ResNetCIFAR: got shortcut={shortcut!r}, expected 'A' or 'B'")
        if in_channels < 1:
            raise ValueError(f"ResNetCIFAR: got in_channels={in_channels}, expected at least 1")
        self.in_channels = in_channels
        self.out_features = 64
        self.stem = nn.Sequential(_conv3x3(in_channels, 16), nn.BatchNorm2d(16), nn.ReLU())
        channels = [16] + [width for width in (16, 32, 64) for _ in range((depth - 2) // 6)]
        self.blocks = nn.Sequential(*(_Block(*sizes, shortcut) for sizes in pairwise(channels)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 64 h w"]:
        """Return the feature map of each image."""
        return self.blocks(self.stem(x))


class _Block(nn.Module):
    """Two convolutions and a shortcut; a block with more channels halves the size."""

    def __init__(self, in_channels: int, channels: int, shortcut: Literal["A", "B"]) -> None:
        super().__init__()
        self.new_channels = channels - in_channels
        stride = 2 if self.new_channels else 1
        self.residual = nn.Sequential(
            _conv3x3(in_channels, channels, stride),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            _conv3x3(channels, channels),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Sequential | None = None
        if self.new_channels and shortcut == "B":
            convolution = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        shortcut = x
        if self.shortcut is not None:
            shortcut = self.shortcut(x)
        elif self.new_channels:  # shortcut A: every second pixel, and zeros for the new channels
            shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new_channels))
        return torch.relu(self.residual(x) + shortcut)


def _conv3x3(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
