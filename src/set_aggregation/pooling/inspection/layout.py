"""In which order the axes of a feature map or of tokens come."""

from math import isqrt, prod
from typing import Literal

from jaxtyping import Float
from torch import Size, Tensor, nn

Layout = Literal["BDhw", "BhwD", "BND"]


def is_map(shape: Size) -> bool:
    """Whether it is the shape of a feature map of more than one pixel, or of tokens.

    Args:
        shape: of the output of a module.
    """
    return (len(shape) == 4 and prod(shape[2:]) > 1) or (len(shape) == 3 and shape[1] > 1)


def layout_of(shape: Size, widths: set[int]) -> Layout | None:
    """Which axis of the output of a network has its features.

    Args:
        shape: of the output.
        widths: the numbers of features that it can have.

    Returns:
        The layout; None for what is neither a feature map nor tokens, and for a map of a single pixel.

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


def as_feature_map(x: Tensor, layout: Layout, num_prefix_tokens: int = 0) -> Float[Tensor, "B D h w"]:
    """Turns a feature map of any layout, or tokens of a square grid, into one with channels first.

    Args:
        x: the map, or the tokens.
        layout: order of its axes.
        num_prefix_tokens: number of tokens at the front that are no part of the image.

    Raises:
        ValueError: tokens that make no square grid.

    Example:
        >>> import torch
        >>> as_feature_map(torch.randn(8, 1 + 49, 64), "BND", num_prefix_tokens=1).shape
        torch.Size([8, 64, 7, 7])
    """
    if layout == "BDhw":
        return x
    if layout == "BhwD":
        return x.permute(0, 3, 1, 2)
    tokens = x[:, num_prefix_tokens:].transpose(1, 2)  # B D N
    side = isqrt(tokens.shape[2])
    if side**2 != tokens.shape[2]:
        raise ValueError(
            f"got {tokens.shape[2]} tokens, expected those of a square grid, to know where each lies; use square "
            "images, or no positions"
        )
    return tokens.reshape(*tokens.shape[:2], side, side)


def num_prefix_tokens(model: nn.Module) -> int:
    """How many tokens at the front are no part of the image, by what a model says, or by its class token."""
    said = getattr(model, "num_prefix_tokens", None)
    if isinstance(said, int):
        return said
    return int(any(name.startswith(("cls_token", "class_token")) for name, _ in model.named_parameters(recurse=False)))
