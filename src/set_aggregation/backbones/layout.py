"""Feature maps of the networks of other libraries: their axes, and errors of building the networks."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt, log
from typing import Literal

from jaxtyping import Float
from torch import Size, Tensor

from set_aggregation.pooling.trial import first_line

Layout = Literal["BDhw", "BhwD", "BND"]


def layout_of(shape: Size, image_size: tuple[int, int]) -> Layout | None:
    """Return the order of the axes of a network's features, or None for a vector or a map of one pixel.

    Example:
        >>> layout_of(Size((2, 7, 7, 512)), (224, 224)), layout_of(Size((2, 512)), (224, 224))
        ('BhwD', None)
        >>> layout_of(Size((2, 512, 4, 2)), (100, 60))  # a map may be rounded up
        'BDhw'
    """
    if len(shape) == 3 and shape[1] > 1:
        return "BND"
    if len(shape) != 4:
        return None
    ratio = image_size[0] / image_size[1]
    candidates: list[tuple[Layout, tuple[int, int]]] = [("BDhw", shape[2:]), ("BhwD", shape[1:3])]
    layout, (h, w) = min(candidates, key=lambda candidate: abs(log(candidate[1][0] / candidate[1][1] / ratio)))
    return layout if h * w > 1 else None


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


@contextmanager
def build_errors(backbone: str, package: str, extra: str, name: str, without: str) -> Iterator[None]:
    """Turn the errors of a package that builds a network into one line, with advice."""
    try:
        yield
    except ImportError as error:
        install = f"pip install 'set-aggregation[{extra}]'"
        raise ValueError(f"{backbone}: got no {package}, expected it: {install}") from error
    except OSError as error:
        raise ConnectionError(
            f"{backbone}: got no weights of {name} ({first_line(error)}); expected a connection for the download; try "
            f"again, or give {without}"
        ) from error
    except Exception as error:
        raise ValueError(
            f"{backbone}: got {name}, which cannot be built ({first_line(error)}); expected a name of "
            f"{package}'s list_models()"
        ) from error
