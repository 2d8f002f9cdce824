"""Base classes of the backbones: our own, and those around the networks of other libraries."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt, log
from typing import Literal

import torch
from jaxtyping import Float
from torch import Size, Tensor, nn

from set_aggregation.pooling.trial import first_line

Layout = Literal["BDhw", "BhwD", "BND"]


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


class ForeignBackbone(Backbone):
    """Network of another library, whose features are maps with any order of the axes, or tokens."""

    network: nn.Module
    layout: Layout
    num_prefix_tokens: int  # class tokens, which are left out

    @abstractmethod
    def features(self, x: Float[Tensor, "B C H W"]) -> Tensor:
        """Return the features of the network."""

    @torch.no_grad()
    def find_layout(self, images: Float[Tensor, "B C H W"], name: str, advice: str) -> None:
        """Find the order of the axes of the features in a trial run."""
        try:
            with evaluation_mode(self):  # otherwise the trial run would change its running statistics
                features = self.features(images)
            layout = layout_of(features.shape, (images.shape[2], images.shape[3]))
        except (AssertionError, AttributeError, RuntimeError, TypeError):  # a layer after the pooling needs a vector
            layout = None
        if layout is None:
            raise ValueError(
                f"{type(self).__name__}: got {name}, which gives neither a feature map (B, D, h, w) nor tokens "
                f"(B, N, D); {advice}"
            )
        self.layout, self.out_features = layout, features.shape[1 if layout == "BDhw" else -1]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Compute the feature map of each image."""
        features = self.features(x)
        if self.layout == "BDhw":
            return features
        if self.layout == "BhwD":
            return features.permute(0, 3, 1, 2)
        tokens = features[:, self.num_prefix_tokens :].transpose(1, 2)  # B D N, row by row
        height, width = x.shape[2:]
        rows = isqrt(tokens.shape[2] * height // width)
        if rows * rows * width != tokens.shape[2] * height:
            found = f"{tokens.shape[2]} tokens of images of {height}x{width}"
            raise ValueError(f"got {found}, expected a grid of that ratio")
        return tokens.reshape(*tokens.shape[:2], rows, -1)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, then each submodule back into its own mode."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def layout_of(shape: Size, image_size: tuple[int, int]) -> Layout | None:
    """Return the order of the axes of a network's features, or None for a vector or a map of one pixel."""
    if len(shape) == 3 and shape[1] > 1:
        return "BND"
    if len(shape) != 4:
        return None
    ratio = image_size[0] / image_size[1]
    candidates: list[tuple[Layout, tuple[int, int]]] = [("BDhw", shape[2:]), ("BhwD", shape[1:3])]
    layout, (h, w) = min(candidates, key=lambda candidate: abs(log(candidate[1][0] / candidate[1][1] / ratio)))
    return layout if h * w > 1 else None


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
