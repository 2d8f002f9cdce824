"""Inputs and outputs of the trial runs of a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


def tensors_in(value: Any) -> list[Tensor]:
    """Return all tensors in nested tuples, lists and mappings, such as a ``ModelOutput`` of transformers."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, tuple | list) else []


def logits_in(output: Any) -> Tensor | None:
    """Return the tensor named ``logits`` of a network's output, or the first one."""
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        return output["logits"]
    return next(iter(tensors_in(output)), None)


def example_images(
    model: nn.Module, image_size: int | tuple[int, int] | None = None, in_channels: int | None = None
) -> Tensor:
    """Return two images of noise for a network."""
    if image_size is None:
        declared = getattr(getattr(model, "patch_embed", None), "img_size", None) or getattr(model, "image_size", None)
        declared = declared or getattr(getattr(model, "config", None), "image_size", None)
        image_size = declared or getattr(model, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[1:]
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    convolution = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    weight = next(model.parameters(), torch.empty(0))
    if in_channels is None:
        in_channels = 3 if convolution is None else convolution.in_channels
    images = torch.randn(2, in_channels, height, width, generator=torch.Generator().manual_seed(0))
    return images.to(weight.device, weight.dtype)


@dataclass(frozen=True)
class Inputs:
    """Arguments of a forward pass."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, given: Any) -> "Inputs":
        """Return the arguments given as a tensor, a tuple, or a dict of keyword arguments."""
        if isinstance(given, Mapping):
            return cls((), dict(given))
        return cls(given if isinstance(given, tuple) else (given,), {})

    def map(self, change: Callable[[Tensor], Tensor]) -> "Inputs":
        """Return the arguments with every tensor changed."""

        def one(value: Any) -> Any:
            return change(value) if isinstance(value, Tensor) else value

        return Inputs(tuple(map(one, self.args)), {name: one(value) for name, value in self.kwargs.items()})

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return tensors_in((*self.args, *self.kwargs.values()))

    def __str__(self) -> str:
        return ", ".join("x".join(map(str, tensor.shape)) for tensor in self.tensors)


def with_padding(x: Tensor) -> Tensor:
    """Return a mask of ones with zeros at the end of its first row, and any other tensor unchanged."""
    if x.ndim < 2 or x.shape[1] < 2 or not bool((x == 1).all()):
        return x
    x = x.clone()
    x[0, (x.shape[1] + 1) // 2 :] = 0
    return x


def more_noise(x: Tensor) -> Tensor:
    """Append one row to a batch: noise of equal mean and scale, or the rows in another order."""
    rows = torch.cat((x.flip(0), x[:1]))
    if not rows.is_floating_point() or bool(((x == 0) | (x == 1)).all()):
        return rows
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(1)).to(x.device, x.dtype)
    return noise * x.std() + x.mean()


def twice_as_long(axis: int, x: Tensor) -> Tensor:
    """Double one axis of a tensor."""
    return torch.cat((x, x.flip(0)), axis)
