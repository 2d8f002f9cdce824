"""Feature maps and tokens with their axes in any order."""

from math import isqrt, prod
from typing import Literal

from jaxtyping import Float
from torch import Size, Tensor

Layout = Literal["BDhw", "BhwD", "BND"]


def layout_of(shape: Size, widths: set[int]) -> Layout | None:
    """Return the order of the axes of a network's features, or None for a vector or a map of one pixel.

    Example:
        >>> layout_of(Size((2, 7, 7, 512)), {512}), layout_of(Size((2, 512)), {512})
        ('BhwD', None)
    """
    if len(shape) == 3 and shape[1] > 1 and shape[2] in widths:
        return "BND"
    if len(shape) == 4 and shape[1] in widths and prod(shape[2:]) > 1:
        return "BDhw"
    if len(shape) == 4 and shape[3] in widths and prod(shape[1:3]) > 1:
        return "BhwD"
    return None


def as_feature_map(
    x: Tensor, layout: Layout, image_size: tuple[int, int], num_prefix_tokens: int = 0
) -> Float[Tensor, "B D h w"]:
    """Return a feature map, or the row-major tokens of an image, as a map with channels first.

    Example:
        >>> import torch
        >>> as_feature_map(torch.randn(8, 1 + 32, 64), "BND", (128, 64), num_prefix_tokens=1).shape
        torch.Size([8, 64, 8, 4])
    """
    if layout == "BDhw":
        return x
    if layout == "BhwD":
        return x.permute(0, 3, 1, 2)
    tokens = x[:, num_prefix_tokens:].transpose(1, 2)  # B D N
    height, width = image_size
    rows = isqrt(tokens.shape[2] * height // width)
    if rows * rows * width != tokens.shape[2] * height:
        raise ValueError(f"got {tokens.shape[2]} tokens of images of {height}x{width}, expected a grid of that ratio")
    return tokens.reshape(*tokens.shape[:2], rows, -1)
