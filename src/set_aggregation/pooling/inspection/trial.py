"""A model is tried out: on a copy, with images that it should be able to take."""

import copy
from itertools import chain

import torch
from torch import Tensor, nn


def light_copy(model: nn.Module) -> nn.Module:
    """A copy, in evaluation mode, that shares the weights: what is tried on it leaves the model as it was."""
    weights = chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(weight): weight for weight in weights}).eval()


def example_images(
    model: nn.Module, image_size: tuple[int, int] | None = None, in_channels: int | None = None
) -> Tensor:
    """Two images of noise that a model should be able to take.

    Args:
        model: the model.
        image_size: height and width; None takes what the model says, or 224 x 224.
        in_channels: number of channels; None takes that of the first convolution, or 3.
    """
    if image_size is None:
        embedding = getattr(model, "patch_embed", None)
        said = getattr(embedding, "img_size", None) or getattr(model, "image_size", None)
        said = said or getattr(model, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[1:]
        image_size = (said, said) if isinstance(said, int) else tuple(said)
    convolution = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    weight = next(model.parameters(), torch.empty(0))
    if in_channels is None:
        in_channels = 3 if convolution is None else convolution.in_channels
    images = torch.randn(2, in_channels, *image_size, generator=torch.Generator().manual_seed(0))
    return images.to(weight.device, weight.dtype)
