"""Trial runs that leave a network unchanged."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy


def refusal(model: nn.Module, found: str, advice: str) -> ValueError:
    """Return the error for a network that replace_pooling refuses."""
    return ValueError(f"replace_pooling: got a {type(model).__name__} {found}; {advice}")


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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


def twice_as_long(axis: int) -> Callable[[Tensor], Tensor]:
    """Return a function that doubles one axis of a tensor."""
    return lambda x: torch.cat((x, x.flip(0)), axis)


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """Restore the attributes of all parts of a network afterwards: some networks cache what they compute."""
    own = vars(nn.Module()).keys()
    kept = []
    for module in model.modules():
        values = {name: value for name, value in vars(module).items() if name not in own}
        contents = {name: copy(value) for name, value in values.items() if type(value) in (dict, list)}
        kept.append((module, values, contents))
    try:
        yield
    finally:
        for module, values, contents in kept:
            for name in vars(module).keys() - own - values.keys():
                delattr(module, name)
            vars(module).update(values)
            for name, content in contents.items():
                values[name].clear()
                values[name].update(content) if isinstance(content, dict) else values[name].extend(content)


class Trial:
    """Reproducible runs of a network in evaluation mode, without effect on its weights, buffers and gradients.

    Constant values, such as a zero classifier or the weights and statistics of a fresh normalization, would hide what
    the network computes: the runs use noise for them.
    """

    def __init__(self, model: nn.Module) -> None:
        if any(is_lazy(parameter) for parameter in model.parameters()):
            raise refusal(model, "with parameters that have no shape yet", "run it once first")
        if any(parameter.is_meta for parameter in model.parameters()):
            raise refusal(model, "on the meta device, whose parameters have no values", "load its weights first")
        self.model = model
        generator = torch.Generator().manual_seed(0)
        self._originals = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        values = {name: _varied(value, generator) for name, value in self._originals.items()}
        self._buffers = {name: values.pop(name) for name, _ in model.named_buffers()}
        self.weights = {name: value.requires_grad_() for name, value in values.items() if value.is_floating_point()}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Hold the network in evaluation mode; restore the mode of each of its parts afterwards."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training

    @property
    def present(self) -> dict[str, Tensor]:
        """Trial values of the original parameters that the network still has."""
        return self._present(self.weights)

    def _present(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        now = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        return {name: value for name, value in values.items() if now.get(name) is self._originals[name]}

    def run(self, inputs: Inputs) -> Any:
        """Return the network's output; installed modules use their own weights."""
        buffers = {**dict(self.model.named_buffers()), **self._present(self._buffers)}
        values = {**self.present, **{name: buffer.clone() for name, buffer in buffers.items()}}
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), attributes_kept(self.model):
            torch.manual_seed(0)
            return functional_call(self.model, values, inputs.args, dict(inputs.kwargs))

    def gradients(self, outputs: Any) -> dict[str, Tensor | None]:
        """Return the gradient of a fixed random projection of all outputs with respect to each weight."""
        generator = torch.Generator().manual_seed(2)
        total = torch.zeros(())
        for y in tensors_in(outputs):
            if y.requires_grad:
                direction = torch.randn(y.shape, generator=generator)
                total = total + (y * direction.to(y)).sum().cpu().float()
        if not total.requires_grad:
            return dict.fromkeys(self.weights)
        found = torch.autograd.grad(total, list(self.weights.values()), allow_unused=True)
        return dict(zip(self.weights, found, strict=True))


def _varied(value: Tensor, generator: torch.Generator) -> Tensor:
    """Return a tensor of equal numbers with noise added, and any other tensor unchanged."""
    is_setting = value.numel() == 1 and not isinstance(value, nn.Parameter)  # a buffer such as an epsilon
    value = value.detach()
    if not value.is_floating_point() or is_setting or not bool((value == value.flatten()[:1]).all()):
        return value
    return value + 0.2 * (torch.rand(value.shape, generator=generator) - 0.5).to(value)
