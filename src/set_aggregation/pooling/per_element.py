"""Layers made for one vector of each image, applied to each element of a set."""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor, nn


class PerElement(nn.Module):
    """Applies layers to each element of a set as if it were the pooled vector of an image.

    What a network has between its pooling and its classifier, such as the LayerNorm of ConvNeXt or the hidden
    layer of MobileNetV3, keeps its weights so when an aggregator takes the place of the pooling.

    Args:
        layers: each with the number of axes of its input: 2 for (B, D), 4 for (B, D, 1, 1).

    Shape:
        - input: :math:`(B, N, D)`.
        - output: :math:`(B, N, D')`.

    Example:
        >>> import torch
        >>> layers = PerElement([(nn.Conv2d(64, 32, 1), 4), (nn.Linear(32, 16), 2)])
        >>> layers(torch.randn(8, 36, 64)).shape
        torch.Size([8, 36, 16])
    """

    def __init__(self, layers: Iterable[tuple[nn.Module, int]]) -> None:
        super().__init__()
        modules, self.num_axes = zip(*layers, strict=True)
        self.layers = nn.ModuleList(modules)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N E"]:
        """Applies the layers one after the other."""
        y = x.flatten(0, 1)  # BN D
        for layer, axes in zip(self.layers, self.num_axes, strict=True):
            y = layer(y[..., None, None] if axes == 4 else y).flatten(1)
        return y.view(*x.shape[:2], -1)
